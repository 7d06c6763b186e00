"""A loop over the graph of a step, one step after the other or in compiled blocks of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from vaezoo.engine.compiler import NotCompiledError, compile_function
from vaezoo.engine.outcomes import largest_error
from vaezoo.engine.reduction import placeholders

__all__ = ["BLOCK", "Sweep"]

# Steps in a row are written out when they are compiled, which takes the longer the more there are;
# blocks of one size are compiled once, for sequences of every length.
BLOCK = 8
_TOLERANCE = 1e-3


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
        # Calling the module itself would look for hooks at every step.
        constants, run, by_step = tensors[num_rows:], self.graph.forward, []
        for row in reversed(rows) if self.backwards else rows:
            carry, *values = run(carry, *row, *constants)
            by_step.append(values)
        ordered = by_step[::-1] if self.backwards else by_step
        return carry, *[torch.stack(values) for values in zip(*ordered, strict=True)]

    def compile(self) -> None:
        """Compile a block of steps.

        Raises
        ------
        NotCompiledError
            When it cannot be compiled, or gives something else then.
        """
        examples = self._examples()
        block = compile_function(self.steps, examples)
        with torch.inference_mode():
            expected, values = self.steps(*examples), block(*examples)
        error = largest_error(values, expected)
        if error > _TOLERANCE:
            raise NotCompiledError(f"compiled steps differ by {error:.1g} from those that are not")
        self.block = block

    def _examples(self) -> list[Tensor]:
        """Return made-up arguments of a block of steps."""
        nodes = placeholders(self.graph.graph)
        last_row = len(nodes) - self.num_constants - 1
        examples = []
        for i, node in enumerate(nodes):
            kind = node.meta["val"]
            shape = (BLOCK, *kind.shape) if 1 <= i <= last_row else kind.shape
            examples.append(torch.rand(shape, dtype=kind.dtype, device=kind.device))
        return examples
