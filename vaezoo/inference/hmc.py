"""Hamiltonian Monte Carlo for all data and chains at once: draws from p(z | x) of any pair.

Data are independent given the model, so that the gradient of the *sum* of their log-densities is
made of the gradients of each, and all chains of all data are one tensor ``(C, B, L)``. Every datum
has a step size and a metric of its own; the number of leapfrog steps is drawn once for all, so that
no chain waits for another (:mod:`vaezoo.inference.leapfrog`). The guide gives a first metric and
starting points; what it is worth does not matter from there on.

Everything is in the precision of the pair, mostly float32: the error of the energy of a trajectory
is a difference of two log-densities, wrong by some 1e-7 of their size, which is far less than what
the discretisation is off by, and a network in float64 would take several times as long. What chains
say about themselves is in float64.

Neal 2011, arXiv:1206.1901; step sizes by dual averaging, Hoffman & Gelman 2014, arXiv:1111.4246,
sec. 3.2; warm-up windows and the shrunk covariance as in Stan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.adaptation import Frame, StepSize
from vaezoo.inference.leapfrog import Moved, Placed, first_step_size, move, placed
from vaezoo.inference.target import Target
from vaezoo.options import require_choice
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces
from vaezoo.pairs.sites import Args
from vaezoo.runtime.arviz import import_arviz

__all__ = [
    "ChainSettings",
    "Convergence",
    "HMCResult",
    "Sampler",
    "convergence",
    "hmc",
    "largest_r_hat",
    "run_chains",
]

# A covariance takes more draws than it has rows, and L^2 numbers for each datum; the windows of a
# default warm-up of 4 chains hold 150 and 300 draws.
MOST_DENSE = 64
# As in Stan: an error of the energy that rounding cannot make.
DIVERGENT = 1000.0
ChainStart = Literal["mixed", "guide", "prior"]


@dataclass(frozen=True)
class HMCResult:
    """C chains of S draws for each of B data.

    Attributes
    ----------
    latents
        Draws by site, ``(C, S, B, *event)``.
    unconstrained
        The same as vectors of reals, ``(C, S, B, L)``; see :mod:`vaezoo.inference.target`.
    start
        Where the chains began, ``(C, B, L)``.
    log_joint
        log p(x, z) of the draws, ``(C, S, B)``, in nats.
    acceptance_rate
        Acceptance probability of the move to each draw, ``(C, S, B)``.
    energy
        Of each draw, with its momentum and in the space of the reals, ``(C, S, B)``, in nats.
    diverging
        Whether its trajectory was off by more than 1,000 nats, ``(C, S, B)``.
    step_size
        In units of the metric, ``(B,)``.
    num_gradients
        Gradients that were taken, each of all data.
    """

    latents: Mapping[str, Tensor]
    unconstrained: Tensor
    start: Tensor
    log_joint: Tensor
    acceptance_rate: Tensor
    energy: Tensor
    diverging: Tensor
    step_size: Tensor
    num_gradients: int

    @property
    def acceptance(self) -> Tensor:
        """Mean acceptance probability, ``(B,)``."""
        return self.acceptance_rate.mean((0, 1))

    @property
    def divergences(self) -> Tensor:
        """How many draws diverged, ``(B,)``."""
        return self.diverging.sum((0, 1))


@dataclass(frozen=True)
class Convergence:
    """What chains say about themselves: the worst latent of each datum, each ``(B,)``.

    Attributes
    ----------
    r_hat
        Rank-normalised split R-hat (Vehtari et al. 2021, arXiv:1903.08008). Above 1.05, chains
        disagree: they have not met yet, or the posterior has modes that lie apart.
    ess_bulk, ess_tail
        Effective sample sizes, of C S draws.
    """

    r_hat: Tensor
    ess_bulk: Tensor
    ess_tail: Tensor


@dataclass(frozen=True)
class ChainSettings:
    """How chains run; see :func:`hmc`."""

    num_samples: int = 500
    num_warmup: int = 300
    max_leapfrog: int = 8
    target_acceptance: float = 0.8
    dense: bool = True


def hmc(
    pair: nn.Module,
    args: Args,
    *,
    num_chains: int = 4,
    num_samples: int = 500,
    num_warmup: int = 300,
    max_leapfrog: int = 8,
    target_acceptance: float = 0.8,
    dense: bool | None = None,
    start: ChainStart = "mixed",
    seed: int = 0,
) -> HMCResult:
    """Draw from the posterior of the latents of each datum, given the model.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous; constrained ones are carried to the reals.
    args
        A batch, tensors of ``(B, ...)``. Memory grows with C B rows.
    num_chains
        Chains C for each datum.
    num_samples
        Draws S of each chain that are kept.
    num_warmup
        Draws before them, in which step sizes and metric are found.
    max_leapfrog
        The number of leapfrog steps is uniform from 1 to this.
    target_acceptance
        Acceptance probability that the step size of a datum aims at, on average over chains.
    dense
        Whether the metric is a full covariance; by default for up to 64 latents. The posteriors of
        VAEs are correlated even where their guides are not, and a diagonal metric then makes steps
        as short as the narrowest direction.
    start
        ``mixed``: the first half of the chains starts at draws from the guide, the other at draws
        from the prior, so that a mode that the guide does not know has a chance to be found.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        When the pair is not of this kind (:class:`vaezoo.inference.target.Target`), or a number is
        too small.

    Notes
    -----
    Where modes lie apart, each chain stays in one, and their shares among the chains say nothing
    about their probability; :func:`convergence` then tells that the chains disagree, unless all of
    them went to one mode. :mod:`vaezoo.inference.proposals` weighs modes rightly.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> result = hmc(pair, (x,), num_samples=10, num_warmup=20)
    >>> result.latents["z"].shape  # 4 chains of 10 draws for each of 3 data
    torch.Size([4, 10, 3, 2])
    """
    if min(num_chains, num_samples, max_leapfrog) < 1 or num_warmup < 0:
        raise RequestError("HMC takes 1 chain, draw and leapfrog step or more, and warmup >= 0")
    if not 0 < target_acceptance < 1:
        raise RequestError(f"target_acceptance lies between 0 and 1, got {target_acceptance}")
    require_choice("start", start, ChainStart)
    with probing(pair, args[0].device, seed=seed):
        target = Target(pair, args, "HMC")
        if dense is None:
            dense = target.num_latents <= MOST_DENSE
        settings = ChainSettings(num_samples, num_warmup, max_leapfrog, target_acceptance, dense)
        first = _starting_points(target, num_chains, start)
        return run_chains(target, first, settings)


def _starting_points(target: Target, num_chains: int, start: ChainStart) -> Tensor:
    from_prior = {"mixed": num_chains // 2, "guide": 0, "prior": num_chains}[start]
    sides = ((target.draw_guide, num_chains - from_prior), (target.draw_prior, from_prior))
    return torch.cat([draw(number) for draw, number in sides if number])


def run_chains(target: Target, start: Tensor, settings: ChainSettings) -> HMCResult:
    """Run chains from ``start (C, B, L)``; inside :func:`~vaezoo.pairs.particles.probing`."""
    # Even a poor guide says on which scale latents lie; warm-up replaces its metric by that of the
    # chains. A diagonal factor as a matrix, since the metric may become one.
    loc, scale = target.moments_of_guide()
    frame = Frame(loc, torch.diag_embed(scale) if settings.dense else scale)
    num_moves = settings.num_warmup + settings.num_samples
    target.expect(num_moves * (1 + settings.max_leapfrog) / 2)
    sampler = Sampler(target.log_joint, frame, start, settings)
    sampler.warm_up()
    draws, log_p, moved = sampler.draw()
    values, log_volume = in_pieces(target.constrain, draws.flatten(0, 1), target.rows_at_once())
    size = draws.shape[:2]
    return HMCResult(
        {name: z.unflatten(0, size) for name, z in values.items()},
        draws,
        start,
        log_p - log_volume.unflatten(0, size),
        moved.acceptance,
        moved.energy,
        moved.error > DIVERGENT,
        sampler.step_size.averaged,
        sampler.num_gradients,
    )


class Sampler:
    """Chains of any log-density of reals ``(C, B, L)``, ``(C, B)`` in nats.

    Parameters
    ----------
    log_density
        Its gradient is taken.
    frame
        A first metric.
    start
        Where they begin, ``(C, B, L)``.
    settings
        How they run.

    Examples
    --------
    >>> frame = Frame(torch.zeros(1, 2), torch.ones(1, 2))
    >>> settings = ChainSettings(num_samples=5, num_warmup=5, dense=False)
    >>> normal = lambda u: -0.5 * u.square().sum(-1)
    >>> sampler = Sampler(normal, frame, torch.zeros(4, 1, 2), settings)
    >>> sampler.warm_up()
    >>> sampler.draw()[0].shape
    torch.Size([4, 5, 1, 2])
    """

    def __init__(
        self,
        log_density: Callable[[Tensor], Tensor],
        frame: Frame,
        start: Tensor,
        settings: ChainSettings,
    ) -> None:
        self.log_density = log_density
        self.frame = frame
        self.settings = settings
        self.num_gradients = 0
        self.step_size = StepSize(first_step_size(start), settings.target_acceptance)
        self.place = self.at(frame.inside(start))

    def at(self, w: Tensor) -> Placed:
        """Return the place of a position."""
        self.num_gradients += 1
        return placed(lambda w: self.log_density(self.frame.outside(w)), w)

    def warm_up(self) -> None:
        """Find step sizes, and twice the metric, from the draws of all chains of a datum."""
        # First the step size alone, while chains come in from where they start (a sixth), then two
        # windows of draws, each of which ends with a metric made of them. The last third is for the
        # step size in the last metric. Draws of all chains count together, so that windows of some
        # hundred moves suffice; where chains lie in several modes, the metric spans them.
        length, recent = self.settings.num_warmup, []
        for index in range(length):
            self.step_size.update(self.move(self.step_size.current).acceptance.mean(0))
            if index >= length // 6:
                recent.append(self.frame.outside(self.place.position))
            if index in (length // 3, 2 * length // 3) and len(recent) >= 10:
                # without the first quarter, which a worse metric had made
                self.change_frame(torch.cat(recent[len(recent) // 4 :]))
                recent = []

    def change_frame(self, draws: Tensor) -> None:
        # The chains stay where they are in u. Their w, and the gradient by w, are new, and a step
        # size of the old metric is only a start for that of the new one.
        u = self.frame.outside(self.place.position)
        self.frame = self.frame.refit(draws)
        self.place = self.at(self.frame.inside(u))
        self.step_size.restart(self.step_size.averaged)

    def draw(self) -> tuple[Tensor, Tensor, Moved]:
        """Return draws ``(C, S, B, L)``, log-densities and how each was moved to ``(C, S, B)``."""
        step = self.step_size.averaged
        draws, log_p, moves = [], [], []
        for _ in range(self.settings.num_samples):
            moves.append(self.move(step))
            draws.append(self.frame.outside(self.place.position))
            log_p.append(self.place.log_density)
        moved = Moved(*(torch.stack(each, 1) for each in zip(*moves, strict=True)))
        return torch.stack(draws, 1), torch.stack(log_p, 1), moved

    def move(self, step: Tensor) -> Moved:
        """Go along one trajectory with step sizes ``(B,)``."""
        self.place, moved = move(self.at, self.place, step[:, None], self.settings.max_leapfrog)
        return moved


def convergence(result: HMCResult) -> Convergence:
    """Return R-hat and effective sample sizes of each datum.

    They are ArviZ's own, so that they are the numbers that a user finds there; that costs about a
    millisecond for each latent of a datum.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> convergence(hmc(pair, (x,), num_samples=10, num_warmup=20)).r_hat.shape
    torch.Size([3])
    """
    az, draws = import_arviz(), _labelled(result)
    sizes = (az.ess(draws, method=name)["u"].min("latent").values for name in ("bulk", "tail"))
    return Convergence(largest_r_hat(result), *(torch.from_numpy(size.copy()) for size in sizes))


def largest_r_hat(result: HMCResult) -> Tensor:
    """Return R-hat of the worst latent of each datum, ``(B,)``; see :class:`Convergence`.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> largest_r_hat(hmc(pair, (x,), num_samples=10, num_warmup=20)).shape
    torch.Size([3])
    """
    r_hat = import_arviz().rhat(_labelled(result))["u"].max("latent")
    return torch.from_numpy(r_hat.values.copy())


def _labelled(result: HMCResult) -> Any:
    from xarray import Dataset  # which brings pandas

    draws = result.unconstrained.cpu().double().numpy()
    return Dataset({"u": (("chain", "draw", "datum", "latent"), draws)})
