"""What cannot be captured: the line says which operation, where, and what to write instead."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaezoo.engine.capture import NotCapturedError, capture

Trap = Callable[[Tensor], Tensor]

TRAPS: dict[str, tuple[Trap, str]] = {
    "one_hot": (
        lambda x: nn.functional.one_hot((x > 0).long(), 2) * 1.0,
        r"by one_hot: write torch.eye\(k, device=c.device\)\[c\]",
    ),
    "branch": (lambda x: x if x.sum() > 0 else -x, "by `if` or `assert` of a tensor: write torch"),
    "item": (lambda x: x * x.sum().item(), "leave it a tensor"),
    "numpy": (lambda x: x * float(np.sin(x.detach().numpy()).sum()), "leave it a tensor"),
    "mask as an index": (lambda x: x[x > 0].mean(), r"what x\[mask\] gives depends on values"),
    "nonzero": (lambda x: x[(x > 0).nonzero()[:, 0]], "what nonzero or torch.where.condition. giv"),
    "masked_select": (lambda x: torch.masked_select(x, x > 0), "what masked_select gives"),
    "repeat": (lambda x: x.repeat_interleave((x > 0).long()), "what repeat_interleave by a tensor"),
}
FREE: dict[str, Trap] = {
    "rows of eye": lambda x: torch.eye(2)[(x > 0).long()],
    "where": lambda x: torch.where(x > 0, x, -x),
    "mask as a target": lambda x: x.clone().masked_fill(x > 0, 0.0),
    "assigned by mask": lambda x: x.clone().index_put((x > 0,), torch.zeros(())),
    "repeat by a number": lambda x: x.repeat_interleave(2),
}
X = torch.tensor([-1.0, 2.0, 3.0])


def graph_of(function: Trap) -> Tensor:
    (value,) = capture(lambda args: (function(args[0]),), nn.Identity(), (X,))([X])
    return value


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_named_with_what_to_write_instead(name: str) -> None:
    function, words = TRAPS[name]
    with pytest.raises(NotCapturedError, match=words):
        graph_of(function)


@pytest.mark.parametrize("name", FREE)
def test_what_is_written_instead_is_captured(name: str) -> None:
    assert torch.equal(graph_of(FREE[name]), FREE[name](X))
