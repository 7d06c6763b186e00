"""Sequences on a path of latents: a loop over time, and the rest for all steps at once.

Only the state needs the step before it. So the loop holds as little as it can, the transition and,
where a path is drawn, the conditional that it is drawn from; everything else, the features, what
the guide sees, the likelihood, the other side's conditional, sees all steps as rows of one batch.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo.distributions.families import elements_of
from vaezoo.pairs.lengths import aligned, frame_mask
from vaezoo.sequences.carry import HandedOn
from vaezoo.sequences.inputs import by_frame
from vaezoo.sequences.joint import Joint, Layout
from vaezoo.sequences.sequence_pair import Rollout, SequencePair, Side

__all__ = [
    "Families",
    "Family",
    "Reading",
    "Recurrence",
    "Step",
    "Unrolled",
    "by_rows",
    "loop",
    "running_reading",
]


def by_rows(sequences: Tensor) -> Tensor:
    """Return ``(B, T, ...)`` as rows ordered by step, ``(T * B, ...)``.

    Examples
    --------
    >>> by_rows(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 3, 2, 4])
    """
    return sequences.transpose(0, 1).flatten(0, 1)


class Unrolled:
    """Sequences on a path z, and the states that it leads through.

    Rows are ordered by step, ``(T * B, ...)``, so that a step is a slice.

    Parameters
    ----------
    pair
        The pair.
    x
        Sequences ``(B, T, *x_shape)``.
    length
        Their lengths, ``(B,)``.
    recurrence
        Runs the loop; :func:`loop` by default.
    inputs
        Further arguments by name, ``(B, ...)``.
    carry
        Where x is a window of longer sequences: hands states on from window to window.
    """

    def __init__(
        self,
        pair: SequencePair,
        x: Tensor,
        length: Tensor,
        recurrence: "Recurrence | None" = None,
        inputs: Mapping[str, Tensor] | None = None,
        carry: HandedOn | None = None,
    ) -> None:
        self.pair = pair
        self.inputs = inputs or {}
        self.rows = {n: by_rows(v) for n, v in by_frame(self.inputs, x.shape[1]).items()}
        self.x = x
        self.length = length
        self.recurrence = recurrence or loop
        self.carry = carry
        self.size = torch.Size((x.shape[1], x.shape[0]))
        self.mask = frame_mask(length, x.shape[1])
        self.features = pair.embed(by_rows(x))
        self.z = self.h = x.new_empty(0)
        self.values: Mapping[str, Tensor] = {}
        self._encoded: Tensor | None = None
        self._rows_of_z = self.z
        self._conditionals: dict[Side, TorchDistribution] = {}

    @property
    def encoded(self) -> Tensor:
        """What the guide sees of each frame, ``(T * B, E)``."""
        if self._encoded is None:
            if type(self.pair).encode is SequencePair.encode:
                self._encoded = self.features  # what it would compute a second time
            else:
                # A guide that reads along time does so inside ``encode``, by ``reading.read``,
                # which has no argument for what runs loops here: a context variable carries it.
                token = _RUNNING.set(Reading(self.recurrence, self.carry))
                try:
                    e = self.pair.encode_sequence(self.x, self.length, self.inputs)
                finally:
                    _RUNNING.reset(token)
                self._encoded = by_rows(e)
        return self._encoded

    def draw(self, side: Side, family: "Family | Families") -> "Unrolled":
        """Draw a path from the guide, or from the prior given the frames before each step.

        ``family`` is that of the latents on this side.
        """
        # The prior sees nothing of its frame, but a loop takes the same inputs on both sides.
        e = self.encoded if side == "posterior" else self.features[:, :0]
        inputs = [self._by_step(e), self._by_step(self.features), *self._further()]
        z, h, *parameters = self._run(DrawStep(self.pair, side, family), inputs)
        self._take(z.transpose(0, 1), h)
        if parameters:
            # The conditionals of all steps were computed in the loop: not again for their density.
            flat = [value.flatten(0, 1) for value in parameters]
            self._conditionals[side] = family.rebuild(flat)
        return self

    def through(self, values: Mapping[str, Tensor]) -> "Unrolled":
        """Take the paths ``(B, T, *event)`` of all latents, and no others."""
        layout = self.layout
        z = layout.pack(values) if layout else values["z"]
        inputs = [z.transpose(0, 1), self._by_step(self.features), *self._further()]
        (h,) = self._run(FollowStep(self.pair), inputs)
        self._take(z, h, values)
        return self

    @property
    def layout(self) -> Layout | None:
        """Where named latents stand in z; None of a single one."""
        if self.pair.latent_layout != "unknown":
            return self.pair.latent_layout
        first = {name: rows[: len(self.x)] for name, rows in self.rows.items()}
        return Rollout(self.pair, self.pair.first_state(self.x, self.inputs), first).layout()

    def _take(self, z: Tensor, h: Tensor, values: Mapping[str, Tensor] | None = None) -> None:
        layout = self.layout
        self.z, self.h = z, h.flatten(0, 1)
        self.values = values or (layout.unpack(z) if layout else {"z": z})
        self._rows_of_z = by_rows(z)

    def _run(self, step: "Step", inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs of all steps, each ``(T, B, ...)``."""
        h = self.pair.first_state(self.x, self.inputs)
        return _carried(self.recurrence, self.carry, "h", step, inputs, h)[1]

    def steps(self, side: Side, name: str) -> TorchDistribution:
        """Return the conditionals of a latent of all steps, batch shape ``(T * B,)``."""
        fn = self._conditionals.get(side)
        if fn is None:
            fn = self._all().latent(side, self.encoded if side == "posterior" else None)
            if isinstance(fn, Joint):  # once for all of its latents
                self._conditionals[side] = fn
        return fn.given(self._rows_of_z)[name] if isinstance(fn, Joint) else fn

    def likelihoods(self) -> dict[str, TorchDistribution]:
        """Return p(x_t | z_t, h_t) of all steps, and of what else is observed, ``(T * B,)``."""
        return self._all().likelihoods(self._rows_of_z)

    def _all(self) -> Rollout:
        """Return all steps of all sequences, as if each were a row before its step."""
        return Rollout(self.pair, self.h, self.rows)

    def sum_over_steps(self, values: Tensor) -> Tensor:
        """Return the sum over the frames of each sequence of ``(T * B, ...)``, ``(B, ...)``."""
        by_sequence = self._by_step(values).transpose(0, 1)
        return torch.where(aligned(self.mask, by_sequence), by_sequence, 0.0).sum(1)

    def _further(self) -> list[Tensor]:
        return [self._by_step(rows) for rows in self.rows.values()]

    def _by_step(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, self.size)


