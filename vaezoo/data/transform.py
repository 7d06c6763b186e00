"""What happens to stored values before a pair sees them, and its inverse for output."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array, Data
from vaezoo.data.padding import is_frame

__all__ = ["Transform", "standardization"]


@dataclass(frozen=True)
class Transform:
    """From stored values to what a pair explains, in this order: scale, standardise, binarise.

    Attributes
    ----------
    scale
        Values are divided by it.
    binarize
        ``dynamic``: a fresh Bernoulli draw with the grey level as probability at every visit, one
        fixed draw for validation and test (Burda et al. 2016); ``static``: one fixed draw for all.
    mean, std
        Per element, from the training rows; values become ``(x - mean) / std``.
    """

    scale: float = 1.0
    binarize: Literal["dynamic", "static", "none"] = "none"
    mean: Array | None = None
    std: Array | None = None
    _tensors: dict[torch.device, tuple[Tensor, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def continuous(self, x: Tensor) -> Tensor:
        """Return float32 values, before any binarisation."""
        x = x.to(torch.float32)
        if self.scale != 1.0:
            x = x / self.scale
        if self.mean is not None and self.std is not None:
            mean, std = self._standard(x.device)
            x = (x - mean) / std
        return x

    def invert(self, x: Tensor) -> Tensor:
        """Return values in the units of the data; a probability becomes its grey level."""
        if self.mean is not None and self.std is not None:
            mean, std = self._standard(x.device)
            x = x * std + mean
        return x * self.scale

    def _standard(self, device: torch.device) -> tuple[Tensor, ...]:
        """Mean and deviation as tensors, moved to a device once."""
        if device not in self._tensors:
            self._tensors[device] = tuple(
                torch.as_tensor(array, dtype=torch.float32, device=device)
                for array in (self.mean, self.std)
            )
        return self._tensors[device]

    @property
    def log_volume(self) -> float:
        """Nats per element by which a density in stored units is below one in the pair's units."""
        log_std = float(np.log(self.std).mean()) if self.std is not None else 0.0
        return float(np.log(self.scale)) + log_std

    def to_dict(self) -> dict[str, Any]:
        arrays = {"mean": self.mean, "std": self.std}
        lists = {key: value.tolist() for key, value in arrays.items() if value is not None}
        return {"scale": self.scale, "binarize": self.binarize, **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Transform":
        arrays = {key: np.asarray(values[key]) for key in ("mean", "std") if key in values}
        return cls(values["scale"], values["binarize"], **arrays)


def standardization(data: Data) -> tuple[Array, Array]:
    """Return mean and deviation per element of the scaled training rows, shape ``x_shape``.

    A constant element has the deviation 1. Of sequences, what is 0 or 1 in every frame, as a pen
    that is up or down, stays as it is.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> mean, std = standardization(from_arrays(np.full((20, 2), 3.0)))
    >>> mean, std
    (array([3., 3.]), array([1., 1.]))
    """
    rows = data.rows("train")
    stored = data.x[rows]
    if data.length is not None:
        stored = stored[is_frame(data.length[rows], stored.shape[1])]
    x = np.asarray(stored, dtype=np.float64) / data.scale
    mean, std = x.mean(axis=0), x.std(axis=0)
    if data.length is not None:
        is_binary = ((x == 0) | (x == 1)).all(axis=0)
        mean, std = np.where(is_binary, 0.0, mean), np.where(is_binary, 1.0, std)
    return mean, np.where(std > 0, std, 1.0)
