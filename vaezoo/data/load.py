"""Data sets by name, or the user's own by their path."""

import os
from dataclasses import replace
from pathlib import Path

from vaezoo.data.dataset import Data
from vaezoo.data.files.columns import Columns, refuse_unread, settings_of
from vaezoo.data.files.joining import with_others
from vaezoo.data.files.reader import ENDINGS, load_file
from vaezoo.data.sets.sources import SOURCES, Source, load_source
from vaezoo.data.splits import are_splits, split_names
from vaezoo.errors import RequestError, nearest, printable, refusing, shown
from vaezoo.settings import DataSettings

__all__ = ["list_data", "load_data"]


def load_data(
    spec: str | Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    settings: DataSettings | None = None,
    whole: bool = False,
) -> Data:
    """Return a data set by its name, or the user's own by its path.

    Parameters
    ----------
    spec
        A name (``"mnist"``; see :func:`list_data`), or the path of a ``.npy``, ``.npz``, ``.csv``
        or ``.parquet`` file or of a folder of images (see :func:`load_file`). A name comes first:
        write ``./mnist`` for a folder of that name.
    data_dir
        Where files of named data sets may lie already, besides the folder that the environment
        variable ``VAEZOO_DATA`` names.
    seed
        Of the split of the user's own data. Named data sets have a fixed split.
    columns
        Columns of a table that are other arguments of the model, as ``{"c": ["age", "income"]}``.
    settings
        All about how a file is read, instead of ``seed`` and ``columns``.
    whole
        Take all rows of a file as each split, unless it says its splits itself.

    Raises
    ------
    RequestError
        When there is no such data set or path, or it cannot be used.
    RunError
        When a download fails.

    Examples
    --------
    >>> load_data("digits").x.shape
    (1797, 8, 8)
    """
    if not isinstance(spec, str | Path):
        raise RequestError(f"data are named by a text or a path, not by {shown(spec)}")
    how = settings or settings_of(str(spec), seed, columns)
    if spec in SOURCES:
        data = load_source(str(spec), data_dir=data_dir)
        refuse_unread(how.columns, data.arrays, data.name)
        return data
    with refusing(f"cannot look for '{printable(str(spec), 100)}'"):
        is_there = Path(spec).expanduser().exists()
    if is_there:
        return _with_files_of_splits(Path(spec).expanduser(), how, whole)
    looks_like_path = Path(spec).suffix or os.sep in str(spec)
    missing = f"no file or folder '{spec}'" if looks_like_path else f"no data set '{spec}'"
    hint = nearest(Path(spec).stem, SOURCES)
    raise RequestError(f"{missing}; {hint} (or give a .npy, .npz, .csv, .parquet or image folder)")


def _with_files_of_splits(path: Path, how: DataSettings, whole: bool) -> Data:
    """Return the data of a file, or of one for each split, named or in a folder."""
    with refusing(f"cannot look into '{path}'"):
        train, others = _files_of_splits(path, how)
    data = load_file(train, settings=how, whole=whole and not others)
    data = with_others(
        data, others, how, lambda other, how: load_file(other, settings=how, whole=True)
    )
    return replace(data, name=str(path))


def _files_of_splits(path: Path, how: DataSettings) -> tuple[Path, dict[str, Path]]:
    """Return the file of the training, and those of validation and test where there are any."""
    named = {"validation": how.validation_data, "test": how.test_data}
    others = {split: Path(name).expanduser() for split, name in named.items() if name}
    if not path.is_dir():
        return path, others
    files = {file.stem: file for file in sorted(path.iterdir()) if file.suffix in ENDINGS}
    if not (files and are_splits(files) and "train" in (splits := split_names(files))):
        return path, others
    return splits["train"], {**{s: f for s, f in splits.items() if s != "train"}, **others}


def list_data() -> list[Source]:
    """Return what is known of the named data sets, sorted by name.

    Examples
    --------
    >>> [source.name for source in list_data()][:2]
    ['binarized-mnist', 'breast-cancer']
    """
    return [SOURCES[name] for name in sorted(SOURCES)]