class Family:
    """The family of a distribution, and how it is put together from its parameters.

    A loop over time gives tensors only, so that a plan can run it and a graph can hold it: the
    conditionals of a step leave it as their parameters, and are put together again behind it.
    """

    def __init__(self, fn: Any) -> None:
        elements = elements_of(fn)
        self.num_reinterpreted = len(fn.event_shape) - len(elements.event_shape)
        self.cls = type(elements)
        # A distribution may take one of several, as probs or logits: only what it was made of is
        # an attribute of its own. Mixtures and the like hold distributions, and have no names.
        self.names = tuple(name for name in elements.arg_constraints if name in vars(elements))

    def parameters(self, fn: Any) -> list[Tensor]:
        """Return the parameters of a distribution; none of a family that is not made of them."""
        return [getattr(elements_of(fn), name) for name in self.names]

    @property
    def number(self) -> int:
        """How many parameters there are."""
        return len(self.names)

    def rebuild(self, parameters: list[Tensor]) -> TorchDistribution:
        """Return the distribution that has some parameters."""
        fn = self.cls(**dict(zip(self.names, parameters, strict=True)))
        return fn.to_event(self.num_reinterpreted)


class Families:
    """The families of several latents, each given those before it.

    Parameters
    ----------
    layout
        Where they stand in a row.
    fns
        Their conditionals in any step.
    """

    def __init__(self, layout: Layout, fns: Mapping[str, TorchDistribution]) -> None:
        self.layout = layout
        self.parts = {name: Family(fn) for name, fn in fns.items()}

    def parameters(self, fn: Joint) -> list[Tensor]:
        """Return the parameters of the conditionals as they were drawn from; all, or none."""
        if not all(part.number for part in self.parts.values()):
            return []
        fns = fn.drawn
        return [value for name, part in self.parts.items() for value in part.parameters(fns[name])]

    def rebuild(self, parameters: list[Tensor]) -> TorchDistribution:
        """Return the step that has some parameters, with conditionals of the values drawn."""
        rest, fns = list(parameters), {}
        for name, part in self.parts.items():
            fns[name] = part.rebuild(rest[: part.number])
            del rest[: part.number]
        return Joint(fns, parameters[0].shape[:1], self.layout)


