"""The user's own data: arrays, tables and folders of images."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Array, Data
from vaezoo.data.files.arrays import codes_of, read_arrays
from vaezoo.data.files.columns import Columns, refuse_unread, settings_of
from vaezoo.data.files.contents import Contents, lacking
from vaezoo.data.files.from_contents import data_of
from vaezoo.data.files.joining import with_others
from vaezoo.data.files.pictures import read_pictures
from vaezoo.data.files.sounds import read_sounds, sounds_in
from vaezoo.data.files.tables import read_csv
from vaezoo.data.splits import are_splits, split_names
from vaezoo.data.stores.arrow import is_saved, read_parquet, read_saved
from vaezoo.data.stores.chunks import is_store, read_store
from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.reading import require_plain
from vaezoo.settings import DataSettings

__all__ = ["ENDINGS", "load_file", "load_path"]


def load_file(
    path: str | Path,
    *,
    seed: int = 0,
    columns: Columns | None = None,
    settings: DataSettings | None = None,
    whole: bool = False,
) -> Data:
    """Return a user's own data, split at random by ``seed`` into 80 % / 10 % / 10 %.

    ======================  ==================================================================
    ``.npy``                ``x``, memory-mapped
    ``.npz``                ``x`` under the key ``x`` or ``data``, or as the only array; perhaps
                            ``label`` (or ``y``); ``length`` (or ``lengths``) for sequences ``x``
                            of shape ``(N, T, D)``, whose padding is replaced by zeros; further
                            arrays of N rows, by the name of the model's argument
    ``.csv``, ``.parquet``  one row a datum; a column ``label``, ``y``, ``class`` or ``target``
                            of text or whole numbers is the label, all others are elements of x:
                            numbers, truth values, dates as days, texts as zeros and ones; a
                            first column without a name (row numbers) is left out; fields of a
                            ``.csv`` or ``.tsv`` are separated by a comma, semicolon, tab or bar,
                            those of numbers by blanks, too, and decimals have a point or, but
                            between commas, a comma; ``.txt``, ``.dat`` and ``.data`` are the same
    the same, with columns  sequences, one row a frame: ``id`` tells which sequence, ``time`` (a
    ``id`` and ``time``     number or an ISO 8601 date) orders its frames and does nothing else; a
                            label is constant in each sequence
    a folder of images      of one size; grey ``(H, W)`` or colour ``(3, H, W)``, transparency
                            dropped; sub-folders are labels, or splits and then labels
    a folder of ``.wav``    recordings as sequences of frames
    the same, with columns  pictures ``{"bytes": ...}``, arrays, or sequences as x; also a data set
    of pictures or lists    of Hugging Face that was saved to disk, with its splits
    a folder of zarr        an array, or a group of them as in a ``.npz``
    ``.h5``, ``.hdf5``      arrays at the root, as in a ``.npz``
    ``.h5ad``               an annotated matrix: ``X``, or the layer or the variables that
                            ``columns`` name as x; columns of ``obs`` by ``label`` and ``group``
    ======================  ==================================================================

    Labels that are text become numbers in alphabetical order. Sequences are numbered in the order
    in which they first appear.

    Columns of a table may stand for other arguments of the model: ``{"c": ["age", "income"]}`` is
    ``c`` of shape ``(N, 2)``, ``{"c": "age"}`` of shape ``(N,)``. Of sequences, what differs in
    some sequence from frame to frame is ``(N, T, k)``, all else has one value a sequence.
    ``settings`` say all of this, instead of ``seed`` and ``columns``. ``whole`` takes all rows as
    each split, unless the file says its splits itself.

    Raises
    ------
    RequestError
        When there is no such path, or it does not hold numbers of the form above.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.npy"
    >>> np.save(path, np.zeros((20, 3)))
    >>> load_file(path).x.shape
    (20, 3)
    """
    with _refusing_file(path):
        how = settings or settings_of(str(path), seed, columns)
        return _load(Path(path).expanduser(), how, whole)


def load_path(path: Path, how: DataSettings, *, whole: bool = False) -> Data:
    """Return the data of a file, or of one for each split, named or in a folder.

    Parameters
    ----------
    path
        Of the file, or the folder.
    how
        How it is read, and which files are other splits of it.
    whole
        Take all rows of a file as each split, unless it says its splits itself.
    """
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


def _load(path: Path, how: DataSettings, whole: bool) -> Data:
    if path.is_dir() and (is_store(path) or is_saved(path)):
        contents, checksum = (read_store if is_store(path) else read_saved)(path, how)
        return data_of(str(path), contents, how, checksum=checksum, whole=whole)
    if path.is_dir():
        refuse_unread(how.columns, ("x", "label"), f"the folder '{path}'")
        return _folder(path, how, whole)
    if not path.exists():
        raise RequestError(f"no file or folder '{path}'")
    require_plain(path)
    if path.suffix.lower() in _PACKED:
        raise RequestError(f"cannot read '{path}': it is packed; unpack it first")
    if path.suffix.lower() not in _READERS:
        endings = ", ".join(_READERS)
        raise RequestError(f"cannot read '{path}': expected {endings}, or a folder of images")
    contents = _READERS[path.suffix.lower()](path, how)
    with path.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    return data_of(str(path), contents, how, checksum=checksum, whole=whole)


@contextmanager
def _refusing_file(path: str | Path) -> Iterator[None]:
    with refusing(f"cannot read '{path}'"):
        try:
            yield
        except ValueError as error:
            if not ("allow_pickle" in str(error) or "Python objects" in str(error)):
                raise
            raise RequestError(
                f"cannot read '{path}': it holds Python objects or is damaged; save arrays of "
                "numbers, sequences padded to one length with 'length' beside them"
            ) from error


def _folder(path: Path, how: DataSettings, whole: bool) -> Data:
    """Return pictures or sounds, whose folders are labels, or splits and then labels."""
    arrays: dict[str, Array]
    notes: tuple[str, ...] = ()
    if sounds := sounds_in(path):
        arrays, folders, checksum, line = read_sounds(path, sounds, how.frame)
        notes = (line,)
    else:
        x, folders, checksum = read_pictures(path, how)
        arrays = {"x": x}
    if folders and len(folders) != len(arrays["x"]):
        raise RequestError(f"'{path}' has files both beside and in sub-folders: move them")
    parts = [folder.split("/") for folder in folders]
    split = [some[0] for some in parts]
    if has_splits := are_splits(split):
        notes = (
            *notes,
            "splits: the folders " + ", ".join(sorted(set(split))),
        )
        parts = [some[1:] for some in parts]
    if parts and all(parts) and how.label != "none":
        arrays["label"] = codes_of(np.array([some[0] for some in parts]))
    rows = np.array(split) if has_splits else None
    lacks = lacking(how, (), f"the folder '{path}'", pictures=not sounds)
    contents = Contents(arrays, notes=notes, split=rows, lacks=lacks)
    return data_of(str(path), contents, how, checksum=checksum, whole=whole)


def _read_h5ad(path: Path, how: DataSettings) -> Contents:
    from vaezoo.data.stores.annotated import read_h5ad  # with h5py

    return read_h5ad(path, how)


def _read_hdf5(path: Path, how: DataSettings) -> Contents:
    from vaezoo.data.stores.hdf5 import read_hdf5

    return read_hdf5(path, how)


_Reader = Callable[[Path, DataSettings], Contents]
_READERS: dict[str, _Reader] = {
    ".csv": read_csv,
    ".dat": read_csv,
    ".data": read_csv,
    ".h5": _read_hdf5,
    ".h5ad": _read_h5ad,
    ".hdf5": _read_hdf5,
    ".npy": read_arrays,
    ".npz": read_arrays,
    ".parquet": read_parquet,
    ".tsv": read_csv,
    ".txt": read_csv,
}
_PACKED = (".7z", ".bz2", ".gz", ".tar", ".tgz", ".xz", ".zip", ".zst")
ENDINGS = tuple(_READERS)
