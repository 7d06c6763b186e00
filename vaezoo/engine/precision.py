"""Precision of the products inside networks; everything around them stays in float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vaezoo.errors import RequestError
from vaezoo.options import Precision

__all__ = ["check_precision", "networks_in"]

_PRODUCTS = frozenset(
    [
        functional.linear,
        functional.bilinear,
        *(functional.conv1d, functional.conv2d, functional.conv3d),
        functional.conv_transpose1d,
        functional.conv_transpose2d,
        functional.conv_transpose3d,
    ]
)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse bf16 where a device does not compute in it.

    Raises
    ------
    RequestError
        On MPS, and on a GPU without bfloat16.
    """
    if precision == "float32" or device.type == "cpu":
        return
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RequestError(f"this {device.type} device has no bfloat16; use `precision='float32'`")


def networks_in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which layers multiply in a precision and give back float32."""
    return _Bfloat16Products(device.type) if precision == "bf16" else nullcontext()


class _Bfloat16Products(TorchFunctionMode):
    """Casts the arguments of linear and convolutional layers to bfloat16, the result to float32.

    Whatever a pair does with it, log-densities above all, is in float32 then.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in _PRODUCTS:
            return func(*args, **(kwargs or {}))
        with torch.autocast(self.device, torch.bfloat16):
            return func(*args, **(kwargs or {})).float()
