"""A recurrence that runs by a plan where gradients are asked for."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from vaezoo.checks.blame import class_of, line_of
from vaezoo.engine.compiler import seconds_saved
from vaezoo.engine.repayment import FEWEST_STEPS_CAPTURED
from vaezoo.options import EngineName
from vaezoo.runtime.isolation import untouched
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.unrolled import Step, loop

if TYPE_CHECKING:
    from vaezoo.engine.recurrence.step_plan import StepPlan

__all__ = ["Planned", "planned_form"]

# Of one core, for the vrnn of benchmarks/sequences.py: Inductor itself, and the compilers of C++
# that it starts side by side, for the way there and the way back.
_SECONDS_OF_INDUCTOR, _SECONDS_OF_COMPILERS, _NUM_COMPILERS = 8.0, 20.0, 2


class Planned:
    """Runs a recurrence by a plan where gradients are asked for, and as a plain loop elsewhere.

    A plan is made for a kind of step and the shapes of a batch, and tried against the plain loop. A
    step that cannot be planned runs as a plain loop.

    Parameters
    ----------
    notify
        Is told why a step cannot be planned: kind of the notice, and the line.
    """

    def __init__(self, notify: Callable[[str, str], None] = lambda kind, line: None) -> None:
        self.notify = notify
        self.compiled = False
        self.failed = False
        self._plans: dict[object, StepPlan | None] = {}
        self._shared: Planned | None = None

    @property
    def numbers(self) -> set[int]:
        """Names of the plans that there are."""
        return {plan.number for plan in self._plans.values() if plan}

    def share(self, other: "Planned") -> None:
        """Take over the plans of another seed, where they are alike, now and from now on."""
        self._shared = other
        for key, plan in list(self._plans.items()):
            del self._plans[key]
            self._plans[key] = self._one_of_all(plan)

    def _one_of_all(self, plan: "StepPlan | None") -> "StepPlan | None":
        """Return the plan of another seed that a plan is like: each for one, in their order."""
        if plan is None or self._shared is None:
            return plan
        free = [p for p in self._shared._plans.values() if p and p.number not in self.numbers]
        return next((other for other in free if plan.is_like(other)), plan)

    def compiling_repays(self, left: float) -> bool:
        """Whether compiled steps would have cost less than they would have saved so far.

        And half of what they will save in ``left`` times as many calls. Numbers of calls decide, so
        that a repetition of a run rounds as the run did.
        """
        num_operations = sum(plan.operations for plan in self._plans.values() if plan)
        saved, cost = seconds_saved(num_operations), seconds_to_compile(os.cpu_count() or 1)
        return saved > cost and left * saved > 2 * cost and not self.compiled

    def __call__(
        self, step: Step, inputs: Sequence[Tensor], h: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        if not torch.is_grad_enabled():
            return loop(step, inputs, h)
        shapes = [(tuple(value.shape[1:]), value.dtype) for value in inputs]
        key = (step.kind, step.pair.training, tuple(h.shape), h.dtype, *shapes)
        if key not in self._plans:
            # A plan cannot be made, and tried, while something else is being captured.
            if get_proxy_mode() is not None:
                return loop(step, inputs, h)
            self._plans[key] = self._one_of_all(self._make(step, [v[0] for v in inputs], h))
        plan = self._plans[key]
        if plan is None:
            return loop(step, inputs, h)
        return plan(inputs, h, owned(step.pair))

    def compile(self) -> None:
        """Compile blocks of the plans that there are, and of those that will be made.

        Raises
        ------
        NotCompiledError
            When that cannot be done.
        """
        self.compiled = True
        for plan in self._plans.values():
            self._compile(plan)

    def _compile(self, plan: "StepPlan | None") -> None:
        if plan is not None and plan.forward.block is None:
            plan.forward.compile()
            plan.backward.compile()

    def _make(self, step: Step, inputs: Sequence[Tensor], h: Tensor) -> "StepPlan | None":
        # It defines operations of torch, which nobody waits for whose pair has no recurrence.
        from vaezoo.engine.recurrence.making import plan_or_reason

        with untouched(step.pair, h.device):
            plan = plan_or_reason(step, inputs, h, owned(step.pair))
            if not isinstance(plan, str):
                if self.compiled:
                    self._compile(plan)
                return plan
        self.failed = True
        where = line_of(class_of(step.pair))
        because = f"because of its step: {plan}: {where}"
        self.notify("recurrence", f"the recurrence runs as a plain loop, {because}")
        return None


def seconds_to_compile(num_cores: int) -> float:
    """Return how long compiling the steps of a recurrence takes on a machine with nothing else.

    Examples
    --------
    >>> seconds_to_compile(1), seconds_to_compile(16)
    (28.0, 18.0)
    """
    return _SECONDS_OF_INDUCTOR + _SECONDS_OF_COMPILERS / min(num_cores, _NUM_COMPILERS)


def planned_form(
    pair: nn.Module,
    *,
    engine: EngineName,
    num_steps: int,
    notify: Callable[[str, str], None],
) -> nn.Module:
    """Return the pair that is trained; sequences by a plan wherever training is captured."""
    is_short = engine == "auto" and num_steps < FEWEST_STEPS_CAPTURED
    recurrence = loop if engine == "eager" or is_short else Planned(notify)
    return training_form(pair, recurrence)


def owned(pair: nn.Module) -> list[Tensor]:
    """Return what a step may use: parameters and buffers."""
    return [*pair.parameters(), *pair.buffers()]
