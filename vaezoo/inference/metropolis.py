"""Missing entries of data, filled in with draws from p(x_missing | x_observed).

Two Markov chains, one chain for each datum, that leave that conditional where it is, whatever the
guide is worth; a poor guide makes them slow, not wrong.

Pairs without time: Metropolis within Gibbs (Mattei & Frellsen 2018, arXiv:1802.04826, Algorithm 2).
z* ~ q(z | x) is taken with the probability

    min(1, p(x, z*) q(z | x) / (p(x, z) q(z* | x))),

then x_missing ~ p(x_missing | z).

Sequence pairs: a missing frame changes all states behind it, so that p(x_missing | z) is not what
the likelihood of each step says. Latents and missing entries of a window of frames are proposed
together, along the states that they make,

    z*_t ~ q(z_t | e_t, h*_t),  x*_t,missing ~ p(x_t,missing | z*_t, h*_t),

all other frames stay, and the whole is taken or left (Metropolis & Hastings). The windows
hold a missing frame and are of random place and size, from a frame to the sequence, so that
something is taken also where the proposal of a whole sequence never is.

With ``correct=False`` everything is taken: the pseudo-Gibbs sampler of Rezende et al. 2014
(arXiv:1401.4082, App. F), which is right only as far as the guide is.
"""

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor, nn
from torch.distributions import Independent

from vaezoo.distributions.entries import fill_missing
from vaezoo.distributions.families import elements_of
from vaezoo.errors import RequestError
from vaezoo.observations.missing import with_missing
from vaezoo.observations.roles import by_argument, roles_of
from vaezoo.pairs.accounting import log_weight
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.lengths import aligned, frame_mask
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    argument_names,
    lengths_of,
    sample_sites,
    site_values,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.sequences.sequence_pair import Rollout, SequencePair

__all__ = ["draw_missing"]


