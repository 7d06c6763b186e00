"""Handwriting: the path of a pen, one offset a frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Data
from vaezoo.data.padding import pad
from vaezoo.data.sets.readers import decompress
from vaezoo.errors import RequestError

__all__ = ["PEN_UNIT", "read_pen_digits"]

PEN_UNIT = 8.5
_FIRST_HELD_OUT_WRITER = 25  # of 30, in the file for training


@dataclass
class _Digit:
    label: int
    writer: int = 0
    strokes: list[list[tuple[int, int]]] = field(default_factory=list)


def read_pen_digits(paths: Sequence[Path]) -> Data:
    """Read the pen paths of Alimoglu & Alpaydin 1998 from their files for training and test.

    A frame of ``x (N, T, 3)`` is ``(dx, dy, pen)``: the offset from the point before, y upwards, in
    units of 8.5 points of the tablet (the deviation of an offset within a stroke), and 1 when the
    pen is lifted after this point, else 0 (as Graves 2013, arXiv:1308.0850). The first point has
    none before it, so a digit of n points has n - 1 frames. ``label`` is the digit.

    Nobody is in two splits: writers 25 to 30 of the file for training are for validation, and the
    file for test has writers of its own.

    Raises
    ------
    RequestError
        When a line is not of the UNIPEN format as these files use it; it is named.
    """
    trained, tested = (list(_digits(path)) for path in paths)
    digits = trained + tested
    held_out = np.array([digit.writer >= _FIRST_HELD_OUT_WRITER for digit in trained])
    x, length = pad([_offsets(digit) for digit in digits], str(paths[0]))
    label = np.array([digit.label for digit in digits], dtype=np.int64)
    splits = {
        "train": np.flatnonzero(~held_out),
        "validation": np.flatnonzero(held_out),
        "test": np.arange(len(trained), len(digits)),
    }
    arrays = {"x": x, "length": length, "label": label}
    return Data("pendigits", arrays, splits, columns=("dx", "dy", "pen"))


def _offsets(digit: _Digit) -> NDArray[np.float32]:
    path = [point for stroke in digit.strokes for point in stroke]
    points = np.array(path, dtype=np.float32).reshape(-1, 2)
    pen = np.zeros((len(points), 1), np.float32)
    pen[np.cumsum([len(stroke) for stroke in digit.strokes], dtype=np.int64) - 1] = 1
    return np.hstack([np.diff(points, axis=0) / np.float32(PEN_UNIT), pen[1:]])


def _digits(path: Path) -> Iterator[_Digit]:
    digit: _Digit | None = None
    for number, line in enumerate(decompress(path).decode("ascii", "replace").splitlines(), 1):
        words = line.split()
        try:
            if words[:2] == [".SEGMENT", "DIGIT"]:
                if digit:
                    yield digit
                digit = _Digit(int(words[-1].strip('"')))
            elif digit and words:
                _read_line(digit, words)
        except (IndexError, ValueError) as error:
            raise RequestError(f"{path}, line {number}: cannot read '{line.strip()}'") from error
    if digit is None:
        raise RequestError(f"{path} holds no digits in the UNIPEN format")
    yield digit


def _read_line(digit: _Digit, words: list[str]) -> None:
    if words[0] == ".COMMENT":
        digit.writer = int(words[2])
    elif words[0] == ".PEN_DOWN":
        digit.strokes.append([])
    elif not words[0].startswith("."):
        x, y = words
        digit.strokes[-1].append((int(x), int(y)))
