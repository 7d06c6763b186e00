"""Particles that go through the steps of sequences, of a pair in whatever form it is written.

A filter needs three things of a pair at each step: latents from a proposal and their weight, the
score of a frame that the model predicts by itself, and that some particles go on in the place of
others. :class:`RolledOut` asks the conditionals of a :class:`SequencePair`. :class:`Conditioned`
asks any pair whose sites are numbered by their step, ``z_3``, or that has one site for all frames,
by holding what was drawn before:

    log w_t = log p(x_t, z_t | z_{<t}, x_{<t}) - log q(z_t | z_{<t}, x)

of the sites of step t, or of frame t of a path; a latent of the whole sequence is one of the first
step.
"""

import math
from collections.abc import Mapping
from typing import Literal, Protocol

import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.observations.roles import Roles, by_argument, roles_of
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.lengths import aligned
from vaezoo.pairs.particles import probing
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    argument_names,
    guide_of,
    lengths_of,
    model_of,
    repeat_rows,
    sample_sites,
    site_values,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.sequences.conditioning import along_time
from vaezoo.sequences.frames import continue_paths, density_of_frame, lengthened, time_of
from vaezoo.sequences.inputs import by_frame
from vaezoo.sequences.sequence_pair import Rollout, SequencePair

__all__ = ["Proposal", "RolledOut", "Steps", "require_sequences", "steps_of"]

ROWS_OF_TRIAL = 4

Proposal = Literal["prior", "posterior", "mixture"]


class Steps(Protocol):
    """Rows ``(B * K, ...)`` that go through the steps of B sequences, K for each."""

    def propose(self, t: int, side: Proposal) -> tuple[Tensor, Tensor]:
        """Draw z_t ``(B * K, L)``, hear x_t; return z_t and its log weight ``(B * K,)``."""
        ...

    def predict(self, t: int) -> Tensor:
        """Draw z_t and x_t of the model by itself; return log p of the true x_t, ``(B * K,)``."""
        ...

    def select(self, rows: Tensor) -> None:
        """Go on with these rows, ``(B * K,)``."""
        ...


def require_sequences(pair: nn.Module, what: str) -> None:
    """Refuse a pair whose data have no time.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> require_sequences(LinearPair(), "a particle filter")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vaezoo.errors.RequestError: a particle filter needs sequences, ...
    """
    if not takes_lengths(pair):
        raise RequestError(
            f"{what} needs sequences, and {type(pair).__name__} takes no argument 'length'"
        )


def steps_of(pair: nn.Module, args: Args, number: int, *, given: int | None = None) -> Steps:
    """Return rows before their first step.

    Parameters
    ----------
    pair
        Any pair of sequences.
    args
        Its arguments ``(B, ...)``.
    number
        Particles K of each sequence.
    given
        Frames that the guide sees; all by default.

    Raises
    ------
    RequestError
        When a site is not of one step, or a step depends on later ones.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> args = torch.zeros(3, 6, 2), torch.tensor([6, 2, 4])
    >>> steps = steps_of(VRNN(x_shape=(2,), z_dim=4), args, 5)
    >>> [value.shape for value in steps.propose(0, "posterior")]
    [torch.Size([15, 4]), torch.Size([15])]
    """
    if isinstance(pair, SequencePair):
        return RolledOut(pair, args, number, given)
    return Conditioned(pair, args, number, given)


class RolledOut:
    """Rows of a pair that is written as one step."""

    def __init__(self, pair: SequencePair, args: Args, number: int, given: int | None) -> None:
        self.pair, self.number = pair, number
        self.x, length, *inputs = args
        named = pair.name_inputs(inputs)
        self.inputs = by_frame(named, self.x.shape[1])
        self.rollout = Rollout(pair, self.repeat(pair.first_state(self.x, named)))
        self.e: Tensor | None = None
        if given is None:
            self.e = pair.encode_sequence(self.x, length, named)
        elif given:
            first = {
                name: value[:, :given] if value.shape[1:2] == self.x.shape[1:2] else value
                for name, value in named.items()
            }
            self.e = pair.encode_sequence(self.x[:, :given], length.clamp(max=given), first)

    def propose(self, t: int, side: Proposal) -> tuple[Tensor, Tensor]:
        self._begin(t)
        prior = self.rollout.latent("prior")
        if side == "prior":
            z, log_ratio = prior.sample(), self.rollout.h.new_zeros(())
        else:
            assert self.e is not None  # frames that are proposed for are given
            posterior = self.rollout.latent("posterior", self.repeat(self.e[:, t]))
            z = posterior.sample()
            if side == "mixture":
                z = torch.where(
                    aligned(torch.rand(len(z), device=z.device) < 0.5, z), z, prior.sample()
                )
            log_p, log_q = prior.log_prob(z), posterior.log_prob(z)
            log_ratio = log_p - (log_q if side == "posterior" else _log_half(log_p, log_q))
        log_likelihood = self.rollout.log_likelihood(z, self.repeat(self.x[:, t]))
        self.rollout.advance(z, self.repeat(self.pair.embed(self.x[:, t])))
        return z.reshape(len(z), -1), log_likelihood + log_ratio

    def predict(self, t: int) -> Tensor:
        self._begin(t)
        true = {"x": self.repeat(self.x[:, t]), **self.rollout.inputs}
        fns, _ = self.rollout.generate_all()
        return torch.stack([fn.log_prob(true[name]) for name, fn in fns.items()]).sum(0)

    def select(self, rows: Tensor) -> None:
        self.rollout.h = self.rollout.h[rows]

    def _begin(self, t: int) -> None:
        self.rollout.inputs = {n: self.repeat(value[:, t]) for n, value in self.inputs.items()}

    def repeat(self, rows: Tensor) -> Tensor:
        """``(B, ...)`` to ``(B * K, ...)``."""
        return rows.repeat_interleave(self.number, 0)


