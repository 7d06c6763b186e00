"""Two chains that draw missing entries of data, with the guide as proposal.

Each is one chain for each datum and leaves p(x_missing | x_observed) where it is, whatever the
guide is worth; a poor guide makes them slow, not wrong.

Pairs without time: Metropolis within Gibbs (Mattei & Frellsen 2018, arXiv:1802.04826, Algorithm 2).
z* ~ q(z | x) is taken with the probability

    min(1, p(x, z*) q(z | x) / (p(x, z) q(z* | x))),

then x_missing ~ p(x_missing | z). Where few are taken, moves of z by a difference of two draws of
the guide lie between.

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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor, nn
from torch.distributions import Independent, constraints

from vaezoo.distributions.entries import fill_missing
from vaezoo.distributions.families import elements_of, support_of
from vaezoo.errors import RequestError
from vaezoo.observations.missing import with_missing
from vaezoo.observations.roles import Observation, by_argument, roles_of
from vaezoo.pairs.accounting import log_joint, log_weight
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

__all__ = ["DependentError", "FlatChain", "PathChain"]

TAKEN = 0.3


class DependentError(RequestError):
    """A proposal draws what is missing by parts that depend on each other."""


class FlatChain:
    """Metropolis within Gibbs of a pair in which data hear nothing of data: z given x, x given z.

    Sequences that are not written as one step are such a pair as well, where frames depend on
    each other through the latents alone.
    """

    def __init__(self, pair: nn.Module, args: Args, missing: Mapping[str, Tensor]) -> None:
        names = argument_names(pair)
        self.pair = pair
        self.args = dict(zip(names, args, strict=True))
        self.missing = self._before_ends(missing)
        with probing(pair, args[0].device):
            self.roles = roles_of(pair, args)
        self._require_sites()
        self.trace = trace_pair(pair, args)
        self._require_own_latents()
        if takes_lengths(pair):
            self._require_frames_by_latents()
        self._start_inside()
        self.scale: Tensor | None = None
        # A pair that takes a mask knows what is missing: neither side of it sees what was drawn.
        reals = [name for name in self.missing if self.args[name].is_floating_point()]
        self.unseen = reals if "mask" in names else []
        if self.unseen:
            for name in self.unseen:
                self.args[name] = torch.where(self.missing[name], torch.nan, self.args[name])
            self.pair = with_missing(pair, self._batch)
            self.trace = trace_pair(self.pair, self._batch)

    @property
    def _batch(self) -> Args:
        return tuple(self.args.values())

    def _before_ends(self, missing: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what is missing of the frames of sequences, and not of their padding."""
        length = lengths_of(self.pair, self._batch)
        if length is None:
            return dict(missing)
        frames = frame_mask(length, self.args["x"].shape[1])
        return {
            name: where & aligned(frames, where) if self._is_in_time(name) else where
            for name, where in missing.items()
        }

    def _is_in_time(self, name: str) -> bool:
        x = self.args["x"]
        return takes_lengths(self.pair) and self.args[name].shape[1:2] == x.shape[1:2]

    def _require_sites(self) -> None:
        for name in self.missing:
            if name not in self.roles.data:
                sites = ", ".join(self.roles.observed)
                raise RequestError(
                    f"the model has no site that observes {name}; its sites: {sites}"
                )
            self._require_entries(name)

    def _require_entries(self, name: str) -> None:
        """Refuse missing entries of the part of an argument that no site takes."""
        places = [at.elements for at in self.roles.observed.values() if at and at.argument == name]
        taken = [elements for elements in places if elements is not None]
        if len(taken) < len(places):
            return
        where = self.missing[name]
        units = where.reshape(-1, where.shape[1 + self._is_in_time(name) :].numel())
        if bool(units.index_fill(1, torch.cat(taken).to(units.device), False).any()):
            raise RequestError(
                f"no site of the model observes all entries of {name} that are missing"
            )

    def _require_own_latents(self) -> None:
        """Refuse latents that all data share: a datum cannot take or leave them by itself."""
        if shared := list(self.trace.global_latents):
            raise RequestError(
                f"all data share site '{shared[0]}' of {type(self.pair).__name__}, and a chain for "
                "each datum cannot draw it; `vaezoo.reconstruct(run)` of data with nan needs none"
            )

    def _start_inside(self) -> None:
        """Begin with values that the pair can explain, where 0 is none of them."""
        feasible = {
            name: fill_missing(site["fn"], site["value"], torch.zeros_like(site["value"]) > 0)
            for name, site in self.trace.observed.items()
        }
        start = self._filled(self._values(feasible))
        if any(not torch.equal(start[name], self.args[name]) for name in start):
            self.args |= start
            self.trace = trace_pair(self.pair, self._batch)

    def _require_frames_by_latents(self) -> None:
        """Refuse a model in which a frame is heard by others: p(x_missing | z) is not its own."""
        others = {**self.args, **self._filled(self._new())}
        sites = sample_sites(self.trace.model)
        with hold({name: site["value"] for name, (site, _) in self.trace.latents.items()}):
            again = sample_sites(trace_pair(self.pair, tuple(others.values())).model)
        for name, site in sites.items():
            ours, theirs = (fn.log_prob(site["value"]) for fn in (site["fn"], again[name]["fn"]))
            if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True):
                raise DependentError(
                    f"site '{name}' depends on frames that are missing: in "
                    f"{type(self.pair).__name__} a frame is heard by the next ones, and their "
                    "imputation needs a pair written as one step (vaezoo.SequencePair, as vrnn)"
                )

    def _filled(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return arguments with new values where they are missing."""
        return {
            name: torch.where(where, values[name], self.args[name])
            for name, where in self.missing.items()
        }

    def _new(self) -> dict[str, Tensor]:
        """Draw all entries of what has missing ones, given the latents."""
        draws = {}
        for name, site in self.trace.observed.items():
            step = step_of(name) if takes_lengths(self.pair) else None
            taken = self.roles.observed[step[0] if step else name]
            if taken is not None and taken.argument in self.missing:
                whole = self._is_whole(taken, step is not None)
                _elements(_unmasked(site["fn"]), whole, taken.argument)
            draws[name] = site["fn"].sample()
        return self._values(draws)

    def _is_whole(self, taken: Observation, of_frames: bool) -> bool:
        """Return whether what a site takes of a datum, or of a frame, is missing as a whole."""
        where = self.missing[taken.argument]
        by_unit = where.reshape(*where.shape[: 1 + of_frames], -1)
        if taken.elements is not None:
            by_unit = by_unit.index_select(-1, taken.elements.to(where.device))
        return bool((by_unit.any(-1) == by_unit.all(-1)).all())

    def _values(self, sites: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return values of observed sites as those of the arguments that have missing entries."""
        values = by_argument(self.roles, site_values(self.pair, sites), self.args)
        return {name: values[name].to(self.args[name].dtype) for name in self.missing}

    def step(self, correct: bool) -> tuple[dict[str, Tensor], Tensor]:
        """Return arguments ``(B, ...)`` after a step, and which latents were taken, ``(B,)``."""
        kept = self._at({name: site["value"] for name, (site, _) in self.trace.latents.items()})
        new = trace_pair(self.pair, self._batch)
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
        values = self._filled(self._new())
        self.args |= {name: value for name, value in values.items() if name not in self.unseen}
        return values, accepted

    def move(self, *, adapt: bool) -> Tensor:
        """Move the latents by a difference of two draws of the guide, where all are real numbers.

        It is as likely as its opposite, wherever the latents are (ter Braak 2006), so that a guide
        that is elsewhere still says how far to go; with ``adapt``, so far that 30 % are taken.
        Returns which were, ``(B,)``.
        """
        kept, first, second = (
            {name: site["value"] for name, (site, _) in trace.latents.items()}
            for trace in (self.trace, *(trace_pair(self.pair, self._batch) for _ in range(2)))
        )
        fns = [site["fn"] for site, _ in self.trace.latents.values()]
        if any(support_of(fn) is not constraints.real for fn in fns):
            return torch.zeros(len(self._batch[0]), dtype=torch.bool, device=self._batch[0].device)
        if self.scale is None:
            self.scale = torch.ones(len(self._batch[0]), device=self._batch[0].device)
        moved = {
            name: z + aligned(self.scale, z) * (first[name] - second[name])
            for name, z in kept.items()
        }
        ratio = log_joint(self._at(moved).model) - log_joint(self._at(kept).model)
        accepted = torch.rand_like(ratio).log() < ratio
        if adapt:
            self.scale = self.scale * (0.3 * (accepted.to(self.scale.dtype) - TAKEN)).exp()
        self.trace = self._at(
            {name: torch.where(aligned(accepted, z), moved[name], z) for name, z in kept.items()}
        )
        return accepted

    def _at(self, latents: dict[str, Tensor]) -> PairTrace:
        with hold(latents):
            return trace_pair(self.pair, self._batch)


def _unmasked(fn: Any) -> Any:
    """Return the distribution of the elements under masks and ``to_event``, in any order."""
    while isinstance(fn, Independent | MaskedDistribution):
        fn = fn.base_dist
    return fn


def _elements(fn: Any, whole: bool = False, name: str = "x") -> Any:
    """Return the distribution of the elements of an argument, which have to be independent.

    Where whole frames or data are missing, and no parts of one, a joint one is taken as it is.
    """
    base = elements_of(fn)
    if not base.event_shape:
        return base
    if whole:
        return fn
    raise DependentError(
        f"the elements of {name} are not independent given z ({type(base).__name__}): parts of a "
        "frame or of a datum cannot be drawn by themselves"
    )


@dataclass(frozen=True)
class _Passed:
    """A pass along time: frames, latents, log p(x, z), and the log-density of what it proposed."""

    x: Tensor
    z: Tensor
    log_p: Tensor
    log_proposal: Tensor


class PathChain:
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

    def step(self, correct: bool) -> tuple[dict[str, Tensor], Tensor]:
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
        return {"x": self.x}, accepted

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
