"""Files of data that are damaged or hostile: refused in one line, or read."""

import gzip
import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attacks.bench import CANARY, called, misbehaviour
from attacks.table import Attack

__all__ = ["attacks"]

MUTATIONS = 30
LARGE = {"inflates to 3 GB"}  # but no more than a machine may have


class _Bomb:
    """Leaves a canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


def attacks(home: Path) -> Iterator[Attack]:
    """Yield mutations of files of every format, and files made to harm."""
    for name, content in _samples().items():
        for number in range(MUTATIONS):
            attempt = partial(_mutated, name, content, number)
            yield Attack("data file damaged", f"{name} {number}", attempt)
    for name, make in HOSTILE.items():
        yield Attack("data file made to harm", name, partial(_shown, make))
        if name not in LARGE:
            yield Attack("data file made to harm", f"{name}, trained", partial(_trained, make))


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _samples() -> dict[str, bytes]:
    """Return small sound files of every format by name."""
    from PIL import Image

    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4)).astype(np.float32)
    npz, packed, png, jpg = (io.BytesIO() for _ in range(4))
    np.savez(npz, x=x, label=np.arange(30))
    np.savez_compressed(packed, x=np.zeros((30, 5, 2)), length=rng.integers(1, 5, 30))
    grey = Image.fromarray(rng.integers(0, 255, (8, 8)).astype(np.uint8))
    grey.save(png, "png")
    grey.save(jpg, "jpeg")
    rows = "\n".join(",".join(f"{value:.4f}" for value in row) for row in x)
    samples = {
        "x.npy": _npy(x),
        "x.npz": npz.getvalue(),
        "packed.npz": packed.getvalue(),
        "x.csv": f"a,b,c,d\n{rows}\n".encode(),
        "folder/x.png": png.getvalue(),
        "folder/x.jpg": jpg.getvalue(),
    }
    try:
        import pandas as pd
    except ImportError:
        return samples
    parquet = io.BytesIO()
    try:
        pd.DataFrame(x, columns=list("abcd")).to_parquet(parquet)
    except ImportError:
        return samples
    return {**samples, "x.parquet": parquet.getvalue()}


def _mutated(name: str, content: bytes, number: int, place: Path) -> str:
    rng = random.Random(f"{name} {number}")
    changed = bytearray(content)
    at = rng.randrange(len(changed))
    kind = number % 4
    if kind == 0:
        del changed[at:]
    elif kind == 1:
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        for _ in range(8):  # most of a format's promises stand in its first bytes
            changed[rng.randrange(min(200, len(changed)))] = rng.randrange(256)
    else:
        changed[at:at] = rng.randbytes(rng.randrange(1, 64))
    file = place / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(changed)
    if file.parent != place:
        (file.parent / f"sound{file.suffix}").write_bytes(content)
        file = file.parent
    return misbehaviour(called(place, "data", "show", file))


def _shown(make: Callable[[Path], Path], place: Path) -> str:
    path = make(place)
    outcome = called(place, "data", "show", path)
    if (place / CANARY).exists():
        return "EXECUTED"
    return misbehaviour(outcome)


def _trained(make: Callable[[Path], Path], place: Path) -> str:
    path = make(place)
    words = ("train", "vae-linear", "--data", path, "--steps", "2", "--set", "z_dim=2", "--json")
    outcome = called(place, *words)
    if (place / CANARY).exists():
        return "EXECUTED"
    return misbehaviour(outcome)


def _written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
        return place / name

    return make


def _header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _pickled(place: Path) -> Path:
    np.save(place / "x.npy", np.array([_Bomb(place / CANARY)], object), allow_pickle=True)
    return place / "x.npy"


def _pickled_npz(place: Path) -> Path:
    np.savez(place / "x.npz", x=np.zeros((9, 2)), label=np.array([_Bomb(place / CANARY)], object))
    return place / "x.npz"


def _inflating(place: Path) -> Path:
    """A few MB that become 3 GB."""
    with (
        zipfile.ZipFile(place / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(_header("(768, 1048576)"))
        piece = bytes(2**22)
        for _ in range(768):
            file.write(piece)
    return place / "x.npz"


def _fifo(name: str) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / name).parent.mkdir(exist_ok=True)
        os.mkfifo(place / name)
        return place / name

    return make


def _linked(name: str, target: str) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / name).symlink_to(target)
        return place / name

    return make


def _sparse(name: str, head: bytes, size: int) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        with (place / name).open("wb") as file:
            file.write(head)
            file.truncate(size)
        return place / name

    return make


def _picture(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        _written(f"pictures/{name}", content() if callable(content) else content)(place)
        return place / "pictures"

    return make


def _png_of(width: int, height: int) -> bytes:
    """A picture of one colour: a few kB for as many pixels as one likes."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    pack = zlib.compressobj(9)
    row = bytes(min(width, 20000) + 1)
    body = b"".join(pack.compress(row) for _ in range(min(height, 20000))) + pack.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _postscript(place: Path) -> Path:
    """A program for Ghostscript, with the ending of a picture."""
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({place / CANARY}) (w) file\n"
    return _picture("x.png", program.encode())(place)