class DrawStep:
    """One step of drawing a path: ``(h, e_t, f_t)`` to ``(h', z_t, h, parameters of z_t)``."""

    def __init__(self, pair: SequencePair, side: Side, family: Family | Families) -> None:
        self.pair = pair
        self.kind: str = side
        self.family = family
        self.side: Side = side

    def __call__(self, h: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        e, f, *further = inputs
        rollout = Rollout(self.pair, h, dict(zip(self.pair.inputs, further, strict=True)))
        fn = rollout.latent(self.side, e)
        z = fn.rsample() if fn.has_rsample else fn.sample()
        rollout.advance(z, f)
        return rollout.h, z, h, *self.family.parameters(fn)


class FollowStep:
    """One step along a path that there is: ``(h, z_t, f_t)`` to ``(h', h)``."""

    def __init__(self, pair: SequencePair) -> None:
        self.pair = pair
        self.kind = "follow"

    def __call__(self, h: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        z, f, *further = inputs
        rollout = Rollout(self.pair, h, dict(zip(self.pair.inputs, further, strict=True)))
        rollout.advance(z, f)
        return rollout.h, h


class Step(Protocol):
    """One step of a loop over time: from the state and its inputs to the next one and outputs.

    Steps of one ``kind`` of one module, ``pair``, are alike: who runs them may keep what was made
    for the first.
    """

    @property
    def pair(self) -> nn.Module: ...

    @property
    def kind(self) -> str: ...

    def __call__(self, h: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]: ...


Recurrence = Callable[[Step, Sequence[Tensor], Tensor], tuple[Tensor, list[Tensor]]]


def loop(step: Step, inputs: Sequence[Tensor], h: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run a step along time.

    Parameters
    ----------
    step
        From the state ``(B, H)`` and the inputs of a step to the next state and outputs.
    inputs
        Of all steps, each ``(T, B, ...)``.
    h
        The first state.

    Returns
    -------
    tuple
        The last state, and the outputs of all steps, each ``(T, B, ...)``.
    """
    outputs = []
    for values in zip(*[tensor.unbind(0) for tensor in inputs], strict=True):
        h, *out = step(h, *values)
        outputs.append(out)
    return h, [torch.stack(values) for values in zip(*outputs, strict=True)]


def _carried(
    recurrence: Recurrence,
    carry: HandedOn | None,
    name: str,
    step: Step,
    inputs: Sequence[Tensor],
    h: Tensor,
) -> tuple[Tensor, list[Tensor]]:
    """Return the first state, where the window before has ended, and the outputs of all steps."""
    if carry is None:
        return h, recurrence(step, inputs, h)[1]
    h = carry.enter(name, h)
    last, outputs = recurrence(step, inputs, h)
    carry.leave(name, last)
    return h, outputs


class Reading:
    """Runs the loops of a guide that reads along time.

    Parameters
    ----------
    recurrence
        Runs a loop.
    carry
        Hands states on from window to window.
    """

    def __init__(self, recurrence: Recurrence = loop, carry: HandedOn | None = None) -> None:
        self.recurrence = recurrence
        self.carry = carry
        self._number = 0

    def run(
        self, step: Step, inputs: Sequence[Tensor], h: Tensor, *, forwards: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the first state, and the outputs of all steps, each ``(T, B, ...)``.

        Of a loop forwards that is the state in which the window before has ended. Loops are told
        apart by their order, which is that of the lines of ``encode``.
        """
        self._number += forwards
        carry = self.carry if forwards else None
        return _carried(self.recurrence, carry, f"reading_{self._number}", step, inputs, h)


_RUNNING: ContextVar[Reading | None] = ContextVar("reading", default=None)


def running_reading() -> Reading:
    """Return what runs the loops of the pair that is being encoded."""
    return _RUNNING.get() or Reading()