def _log_half(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return the log-density of the mixture of both in halves, ``(B * K,)``."""
    return torch.logaddexp(log_p, log_q) - math.log(2)


class Conditioned:
    """Rows of a pair with sites of each step, by holding those of the steps before."""

    def __init__(self, pair: nn.Module, args: Args, number: int, given: int | None) -> None:
        self.pair = pair
        self.names = argument_names(pair)
        self.in_time = along_time(pair, args)
        some = tuple(arg[:ROWS_OF_TRIAL] for arg in args)
        with probing(pair, args[0].device):
            self.roles: Roles = roles_of(pair, some)
            trace = trace_pair(pair, some)
            self._refuse_shared(trace)
            self.times = self._times(trace, some)
            observed = [step_of(name) for name in trace.observed]
            self.first = min((step[1] for step in observed if step), default=0)
            # How many numbers a row holds of each latent; of one of each step, as of the last.
            self.bases = {
                (step_of(name) or (name, 0))[0]: self._frame_of(name, p["value"], 0)[0].numel()
                for name, (p, _) in trace.latents.items()
            }
            self._require_causes(some)
        self.args = repeat_rows(args, number)
        self.seen = self.args if given is None else self._until(self.args, given)
        self.heard = self.args  # with frames of the model's own
        self.past: dict[str, Tensor] = {}

    def propose(self, t: int, side: Proposal) -> tuple[Tensor, Tensor]:
        if side == "mixture":
            raise RequestError(
                "a filter that proposes from guide and prior needs a pair written as one step "
                f"(vaezoo.SequencePair), and {type(self.pair).__name__} is none"
            )
        until = self._until(self.args, t + 1)
        log_q = self.args[0].new_zeros(())
        if side == "posterior":
            with continue_paths(self.past, self.times):
                guide = poutine.trace(guide_of(self.pair)).get_trace(*self.seen)
            mine = self._of_step(sample_sites(guide), t)
            log_q = self._density(mine, t)
            self._keep(mine, t)
        mine = self._of_step(self._run(until), t)
        self._keep(mine, t)
        counted = {n: s for n, s in mine.items() if s["is_observed"] or side == "posterior"}
        return self._row(t), self._density(counted, t) - log_q

    def predict(self, t: int) -> Tensor:
        until = self._until(self.heard, t + 1)
        sites = self._run(until)
        mine = self._of_step(sites, t)
        self._keep(mine, t)
        observed = {n: s for n, s in mine.items() if s["is_observed"]}
        whole = {n: s["value"] for n, s in sites.items() if s["is_observed"]}
        whole |= {name: self._next(name, site, t) for name, site in observed.items()}
        self._hear(whole, until)
        return self._density(observed, t)

    def select(self, rows: Tensor) -> None:
        self.past = {name: value[rows] for name, value in self.past.items()}
        self.heard = tuple(arg[rows] for arg in self.heard)

    def _next(self, name: str, site: Site, t: int) -> Tensor:
        """Draw what is observed in a step; of a path the frames before stay."""
        fn, value = site["fn"], site["value"]
        if name not in self.times:
            return torch.as_tensor(fn.sample())
        return lengthened(name, fn, value.narrow(self.times[name], 0, t), value.shape)[0]

    def _density(self, sites: Mapping[str, Site], t: int) -> Tensor:
        """Return the log-density of the sites of a step, of paths that of its frame."""
        parts = [self._density_of(name, site, t) for name, site in sites.items()]
        return torch.stack(parts).sum(0) if parts else self.args[0].new_zeros(len(self.args[0]))

    def _density_of(self, name: str, site: Site, t: int) -> Tensor:
        time = self.times.get(name)
        return log_density(site) if time is None else density_of_frame(site, time, t)

    def _keep(self, sites: Mapping[str, Site], t: int) -> None:
        """Hold the latents of a step from here on, of paths the frames up to it."""
        for name, site in sites.items():
            if not site["is_observed"]:
                self.past[name] = self._first(name, site["value"], t + 1)

    def _first(self, name: str, value: Tensor, number: int) -> Tensor:
        """Return a value with so many frames, if it has any."""
        time = self.times.get(name)
        return value if time is None else value.narrow(time, 0, number)

    def _frame_of(self, name: str, value: Tensor, t: int) -> Tensor:
        time = self.times.get(name)
        return value if time is None else value.select(time, t)

    def _row(self, t: int) -> Tensor:
        """Return the latents of the sequence, and the last of each step ``(B * K, L)``."""
        number, last = len(self.args[0]), dict.fromkeys(self.bases, -1)
        values: dict[str, Tensor] = {}
        for name, value in self.past.items():
            base, step = step_of(name) or (name, 0)
            if base in last and last[base] < step <= t + self.first:
                last[base] = step
                values[base] = self._frame_of(name, value, t).reshape(number, -1)
        rows = [
            values.get(n, self.args[0].new_full((number, s), torch.nan))
            for n, s in self.bases.items()
        ]
        return torch.cat([row.to(self.args[0].dtype) for row in rows], -1)

    def _hear(self, values: Mapping[str, Tensor], until: Args) -> None:
        """Put frames that were drawn into the arguments, the last of those of ``until``."""
        named = dict(zip(self.names, until, strict=True))
        frames = by_argument(self.roles, site_values(self.pair, values), named)
        heard = dict(zip(self.names, self.heard, strict=True))
        for name in self.in_time:
            if name in frames:
                heard[name] = heard[name].clone()
                last = frames[name].shape[1] - 1
                heard[name][:, last] = frames[name][:, last]
        self.heard = tuple(heard.values())

    def _run(self, args: Args) -> dict[str, Site]:
        with continue_paths(self.past, self.times):
            return sample_sites(poutine.trace(model_of(self.pair)).get_trace(*args))

    def _until(self, args: Args, number: int) -> Args:
        """Return arguments of the first frames; no sequence is longer."""
        return tuple(
            arg[:, :number]
            if name in self.in_time
            else arg.clamp(max=number)
            if name == "length"
            else arg
            for name, arg in zip(self.names, args, strict=True)
        )

    def _of_step(self, sites: Mapping[str, Site], t: int) -> dict[str, Site]:
        """Return the sites of a step; what comes before the first frame is of the first."""
        mine = {}
        for name, site in sites.items():
            numbered = step_of(name)
            if name in self.times or t == (max(numbered[1] - self.first, 0) if numbered else 0):
                mine[name] = site
        return mine

    def _refuse_shared(self, trace: PairTrace) -> None:
        if shared := list(trace.global_latents):
            raise RequestError(
                f"a particle filter asks each sequence by itself, and all share site '{shared[0]}' "
                f"of {type(self.pair).__name__}: take `vaezoo.evaluate(run, iwae=[100])`"
            )

    def _times(self, trace: PairTrace, args: Args) -> dict[str, int]:
        """Return which dimension is time, of the sites that are one for all frames."""
        number = dict(zip(self.names, args, strict=True))["x"].shape[1]
        if number < 2:
            return {}
        fewer = sample_sites(trace_pair(self.pair, self._until(args, number - 1)).model)
        times: dict[str, int] = {}
        for name, site in sample_sites(trace.model).items():
            other = fewer.get(name)
            if step_of(name) or (other and other["value"].shape == site["value"].shape):
                continue
            time = time_of(other["value"].shape, site["value"].shape) if other else None
            sides = [site] if site["is_observed"] else [site, trace.guide.nodes.get(name, site)]
            try:
                if time is None:
                    raise RequestError(f"no dimension of site '{name}' is the time")
                for side in sides:
                    density_of_frame(side, time, 0)
            except RequestError as error:
                raise RequestError(
                    f"a particle filter of {type(self.pair).__name__} goes from frame to frame, "
                    f"and {error}: number its sites by the step (z_0, z_1, ...), write the pair as "
                    "one step (vaezoo.SequencePair), or take `vaezoo.evaluate(run, iwae=[100])`"
                ) from error
            times[name] = time
        return times

    def _require_causes(self, args: Args) -> None:
        """Refuse a model in which what comes later changes the density of a step."""
        whole = trace_pair(self.pair, args)
        sites = sample_sites(whole.model)
        latents = {n: s["value"] for n, s in sites.items() if not s["is_observed"]}
        length = lengths_of(self.pair, args)
        assert length is not None  # its data are sequences
        for t in range(int(length.max())):
            past = {n: self._first(n, value, t + 1) for n, value in latents.items()}
            with hold(past):
                model = poutine.trace(model_of(self.pair)).get_trace(*self._until(args, t + 1))
            for name, site in self._of_step(sample_sites(model), t).items():
                ours, theirs = (self._density_of(name, s, t) for s in (site, sites[name]))
                if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3, equal_nan=True):
                    raise RequestError(
                        f"a particle filter goes from step to step, and site '{name}' of "
                        f"{type(self.pair).__name__} depends on later ones: take "
                        "`vaezoo.evaluate(run, iwae=[100])`"
                    )
