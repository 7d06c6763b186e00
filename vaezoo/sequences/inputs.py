"""Further arguments of a step: which its conditionals take, and their values at each frame."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["TAKES", "by_frame", "further_arguments"]

# How many arguments each conditional takes before those that a pair adds.
TAKES = {"prior": 1, "posterior": 2, "likelihood": 2, "transition": 3, "encode": 2, "initial": 1}


def further_arguments(part: Callable[..., Any], number: int) -> tuple[str, ...]:
    """Return the names of the arguments of a conditional that come after so many.

    Examples
    --------
    >>> further_arguments(lambda h, u: h + u, 1)
    ('u',)
    """
    fn = part.forward if isinstance(part, nn.Module) else part
    parameters = list(inspect.signature(fn).parameters.values())[number:]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in kinds and p.default is p.empty)


def by_frame(inputs: Mapping[str, Tensor], num_frames: int) -> dict[str, Tensor]:
    """Return further arguments with a value for each frame, ``(B, T, ...)``.

    Examples
    --------
    >>> import torch
    >>> by_frame({"label": torch.zeros(3, 2)}, 5)["label"].shape
    torch.Size([3, 5, 2])
    """
    return {
        name: value
        if value.shape[1:2] == (num_frames,)
        else value.unsqueeze(1).expand(-1, num_frames, *value.shape[1:])
        for name, value in inputs.items()
    }
