"""Annotated matrices, as of single cells: ``.h5ad`` files, and AnnData in memory.

``X`` of shape ``(N, D)``, dense or sparse, is x; ``obs`` is a table with a row for each of N
observations, ``var`` has the names of the D variables, and ``layers`` are other matrices.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.files.arrays import dense
from vaezoo.data.files.columns import (
    checked_columns,
    codes_of_texts,
    column_values,
    is_text,
    refuse_missing_text,
)
from vaezoo.data.files.contents import Contents, lacking
from vaezoo.data.splits import are_splits
from vaezoo.data.stores.chunks import read_chunked
from vaezoo.data.stores.hdf5 import inside, require_inside
from vaezoo.errors import RequestError, nearest, shown
from vaezoo.settings import DataSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_annotated", "read_h5ad"]

_LABELS = ("label", "y", "class", "target")
_MOST_NAMES = 6


def read_h5ad(path: Path, how: DataSettings) -> Contents:
    """Return what a ``.h5ad`` file holds: a matrix, and the columns of ``obs`` that are named.

    Raises
    ------
    RequestError
        When it is no such file.
    """
    with h5py.File(path, "r") as file:
        for key in ("X", "obs"):
            if key not in file:
                raise RequestError(f"'{path}' has no '{key}', as an annotated matrix has")
        layers = {name: inside(file["layers"], name) for name in file.get("layers", ())}
        return _contents(
            f"'{path}'",
            {"X": inside(file, "X"), **layers},
            _frame(inside(file, "obs")),
            _names(inside(file, "var")) if "var" in file else (),
            how,
        )


def read_annotated(value: Any, how: DataSettings) -> Contents:
    """Return what an AnnData in memory holds, as :func:`read_h5ad` does.

    Parameters
    ----------
    value
        Of any class with ``X``, ``obs``, ``var_names`` and ``layers``.
    how
        Which columns are the label, the group, and so on.

    Examples
    --------
    >>> import pandas as pd
    >>> from types import SimpleNamespace
    >>> obs = pd.DataFrame({"kind": ["B", "T"]})
    >>> cells = SimpleNamespace(X=np.eye(2), obs=obs, var_names=["CD4", "CD8"], layers={})
    >>> read_annotated(cells, DataSettings(name="", label="kind")).arrays["label"]
    array([0, 1])
    """
    names = tuple(map(str, value.var_names))
    return _contents("AnnData", {"X": value.X, **dict(value.layers)}, value.obs, names, how)


def _contents(
    where: str,
    matrices: Mapping[str, Any],
    obs: "pd.DataFrame",
    names: tuple[str, ...],
    how: DataSettings,
) -> Contents:
    obs = obs.reset_index(drop=True).rename(columns=str)
    key, chosen, columns = _chosen(where, matrices, names, how)
    x = _matrix(matrices[key], chosen, where)
    if len(x) != len(obs):
        raise RequestError(f"{where} has {len(x)} rows in '{key}' and {len(obs)} in 'obs'")
    arrays, texts = {"x": x}, {}
    label = _label(obs, how)
    named = {n: some for n, some in how.columns.items() if n != "x"}
    named = {**named, **({"label": label} if label and "label" not in named else {})}
    for argument, some in checked_columns(named, map(str, obs), (), where).items():
        arrays[argument] = column_values(obs, some, how.categories)
        for column in (some,) if isinstance(some, str) else some:
            if is_text(obs[column]):
                texts[column] = codes_of_texts(obs[column], how.categories.get(column))[1]
    return Contents(
        arrays,
        columns,
        texts,
        _notes(key, obs, label),
        _split(obs),
        _group(obs, how.group),
        lacking(how, map(str, obs), where),
    )


def _chosen(
    where: str, matrices: Mapping[str, Any], names: tuple[str, ...], how: DataSettings
) -> tuple[str, list[int] | None, tuple[str, ...]]:
    """Return the matrix that is x, which of its variables, and their names.

    What settings name as x is a layer, or variables of X; variables may be left out.
    """
    asked = how.columns.get("x", ())
    asked = (asked,) if isinstance(asked, str) else asked
    key, wanted = "X", names
    if len(asked) == 1 and asked[0] in matrices:
        key = asked[0]
    elif asked:
        for name in asked:
            if name not in names:
                hint = nearest(name, (*matrices, *names))
                listed = hint if hint.startswith("did you") else f"layers are {', '.join(matrices)}"
                raise RequestError(
                    f"`columns`: {where} has no layer and no variable '{name}'; {listed}"
                )
        wanted = tuple(asked)
    if wanted == names:
        return key, None, names
    places = {name: place for place, name in enumerate(names)}
    return key, [places[name] for name in wanted], wanted


def _matrix(stored: Any, chosen: list[int] | None, where: str) -> Array:
    """Return a matrix, dense or sparse, in memory or in a file, or some of its columns."""
    if isinstance(stored, h5py.Group):
        stored = _sparse(stored, where)
    if hasattr(stored, "toarray"):
        return dense(stored if chosen is None else stored.tocsc()[:, chosen], where)
    if isinstance(stored, h5py.Dataset):
        require_inside(stored, where)
    x = read_chunked(stored, where)
    return x if chosen is None else x[:, chosen]


def _sparse(group: h5py.Group, where: str) -> Any:
    """Return a sparse matrix as anndata writes it, of this and of older versions."""
    from scipy import sparse

    kind = str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    make = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}.get(kind.removesuffix("_matrix"))
    if make is None or shape is None:
        raise RequestError(f"{where}: '{group.name}' is no matrix that can be read")
    parts = [read_chunked(inside(group, key), where) for key in ("data", "indices", "indptr")]
    matrix = make(tuple(parts), shape=tuple(int(size) for size in shape))
    matrix.check_format()  # places outside of the matrix would be read
    return matrix


def _frame(obs: Any) -> "pd.DataFrame":
    """Return the table of observations of a file."""
    import pandas as pd

    if isinstance(obs, h5py.Dataset):  # before anndata 0.7
        rows = obs[()]
        return pd.DataFrame({name: _decoded(rows[name]) for name in rows.dtype.names or ()})
    index = str(obs.attrs.get("_index", "_index"))
    size = len(obs[index])
    columns = [str(name) for name in obs.attrs.get("column-order", ())]
    return pd.DataFrame({c: _column(obs, c) for c in columns}, index=range(size))


def _column(obs: h5py.Group, name: str) -> Any:
    import pandas as pd

    stored = inside(obs, name)
    if isinstance(stored, h5py.Dataset):
        return _decoded(stored[()])
    if "codes" in stored:
        texts = _decoded(inside(stored, "categories")[()])
        return pd.Categorical.from_codes(inside(stored, "codes")[()], pd.Index(texts).astype(str))
    values, mask = (inside(stored, key)[()] for key in ("values", "mask"))
    return pd.Series(_decoded(values)).mask(pd.Series(mask))


def _names(var: Any) -> tuple[str, ...]:
    """Return the names of the variables of a file."""
    if isinstance(var, h5py.Dataset):
        return tuple(map(str, _decoded(var[()][(var.dtype.names or ("index",))[0]])))
    return tuple(map(str, _decoded(inside(var, str(var.attrs.get("_index", "_index")))[()])))


def _decoded(values: Array) -> Array:
    if values.dtype.kind not in "OS":
        return values
    return np.array([v.decode() if isinstance(v, bytes) else v for v in values], dtype=object)


def _label(obs: "pd.DataFrame", how: DataSettings) -> str | None:
    if how.label is not None:
        return how.label if how.label in obs and how.label != "none" else None
    return next((name for name in _LABELS if name in obs and _tells_kinds(obs[name])), None)


def _tells_kinds(column: "pd.Series[Any]") -> bool:
    return is_text(column) or column.dtype.kind in "ui"


def _split(obs: "pd.DataFrame") -> Array | None:
    if "split" not in obs or not are_splits(obs["split"].unique()):
        return None
    return obs["split"].to_numpy(dtype=str)


def _group(obs: "pd.DataFrame", name: str | None) -> Array | None:
    if name is None or name not in obs:
        return None
    refuse_missing_text(obs[name])
    return obs[name].astype(str).to_numpy(dtype=str)


def _notes(key: str, obs: "pd.DataFrame", label: str | None) -> tuple[str, ...]:
    """Say which matrix is x, and what there is beside it."""
    others = [str(name) for name in obs if name not in (label, "split")]
    listed = ", ".join(map(shown, others[:_MOST_NAMES])) + ", ..." * (len(others) > _MOST_NAMES)
    notes = [f"x: the matrix '{key}'"]
    notes += [f"label: column {shown(label)} of obs"] if label else []
    notes += [f"left out: columns of obs {listed} (`label`, `group` name one)"] if others else []
    return tuple(notes)
