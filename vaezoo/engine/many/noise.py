"""Random numbers as inputs of a captured graph, drawn before it runs, in the order of its draws.

A draw inside a graph is serial and ends the loops that a compiler would fuse; and a graph that
draws by itself cannot be run for several seeds at once, each with a generator of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from vaezoo.engine.reduction import changes, is_random, placeholders

__all__ = ["Draw", "draw_all", "lift_noise"]

aten = torch.ops.aten

# How memory is filled with what each draws, whose numbers follow the tensor or the sizes.
_FILLS: dict[Any, str] = {
    aten.rand.default: "uniform_",
    aten.rand_like.default: "uniform_",
    aten.uniform.default: "uniform_",
    aten.uniform_.default: "uniform_",
    aten.randn.default: "normal_",
    aten.randn_like.default: "normal_",
    aten.normal_.default: "normal_",
    aten.normal_functional.default: "normal_",
    aten.exponential.default: "exponential_",
    aten.exponential_.default: "exponential_",
}


@dataclass(frozen=True)
class Draw:
    """One draw, whose numbers depend on nothing but a generator.

    Attributes
    ----------
    fill
        The method of a tensor that draws.
    numbers
        Its arguments: mean and standard deviation, or bounds.
    shape, strides, dtype, device
        Of the result.
    """

    fill: str
    numbers: tuple[float, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def memory(self) -> Tensor:
        """Return where it draws to, with nothing in it."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device=self.device)

    def __call__(self, generator: torch.Generator | None = None) -> Tensor:
        filled: Tensor = getattr(self.memory(), self.fill)(*self.numbers, generator=generator)
        return filled


def draw_all(draws: Sequence[Draw], generator: torch.Generator | None = None) -> list[Tensor]:
    """Draw one after the other, from torch's global generator where no other is given."""
    return [draw(generator) for draw in draws]


def lift_noise(graph: fx.GraphModule) -> tuple[Draw, ...]:
    """Make all draws of a graph its last inputs, and return them in their order.

    None is lifted where one depends on what was computed, as that of a Bernoulli does: those that
    stay would be drawn in another order.
    """
    nodes = [node for node in graph.graph.nodes if is_random(node)]
    draws = [_draw_of(node) for node in nodes]
    if not all(draws):
        return ()
    first = next(node for node in graph.graph.nodes if node.op != "placeholder")
    with graph.graph.inserting_before(first):
        inputs = [graph.graph.placeholder(f"noise_{number}") for number in range(len(nodes))]
    for node, noise in zip(nodes, inputs, strict=True):
        noise.meta = dict(node.meta)
        if changes(node):  # whoever reads the memory that was filled
            node.args[0].replace_all_uses_with(noise, lambda user, own=node: user is not own)
        node.replace_all_uses_with(noise)
        graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return tuple(draw for draw in draws if draw)


def _draw_of(node: fx.Node) -> Draw | None:
    """Return the draw of a node, None where it is not known to depend on the generator alone."""
    fill, kind = _FILLS.get(node.target), node.meta.get("val")
    if fill is None or not isinstance(kind, Tensor) or node.kwargs.get("generator") is not None:
        return None
    numbers = [float(n) for n in node.args[1:] if isinstance(n, int | float)]
    if len(numbers) < len(node.args) - 1:
        return None
    if changes(node) and node.args[0] in placeholders(node.graph):
        return None
    return Draw(
        fill, tuple(numbers), tuple(kind.shape), tuple(kind.stride()), kind.dtype, kind.device
    )
