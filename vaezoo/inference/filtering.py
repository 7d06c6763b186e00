"""Particle filters for sequences: log p(x), filtered latents, and free-running prediction.

Three questions about the frames of a sequence have different answers:

========================  =====================================  ===================================
name                      estimates                              draws of z_t
========================  =====================================  ===================================
filtering (FIVO)          sum_t log p(x_t | x_1 ... x_{t-1})     the guide's, which sees x_t
predictive                the same number                        the prior's, before x_t is seen
free-running              sum_t log p(x_t | x_1 ... x_s), t > s  the prior's, and x_t is fed back
========================  =====================================  ===================================

The first two are two proposals for one number, log p(x); each bounds it from below in expectation.
In the third the model is left alone after the first s frames, and each later frame is judged by
itself. Whole paths, and states at the end, are drawn by a filter that no guide can spoil.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.importance import pareto_smooth, systematic
from vaezoo.pairs.lengths import fill_padding, frame_mask, with_frames
from vaezoo.pairs.pieces import MOST_ROWS, join, rows_at_once, split_rows
from vaezoo.pairs.sites import Args, argument_names, lengths_of
from vaezoo.sequences.backward import Passed, simulate_backward
from vaezoo.sequences.particles import Proposal, RolledOut, require_sequences, steps_of
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["Filtered", "draw_paths", "filtered_states", "free_running", "particle_filter"]


@dataclass(frozen=True)
class Filtered:
    """What a particle filter with K particles found; NaN behind the length of a sequence.

    Attributes
    ----------
    log_evidence
        log Z, ``(B,)``, in nats: Z estimates p(x) without bias, so that log Z is a lower bound on
        log p(x) in expectation.
    log_predictive
        Its parts log p(x_t | x_1 ... x_{t-1}), ``(B, T)``.
    ess
        Effective sample size 1 / sum_k w_k^2 of the normalised weights after a frame and before
        resampling, ``(B, T)``, between 1 and K.
    mean, sd
        Moments of z_t given x_1 ... x_t, each ``(B, T, z_dim)``.
    paths, log_weights
        Whole paths, traced through their ancestors, ``(B, K, T, z_dim)``, and their normalised log
        weights ``(B, K)``: weighted draws from p(z | x). Early steps have few distinct values.
        ``paths`` is None unless asked for. Without latents all particles are one.
    k_hat
        Shape of the tail of the weights that ``ess`` is of, ``(B, T)``; None unless asked for.
        See :class:`vaezoo.inference.importance.Smoothed`.
    """

    log_evidence: Tensor
    log_predictive: Tensor
    ess: Tensor
    mean: Tensor
    sd: Tensor
    log_weights: Tensor
    paths: Tensor | None = None
    k_hat: Tensor | None = None


@torch.no_grad()
def particle_filter(
    pair: nn.Module,
    args: Args,
    num_particles: int,
    *,
    threshold: float = 0.5,
    proposal: Proposal = "posterior",
    keep_paths: bool = False,
    keep_k_hat: bool = False,
    max_rows: int = MOST_ROWS,
) -> Filtered:
    """Run a particle filter over each sequence of a batch.

    Parameters
    ----------
    pair
        A :class:`vaezoo.sequences.SequencePair`, or any pair with sites of each step, ``z_0``; the
        latter is run anew for each step.
    args
        Its arguments: sequences ``x (B, T, *x_shape)``, lengths ``(B,)``, and others.
    num_particles
        Particles K for each sequence; with one there is no resampling, and log Z is a draw of the
        ELBO.
    threshold
        A sequence is resampled where its effective sample size is below this share of K: 0 is
        never, which gives the importance-weighted bound; 1 is at every frame.
    proposal
        ``posterior``, the guide: log Z is the bound FIVO (Maddison et al. 2017, arXiv:1705.09279,
        alg. 1; Le et al. 2018, arXiv:1705.10306). ``prior``: the bootstrap filter. ``mixture``: one
        of both at random, with the weights of their mixture, which a guide that is too narrow or
        elsewhere cannot spoil (Hesterberg 1995); of a pair that is written as one step.
    keep_paths
        Whether whole paths are returned.
    keep_k_hat
        Whether the tail of the weights is fitted at every frame.
    max_rows
        Most rows that go through the pair at a time, unless one sequence alone has more.

    Raises
    ------
    RequestError
        When the pair has no sites of each step, or a number is out of range.

    Notes
    -----
    Resampling is systematic. The weights after a frame are those of z_1 ... z_t given x_1 ... x_t.
    A guide that reads ahead is close to a later target, and resampling by the present one can then
    cost more than it gains; FIVO may lie below the importance-weighted bound.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> args = torch.zeros(3, 6, 2), torch.tensor([6, 2, 4])
    >>> filtered = particle_filter(VRNN(x_shape=(2,), z_dim=4), args, 20)
    >>> filtered.log_evidence.shape, filtered.mean.shape
    (torch.Size([3]), torch.Size([3, 6, 4]))
    >>> filtered.log_predictive[1].isnan().tolist()  # behind the end of the second sequence
    [False, False, True, True, True, True]
    """
    require_sequences(pair, "a particle filter")
    if num_particles < 1:
        raise RequestError(f"a particle filter takes 1 particle or more, got {num_particles}")
    if not 0 <= threshold <= 1:
        raise RequestError(f"threshold is a share of the particles, 0 ... 1, got {threshold}")
    parts = []
    number = num_particles if getattr(pair, "has_latents", True) else 1
    for some in split_rows(args, rows_at_once(num_particles, most=max_rows)):
        swarm = _Swarm(pair, some, number)
        filtered, draws, ancestors = swarm.filter(proposal, threshold, keep_k_hat)
        if keep_paths:
            paths = swarm.by_frame(_traced(draws, ancestors)).transpose(1, 2)
            filtered = replace(filtered, paths=paths)
        parts.append(replace(filtered, ess=filtered.ess * (num_particles / swarm.size[1])))
    return join(parts)


@torch.no_grad()
def draw_paths(
    pair: SequencePair, args: Args, num_particles: int, num_paths: int, *, max_rows: int = MOST_ROWS
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw paths from p(z | x): by a filter whose proposals are half the guide's, half the prior's.

    Parameters
    ----------
    pair
        A sequence pair with latents.
    args
        Sequences ``x (B, T, *x_shape)``, lengths ``(B,)``, and others.
    num_particles
        Particles K of the filter.
    num_paths
        Paths R of each sequence; see :mod:`vaezoo.sequences.backward`.
    max_rows
        As for :func:`particle_filter`.

    Returns
    -------
    tuple
        log p(x) by the filter, ``(B,)``, in nats; equally weighted paths, ``(R, B, T, z_dim)``; and
        which particle of its frame each latent is, ``(R, B, T)``. NaN behind the length.

    Examples
    --------
    >>> from vaezoo.models.lgssm import LGSSM
    >>> args = torch.zeros(3, 6, 2), torch.tensor([6, 2, 4])
    >>> draw_paths(LGSSM(x_shape=(2,)), args, 100, 20)[1].shape
    torch.Size([20, 3, 6, 4])
    """
    parts = []
    for some in split_rows(args, rows_at_once(num_particles, most=max_rows)):
        swarm = _Swarm(pair, some, num_particles)
        log_evidence, frames = _leave_behind(swarm)
        traced = simulate_backward(pair, some, frames, num_paths)
        both = (swarm.by_frame(v.unbind(2)) for v in (traced.paths, traced.places.double()))
        parts.append((log_evidence, *both))
    log_evidence, paths, places = join(parts)
    return log_evidence, paths.permute(2, 0, 1, 3), places.permute(2, 0, 1)