@torch.no_grad()
def draw_missing(
    pair: nn.Module,
    args: Args,
    missing: Tensor,
    *,
    num_samples: int,
    burn_in: int = 100,
    correct: bool = True,
) -> tuple[Tensor, float]:
    """Draw the missing entries of a batch.

    Parameters
    ----------
    pair
        Any pair whose sites observe x, each with elements that are independent given the latents;
        those of a frame need not be where all of them are missing.
    args
        A batch, tensors of ``(B, ...)``. The missing entries of x are where the chain starts, and
        have to be values that the pair can explain.
    missing
        Which entries of x are not known, ``(B, *x_shape)``.
    num_samples
        Draws S that are kept.
    burn_in
        Steps before them; the first half takes everything, to come from the start to where the
        data are.
    correct
        Whether proposals can be refused, as they have to for draws from the conditional.

    Returns
    -------
    tuple of Tensor and float
        Draws of x, ``(S, B, *x_shape)``, and the share of proposals that were taken after the
        burn-in.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.randn(6, 4)
    >>> missing = torch.zeros(6, 4, dtype=torch.bool)
    >>> missing[:, 0] = True
    >>> draws, accepted = draw_missing(LinearPair(), (x,), missing, num_samples=3, burn_in=2)
    >>> draws.shape, torch.equal(draws[..., 1:], x[:, 1:].expand(3, 6, 3))
    (torch.Size([3, 6, 4]), True)
    """
    if isinstance(pair, SequencePair) and not pair.inputs:
        step = _PathChain(pair, args, missing).step
    else:
        step = _FlatChain(pair, args, missing).step
    draws, taken = [], 0.0
    for index in range(burn_in + num_samples):
        x, accepted = step(correct and index >= burn_in // 2)
        if index >= burn_in:
            draws.append(x)
            taken += float(accepted.float().mean()) / num_samples
    return torch.stack(draws), taken


class _FlatChain:
    """Metropolis within Gibbs of a pair in which x hears nothing of x: z given x, then x given z.

    Sequences that are not written as one step are such a pair as well, where frames depend on
    each other through the latents alone.
    """

    def __init__(self, pair: nn.Module, args: Args, missing: Tensor) -> None:
        names, length = argument_names(pair), lengths_of(pair, args)
        self.place = names.index("x")
        self.pair, self.args = pair, list(args)
        x = args[self.place]
        frames = None if length is None else aligned(frame_mask(length, x.shape[1]), x)
        self.missing = missing if frames is None else missing & frames
        with probing(pair, missing.device):
            self.roles = roles_of(pair, args)
        self.trace = trace_pair(pair, args)
        self._require_own_latents()
        if length is not None:
            self._require_frames_by_latents()
        # A pair that takes a mask knows what is missing: neither side of it sees what was drawn.
        self.sees_draws = "mask" not in names
        if self.sees_draws:
            self._start_inside()
        else:
            self.args[self.place] = torch.where(self.missing, torch.nan, x)
            self.pair = with_missing(pair, tuple(self.args))
            self.trace = trace_pair(self.pair, tuple(self.args))

    def _require_own_latents(self) -> None:
        """Refuse latents that all data share: a datum cannot take or leave them by itself."""
        if shared := list(self.trace.global_latents):
            raise RequestError(
                f"all data share site '{shared[0]}' of {type(self.pair).__name__}, and a chain for "
                "each datum cannot draw it; `vaezoo.reconstruct(run)` of data with nan needs none"
            )

    def _start_inside(self) -> None:
        """Begin with values that the pair can explain, where 0 is none of them."""
        observed, x = self.trace.observed, self.args[self.place]
        feasible = {
            name: fill_missing(site["fn"], site["value"], torch.zeros_like(site["value"]) > 0)
            for name, site in observed.items()
        }
        start = torch.where(self.missing, self._values(feasible), x)
        if not torch.equal(start, x):
            self.args[self.place] = start
            self.trace = trace_pair(self.pair, tuple(self.args))

    def _require_frames_by_latents(self) -> None:
        """Refuse a model in which a frame is heard by others: p(x_missing | z) is not its own."""
        args, sites = list(self.args), sample_sites(self.trace.model)
        args[self.place] = torch.where(self.missing, self._new(), args[self.place])
        with hold({name: site["value"] for name, (site, _) in self.trace.latents.items()}):
            again = sample_sites(trace_pair(self.pair, tuple(args)).model)
        for name, site in sites.items():
            ours, theirs = (fn.log_prob(site["value"]) for fn in (site["fn"], again[name]["fn"]))
            if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True):
                raise RequestError(
                    f"site '{name}' depends on frames that are missing: in "
                    f"{type(self.pair).__name__} a frame is heard by the next ones, and their "
                    "imputation needs a pair written as one step (vaezoo.SequencePair, as vrnn)"
                )

    def _new(self) -> Tensor:
        """Draw x of all entries, given the latents."""
        observed = self.trace.observed
        whole = self.missing.flatten(2) if self.missing.dim() > 2 else self.missing
        no_part = takes_lengths(self.pair) and bool((whole.any(-1) == whole.all(-1)).all())
        draws = {}
        for name, site in observed.items():
            _elements(_unmasked(site["fn"]), no_part and step_of(name) is not None)
            draws[name] = site["fn"].sample()
        return self._values(draws)

    def _values(self, sites: dict[str, Tensor]) -> Tensor:
        """Return values of observed sites as those of x."""
        x = self.args[self.place]
        typed = {name: value.to(x.dtype) for name, value in sites.items()}
        named = dict(zip(argument_names(self.pair), self.args, strict=True))
        values = by_argument(self.roles, site_values(self.pair, typed), named)
        if "x" not in values:
            names = ", ".join(sites)
            raise RequestError(f"the model has no site that observes x; its sites: {names}")
        return values["x"]

    def step(self, correct: bool) -> tuple[Tensor, Tensor]:
        """Return x ``(B, *x_shape)`` after a step, and which latents were taken, ``(B,)``."""
        args = tuple(self.args)
        kept = self._at({name: site["value"] for name, (site, _) in self.trace.latents.items()})
        new = trace_pair(self.pair, args)
        ratio = log_weight(new) - log_weight(kept)
        accepted = torch.rand_like(ratio).log() < ratio if correct else ratio > -torch.inf
        self.trace = self._at(
            {
                name: torch.where(aligned(accepted, site["value"]), site["value"], old["value"])
                for (name, (site, _)), (old, _) in zip(
                    new.latents.items(), kept.latents.values(), strict=True
                )
            }
        )
        x = torch.where(self.missing, self._new(), self.args[self.place])
        if self.sees_draws:
            self.args[self.place] = x
        return x, accepted

    def _at(self, latents: dict[str, Tensor]) -> PairTrace:
        with hold(latents):
            return trace_pair(self.pair, tuple(self.args))


def _unmasked(fn: Any) -> Any:
    """Return the distribution of the elements under masks and ``to_event``, in any order."""
    while isinstance(fn, Independent | MaskedDistribution):
        fn = fn.base_dist
    return fn


def _elements(fn: Any, whole: bool = False) -> Any:
    """Return the distribution of the elements of x, which have to be independent.

    Where whole frames are missing, and no parts of one, a joint distribution is taken as it is.
    """
    base = elements_of(fn)
    if not base.event_shape:
        return base
    if whole:
        return fn
    raise RequestError(
        f"the elements of x are not independent given z ({type(base).__name__}): parts of a frame "
        "or of a datum cannot be drawn by themselves"
    )


