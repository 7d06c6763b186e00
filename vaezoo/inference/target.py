"""The posterior of each datum as a function of reals: what samplers and proposals work on.

All continuous latents of a datum, whatever their sites and supports, become one vector u of L
numbers: each site is flattened and carried to the reals (``torch.distributions.biject_to``).
Densities are those of u, so that they hold the log volume of that change of variables. A tensor of
u has the shape ``(S, B, L)``, S vectors for each of B data; densities are in nats, ``(S, B)``.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.distributions.transforms import IndependentTransform, identity_transform

from vaezoo.distributions.families import factorises, family
from vaezoo.distributions.supports import real_coordinates
from vaezoo.engine.functions.slopes import FEWEST_GRADIENTS_CAPTURED, Slope
from vaezoo.errors import RequestError
from vaezoo.pairs.admission import DENSITY, ONE_SIDED, UNCOUNTED, admit
from vaezoo.pairs.enumeration import Enumeration, enumeration_of, is_marked
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.pieces import data_at_once, join, rows_at_once, slices, trial_rows
from vaezoo.pairs.plates import total_log_density
from vaezoo.pairs.precision import in_double
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    density_sites,
    guide_of,
    model_of,
    sample_sites,
    takes_lengths,
    trace_pair,
)

__all__ = ["Target", "precise", "trial_target"]


@dataclass(frozen=True)
class _Latent:
    """One site and its place among the numbers of u."""

    name: str
    transform: Any
    shape: torch.Size
    start: int
    stop: int


class Target:
    """log p(x, z) and log q(z | x) of a batch, as functions of unconstrained latents.

    Use it inside :func:`vaezoo.pairs.particles.probing`.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous and belong to one datum each.
    args
        A batch, tensors of ``(B, ...)``.
    what
        In whose name a pair is refused, as ``"HMC"``.

    Raises
    ------
    RequestError
        For sequences, pairs without latents, discrete latents, autoencoders, and sites that are
        shared by data or are on one side only.

    Examples
    --------
    >>> from vaezoo.pairs.particles import probing
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> with probing(pair, x.device):
    ...     target = Target(pair, (x,), "HMC")
    ...     target.num_latents, target.log_joint(torch.zeros(5, 3, 2)).shape
    (2, torch.Size([5, 3]))
    """

    def __init__(self, pair: nn.Module, args: Args, what: str) -> None:
        if takes_lengths(pair):
            raise RequestError(
                f"{what} is for data without time, and {type(pair).__name__} is for sequences; "
                "use vaezoo.inference.filtering.particle_filter, or `vaezoo.evaluate(run, fivo=K)`"
            )
        few = trial_rows(args)
        trace = trace_pair(pair, few)
        kinds = (*DENSITY, "discrete", *ONE_SIDED, *UNCOUNTED, "shared")
        admit(pair, trace, what, kinds, num_rows=len(few[0]))
        self.every = enumeration_of(trace)
        self.pair = pair
        self.args = args
        self.what = what
        self.num_data = len(args[0])
        self.in_plate = choose_particles(pair, few, 2).in_plate
        whole = trace if len(few[0]) == self.num_data else trace_pair(pair, args)
        self.latents = _layout(whole, what)
        if not self.latents:
            raise RequestError(
                f"{what} needs real latents, and all of {type(pair).__name__} are summed out; "
                "use `vaezoo.evaluate(run, iwae=[K])`"
            )
        self.num_latents = self.latents[-1].stop
        # of the reals: a log-normal latent is carried there by its logarithm
        self.has_diagonal_guide = all(
            factorises(q["fn"]) and family(q["fn"]) in ("LogNormal", "Normal")
            for _, q in whole.latents.values()
        )
        self._slope: Slope | None = None
        self._refuse_edges(whole, what)

    @property
    def is_unconstrained(self) -> bool:
        """Whether the latents are reals, which nothing needs to carry there."""
        return all(_is_identity(latent.transform) for latent in self.latents)

    def some(self, rows: Tensor) -> "Target":
        """Return that of some of the data."""
        return Target(self.pair, tuple(arg[rows.to(arg.device)] for arg in self.args), self.what)

    def constrain(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the latents by site ``(S, B, *event)``, and the log volume log |dz / du|."""
        values: dict[str, Tensor] = {}
        log_volume = u.new_zeros(u.shape[:-1])
        for latent in self.latents:
            part = u[..., latent.start : latent.stop].reshape(*u.shape[:-1], *latent.shape)
            z = latent.transform(part)
            volume = latent.transform.log_abs_det_jacobian(part, z)
            log_volume = log_volume + volume.reshape(*log_volume.shape, -1).sum(-1)
            values[latent.name] = z
        return values, log_volume

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return u of latents by site ``(S, B, *event)``."""
        parts = [latent.transform.inv(values[latent.name]) for latent in self.latents]
        return torch.cat([part.reshape(*part.shape[:2], -1) for part in parts], -1)

    def log_terms(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(u) and log p(x | u), marked latents summed out."""
        particles, held, log_volume = self._held(u)
        if self.every is not None:
            return self._summed_terms(particles, held, log_volume, self.every)
        trace = particles.run(hold(held)(model_of(self.pair)), self.args)
        sites = density_sites(trace)
        prior = total_log_density(sites[latent.name] for latent in self.latents)
        likelihood = total_log_density(s for s in sites.values() if s["is_observed"])
        return particles.by_datum(prior) + log_volume, particles.by_datum(likelihood)

    def _summed_terms(
        self,
        particles: Particles,
        held: Mapping[str, Tensor],
        log_volume: Tensor,
        every: Enumeration,
    ) -> tuple[Tensor, Tensor]:
        values = {**_for_all(held, particles, every), **every.held(self.num_data, particles)}
        model = hold(values)(model_of(self.pair))
        sites = density_sites(particles.run(model, every.repeat(self.args)))
        latents = total_log_density(s for s in sites.values() if not s["is_observed"])
        prior = every.log_sum(particles.by_datum(latents))
        joint = every.log_sum(particles.by_datum(total_log_density(sites.values())))
        return prior + log_volume, joint - prior

    def log_joint(self, u: Tensor) -> Tensor:
        """Return log p(x, u)."""
        if self._slope and u.requires_grad and torch.is_grad_enabled():
            return self._slope(u)
        prior, likelihood = self.log_terms(u)
        return prior + likelihood

    def expect(self, num_gradients: float) -> None:
        """Prepare for about so many gradients of :meth:`log_joint` by latents of one shape."""
        if num_gradients >= FEWEST_GRADIENTS_CAPTURED and self._slope is None:
            self._slope = Slope(self._log_joint_of, self.pair, self.args)

    def _log_joint_of(self, u: Tensor, args: Sequence[Tensor]) -> Tensor:
        target = copy.copy(self)
        target.args, target._slope = tuple(args), None
        return target.log_joint(u)

    def log_guide(self, u: Tensor) -> Tensor:
        """Return log q(u | x), marked latents summed out."""
        particles, held, log_volume = self._held(u)
        if self.every is not None:
            return self._summed_guide(particles, held, self.every) + log_volume
        trace = particles.run(hold(held)(guide_of(self.pair)), self.args)
        return particles.by_datum(_density_of_guide(trace)) + log_volume

    def _summed_guide(
        self, particles: Particles, held: Mapping[str, Tensor], every: Enumeration
    ) -> Tensor:
        of_guide = Enumeration(every.of_guide, {})
        values = {**_for_all(held, particles, of_guide), **of_guide.held(self.num_data, particles)}
        guide = hold(values)(guide_of(self.pair))
        trace = particles.run(guide, of_guide.repeat(self.args))
        return of_guide.log_sum(particles.by_datum(_density_of_guide(trace)))

    def draw_guide(self, num_samples: int) -> Tensor:
        """Draw from the guide."""
        return self._draw(guide_of(self.pair), num_samples)

    def draw_prior(self, num_samples: int) -> Tensor:
        """Draw from the prior."""
        return self._draw(model_of(self.pair), num_samples)

    def moments_of_guide(self, num_samples: int = 64) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of draws from the guide, each ``(B, L)``."""
        draws = self.draw_guide(num_samples)
        return draws.mean(0), draws.std(0).clamp(min=1e-6)

    def rows_at_once(self) -> int:
        """Return how many draws of each datum go through the pair at a time."""
        return rows_at_once(self.num_data, most=data_at_once(self.pair, self.args))

    def _refuse_edges(self, trace: PairTrace, what: str) -> None:
        """Refuse draws at the edge of a support, as one-hot ones of a relaxed distribution.

        A single draw may come to lie there by rounding.
        """
        for latent in self.latents:
            value = sample_sites(trace.guide)[latent.name]["value"]
            inside = latent.transform.inv(value).isfinite().reshape(len(value), -1).all(1)
            if inside.sum() < len(value) / 2:
                raise RequestError(
                    f"{what} needs latents inside their support, and the guide draws those of "
                    f"site '{latent.name}' at its edge; importance weights can do without"
                )

    def _held(self, u: Tensor) -> tuple[Particles, dict[str, Tensor], Tensor]:
        particles = Particles(len(u), self.in_plate)
        values, log_volume = self.constrain(u)
        return particles, {n: particles.by_row(z) for n, z in values.items()}, log_volume

    def _draw(self, side: Callable[..., Any], num_samples: int) -> Tensor:
        pieces = []
        for piece in slices(num_samples, self.rows_at_once()):
            particles = Particles(piece.stop - piece.start, self.in_plate)
            sites = sample_sites(particles.run(side, self.args))
            names = [latent.name for latent in self.latents]
            values = {name: particles.by_datum(sites[name]["value"]) for name in names}
            pieces.append(self.unconstrain(values))
        return join(pieces)


def trial_target(pair: nn.Module, args: Args, what: str) -> Target:
    """Return the target of a few data, which says how many latents there are, and of what kind."""
    with probing(pair, args[0].device):
        return Target(pair, trial_rows(args), what)


@contextmanager
def precise(pair: nn.Module, args: Args, what: str) -> Iterator[tuple[nn.Module, Args]]:
    """Yield a pair and its batch, in float64 where latents have an edge, if it can do that.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> with precise(LinearPair(), (torch.zeros(3, 4),), "a check") as (pair, (x,)):
    ...     x.dtype  # its latents are reals
    torch.float32
    """
    with ExitStack() as stack:
        edges = not trial_target(pair, args, what).is_unconstrained
        if edges and args[0].device.type != "mps":
            double = stack.enter_context(in_double(pair, args))
            try:
                trial_target(*double, what)
                pair, args = double
            except Exception:  # whatever a pair does that casts to float32
                stack.close()
        yield pair, args


def _density_of_guide(trace: Trace) -> Tensor:
    try:
        return total_log_density(sample_sites(trace).values())
    except (KeyError, NotImplementedError) as error:
        raise RequestError(
            "the density of the guide is known of its own draws only, as a flow of it cannot be "
            "inverted; importance weights of the guide need no more"
        ) from error


def _is_identity(transform: Any) -> bool:
    while isinstance(transform, IndependentTransform):
        transform = transform.base_transform
    return bool(transform == identity_transform)


def _for_all(
    held: Mapping[str, Tensor], particles: Particles, every: Enumeration
) -> dict[str, Tensor]:
    """Return latents in the rows of every value of those that are summed out."""
    return {
        name: particles.by_row(particles.by_datum(z).repeat_interleave(every.number, 1))
        for name, z in held.items()
    }


def _layout(trace: PairTrace, what: str) -> tuple[_Latent, ...]:
    latents, start = [], 0
    for name, (site, q) in trace.latents.items():
        if is_marked(q):
            continue
        transform = real_coordinates(site["fn"], name, what)
        shape = torch.Size(transform.inverse_shape(site["value"].shape)[1:])
        stop = start + math.prod(shape)
        latents.append(_Latent(name, transform, shape, start, stop))
        start = stop
    return tuple(latents)