@torch.no_grad()
def filtered_states(
    pair: SequencePair, args: Args, num_particles: int, num_draws: int, *, max_rows: int = MOST_ROWS
) -> Tensor:
    """Draw the states after the last frame of each sequence, given all of its frames.

    Parameters
    ----------
    pair, args, num_particles, max_rows
        As for :func:`draw_paths`.
    num_draws
        Draws S of each sequence.

    Returns
    -------
    Tensor
        ``(B, S, H)``.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> args = torch.zeros(3, 6, 2), torch.tensor([6, 2, 4])
    >>> filtered_states(VRNN(x_shape=(2,), hidden=8, z_dim=4), args, 100, 20).shape
    torch.Size([3, 20, 8])
    """
    pieces = split_rows(args, rows_at_once(num_particles, most=max_rows))
    return torch.cat(
        [_last_states(_Swarm(pair, some, num_particles), num_draws) for some in pieces]
    )


@torch.no_grad()
def free_running(
    pair: nn.Module, args: Args, num_particles: int, *, prefix: int, max_rows: int = MOST_ROWS
) -> Tensor:
    """Return how well a model that runs by itself predicts each frame after the first ones.

    Frames up to ``prefix`` are filtered. From there on each particle draws z_t from the prior and
    its own x_t, which is what its next state sees; the true frame is scored by
    log sum_k w_k p(x_t | z_t^k, h_t^k), an estimate of log p(x_t | x_1 ... x_s) with s the prefix,
    too low in expectation, the less so the more particles; w are the weights that the prefix left.
    Each frame is judged by itself: the sum over frames is no joint density. The guide sees the
    prefix only.

    Parameters
    ----------
    pair, args, num_particles, max_rows
        As for :func:`particle_filter`.
    prefix
        Number of frames that are given, s; with 0 the model starts from nothing.

    Returns
    -------
    Tensor
        ``(B, T)``, in nats; NaN for frames that are given, and behind ``length``.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> args = torch.zeros(1, 6, 2), torch.tensor([5])
    >>> free_running(VRNN(x_shape=(2,), z_dim=4), args, 20, prefix=2).isnan().tolist()
    [[True, True, False, False, False, True]]
    """
    require_sequences(pair, "free-running prediction")
    if num_particles < 1 or prefix < 0:
        raise RequestError("free-running prediction takes 1 particle or more and a prefix >= 0")
    parts = []
    for some in split_rows(args, rows_at_once(num_particles, most=max_rows)):
        swarm = _Swarm(pair, some, num_particles, given=prefix)
        parts.append(swarm.run_freely(prefix))
    return torch.cat(parts)


