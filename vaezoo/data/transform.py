"""What happens to stored values before a pair sees them, and its inverse for output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array, Data
from vaezoo.data.padding import is_frame
from vaezoo.errors import shown

__all__ = ["Transform", "describe_transform", "standardization"]

Drawn: TypeAlias = Literal["dynamic", "static", "none"]

_LARGEST_OFFSET = 100.0  # in deviations: of 24 bits, the values then have 17 left
_LARGEST_AT_ONCE = 2**25  # bytes in float64
_PIECE = 2**22


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
    binarize: Drawn = "none"
    mean: Array | None = None
    std: Array | None = None
    _tensors: dict[torch.device, tuple[Tensor, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def continuous(self, x: Tensor) -> Tensor:
        """Return float32 values, before any binarisation."""
        standard = self._standard(x.device)
        x = x.to(standard[0].dtype if standard else torch.float32)
        if self.scale != 1.0:
            x = x / self.scale
        if standard:
            mean, std = standard
            x = (x - mean) / std
        return x.to(torch.float32)

    def invert(self, x: Tensor) -> Tensor:
        """Return values in the units of the data; a probability becomes its grey level."""
        if standard := self._standard(x.device):
            mean, std = standard
            x = x.to(mean.dtype) * std + mean
        return x * self.scale

    @property
    def is_offset(self) -> bool:
        """Whether an element varies so little beside its mean that 32 bits would lose it."""
        if self.mean is None or self.std is None:
            return False
        return bool((np.abs(self.mean) > _LARGEST_OFFSET * self.std).any())

    def _standard(self, device: torch.device) -> tuple[Tensor, ...]:
        """Mean and deviation as tensors, moved to a device once; none where there are none."""
        if self.mean is None or self.std is None:
            return ()
        if device not in self._tensors:
            dtype = torch.float64 if self.is_offset else torch.float32
            self._tensors[device] = tuple(
                torch.as_tensor(array, dtype=dtype, device=device)
                for array in (self.mean, self.std)
            )
        return self._tensors[device]

    @property
    def spread(self) -> Array:
        """What differences of x are counted in: deviations of standardised elements, else 1."""
        return np.asarray(1.0 if self.std is None else self.std * self.scale)

    @property
    def unit_of_x(self) -> str:
        """What that is, in words."""
        return "units of x" if self.std is None else "deviations of x"

    @property
    def log_volume(self) -> float:
        """Nats per element by which a density in stored units is below one in the pair's units."""
        log_std = float(np.log(self.std).mean()) if self.std is not None else 0.0
        return float(np.log(self.scale)) + log_std

    @property
    def log_volumes(self) -> Array:
        """The same of each element, in a shape that broadcasts with ``x_shape``."""
        log_std = np.log(self.std) if self.std is not None else 0.0
        return np.asarray(np.log(self.scale) + log_std)

    def fits(self, x_shape: tuple[int, ...]) -> bool:
        """Whether it can be of data of a shape, that of one datum or frame."""
        return all(a is None or a.shape == x_shape for a in (self.mean, self.std))

    def to_dict(self) -> dict[str, Any]:
        arrays = {"mean": self.mean, "std": self.std}
        lists = {key: value.tolist() for key, value in arrays.items() if value is not None}
        return {"scale": self.scale, "binarize": self.binarize, **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Transform":
        """Return the transform of a file, whose values are looked at.

        Raises
        ------
        ValueError
            When they cannot be those of a transform.
        """
        names = [key for key in ("mean", "std") if key in values]
        arrays = {key: np.asarray(values[key], np.float64) for key in names}
        scale, binarize = float(values["scale"]), values["binarize"]
        if not (0 < scale < np.inf and binarize in get_args(Drawn) and len(arrays) != 1):
            raise ValueError(f"no transform: scale {scale}, binarize {shown(binarize)}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("the mean or the deviation is not finite")
        if "std" in arrays and not (arrays["std"] > 0).all():
            raise ValueError("a deviation is not positive")
        return cls(scale, binarize, **arrays)


def describe_transform(transform: Transform) -> str:
    """Return what happens to values, in one line; empty where nothing does.

    Examples
    --------
    >>> describe_transform(Transform(std=np.array([0.5, 90.0]), mean=np.zeros(2)))
    'x is standardised: its elements have deviations 0.5 ... 90 (`standardize=False`: as it is)'
    >>> describe_transform(Transform(255.0, "dynamic"))
    'x is divided by 255 (`scale=1`: as it is), then 0 or 1 with that probability'
    """
    parts = []
    if transform.scale != 1.0:
        parts.append(f"divided by {transform.scale:g} (`scale=1`: as it is)")
    if transform.std is not None:
        low, high = float(transform.std.min()), float(transform.std.max())
        span = f"{low:.3g} ... {high:.3g}" if low < high else f"{low:.3g}"
        line = f"standardised: its elements have deviations {span}"
        parts.append(f"{line} (`standardize=False`: as it is)")
    if transform.binarize != "none":
        parts.append("0 or 1 with that probability")
    return f"x is {', then '.join(parts)}" if parts else ""


def standardization(
    data: Data, *, scale: float | None = None, keep: Array | None = None
) -> tuple[Array, Array]:
    """Return mean and deviation per element of the scaled training rows, shape ``x_shape``.

    A constant element, and one that is always missing, has the deviation 1. What is nan does not
    count. Of sequences, what is 0 or 1 in every frame, as a pen that is up or down, stays as it is.

    Parameters
    ----------
    data
        Rows.
    scale
        By which they are divided, by default that of the data.
    keep
        Elements that stay as they are, true in an array of ``x_shape``; with these, everything that
        is 0 or 1 stays, too.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> mean, std = standardization(from_arrays(np.full((20, 2), 3.0)))
    >>> mean, std
    (array([3., 3.]), array([1., 1.]))
    """
    data = data if scale is None else replace(data, scale=scale)
    rows = data.rows("train")
    size = 8 * int(np.prod(data.x.shape[1:]))
    if size * len(rows) <= _LARGEST_AT_ONCE:
        mean, std, is_binary = _moments_of(data, rows)
    else:
        number = max(1, _PIECE // size)
        parts = [rows[start : start + number] for start in range(0, len(rows), number)]
        mean, std, is_binary = _moments_in_pieces(data, parts)
    kept = is_binary if data.length is not None else np.zeros_like(is_binary)
    kept = kept if keep is None else keep | is_binary
    mean, std = np.where(kept, 0.0, mean), np.where(kept, 1.0, std)
    return mean, np.where(std > 0, std, 1.0)


def _values(data: Data, rows: Array) -> Array:
    """Return the frames of some rows, scaled, in float64."""
    stored = data.x[rows]
    if data.length is not None:
        stored = stored[is_frame(data.length[rows], stored.shape[1])]
    scaled: Array = np.asarray(stored, dtype=np.float64) / data.scale
    return scaled


def _moments_of(data: Data, rows: Array) -> tuple[Array, Array, Array]:
    x = _values(data, rows)
    if np.isnan(x).any():
        return _moments_in_pieces(data, [rows])
    return x.mean(axis=0), x.std(axis=0), ((x == 0) | (x == 1)).all(axis=0)


def _moments_in_pieces(data: Data, parts: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Return mean and deviation of the entries that are there, and what is binary."""
    number: Any = 0
    total: Any = 0.0
    squares: Any = 0.0
    is_binary: Any = True
    for x in (_values(data, rows) for rows in parts):
        there = ~np.isnan(x)
        number = number + there.sum(axis=0)
        total = total + np.where(there, x, 0.0).sum(axis=0)
        is_binary = is_binary & (~there | (x == 0) | (x == 1)).all(axis=0)
    mean = total / np.maximum(number, 1)
    for x in (_values(data, rows) for rows in parts):
        squares = squares + (np.where(np.isnan(x), 0.0, x - mean) ** 2).sum(axis=0)
    return mean, np.sqrt(squares / np.maximum(number, 1)), np.asarray(is_binary)
