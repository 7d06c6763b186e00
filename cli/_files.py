"""Writing data to the file that a user names, in the format of its ending."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.decoder.strips import plot_side_by_side
from vaezoo.plots.figures import drawing, plot_data, plot_pairs, signed
from vaezoo.predict.observed import Predicted, shown
from vaezoo.runs import Run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.storage import write_bytes

__all__ = ["output", "write_csv", "write_data", "write_npz", "write_pairs", "write_several"]


@contextmanager
def output(run: Run, out: Path | None, name: str) -> Iterator[Path]:
    """Yield the file to write to: the one that a user named, or a figure of the run.

    Below a picture stands what it is, of which run and step, wherever it lies.

    Parameters
    ----------
    run
        Whose it is.
    out
        What a user named; None for a figure of the run.
    name
        Of the figure in a run folder, as ``samples.png``.
    """
    if out is None:
        with drawing(run, name) as path:
            yield path
        return
    yield out
    if out.suffix == ".png":
        write_bytes(out, signed(run, out.read_bytes(), name))


def write_data(
    path: Path,
    arrays: Mapping[str, Array],
    run: Run,
    *,
    given: Given | None = None,
    begun: int | None = None,
) -> None:
    """Write ``x`` as a picture, or all arrays as ``.npz``, with the conditions that were given.

    Of sequences, the first ``begun`` frames were given.
    """
    if path.suffix == ".npz":
        write_npz(path, {**{name: np.asarray(v) for name, v in (given or {}).items()}, **arrays})
    else:
        plot_data(run, path, arrays["x"], begun=begun)


def write_pairs(path: Path, data: Predicted, x: Predicted, run: Run) -> None:
    """Write data and what was made of them: ``x`` as alternating rows, or all arrays as ``.npz``.

    Of several arguments, the data of ``w`` are called ``data_w``.
    """
    if isinstance(data, dict) and isinstance(x, dict) and path.suffix == ".npz":
        write_npz(path, {**x, **{f"data_{name}": rows for name, rows in data.items()}})
    elif path.suffix == ".npz":
        write_npz(path, {"data": shown(data), "x": shown(x)})
    else:
        plot_pairs(run, path, shown(data), shown(x))


def write_several(
    path: Path,
    data: Predicted | None,
    x: Predicted,
    run: Run,
    titles: Sequence[str],
    *,
    note: str,
    given: Given | None = None,
) -> None:
    """Write several things that are made of each datum, as :func:`write_pairs` writes one.

    In a ``.npz`` they are ``(N, S, ...)``, and ``columns`` names the S.
    """
    if path.suffix != ".npz":
        of_picture = None if data is None else shown(data)
        plot_side_by_side(run, of_picture, shown(x), titles, path, note)
        return
    arrays = {name: np.asarray(value) for name, value in (given or {}).items()}
    if data is not None:
        arrays |= (
            {f"data_{n}": v for n, v in data.items()} if isinstance(data, dict) else {"data": data}
        )
    arrays |= x if isinstance(x, dict) else {"x": x}
    write_npz(path, {**arrays, "columns": np.array(titles)})


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as ``.npz``, at once."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def write_csv(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays of N rows as columns of a table, ``z_0, z_1, ...``, at once."""
    columns = {}
    for name, values in arrays.items():
        flat = values.reshape(len(values), -1)
        for index in range(flat.shape[1]):
            label = name if values.ndim == 1 else f"{name}_{index}"
            columns[label] = flat[:, index]
    lines = [",".join(columns)]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
