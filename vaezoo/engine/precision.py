"""Precision of the products inside networks; everything around them stays in float32.

Rounding the factors to bfloat16 takes time, too: small products are slower by it. ``auto`` goes by
the size of each product, on processors that multiply in bfloat16.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vaezoo.errors import RequestError
from vaezoo.options import Precision

__all__ = ["check_precision", "networks_in", "precision_on"]

# Floating-point operations of a product, above which bfloat16 is faster: with its gradients, 100
# rows of 500 x 784 take 0.60 of float32, 20 of 200 x 784 take 1.04, 128 of 64 x 128 take 1.7 (AMD
# EPYC with AVX512-BF16).
FEWEST_OPERATIONS = 2**24

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
    if precision != "bf16" or device.type == "cpu":
        return
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RequestError(f"this {device.type} device has no bfloat16; use `precision='float32'`")


def precision_on(precision: Precision, device: torch.device) -> Precision:
    """Return what a precision is on a device: ``auto`` is float32 where bfloat16 is not faster.

    Examples
    --------
    >>> precision_on("auto", torch.device("mps"))
    'float32'
    """
    return "float32" if precision == "auto" and not _multiplies_in_bf16(device) else precision


def _multiplies_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # By name, since torch has no public word for it; where there is none, float32 is right.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    asked = (getattr(torch.cpu, name, None) for name in names)
    return device.type == "cpu" and any(bool(ask()) for ask in asked if ask)


def networks_in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which layers multiply in a precision and give back float32."""
    precision = precision_on(precision, device)
    if precision == "float32":
        return nullcontext()
    return _Bfloat16Products(device.type, FEWEST_OPERATIONS if precision == "auto" else 0)


class _Bfloat16Products(TorchFunctionMode):
    """Casts the arguments of linear and convolutional layers to bfloat16, the result to float32.

    Whatever a pair does with it, log-densities above all, is in float32 then. Products of fewer
    operations than ``fewest`` stay as they are.
    """

    def __init__(self, device: str, fewest: int) -> None:
        super().__init__()
        self.device, self.fewest = device, fewest

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or _operations(func, args, kwargs) < self.fewest:
            return func(*args, **kwargs)
        with torch.autocast(self.device, torch.bfloat16):
            return func(*args, **kwargs).float()


def _operations(func: Any, args: Any, kwargs: dict[str, Any]) -> float:
    """Return about how many floating-point operations a layer takes."""
    x = args[0] if args else kwargs["input" if "input" in kwargs else "input1"]
    weight = kwargs.get("weight")
    if weight is None:
        weight = args[2] if func is functional.bilinear else args[1]
    if func in (functional.linear, functional.bilinear):
        return 2.0 * math.prod(x.shape[:-1]) * weight.numel()
    transposed = func.__name__.startswith("conv_transpose")
    stride = 1 if transposed else kwargs.get("stride", args[3] if len(args) > 3 else 1)
    strides = [stride] * (x.dim() - 2) if isinstance(stride, int) else list(stride)
    places = len(x) * math.prod(x.shape[2:]) / math.prod(strides)
    return 2.0 * places * weight.numel()
