"""The user's own data: arrays, tables and folders of images."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaezoo.data.columns import Columns, refuse_unread
from vaezoo.data.dataset import Array, Data, checked_arrays, grey_scale, random_splits
from vaezoo.data.tables import read_csv, read_parquet
from vaezoo.errors import RequestError, refusing

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["load_file"]

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_ZIP = b"PK"
_LABELS = ("label", "y")
_LENGTHS = ("length", "lengths")


def load_file(path: str | Path, *, seed: int = 0, columns: Columns | None = None) -> Data:
    """Return a user's own data, split at random by ``seed`` into 80 % / 10 % / 10 %.

    ======================  ==================================================================
    ``.npy``                ``x``, memory-mapped
    ``.npz``                ``x`` under the key ``x`` or ``data``, or as the only array; perhaps
                            ``label`` (or ``y``); ``length`` (or ``lengths``) for sequences ``x``
                            of shape ``(N, T, D)``, whose padding is replaced by zeros; further
                            arrays of N rows, by the name of the model's argument
    ``.csv``, ``.parquet``  one row a datum; a column ``label``, ``y``, ``class`` or ``target``
                            of text or whole numbers is the label, all others are numbers; a
                            first column without a name (row numbers) is left out
    the same, with columns  sequences, one row a frame: ``id`` tells which sequence, ``time`` (a
    ``id`` and ``time``     number or an ISO 8601 date) orders its frames and does nothing else; a
                            label is constant in each sequence
    a folder of images      of one size; grey ``(H, W)`` or colour ``(3, H, W)``, transparency
                            dropped; sub-folders are labels
    ======================  ==================================================================

    Labels that are text become numbers in alphabetical order. Sequences are numbered in the order
    in which they first appear.

    Columns of a table may stand for other arguments of the model: ``{"c": ["age", "income"]}`` is
    ``c`` of shape ``(N, 2)``, ``{"c": "age"}`` of shape ``(N,)``. Of sequences, what differs in
    some sequence from frame to frame is ``(N, T, k)``, all else has one value a sequence.

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
        return _load(Path(path).expanduser(), seed, columns or {})


def _load(path: Path, seed: int, columns: Columns) -> Data:
    if path.is_dir():
        refuse_unread(columns, ("x", "label"), f"the folder '{path}'")
        return _folder(path, seed)
    if not path.is_file():
        raise RequestError(f"no file or folder '{path}'")
    if path.suffix.lower() not in _READERS:
        endings = ", ".join(_READERS)
        raise RequestError(f"cannot read '{path}': expected {endings}, or a folder of images")
    arrays, elements = _READERS[path.suffix.lower()](path, columns)
    with path.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    return _data(path, arrays, seed, checksum, elements)


def _data(
    path: Path, arrays: Mapping[str, Array], seed: int, checksum: str, columns: tuple[str, ...] = ()
) -> Data:
    native = {name: _native(array) for name, array in arrays.items()}
    arrays = checked_arrays(native, str(path))
    splits = random_splits(len(arrays["x"]), seed)
    return Data(str(path), arrays, splits, grey_scale(arrays["x"]), checksum, columns)


def _native(array: Array) -> Array:
    """The array in a format that torch knows: the machine's byte order, at most 64 bits."""
    if array.dtype == np.longdouble:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


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


def _read_numpy(path: Path, columns: Columns) -> tuple[dict[str, Array], tuple[str, ...]]:
    arrays = _numpy_arrays(path)
    refuse_unread(columns, arrays, f"'{path}'")
    return arrays, ()


def _numpy_arrays(path: Path) -> dict[str, Array]:
    with path.open("rb") as stream:
        if stream.read(2) != _ZIP:
            return {"x": np.load(path, mmap_mode="r", allow_pickle=False)}
        stream.seek(0)
        stored = np.load(stream, allow_pickle=False)
        names = _names_of(path, stored.files)
        arrays = {name: stored[key] for key, name in names.items()}
    if not isinstance(arrays["x"], np.ndarray):
        raise ValueError("its data are no array")
    return {n: array for n, array in _coded(arrays).items() if _has_rows(n, array, arrays)}


