"""The plan of a recurrence: how all steps are run with the graphs of one, as two operations."""

import itertools
import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from vaezoo.engine.recurrence.step_graph import Hoisted, StepGraph
from vaezoo.engine.recurrence.sweep import Sweep

__all__ = ["StepPlan", "plan_of"]


class StepPlan:
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

    def is_like(self, other: "StepPlan") -> bool:
        """Whether two plans compute the same, of whatever parameters."""
        return _record(self.graph) == _record(other.graph)

    def __call__(
        self, inputs: Sequence[Tensor], h: Tensor, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the last state, and the outputs of all steps, each ``(T, B, ...)``."""
        constants = [value.contiguous() for value in self.graph.constants.forward(*parameters)]
        num_steps = len(inputs[0])
        noise = [h.new_empty(num_steps, *shape).normal_() for shape in self.graph.noise]
        products = [_product_of_all_steps(row, inputs, constants) for row in self.graph.hoisted]
        # Compiled blocks hold for the strides of their examples, so all that enters is contiguous.
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
        dh, gradients = self.backward(dh, self.rows_backward(tangents, values, rows), constants)
        return [dh, *self.of_all_steps(gradients, values)]

    def rows_backward(
        self, tangents: Sequence[Tensor], values: Sequence[Tensor], rows: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return the rows that a sweep back takes."""
        return [*tangents, *[values[i] for i in self.derivative.saved], *rows]

    def of_all_steps(self, gradients: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of some rows and some constants from what a sweep back gives."""
        derivative = self.derivative
        num_rows = len(derivative.rows)
        of_constants = self._gradients_of_constants(gradients[num_rows:], values)
        return [*gradients[:num_rows], *[of_constants[i] for i in derivative.constants]]

    def _gradients_of_constants(
        self, gradients: Sequence[Tensor], values: Sequence[Tensor]
    ) -> dict[int, Tensor]:
        """Return the gradient of each constant from those of all steps, ``(T, ...)`` each.

        Gradients of products come first, and give those of weights and biases in one product and
        one sum over all steps; those of constants that are used directly are behind them.
        """
        sums: dict[int, Tensor] = {}

        def add(number: int, value: Tensor) -> None:
            sums[number] = sums[number] + value if number in sums else value

        num_products = len(self.derivative.products)
        for product, gradient in zip(self.derivative.products, gradients, strict=False):
            dy = gradient.flatten(0, 1)
            add(product.weight, values[product.a].flatten(0, 1).t() @ dy)
            if product.bias is not None:
                add(product.bias, dy.sum(0))
        for number, gradient in zip(self.derivative.direct, gradients[num_products:], strict=True):
            add(number, gradient.sum(0))
        return sums


def _product_of_all_steps(
    hoisted: Hoisted, inputs: Sequence[Tensor], constants: Sequence[Tensor]
) -> Tensor:
    a = inputs[hoisted.index]
    y = a.flatten(0, 1) @ constants[hoisted.weight]
    if hoisted.bias is not None:
        y = y + constants[hoisted.bias]
    return y.unflatten(0, a.shape[:2])


def _record(graph: StepGraph) -> object:
    """Return all that is computed: no graph of a step holds a tensor of its own."""
    derivative = graph.derivative
    codes = (graph.constants.code, derivative.forward.code, derivative.backward.code)
    layout = (derivative.outputs, derivative.saved, derivative.rows, derivative.products)
    return (*codes, *layout, derivative.direct, derivative.shapes, graph.noise, graph.hoisted)


# The arguments of an operation are tensors and plain values, so that a plan goes by its number. The
# dictionary is weak: a plan lives as long as the recurrence that it was made for.
_NUMBERS = itertools.count()
_PLANS: weakref.WeakValueDictionary[int, StepPlan] = weakref.WeakValueDictionary()


def plan_of(number: int) -> StepPlan:
    """Return the plan that a captured graph names."""
    return _PLANS[number]


@torch.library.custom_op("vaezoo::recurrence", mutates_args=())
def _forward(plan: int, h: Tensor, rows: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    own = _PLANS[plan]
    own.operations += len(rows[0]) * own.derivative.num_operations
    last, values = own.forward(h, rows, constants)
    # No result of an operation may share memory with another one, or with an argument; the last
    # state may be an output of the last step, too.
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
    derivative = _PLANS[plan].derivative
    like = [*[rows[i] for i in derivative.rows], *[constants[i] for i in derivative.constants]]
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
    derivative = _PLANS[ctx.plan].derivative
    last, *rest = gradients
    # Only outputs are differentiated: what else comes out is for the way back alone.
    dh = torch.zeros_like(h) if last is None else last.contiguous()
    pairs = [(rest[i], values[i]) for i in derivative.outputs]
    tangents = [torch.zeros_like(v) if g is None else g.contiguous() for g, v in pairs]
    d_first, *d_rest = torch.ops.vaezoo.recurrence_backward(
        ctx.plan, dh, tangents, values, rows, constants
    )
    d_rows = dict(zip(derivative.rows, d_rest, strict=False))
    d_constants = dict(zip(derivative.constants, d_rest[len(derivative.rows) :], strict=True))
    rows_of, constants_of = range(num_rows), range(num_constants)
    return None, d_first, [*map(d_rows.get, rows_of)], [*map(d_constants.get, constants_of)]


_forward.register_autograd(_differentiate, setup_context=_save)


@register_flop_formula(torch.ops.vaezoo.recurrence)
def _count(plan: int, h: Any, rows: Any, constants: Any, *, out_shape: Any = None) -> int:
    """Return the operations of the products inside a loop, forward and backward."""
    products = _PLANS[plan].derivative.products
    num_rows = rows[0][0] * rows[0][1]
    return sum(6 * num_rows * math.prod(constants[product.weight]) for product in products)
