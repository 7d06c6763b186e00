"""Backpropagation through time by a plan: a loop over the graphs of one step.

The loop forward, and the one backward, are each one operation to autograd and to whatever captures
a training step, so that a graph does not grow with the length of a sequence. Where a compiler is
asked for, blocks of steps are compiled, of a size that does not depend on the length either.
"""

import itertools
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.utils.flop_counter import register_flop_formula

from vaezoo.engine.capture import NotCapturedError
from vaezoo.engine.compiler import NotCompiledError, compile_function, seconds_saved
from vaezoo.engine.repayment import FEWEST_STEPS_CAPTURED
from vaezoo.engine.step_graph import NotPlannedError, StepGraph, step_graph
from vaezoo.options import EngineName
from vaezoo.pairs.blame import class_of, line_of, one_line
from vaezoo.pairs.trials import largest_error, untouched
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.unrolled import Step, loop

__all__ = ["Planned", "planned_form"]

BLOCK = 8
SECONDS_TO_COMPILE = 15.0
TOLERANCE = 1e-3
NUM_TRIALS = 2


class Sweep:
    """A loop over a graph from ``(carry, *rows, *constants)`` to ``(carry', *values)``.

    Parameters
    ----------
    graph
        The graph of a step.
    num_constants
        How many of its inputs are the same for all steps.
    backwards
        Whether the last step comes first.
    """

    def __init__(self, graph: fx.GraphModule, num_constants: int, *, backwards: bool) -> None:
        self.graph = graph
        self.num_constants = num_constants
        self.backwards = backwards
        self.block: Callable[..., Sequence[Tensor]] | None = None

    def __call__(
        self, carry: Tensor, rows: Sequence[Tensor], constants: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the last carry, and the values of all steps, each ``(T, ...)``."""
        num_steps = len(rows[0])
        size = BLOCK if self.block else num_steps
        starts = range(0, num_steps, size)
        parts = []
        for start in reversed(starts) if self.backwards else starts:
            part = [row[start : start + size] for row in rows]
            run = self.block if self.block and len(part[0]) == BLOCK else self.steps
            carry, *values = run(carry, *part, *constants)
            parts.append(values)
        ordered = parts[::-1] if self.backwards else parts
        if len(ordered) == 1:
            return carry, list(ordered[0])
        return carry, [torch.cat(values) for values in zip(*ordered, strict=True)]

    def steps(self, carry: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run some steps one by one: from ``(carry, *rows, *constants)``."""
        num_rows = len(tensors) - self.num_constants
        rows = list(zip(*[tensor.unbind(0) for tensor in tensors[:num_rows]], strict=True))
        constants, run, found = tensors[num_rows:], self.graph.forward, []
        for row in reversed(rows) if self.backwards else rows:
            carry, *values = run(carry, *row, *constants)
            found.append(values)
        ordered = found[::-1] if self.backwards else found
        return carry, *[torch.stack(values) for values in zip(*ordered, strict=True)]

    def compile(self) -> None:
        """Compile a block of steps.

        Raises
        ------
        NotCompiledError
            When it cannot be compiled, or gives something else then.
        """
        nodes = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        last_row = len(nodes) - self.num_constants - 1
        examples = []
        for i, node in enumerate(nodes):
            kind = node.meta["val"]
            shape = (BLOCK, *kind.shape) if 1 <= i <= last_row else kind.shape
            examples.append(torch.rand(shape, dtype=kind.dtype, device=kind.device))
        block = compile_function(self.steps, examples)
        with torch.inference_mode():
            expected, found = self.steps(*examples), block(*examples)
        error = largest_error(found, expected)
        if error > TOLERANCE:
            raise NotCompiledError(f"compiled steps differ by {error:.1g} from those that are not")
        self.block = block


class Plan:
    """The graphs of one step, and how all steps are run with them.

    Attributes
    ----------
    number
        Names the plan in a captured graph.
    """

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self.derivative = graph.derivative
        num_constants = graph.num_constants
        self.forward = Sweep(self.derivative.forward, num_constants, backwards=False)
        self.backward = Sweep(self.derivative.backward, num_constants, backwards=True)
        self.operations = 0
        self.number = next(_NUMBERS)
        _PLANS[self.number] = self

    def __call__(
        self, inputs: Sequence[Tensor], h: Tensor, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the last state, and the outputs of all steps, each ``(T, B, ...)``."""
        constants = [value.contiguous() for value in self.graph.constants.forward(*parameters)]
        num_steps = len(inputs[0])
        noise = [h.new_empty(num_steps, *shape).normal_() for shape in self.graph.noise]
        products = []
        for hoisted in self.graph.hoisted:
            a = inputs[hoisted.index]
            y = a.flatten(0, 1) @ constants[hoisted.weight]
            if hoisted.bias is not None:
                y = y + constants[hoisted.bias]
            products.append(y.unflatten(0, a.shape[:2]))
        rows = [tensor.contiguous() for tensor in (*inputs, *noise, *products)]
        last, *values = torch.ops.vaezoo.recurrence(self.number, h, rows, constants)
        return last, [values[i] for i in self.derivative.outputs]

    def gradients(
        self,
        dh: Tensor,
        tangents: Sequence[Tensor],
        values: Sequence[Tensor],
        rows: Sequence[Tensor],
        constants: Sequence[Tensor],
    ) -> list[Tensor]:
        """Return the gradients of the first state, of some rows, and of some constants."""
        found = self.derivative
        saved = [values[i] for i in found.saved]
        dh, gradients = self.backward(dh, [*tangents, *saved, *rows], constants)
        num_rows, num_products = len(found.rows), len(found.products)
        of_products = gradients[num_rows : num_rows + num_products]
        of_constants: dict[int, Tensor] = {}

        def add(number: int, value: Tensor) -> None:
            known = of_constants.get(number)
            of_constants[number] = value if known is None else known + value

        for product, dy in zip(found.products, of_products, strict=True):
            dy = dy.flatten(0, 1)
            add(product.weight, values[product.a].flatten(0, 1).t() @ dy)
            if product.bias is not None:
                add(product.bias, dy.sum(0))
        for number, value in zip(found.direct, gradients[num_rows + num_products :], strict=True):
            add(number, value.sum(0))
        return [dh, *gradients[:num_rows], *[of_constants[i] for i in found.constants]]


_NUMBERS = itertools.count()
_PLANS: weakref.WeakValueDictionary[int, Plan] = weakref.WeakValueDictionary()


@torch.library.custom_op("vaezoo::recurrence", mutates_args=())
def _forward(plan: int, h: Tensor, rows: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    known = _PLANS[plan]
    known.operations += len(rows[0]) * known.derivative.num_operations
    last, values = known.forward(h, rows, constants)
    return [last.clone(), *values]


@_forward.register_fake
def _(plan: int, h: Tensor, rows: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    shapes = _PLANS[plan].derivative.shapes
    return [torch.empty_like(h), *[h.new_empty(len(rows[0]), *shape) for shape in shapes]]


@torch.library.custom_op("vaezoo::recurrence_backward", mutates_args=())
def _backward(
    plan: int,
    dh: Tensor,
    tangents: list[Tensor],
    values: list[Tensor],
    rows: list[Tensor],
    constants: list[Tensor],
) -> list[Tensor]:
    first, *rest = _PLANS[plan].gradients(dh, tangents, values, rows, constants)
    return [first.clone(), *rest]


@_backward.register_fake
def _(
    plan: int,
    dh: Tensor,
    tangents: list[Tensor],
    values: list[Tensor],
    rows: list[Tensor],
    constants: list[Tensor],
) -> list[Tensor]:
    found = _PLANS[plan].derivative
    like = [*[rows[i] for i in found.rows], *[constants[i] for i in found.constants]]
    return [torch.empty_like(dh), *[tensor.new_empty(tensor.shape) for tensor in like]]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.plan, _, rows, constants = inputs
    ctx.sizes = len(rows), len(constants)
    ctx.save_for_backward(output[0], *rows, *constants, *output[1:])


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    num_rows, num_constants = ctx.sizes
    h, *saved = ctx.saved_tensors
    rows, constants = list(saved[:num_rows]), list(saved[num_rows : num_rows + num_constants])
    values = list(saved[num_rows + num_constants :])
    found = _PLANS[ctx.plan].derivative
    last, *rest = gradients
    dh = torch.zeros_like(h) if last is None else last.contiguous()
    pairs = [(rest[i], values[i]) for i in found.outputs]
    tangents = [torch.zeros_like(v) if g is None else g.contiguous() for g, v in pairs]
    d_first, *d_rest = torch.ops.vaezoo.recurrence_backward(
        ctx.plan, dh, tangents, values, rows, constants
    )
    d_rows = dict(zip(found.rows, d_rest, strict=False))
    d_constants = dict(zip(found.constants, d_rest[len(found.rows) :], strict=True))
    rows_of, constants_of = range(num_rows), range(num_constants)
    return None, d_first, [*map(d_rows.get, rows_of)], [*map(d_constants.get, constants_of)]


_forward.register_autograd(_differentiate, setup_context=_save)


@register_flop_formula(torch.ops.vaezoo.recurrence)
def _count(plan: int, h: Any, rows: Any, constants: Any, *, out_shape: Any = None) -> int:
    """Return the operations of the products inside a loop, forward and backward."""
    known = _PLANS[plan].derivative
    num_rows = rows[0][0] * rows[0][1]
    return sum(6 * num_rows * math.prod(constants[p.weight]) for p in known.products)


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
        self._plans: dict[object, Plan | None] = {}

    def compiling_repays(self, left: float) -> bool:
        """Whether compiled steps would have cost less than they would have saved so far.

        And half of what they will save in ``left`` times as many calls. Numbers of calls decide, so
        that a repetition of a run rounds as the run did.
        """
        num_operations = sum(plan.operations for plan in self._plans.values() if plan)
        saved = seconds_saved(num_operations)
        repays = saved > SECONDS_TO_COMPILE and left * saved > 2 * SECONDS_TO_COMPILE
        return repays and not self.compiled

    def __call__(
        self, step: Step, inputs: Sequence[Tensor], h: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        if not torch.is_grad_enabled():
            return loop(step, inputs, h)
        shapes = [(tuple(value.shape[1:]), value.dtype) for value in inputs]
        key = (step.kind, step.pair.training, tuple(h.shape), h.dtype, *shapes)
        if key not in self._plans:
            if get_proxy_mode() is not None:
                return loop(step, inputs, h)
            self._plans[key] = self._make(step, [value[0] for value in inputs], h)
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

    def _compile(self, plan: Plan | None) -> None:
        if plan is not None and plan.forward.block is None:
            plan.forward.compile()
            plan.backward.compile()

    def _make(self, step: Step, inputs: Sequence[Tensor], h: Tensor) -> Plan | None:
        pair = step.pair
        with untouched(pair, h.device):
            try:
                plan = Plan(step_graph(step, h, inputs, owned(pair)))
                _refuse_difference(plan, step, inputs, h)
            except (NotPlannedError, NotCapturedError) as error:
                reason = str(error)
            except Exception as error:  # whatever a step does that cannot be recorded
                reason = one_line(error)
            else:
                if self.compiled:
                    self._compile(plan)
                return plan
        self.failed = True
        self.notify(
            "recurrence",
            f"the recurrence runs as a plain loop, because of its step: {reason}: "
            f"{line_of(class_of(pair))}",
        )
        return None


def planned_form(
    pair: nn.Module,
    *,
    engine: EngineName,
    truncate: int,
    num_steps: int,
    notify: Callable[[str, str], None],
) -> nn.Module:
    """Return the pair that is trained; sequences by a plan wherever training is captured."""
    is_short = engine == "auto" and num_steps < FEWEST_STEPS_CAPTURED
    recurrence = loop if engine == "eager" or is_short else Planned(notify)
    return training_form(pair, recurrence, truncate=truncate)


def owned(pair: nn.Module) -> list[Tensor]:
    """Return what a step may use: parameters and buffers."""
    return [*pair.parameters(), *pair.buffers()]


def _refuse_difference(plan: Plan, step: Step, inputs: Sequence[Tensor], h: Tensor) -> None:
    """Refuse a plan whose outputs or gradients differ from those of the step, under one seed."""
    one = [value.detach().unsqueeze(0).requires_grad_() for value in inputs]
    state = torch.randn_like(h).requires_grad_()
    own = owned(step.pair)
    leaves = [*one, state, *[value for value in own if value.requires_grad]]
    for seed in range(NUM_TRIALS):
        outcomes = []
        for planned in (False, True):
            torch.manual_seed(seed)
            last, outputs = plan(one, state, own) if planned else loop(step, one, state)
            ends = [value for value in (last, *outputs) if value.requires_grad]
            total = torch.stack([(value * value.detach().cos()).sum() for value in ends]).sum()
            found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
            outcomes.append([value.detach() for value in (last, *outputs, *found)])
        if largest_error(outcomes[1], outcomes[0]) > TOLERANCE:
            raise NotPlannedError("it gives something else when it is called again")