def _names_of(path: Path, keys: list[str]) -> dict[str, str]:
    """Return what each array of a file is called: ``x``, ``label``, ``length``, or by its key."""
    names = {key: key for key in keys}
    names[_key_of_x(path, keys)] = "x"
    for name, aliases in (("label", _LABELS), ("length", _LENGTHS)):
        key = next((alias for alias in aliases if alias in keys and names[alias] != "x"), None)
        if key is not None:
            names[key] = name
    return names


def _coded(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array if name == "x" else _codes(array) for name, array in arrays.items()}


def _has_rows(name: str, array: Array, arrays: Mapping[str, Array]) -> bool:
    """Whether an array has the rows of x, or a name under which it is refused without them.

    What else a file holds, as a table of names or the settings of an instrument, is no data.
    """
    if name in ("x", "label", "length"):
        return True
    return array.ndim > 0 and len(array) == len(arrays["x"]) and array.dtype.kind in "buif"


def _key_of_x(path: Path, keys: list[str]) -> str:
    others = [key for key in keys if key not in (*_LABELS, *_LENGTHS)]
    for key in ("x", "data"):
        if key in keys:
            return key
    if len(others) == 1:
        return others[0]
    raise RequestError(
        f"'{path}' has the arrays {', '.join(sorted(keys)) or '(none)'}; name the data 'x'"
    )


def _codes(label: Array) -> Array:
    """Whole numbers for labels that are text, in alphabetical order."""
    return np.unique(label, return_inverse=True)[1] if label.dtype.kind in "US" else label


def _folder(path: Path, seed: int) -> Data:
    images = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in _IMAGES]
    files = [file for file in images if not file.name.startswith(".")]
    if not files:
        raise RequestError(f"no images in '{path}'; expected {', '.join(_IMAGES)}")
    arrays = {"x": _blank(files)}
    digest = hashlib.sha256()
    for image, file in zip(arrays["x"], files, strict=True):
        raw = file.read_bytes()
        digest.update(f"{file.relative_to(path).as_posix()}\0{len(raw)}\0".encode() + raw)
        image[...] = _pixels(file, raw, image.ndim == 3)
    labels = [file.relative_to(path).parts[0] for file in files if file.parent != path]
    if labels:
        if len(labels) != len(files):
            raise RequestError(f"'{path}' has images both beside and in sub-folders: move them")
        arrays["label"] = _codes(np.array(labels))
    return _data(path, arrays, seed, digest.hexdigest())


def _blank(files: list[Path]) -> Array:
    """An array for all images, from their headers: colour when one of them is."""
    sizes, colour = [], False
    for file in files:
        with _opened(file, file) as image:
            sizes.append(image.size)
            colour = colour or image.mode not in ("1", "L", "LA")
        if sizes[-1] != sizes[0]:
            raise RequestError(
                f"'{file}' is {sizes[-1][0]}x{sizes[-1][1]}, but '{files[0]}' is "
                f"{sizes[0][0]}x{sizes[0][1]}: make all images one size"
            )
    width, height = sizes[0]
    shape = (3, height, width) if colour else (height, width)
    return np.zeros((len(files), *shape), np.uint8)


def _pixels(file: Path, raw: bytes, colour: bool) -> Array:
    with _opened(file, io.BytesIO(raw)) as image:
        if image.mode == "P":
            image = image.convert("RGBA")
        pixels = np.asarray(image.convert("RGB" if colour else "L"))
    return pixels.transpose(2, 0, 1) if colour else pixels


@contextmanager
def _opened(file: Path, source: Path | io.BytesIO) -> Iterator["Image"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source) as image:
            if image.mode[0] in "IF":
                raise RequestError(f"'{file}' has more than 8 bits a value; save it as .npy")
            yield image
    except UnidentifiedImageError as error:
        raise RequestError(f"'{file}' is not an image; remove it") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError(f"cannot read the image '{file}': {error}") from error


_Reader = Callable[[Path, Columns], tuple[dict[str, Array], tuple[str, ...]]]
_READERS: dict[str, _Reader] = {
    ".csv": read_csv,
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".parquet": read_parquet,
}