class _Swarm:
    """K particles for each of B sequences: rows ordered by sequence, ``(B * K, ...)``.

    ``log_w (B, K)`` is normalised over the particles.
    """

    def __init__(
        self, pair: nn.Module, args: Args, num_particles: int, *, given: int | None = None
    ) -> None:
        length = lengths_of(pair, args)
        assert length is not None  # its data are sequences
        self.x, self.length = args[argument_names(pair).index("x")], length
        self.size = torch.Size((len(self.x), num_particles))
        self.num_steps = int(length.max())
        if given is not None:
            given = min(given, self.num_steps)
        self.steps = steps_of(pair, args, num_particles, given=given)
        x = self.x
        dtype = torch.float32 if x.device.type == "mps" else torch.float64  # mps has no float64
        self.uniform = torch.full((), -math.log(num_particles), dtype=dtype, device=x.device)
        self.log_w = self.uniform.expand(self.size)

    def filter(
        self, side: Proposal, threshold: float, keep_k_hat: bool
    ) -> tuple[Filtered, list[Tensor], list[Tensor]]:
        """Run through all frames; also returns the draws and the ancestors of every step."""
        statistics, draws, ancestors, tails = [], [], [], []
        for t in range(self.num_steps):
            z, log_predictive = self.observe(t, side)
            statistics.append((log_predictive, self.ess(), *self.moments(z)))
            draws.append(z.unflatten(0, self.size))
            if keep_k_hat:
                tails.append(pareto_smooth(self.log_w.T).k_hat.to(self.log_w))
            ancestors.append(self.resample(t, threshold))
        log_p, ess, mean, sd = (self.by_frame(values) for values in zip(*statistics, strict=True))
        log_evidence = torch.where(frame_mask(self.length, self.x.shape[1]), log_p, 0.0).sum(1)
        k_hat = self.by_frame(tails) if keep_k_hat else None
        filtered = Filtered(log_evidence, log_p, ess, mean, sd, self.log_w, k_hat=k_hat)
        return filtered, draws, ancestors

    def run_freely(self, prefix: int) -> Tensor:
        """Filter the first frames, and score those that follow, ``(B, T)``."""
        prefix = min(prefix, self.num_steps)
        for t in range(prefix):
            self.observe(t, "posterior")
            self.resample(t, threshold=0.5)
        scores = [self.log_w.new_full(self.size[:1], math.nan)] * prefix
        for t in range(prefix, self.num_steps):
            log_p = self.by_particle(self.steps.predict(t))
            scores.append((self.log_w + log_p).logsumexp(1))
        return self.by_frame(scores)

    def observe(self, t: int, side: Proposal) -> tuple[Tensor, Tensor]:
        """Draw z_t, weigh it by x_t, move on; return it and log p(x_t | x_1 ... x_{t-1})."""
        z, log_weight = self.steps.propose(t, side)
        log_w = self.log_w + self.by_particle(log_weight)
        total = log_w.logsumexp(1)
        alive = (t < self.length).unsqueeze(1)
        # Where no particle can explain x_t, p(x) is estimated as zero, and the filter begins anew.
        log_w = torch.where(total.unsqueeze(1) == -math.inf, self.uniform, log_w)
        self.log_w = torch.where(alive, log_w.log_softmax(1), self.log_w)
        return z, total

    def ess(self) -> Tensor:
        """1 / sum_k w_k^2, ``(B,)``."""
        return (-(2 * self.log_w).logsumexp(1)).exp()

    def moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of z_t, each ``(B, z_dim)``."""
        w = self.log_w.exp().unsqueeze(-1)
        z = z.unflatten(0, self.size)
        mean = (w * z).sum(1)
        return mean, (w * (z - mean.unsqueeze(1)).square()).sum(1).sqrt()

    def resample(self, t: int, threshold: float) -> Tensor:
        """Give sequences with few effective particles new ones; return ancestors ``(B, K)``."""
        num_particles = self.size[1]
        needed = (self.ess() < threshold * num_particles) & (t + 1 < self.length)
        device = self.length.device
        same = torch.arange(num_particles, device=device).expand(self.size)
        if not bool(needed.any()):
            return same
        ancestors = torch.where(
            needed.unsqueeze(1), systematic(self.log_w.T, num_particles).T, same
        )
        first = num_particles * torch.arange(self.size[0], device=device)
        self.steps.select((first.unsqueeze(1) + ancestors).flatten())
        self.log_w = torch.where(needed.unsqueeze(1), self.uniform, self.log_w)
        return ancestors

    def by_particle(self, rows: Tensor) -> Tensor:
        """``(B * K,)`` to ``(B, K)``."""
        return rows.unflatten(0, self.size)

    def by_frame(self, steps: Sequence[Tensor]) -> Tensor:
        """Join steps ``(B, ...)`` to ``(B, T, ...)``, NaN behind the length."""
        joined = with_frames(torch.stack(list(steps), 1), self.x.shape[1])
        return fill_padding(joined, self.length, math.nan)


def _traced(draws: Sequence[Tensor], ancestors: Sequence[Tensor]) -> list[Tensor]:
    """Follow the last particles back through their ancestors, steps of ``(B, K, z_dim)``."""
    chosen = ancestors[-1]  # nobody is resampled after the last frame
    path = []
    for z, parents in zip(reversed(draws), [*reversed(ancestors[:-1]), chosen], strict=True):
        path.append(z.gather(1, chosen.unsqueeze(-1).expand_as(z)))
        chosen = parents.gather(1, chosen)
    return path[::-1]


def _leave_behind(swarm: _Swarm) -> tuple[Tensor, list[Passed]]:
    """Run through all frames; return log p(x) ``(B,)`` and the particles of each frame."""
    assert isinstance(swarm.steps, RolledOut)  # it has states
    frames, total = [], torch.zeros_like(swarm.log_w[:, 0])
    for t in range(swarm.num_steps):
        z, log_predictive = swarm.observe(t, "mixture")
        total = total + torch.where(t < swarm.length, log_predictive, 0.0)
        h, log_w = swarm.by_particle(swarm.steps.rollout.h), swarm.log_w
        frames.append(Passed(swarm.by_particle(z), h, log_w, swarm.resample(t, 0.5)))
    return total, frames


def _last_states(swarm: _Swarm, number: int) -> Tensor:
    """Run through all frames; return draws of the states behind them, ``(B, S, H)``."""
    assert isinstance(swarm.steps, RolledOut)  # it has states
    last = swarm.by_particle(swarm.steps.rollout.h)
    for t in range(swarm.num_steps):
        swarm.observe(t, "mixture")
        ended = (t >= swarm.length)[:, None, None]
        # Those that have ended are not resampled any more: weights stay with their states.
        last = torch.where(ended, last, swarm.by_particle(swarm.steps.rollout.h))
        swarm.resample(t, 0.5)
    chosen = systematic(swarm.log_w.T, number).T
    return last.gather(1, chosen.unsqueeze(-1).expand(-1, -1, last.shape[-1]))