def _self_link(place: Path) -> Path:
    (place / "pictures").mkdir()
    (place / "pictures" / "again").symlink_to(place / "pictures")
    return place / "pictures"


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "pickle in npy": _pickled,
    "pickle in npz": _pickled_npz,
    "inflates to 3 GB": _inflating,
    "npy of 10^15 rows": _written("x.npy", _header("(1000000000000000, 4)")),
    "npy of negative rows": _written("x.npy", _header("(-5, 4)")),
    "npy whose shape overflows": _written("x.npy", _header(f"({2**62}, {2**62})")),
    "npy whose shape has 10^5 digits": _written("x.npy", _header(f"({'9' * 60000}, 4)")),
    "npy whose shape is a call": _written("x.npy", _header("(__import__('os').system('true'),)")),
    "npy of records": _written("x.npy", _header("(3,)", "[('a', '<f4'), ('b', 'O')]") + bytes(24)),
    "npy of nested brackets": _written("x.npy", _header("(" * 20000)),
    "npy with escapes": _written("x.npy", _header("(1,)", "'\\x1b[2J\\x07evil'")),
    "npy of 50 GB": _sparse("x.npy", _header("(12500000000, 1)"), 50 * 2**30),
    "csv of 50 GB": _sparse("x.csv", b"a,b\n1,2\n", 50 * 2**30),
    "npz of 50 GB": _sparse("x.npz", b"PK\x03\x04", 50 * 2**30),
    "parquet of 50 GB": _sparse("x.parquet", b"PAR1", 50 * 2**30),
    "csv with a field of 20 MB": _written("x.csv", b"a,b\n" + b"1" * 20_000_000 + b",2\n"),
    "csv with 10^5 columns": _written("x.csv", b",".join([b"a"] * 100000) + b"\n"),
    "csv with escapes": _written("x.csv", b"\x1b[2J\x07,b\nx\x1b[31m,2\n"),
    "csv with escapes in names": _written("x.csv", b"\x1b]0;evil\x07,b\n" + b"1,2\n" * 20),
    "csv of null bytes": _written("x.csv", bytes(1000)),
    "csv in UTF-16": _written("x.csv", "a,b\n1,2\n".encode("utf-16")),
    "csv of huge numbers": _written("x.csv", b"a,b\n" + b"1e999,2\n" * 20),
    "csv of huge whole numbers": _written("x.csv", b"label,b\n" + b"9" * 400 + b",2\n1,1\n1,3\n"),
    "csv with one quote": _written("x.csv", b'a,b\n"1,2\n' + b"1,2\n" * 50),
    "csv with formulas": _written("x.csv", b"=cmd|'/c calc'!A0,b\n" + b"1,2\n" * 20),
    "gzip as npy": _written("x.npy", gzip.compress(bytes(100))),
    "zip without arrays": _written("x.npz", b"PK\x05\x06" + bytes(18)),
    "json as npy": _written("x.npy", json.dumps([1, 2]).encode()),
    "FIFO .npy": _fifo("x.npy"),
    "FIFO .npz": _fifo("x.npz"),
    "FIFO .csv": _fifo("x.csv"),
    "FIFO .parquet": _fifo("x.parquet"),
    "FIFO picture": lambda place: _fifo("pictures/x.png")(place).parent,
    "endless .csv": _linked("x.csv", "/dev/zero"),
    "endless .npy": _linked("x.npy", "/dev/zero"),
    "endless .npz": _linked("x.npz", "/dev/zero"),
    "random .csv": _linked("x.csv", "/dev/urandom"),
    "link to itself": _linked("x.npy", "x.npy"),
    "picture of 13000 x 13000": _picture("x.png", lambda: _png_of(13000, 13000)),
    "picture of 10^9 x 10^9": _picture("x.png", lambda: _png_of(2**31 - 1, 9)),
    "picture in PostScript": _postscript,
    "picture that is text": _picture("x.png", b"no picture"),
    "picture in PSD": _picture("x.png", b"8BPS\x00\x01" + bytes(100)),
    "picture in TIFF": _picture("x.png", b"II*\x00\x08\x00\x00\x00" + b"\xff" * 100),
    "picture in ICNS": _picture("x.png", b"icns\x00\x00\x10\x00" + b"ic09" + b"\xff" * 100),
    "picture with escapes in its name": _picture("\x1b[2Jx.png", b"no picture"),
    "folder in itself": _self_link,
    "folder without pictures": lambda place: place,
}
