"""Folders of pictures.

Pillow knows some sixty formats, among them some that start other programs, as EPS does Ghostscript.
A picture is opened by the five that its ending may stand for, and no other.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, reason_of
from vaezoo.runtime.memory import require_memory
from vaezoo.runtime.reading import open_plain, read_plain
from vaezoo.settings import DataSettings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["decoded", "read_pictures"]

_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
_MOST_PIXELS = 2**24  # of one picture, 4096 x 4096
_LARGEST = 2**29  # bytes of one file


def read_pictures(path: Path, how: DataSettings) -> tuple[Array, list[str], str]:
    """Return the pictures of a folder, and of the folders in it, resized or cut as settings say.

    Returns
    -------
    tuple
        Grey ``(N, H, W)`` or colour ``(N, 3, H, W)``, of bytes; the sub-folder of each, as
        ``train/cat``, none if there are none; the checksum of names and contents.

    Raises
    ------
    RequestError
        When there are none, one is no picture or too large, or they are of several sizes.
    """
    pictures = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in _ENDINGS]
    files = [file for file in pictures if not file.name.startswith(".")]
    if not files:
        raise RequestError(f"no images in '{path}'; expected {', '.join(_ENDINGS)}")
    folders = [f.parent.relative_to(path).as_posix() for f in files if f.parent != path]
    if folders and len(folders) != len(files):
        raise RequestError(f"'{path}' has images both beside and in sub-folders: move them")
    x = _blank(f"'{path}'", files, open_plain, how)
    digest = hashlib.sha256()
    for picture, file in zip(x, files, strict=True):
        raw = read_plain(file, _LARGEST)
        digest.update(f"{file.relative_to(path).as_posix()}\0{len(raw)}\0".encode() + raw)
        picture[...] = _pixels(file, raw, picture.ndim == 3, how)
    return x, folders, digest.hexdigest()


def decoded(
    names: Sequence[str], opened: Callable[[str], Any], where: str, how: DataSettings
) -> Array:
    """Return pictures that lie in memory, as :func:`read_pictures` does those of a folder.

    Parameters
    ----------
    names
        What messages call each picture.
    opened
        Opens one of them.
    where
        What messages call them all.
    how
        Whether they are resized or cut.
    """
    if not names:
        raise RequestError(f"{where} has no pictures")
    x = _blank(where, names, opened, how)
    for picture, name in zip(x, names, strict=True):
        with opened(name) as content:
            picture[...] = _pixels(name, content.read(), picture.ndim == 3, how)
    return x


def _blank(
    where: str, files: Sequence[Any], opened: Callable[[Any], Any], how: DataSettings
) -> Array:
    """An array for all pictures, from their headers: colour when one of them is."""
    sizes, colour = [], False
    for file in files:
        with opened(file) as content, _opened(file, content) as image:
            sizes.append(_size_of(file, image.size, how))
            colour = colour or image.mode not in ("1", "L", "LA")
        if sizes[-1] != sizes[0]:
            raise RequestError(
                f"'{file}' is {sizes[-1][0]}x{sizes[-1][1]}, but '{files[0]}' is "
                f"{sizes[0][0]}x{sizes[0][1]}: make all images one size, as `resize=64` does"
            )
    width, height = sizes[0]
    shape = (len(files), *((3,) if colour else ()), height, width)
    require_memory(int(np.prod(shape, dtype=object)), where, "make the images smaller")
    return np.zeros(shape, np.uint8)


def _size_of(file: object, size: tuple[int, int], how: DataSettings) -> tuple[int, int]:
    """Return the width and height that a picture gets."""
    if how.crop and min(size) < how.crop and not how.resize:
        raise RequestError(
            f"'{file}' is {size[0]}x{size[1]}, smaller than `crop={how.crop}`; use `resize`"
        )
    side = how.crop or how.resize
    return (side, side) if side else size


def _fitted(image: "Image", how: DataSettings) -> "Image":
    """Return a picture scaled until its shorter side fits, and the square in its middle."""
    if how.resize:
        factor = how.resize / min(image.size)
        width, height = (max(how.resize, round(factor * side)) for side in image.size)
        image = image.resize((width, height))
    side = how.crop or how.resize
    if not side:
        return image
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _pixels(file: object, raw: bytes, colour: bool, how: DataSettings) -> Array:
    with _opened(file, io.BytesIO(raw)) as image:
        if image.mode == "P":
            image = image.convert("RGBA")
        pixels = np.asarray(_fitted(image.convert("RGB" if colour else "L"), how))
    return pixels.transpose(2, 0, 1) if colour else pixels


@contextmanager
def _opened(file: object, content: IO[bytes]) -> Iterator["Image"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(content, formats=_FORMATS) as image,
        ):
            _refuse_form(file, image)
            yield image
    except UnidentifiedImageError as error:
        raise RequestError(f"'{file}' is not an image; remove it") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError(f"cannot read the image '{file}': {reason_of(error)}") from error


def _refuse_form(file: object, image: "Image") -> None:
    """Refuse what its header says is no single picture of bytes, or too large to be decoded."""
    if image.mode[0] in "IF":
        raise RequestError(f"'{file}' has more than 8 bits a value; save it as .npy")
    if image.width * image.height > _MOST_PIXELS:
        raise RequestError(
            f"'{file}' is {image.width}x{image.height}, more than {_MOST_PIXELS} pixels; "
            "make it smaller"
        )
    # Photographs of telephones, "MPO", have another picture behind the first for the brightness.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise RequestError(f"'{file}' has several frames; save each as an image of its own")