@dataclass(frozen=True)
class _Passed:
    """A pass along time: frames, latents, log p(x, z), and the log-density of what it proposed."""

    x: Tensor
    z: Tensor
    log_p: Tensor
    log_proposal: Tensor


class _PathChain:
    """Windows of latents and missing entries of a sequence pair, taken or left together."""

    def __init__(self, pair: SequencePair, args: Args, missing: Tensor) -> None:
        self.pair = pair
        self.x, self.length = args
        self.mask = frame_mask(self.length, self.x.shape[1])
        self.missing = missing & aligned(self.mask, self.x)
        entries = self.missing.flatten(2)
        self.whole = bool((entries.any(2) == entries.all(2)).all())
        incomplete = entries.any(2).float()
        self.chosen = torch.where(incomplete.any(1, keepdim=True), incomplete, self.mask.float())
        self.z = self._first_latents()

    def _first_latents(self) -> Tensor:
        whole = torch.ones_like(self.mask)
        blank = self.x.new_zeros(*self.x.shape[:2], 0)
        return self._pass(self.x, blank, self.pair.encode(self.x, self.length), whole, draw=True).z

    def step(self, correct: bool) -> tuple[Tensor, Tensor]:
        """Return x ``(B, T, *x_shape)`` after a step, and which windows were taken, ``(B,)``."""
        window = self._window()
        e = self.pair.encode(self.x, self.length)
        new = self._pass(self.x, self.z, e, window, draw=True)
        # The way back is proposed by a guide that sees the new frames.
        e = self.pair.encode(new.x, self.length)
        back = self._pass(self.x, self.z, e, window, draw=False)
        ratio = new.log_p - back.log_p + back.log_proposal - new.log_proposal
        accepted = torch.rand_like(ratio).log() < ratio if correct else ratio > -torch.inf
        self.x = torch.where(aligned(accepted, self.x), new.x, self.x)
        self.z = torch.where(aligned(accepted, self.z), new.z, self.z)
        return self.x, accepted

    def _window(self) -> Tensor:
        """Frames ``(B, T)`` to draw anew: 1, 2, 4, ... of them or all, one a missing one."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        most = self.length.unsqueeze(-1).float().log2().ceil()
        size = 2 ** (torch.rand_like(most) * (most + 1)).long()
        frame = torch.multinomial(self.chosen, 1)
        start = frame - (torch.rand_like(most) * size).long()
        return (steps >= start) & (steps < start + size)

    def _pass(self, x: Tensor, z: Tensor, e: Tensor, window: Tensor, *, draw: bool) -> _Passed:
        """Go along the states; with ``draw``, make the frames of the window anew."""
        rollout = Rollout(self.pair, self.pair.initial(x))
        frames, latents = [], []
        log_p = log_proposal = x.new_zeros(len(x))
        for t in range(x.shape[1]):
            prior, posterior = rollout.latent("prior"), rollout.latent("posterior", e[:, t])
            z_t = _renewed(z[:, t], posterior, window[:, t]) if draw else z[:, t]
            likelihood = _elements(rollout.likelihood(z_t), self.whole)
            new = self.missing[:, t] & aligned(window[:, t], x[:, t])
            x_t = torch.where(new, likelihood.sample(), x[:, t]) if draw else x[:, t]
            log_x = likelihood.log_prob(x_t).reshape(len(x), -1)
            of_step = prior.log_prob(z_t) + log_x.sum(1)
            of_proposal = torch.where(window[:, t], posterior.log_prob(z_t), 0.0)
            of_proposal = of_proposal + torch.where(_of_elements(new, log_x), log_x, 0.0).sum(1)
            log_p = log_p + torch.where(self.mask[:, t], of_step, 0.0)
            log_proposal = log_proposal + torch.where(self.mask[:, t], of_proposal, 0.0)
            frames.append(x_t)
            latents.append(z_t)
            rollout.advance(z_t, self.pair.embed(x_t))
        return _Passed(torch.stack(frames, 1), torch.stack(latents, 1), log_p, log_proposal)


def _renewed(z: Tensor, posterior: Any, inside: Tensor) -> Tensor:
    """Return the latents of a step, those ``inside`` the window drawn anew; all at first."""
    new: Tensor = posterior.sample()
    return torch.where(aligned(inside, new), new, z) if z.numel() else new


def _of_elements(new: Tensor, log_x: Tensor) -> Tensor:
    """Return which densities ``(B, D)`` are of new entries; of a joint density, whole frames."""
    entries = new.flatten(1)
    return entries if log_x.shape[1] > 1 else entries[:, :1]
