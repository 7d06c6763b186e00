"""Making a plan of a recurrence, and trying it against the plain loop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaezoo.checks.blame import one_line
from vaezoo.engine.capture import NotCapturedError
from vaezoo.engine.outcomes import largest_error
from vaezoo.engine.recurrence.step_graph import NotPlannedError, step_graph
from vaezoo.engine.recurrence.step_plan import StepPlan
from vaezoo.sequences.unrolled import Step, loop

__all__ = ["plan_or_reason"]

_TOLERANCE = 1e-3
_NUM_TRIALS = 2


def plan_or_reason(
    step: Step, inputs: Sequence[Tensor], h: Tensor, own: Sequence[Tensor]
) -> StepPlan | str:
    """Return a plan for a kind of step, or the clause that says why there can be none.

    Parameters
    ----------
    step, inputs, h
        One step, what goes into it, and the state before.
    own
        Parameters and buffers that it may use.
    """
    try:
        plan = StepPlan(step_graph(step, h, inputs, own))
        _refuse_difference(plan, step, inputs, h, own)
    except (NotPlannedError, NotCapturedError) as error:
        return str(error)
    except Exception as error:  # whatever a step does that cannot be recorded
        return one_line(error)
    return plan


def _refuse_difference(
    plan: StepPlan, step: Step, inputs: Sequence[Tensor], h: Tensor, own: Sequence[Tensor]
) -> None:
    """Refuse a plan whose outputs or gradients differ from those of the step, under one seed."""
    one = [value.detach().unsqueeze(0).requires_grad_() for value in inputs]
    state = torch.randn_like(h).requires_grad_()
    leaves = [*one, state, *[value for value in own if value.requires_grad]]
    for seed in range(_NUM_TRIALS):
        torch.manual_seed(seed)
        expected = _outcome(loop(step, one, state), leaves)
        torch.manual_seed(seed)
        if largest_error(_outcome(plan(one, state, own), leaves), expected) > _TOLERANCE:
            raise NotPlannedError("it gives something else when it is called again")


def _outcome(ends: tuple[Tensor, list[Tensor]], leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return last state and outputs, and the gradients of a sum that weighs their elements."""
    last, outputs = ends
    values = [last, *outputs]
    differentiable = [value for value in values if value.requires_grad]
    # In a plain sum every element has the gradient 1, and one taken for another goes unnoticed.
    total = torch.stack([(v * v.detach().cos()).sum() for v in differentiable]).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [value.detach() for value in (*values, *gradients)]
