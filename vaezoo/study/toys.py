"""Data sets that studies make, or cut from others: their factors are known, or a class is away."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vaezoo.data import Data

__all__ = ["CLASSES", "dequantised", "digits_but_8", "noisy_digits", "shapes", "without_class"]

SIZE, NUM_SHAPES, NUM_TEST = 12, 3000, 800
CLASSES = {"shape": 3, "width": 3, "column": 5, "row": 5}


def shapes(seed: int = 0) -> "Data":
    """Return 3,000 pictures of 12 x 12 of one shape each, with four independent factors.

    ``shape`` (disc, square, diamond; the ``label``), ``width``, ``column`` and ``row`` are classes;
    within a class the value is uniform, and edges are soft, so that no two pictures are alike.
    White noise of 0.02 gives them a density. Every factor is as likely in each class as in another.

    Examples
    --------
    >>> data = shapes()
    >>> data.x.shape, sorted(data.arrays)
    ((3000, 12, 12), ['column', 'label', 'row', 'shape', 'width', 'x'])
    """
    from vaezoo.data import from_arrays

    rng = np.random.default_rng(seed)
    classes = {name: rng.integers(n, size=NUM_SHAPES) for name, n in CLASSES.items()}
    place = {
        name: (classes[name] + rng.random(NUM_SHAPES)) / number for name, number in CLASSES.items()
    }
    half = 1.2 + 1.6 * place["width"]
    middle = [3.0 + (SIZE - 7.0) * place[name] for name in ("row", "column")]
    grid = np.arange(SIZE)
    down = np.abs(grid[None, :, None] - middle[0][:, None, None])
    along = np.abs(grid[None, None, :] - middle[1][:, None, None])
    distances = np.stack(
        [np.hypot(down, along), np.maximum(down, along) * 1.1, (down + along) * 0.8]
    )
    distance = distances[classes["shape"], np.arange(NUM_SHAPES)]
    x = 1 / (1 + np.exp(3 * (distance - half[:, None, None])))
    x = x + rng.normal(scale=0.02, size=x.shape)
    ends = np.split(np.arange(NUM_SHAPES), [NUM_TEST, NUM_TEST + 200])
    splits = dict(zip(("test", "validation", "train"), ends, strict=True))
    arrays: dict[str, Any] = {"label": classes["shape"], **classes}
    return from_arrays(x.astype(np.float32), name="shapes", scale=1.0, splits=splits, **arrays)


def dequantised(name: str, *, limit: int | None = None, seed: int = 0) -> "Data":
    """Return grey pictures with uniform noise of one grey level, in [0, 1]: they have a density.

    Uria, Murray & Larochelle 2013, *RNADE*, sec. 4. Without it an element that never varies is
    worth as many nats as one likes.

    Parameters
    ----------
    name
        Of grey pictures that :func:`vaezoo.load_data` knows.
    limit
        At most so many rows of each split, the first ones.
    seed
        Of the noise.

    Examples
    --------
    >>> x = dequantised("digits").x
    >>> x.shape, bool(x.min() >= 0 and x.max() <= 1)
    ((1797, 8, 8), True)
    """
    from vaezoo.data import from_arrays, load_data

    data = load_data(name)
    rows = {split: own[:limit] for split, own in data.splits.items()}
    every = np.concatenate(list(rows.values()))
    greys = np.asarray(data.x[every], np.float32)
    noise = np.random.default_rng(seed).random(greys.shape, np.float32)
    ends = np.cumsum([len(own) for own in rows.values()])
    splits = {
        split: np.arange(end - len(own), end)
        for (split, own), end in zip(rows.items(), ends, strict=True)
    }
    arrays: dict[str, Any] = {
        key: np.asarray(value[every]) for key, value in data.arrays.items() if key != "x"
    }
    x = (greys + noise) / np.float32(data.scale + 1)
    return from_arrays(x, name=f"dequantised {name}", scale=1.0, splits=splits, **arrays)


def noisy_digits(num_train: int | None = None) -> "Data":
    """Return the digits in 0 ... 1, with noise as wide as a step of their 17 greys.

    With a number, so many of them for training, the 360 last ones for validation and test; the
    splits and the noise are others than those of :func:`dequantised`.

    Examples
    --------
    >>> noisy_digits(50).rows("train").shape
    (50,)
    """
    from sklearn.datasets import load_digits

    from vaezoo.data import as_data

    x = load_digits().images
    x = ((x + np.random.default_rng(0).random(x.shape)) / 17).astype(np.float32)
    if num_train is None:
        return as_data(x)
    return as_data({"train": x[:1437][:num_train], "validation": x[1437:1617], "test": x[1617:]})


def without_class(data: "Data", label: int) -> "Data":
    """Return data that have a class in the test rows only, in ``held_out`` 1 for it and else 0.

    Examples
    --------
    >>> data = without_class(dequantised("digits"), 8)
    >>> [bool((data.arrays["label"][data.splits[s]] == 8).any()) for s in ("train", "test")]
    [False, True]
    """
    from vaezoo.data import from_arrays

    is_held = np.asarray(data.arrays["label"]) == label
    splits = {
        split: rows if split == "test" else rows[~is_held[rows]]
        for split, rows in data.splits.items()
    }
    moved = np.concatenate([rows[is_held[rows]] for s, rows in data.splits.items() if s != "test"])
    splits["test"] = np.concatenate([splits["test"], moved])
    arrays: dict[str, Any] = {k: v for k, v in data.arrays.items() if k != "x"}
    arrays["held_out"] = is_held.astype(np.int64)
    name = f"{data.name} without {label}"
    return from_arrays(data.x, name=name, scale=data.scale, splits=splits, **arrays)


def digits_but_8() -> "Data":
    """Return the digits with noise, of which the training has no 8.

    Examples
    --------
    >>> digits_but_8().name
    'dequantised digits without 8'
    """
    return without_class(dequantised("digits"), 8)
