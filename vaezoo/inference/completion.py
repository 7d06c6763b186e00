"""Missing entries of data, filled in with draws from p(x_missing | x_observed).

The guide proposes where it can (:mod:`vaezoo.inference.metropolis`): the entries of a datum, or its
frames, are then independent given the latents, or the pair is written as one step. Where they
depend on each other in another way, as frames that hear frames, or elements of one joint
distribution, Hamiltonian Monte Carlo moves latents and missing entries together, which takes real
numbers.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import constraints

from vaezoo.distributions.families import family, support_of
from vaezoo.distributions.supports import real_coordinates
from vaezoo.errors import RequestError
from vaezoo.inference.adaptation import Frame
from vaezoo.inference.hmc import ChainSettings, Sampler
from vaezoo.inference.metropolis import DependentError, FlatChain, PathChain
from vaezoo.observations.roles import by_argument, roles_of
from vaezoo.pairs.accounting import log_joint
from vaezoo.pairs.admission import ONE_SIDED, UNCOUNTED, Kind, admit
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import trial_rows
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    argument_names,
    lengths_of,
    model_of,
    site_values,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.sequences.conditioning import along_time
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["draw_jointly", "draw_missing", "split_r_hat"]

KINDS: tuple[Kind, ...] = ("point", "discrete", *ONE_SIDED, *UNCOUNTED, "shared", "global")
CHAINS, TRIALS = 4, 32
ENOUGH_TAKEN, MOST_STEPS = 0.5, 20
MOST_DENSE = 32


@torch.no_grad()
def draw_missing(
    pair: nn.Module,
    args: Args,
    missing: Mapping[str, Tensor],
    *,
    num_samples: int,
    burn_in: int = 100,
    correct: bool = True,
) -> tuple[dict[str, Tensor], float]:
    """Draw the missing entries of a batch.

    Parameters
    ----------
    pair
        Any pair whose sites observe what has missing entries. Where their elements, or frames,
        depend on each other beyond the latents, these have to be real numbers.
    args
        A batch, tensors of ``(B, ...)``. Its missing entries are where the chain starts, and have
        to be values that the pair can explain.
    missing
        Which entries are not known, ``(B, ...)``, by the name of an argument.
    num_samples
        Draws S that are kept. Where fewer than half of the proposals are taken, so many steps lie
        between two as one is taken in, at most 20, and the latents move locally besides, by steps
        whose size is found in as many steps again as the burn-in has.
    burn_in
        Steps before them; the first half takes everything, to come from the start to where the
        data are.
    correct
        Whether proposals can be refused, as they have to for draws from the conditional.

    Returns
    -------
    tuple of dict and float
        Draws of the arguments of ``missing``, ``(S, B, ...)``, and the share of proposals that were
        taken after the burn-in.

    Raises
    ------
    RequestError
        When the pair gives no way to draw the entries: it has no posterior, its parts depend on
        each other, or nothing observes them.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.randn(6, 4)
    >>> missing = torch.zeros(6, 4, dtype=torch.bool)
    >>> missing[:, 0] = True
    >>> draws, accepted = draw_missing(
    ...     LinearPair(), (x,), {"x": missing}, num_samples=3, burn_in=2
    ... )
    >>> draws["x"].shape, torch.equal(draws["x"][..., 1:], x[:, 1:].expand(3, 6, 3))
    (torch.Size([3, 6, 4]), True)
    """
    with probing(pair, args[0].device):
        admit(pair, trace_pair(pair, trial_rows(args)), "imputation", ("point", "rounded"))
    try:
        return _walk(_chain(pair, args, missing), missing, num_samples, burn_in, correct)
    except DependentError as dependent:
        try:
            return draw_jointly(pair, args, missing, num_samples=num_samples, burn_in=burn_in)
        except RequestError as error:
            raise RequestError(f"{dependent}; {error}") from dependent


def _chain(pair: nn.Module, args: Args, missing: Mapping[str, Tensor]) -> PathChain | FlatChain:
    if isinstance(pair, SequencePair) and not pair.inputs:
        return PathChain(pair, args, missing["x"])
    return FlatChain(pair, args, missing)


def _walk(
    chain: PathChain | FlatChain,
    missing: Mapping[str, Tensor],
    num_samples: int,
    burn_in: int,
    correct: bool,
) -> tuple[dict[str, Tensor], float]:
    draws: dict[str, list[Tensor]] = {name: [] for name in missing}
    taken: list[float] = []
    for index in range(burn_in):
        _, accepted = chain.step(correct and index >= burn_in // 2)
        taken.append(float(accepted.float().mean()))
    between = _steps_between(taken[burn_in // 2 :]) if correct else 1
    mover = chain if between > 1 and isinstance(chain, FlatChain) else None
    if mover:
        for _ in range(burn_in):
            mover.step(correct)
            mover.move(adapt=True)
    taken = []
    for _ in range(num_samples):
        for _ in range(between):
            moved = mover.move(adapt=False) if mover else None
            values, accepted = chain.step(correct)
            accepted = accepted if moved is None else accepted | moved
            taken.append(float(accepted.float().mean()))
        for name in missing:
            draws[name].append(values[name])
    return {name: torch.stack(steps) for name, steps in draws.items()}, sum(taken) / len(taken)


def _steps_between(taken: list[float]) -> int:
    """Return the steps for each draw that is kept: as many as one of them, about, is taken in."""
    share = sum(taken) / len(taken) if taken else 1.0
    return 1 if share >= ENOUGH_TAKEN else min(MOST_STEPS, math.ceil(1 / max(share, 1e-9)))


def split_r_hat(draws: Tensor) -> Tensor:
    """Return R-hat of numbers ``(S, ...)`` in the order of their steps; NaN of fewer than 32.

    The chains are the halves, each in four, so that four chains whose draws take turns count as
    such (Gelman & Rubin 1992; Vehtari et al. 2021, arXiv:1903.08008, eq. 4). What does not vary at
    all has 1.

    Examples
    --------
    >>> noise, drift = torch.randn(4000), torch.arange(4000) / 1000
    >>> round(float(split_r_hat(noise)), 1), bool(split_r_hat(noise + drift) > 1.1)
    (1.0, True)
    """
    number = len(draws) // 8
    if number < 4:
        return torch.full(draws.shape[1:], torch.nan, dtype=torch.float64)
    groups = draws[: 8 * number].double().unflatten(0, (2, number, 4))
    mean, variance = groups.mean(1).flatten(0, 1), groups.var(1).flatten(0, 1)
    within, between = variance.mean(0), mean.var(0)
    r_hat = ((number - 1) / number + between / within).sqrt()
    return torch.where((within == 0) & (between == 0), 1.0, r_hat)


@torch.no_grad()
def draw_jointly(
    pair: nn.Module,
    args: Args,
    missing: Mapping[str, Tensor],
    *,
    num_samples: int,
    burn_in: int = 100,
) -> tuple[dict[str, Tensor], float]:
    """Draw missing entries of a batch by Hamiltonian Monte Carlo on these and all latents.

    Nothing is asked of how the entries depend on each other: log p(x, z) is a function of both.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous, and belong to one datum each.
    args, missing, num_samples, burn_in
        As for :func:`draw_missing`; what is missing has to be real numbers, and any will do as
        values. The draws are those of four chains.

    Raises
    ------
    RequestError
        For a pair or entries of another kind.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, missing = torch.zeros(6, 4), torch.ones(6, 4, dtype=torch.bool)
    >>> draws, _ = draw_jointly(LinearPair(), (x,), {"x": missing}, num_samples=3, burn_in=2)
    >>> draws["x"].shape
    torch.Size([3, 6, 4])
    """
    names = argument_names(pair)
    draws = {
        n: args[names.index(n)].expand(num_samples, *w.shape).clone() for n, w in missing.items()
    }
    rates: list[tuple[float, int]] = []
    for rows, frames in _alike(pair, args):
        named = dict(zip(names, args, strict=True))
        in_time = along_time(pair, args) if frames else []
        cut = {n: arg[rows, :frames] if n in in_time else arg[rows] for n, arg in named.items()}
        where = {n: w[rows, :frames] if n in in_time else w[rows] for n, w in missing.items()}
        if not any(bool(some.any()) for some in where.values()):
            continue
        target = _Joint(pair, cut, where)
        values, rate = target.draw(num_samples, burn_in)
        rates.append((rate, len(rows)))
        for name, value in values.items():
            if name in in_time:
                draws[name][:, rows, :frames] = value
            else:
                draws[name][:, rows] = value
    return draws, sum(rate * size for rate, size in rates) / max(1, sum(n for _, n in rates))


def _alike(pair: nn.Module, args: Args) -> Iterator[tuple[Tensor, int]]:
    """Yield rows of one length, whose latents and entries are all alive, and their frames."""
    length = lengths_of(pair, args)
    if length is None:
        yield torch.arange(len(args[0]), device=args[0].device), 0
        return
    for frames in length.unique().tolist():
        yield (length == frames).nonzero().flatten(), frames


class _Joint:
    """log p(x, z) of data as a function of reals: latents, then missing entries, ``(C, B, L)``."""

    def __init__(
        self, pair: nn.Module, arguments: Mapping[str, Tensor], missing: Mapping[str, Tensor]
    ) -> None:
        self.pair, self.arguments, self.missing = pair, dict(arguments), missing
        self.num_data = len(next(iter(arguments.values())))
        trace = trace_pair(pair, tuple(arguments.values()))
        admit(pair, trace, "imputation by HMC", KINDS, num_rows=self.num_data)
        with probing(pair, self.device):
            self.roles = roles_of(pair, tuple(arguments.values()))
        self._require_reals(trace)
        self.transforms = {
            name: real_coordinates(site["fn"], name, "imputation by HMC")
            for name, (site, _) in trace.latents.items()
        }
        self.shapes = {
            name: torch.Size(transform.inverse_shape(trace.latents[name][0]["value"].shape)[1:])
            for name, transform in self.transforms.items()
        }
        # Rows have unlike numbers of missing entries: each has as many places as the most.
        self.places, self.is_place = {}, {}
        for name, where in missing.items():
            flat = where.reshape(len(where), -1)
            most = int(flat.sum(1).max())
            self.places[name] = flat.int().argsort(dim=1, descending=True, stable=True)[:, :most]
            self.is_place[name] = flat.gather(1, self.places[name])

    @property
    def device(self) -> torch.device:
        return next(iter(self.arguments.values())).device

    def _require_reals(self, trace: PairTrace) -> None:
        for name, site in trace.observed.items():
            step = step_of(name) if takes_lengths(self.pair) else None
            taken = self.roles.observed[step[0] if step else name]
            if taken is not None and taken.argument in self.missing:
                support = support_of(site["fn"])
                if support is not constraints.real:
                    raise RequestError(
                        f"HMC draws entries that are real numbers, and those of {taken.argument} "
                        f"at site '{name}' are not ({family(site['fn'])})"
                    )

    def draw(self, num_samples: int, burn_in: int) -> tuple[dict[str, Tensor], float]:
        """Return draws of what is missing, ``(S, B, ...)``, and the mean acceptance."""
        start = self._start()
        scale = start.std(0).clamp(min=1e-3)
        dense = start.shape[-1] <= MOST_DENSE
        frame = Frame(start.mean(0), torch.diag_embed(scale) if dense else scale)
        each = -(-num_samples // CHAINS)
        settings = ChainSettings(num_samples=each, num_warmup=burn_in, dense=dense)
        sampler = Sampler(self.log_density, frame, start[:CHAINS], settings)
        sampler.warm_up()
        draws, _, moved = sampler.draw()
        u = draws.transpose(0, 1).flatten(0, 1)[:num_samples]  # neighbours are of unlike chains
        _, rows, _ = self._split(u)
        arguments = self._filled(rows, len(u))
        size = (len(u), self.num_data)
        values = {name: arguments[name].unflatten(0, size) for name in self.missing}
        return values, float(moved.acceptance.mean())

    def log_density(self, u: Tensor) -> Tensor:
        """Return log p of latents and missing entries and the data that there are, ``(C, B)``."""
        latents, rows, log_volume = self._split(u)
        args = tuple(self._filled(rows, len(u)).values())
        with hold({name: value.flatten(0, 1) for name, value in latents.items()}):
            trace = poutine.trace(model_of(self.pair)).get_trace(*args)
        log_p = log_joint(trace).reshape(len(u), self.num_data) + log_volume
        for name, value in rows.items():
            # A place that a row does not need holds a standard normal number.
            spare = torch.where(self.is_place[name], 0.0, value.square())
            log_p = log_p - 0.5 * spare.sum(-1)
        return log_p

    def _split(self, u: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Return latents ``(C, B, *event)``, missing entries ``(C, B, M)``, and the log volume."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        sizes += [places.shape[1] for places in self.places.values()]
        parts = iter(u.split(sizes, -1))
        latents, log_volume = {}, u.new_zeros(u.shape[:-1])
        for name, transform in self.transforms.items():
            part = next(parts).reshape(*u.shape[:2], *self.shapes[name])
            latents[name] = transform(part)
            volume = transform.log_abs_det_jacobian(part, latents[name])
            log_volume = log_volume + volume.reshape(*u.shape[:2], -1).sum(-1)
        return latents, dict(zip(self.places, parts, strict=True)), log_volume

    def _filled(self, rows: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """Return the arguments ``(C * B, ...)`` with some values in their missing entries."""
        filled = {
            n: arg.repeat(number, *[1] * (arg.dim() - 1)) for n, arg in self.arguments.items()
        }
        for name, value in rows.items():
            arg = filled[name]
            flat = torch.cat([arg.reshape(len(arg), -1), arg.new_zeros(len(arg), 1)], 1)
            # What a row does not need goes behind its end.
            places = torch.where(self.is_place[name], self.places[name], flat.shape[1] - 1)
            flat = flat.scatter(1, places.repeat(number, 1), value.flatten(0, 1).to(arg.dtype))
            filled[name] = flat[:, :-1].reshape(arg.shape)
        return filled

    def _start(self) -> Tensor:
        """Return places to start from: draws of the guide, and of the model given these."""
        none = {
            n: places.new_zeros(TRIALS, *places.shape).float() for n, places in self.places.items()
        }
        arguments = self._filled(none, TRIALS)
        arguments |= {
            n: torch.where(self.missing[n].repeat(TRIALS, *[1] * (arg.dim() - 1)), mean, arg)
            for n, arg in arguments.items()
            if n in self.missing
            for mean in [self.arguments[n].mean()]
        }
        trace = trace_pair(self.pair, tuple(arguments.values()))
        size = (TRIALS, self.num_data)
        parts = [
            self.transforms[name].inv(site["value"]).unflatten(0, size).flatten(2)
            for name, (site, _) in trace.latents.items()
        ]
        observed = {name: site["fn"].sample() for name, site in trace.observed.items()}
        values = by_argument(self.roles, site_values(self.pair, observed), arguments)
        for name, places in self.places.items():
            flat = values[name].reshape(TRIALS, self.num_data, -1)
            entries = flat.gather(2, places.expand(TRIALS, *places.shape))
            noise = torch.randn_like(entries)
            parts.append(torch.where(self.is_place[name], entries, noise))
        return torch.cat(parts, -1)
