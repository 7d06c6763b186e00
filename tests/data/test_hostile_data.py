"""Whatever a file or a value of a stranger is: numbers, or one line that names it."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from vaezoo.config import read_file
from vaezoo.data import load_data
from vaezoo.data.coercion import as_data
from vaezoo.errors import RequestError, VaezooError

X = np.arange(60.0, dtype=np.float32).reshape(20, 3)


def npy(**header: object) -> bytes:
    """A .npy file whose header says something else than there is."""
    stated = {"descr": "<f4", "fortran_order": False, "shape": (20, 3), **header}
    text = repr(stated).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + X.tobytes()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def cut(content: bytes, end: int) -> bytes:
    return content[:end]


FILES: dict[str, bytes] = {
    "empty.npy": b"",
    "magic.npy": b"\x93NUMPY",
    "version.npy": b"\x93NUMPY\x09\x00" + npy()[8:],
    "cut.npy": npy()[:150],
    "cut in the header.npy": npy()[:40],
    "negative.npy": npy(shape=(-20, 3)),
    "huge.npy": npy(shape=(2**60, 2**60)),
    "too many.npy": npy(shape=(10**30, 3)),
    "true.npy": npy(shape=(True, 3)),
    "text shape.npy": npy(shape="20"),
    "objects.npy": npy(descr="|O"),
    "no descr.npy": npy(descr="nonsense"),
    "odd descr.npy": npy(descr=[("a", "<f4")]),
    "deep descr.npy": npy(descr="(" * 40),
    "void.npy": npy(descr="|V4"),
    "text.npy": npy(descr="<U1"),
    "no dict.npy": npy().replace(b"{'descr'", b"['descr'"),
    "code.npy": npy().replace(b"'<f4'", b"exit()"),
    "empty.npz": b"",
    "no zip.npz": b"hello",
    "cut.npz": zipped(x=npy())[:200],
    "empty zip.npz": zipped(),
    "no numbers.npz": zipped(x=b"hello"),
    "inner cut.npz": zipped(x=npy()[:150]),
    "two.npz": zipped(a=npy(), b=npy()),
    "lengths.npz": zipped(x=npy(), length=npy()),
    "empty.csv": b"",
    "newlines.csv": b"\n\n\n",
    "zeros.csv": b"\0\0\0\0",
    "binary.csv": bytes(range(256)),
    "no utf-8.csv": b"a,b\n\xff,\xfe\n",
    "names only.csv": b"a,b,c\n",
    "ragged.csv": b"a,b\n1,2\n1,2,3\n1\n",
    "quote.csv": b'a,b\n"1,2\n',
    "text.csv": b"a,b\nx,y\n",
    "times.csv": b"id,time,v\n1,now,1\n1,then,2\n",
    "huge times.csv": b"id,time,v\n1,999999999-01-01,1\n1,2,2\n",
    "huge ints.csv": b"id,time,v\n1," + b"9" * 5000 + b",1\n1,2,2\n",
    "labels.csv": b"label,v\n,1\n1,2\n",
    "escapes.csv": b"\x1b[2J,b\nx,y\n",
    "empty.parquet": b"",
    "no parquet.parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
    "ending.xyz": b"1,2,3",
    "upper.NPY": b"nothing",
}
TOML: dict[str, bytes] = {
    "no utf-8": b"model = '\xff'",
    "deep": b"x = " + b"[" * 5000,
    "deep table": b".".join([b"a"] * 100_000) + b" = 1",
    "huge int": b"x = " + b"9" * 5000,
    "date": b"x = 9999-99-99",
    "unknown": b"x = 1",
    "zero": b"\0",
    "table of model": b"[model]\nx = 1",
    "no table": b"data = 3",
    "twice": b"model = 'a'\nmodel = 'b'",
    "escape": b'"\\u001b[2J" = 1',
}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(action: Callable[..., object], *args: object) -> str:
    with pytest.raises(VaezooError) as caught:
        action(*args)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_no_data_is_refused_by_its_name(name: str) -> None:
    Path(name).write_bytes(FILES[name])
    assert name in refusal(load_data, f"./{name}")


@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "parquet", "png"])
def test_a_file_that_may_not_be_read_is_refused(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    Path(f"x.{ending}").write_bytes(npy())
    monkeypatch.setattr(Path, "is_dir", forbidden)
    assert f"x.{ending}" in refusal(load_data, f"x.{ending}")


@pytest.mark.parametrize(
    "name", ["", " ", "\0", "a\0.npy", "x" * 5000, "~nobody-there/x.npy", "\ud800.npy", "no/x.npy"]
)
def test_a_path_that_is_none_is_refused(name: str) -> None:
    assert refusal(load_data, name)


@pytest.mark.parametrize("what", TOML)
def test_a_configuration_that_cannot_be_read_is_refused(what: str) -> None:
    Path("config.toml").write_bytes(TOML[what])
    assert "config.toml" in refusal(read_file, Path("config.toml"))


class Raises:
    """A value whose every answer is an exception of its author."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise SystemExit(5)

    def __len__(self) -> int:
        raise GeneratorExit

    def __repr__(self) -> str:
        raise SystemExit(6)


class RaisingMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise SystemExit(7)

    def __len__(self) -> int:
        return 1


class RaisingItems(Dataset[Any]):
    def __getitem__(self, row: int) -> Any:
        if row == 3:
            raise KeyError("row")
        return torch.zeros(2)

    def __len__(self) -> int:
        return 9


VALUES: dict[str, Any] = {
    "none": None,
    "number": 3,
    "set": {1, 2},
    "bytes": bytearray(b"abc"),
    "function": len,
    "type": int,
    "generator": (i for i in range(3)),
    "empty list": [],
    "empty tuple": (),
    "empty array": np.zeros((0, 3)),
    "no columns": np.zeros((20, 0)),
    "scalar": np.float32(3),
    "vector": np.zeros(20),
    "objects": np.array([[1, "a"], [2, None]], dtype=object),
    "text": np.array([["a", "b"]]),
    "complex": np.zeros((20, 2), complex),
    "dates": np.zeros((20, 2), "datetime64[s]"),
    "structured": np.zeros(20, [("a", "f4")]),
    "ragged": [[1.0, 2.0], [1.0]],
    "nested": [[[[[]]]]],
    "strings": ["a", "b"],
    "dicts": [{"a": 1}],
    "nones": [[None, 1.0], [2.0, 3.0]],
    "huge ints": [[10**400, 1], [1, 2]],
    "raises": Raises(),
    "list of raises": [Raises(), Raises()],
    "rows of raises": [[Raises(), 1.0], [1.0, 2.0]],
    "mapping": RaisingMapping(),
    "mapping without x": {"y": X},
    "mapping of raises": {"x": X, "c": Raises()},
    "mapping of numbers": {1: X},
    "rows differ": {"x": X, "c": X[:3]},
    "items": RaisingItems(),
    "meta": torch.zeros(4, 4, device="meta"),
    "half": torch.zeros(4, 4, dtype=torch.bfloat16),
    "lengths": {"x": np.zeros((4, 3, 2)), "length": np.array([1, 2, 3, 99])},
    "real lengths": {"x": np.zeros((4, 3, 2)), "length": np.ones(4)},
    "infinite": np.full((20, 3), np.inf, dtype=object),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_value_that_is_no_data_is_refused(what: str) -> None:
    with pytest.raises(RequestError):
        as_data(VALUES[what])


def test_an_item_that_raises_is_named() -> None:
    with pytest.raises(RequestError, match="item 3 of the Dataset"):
        as_data(RaisingItems())


def test_the_files_above_are_what_they_say() -> None:
    """The generators above make what they say."""
    assert np.array_equal(np.load(io.BytesIO(npy())), X)
    assert json.dumps(sorted(np.load(io.BytesIO(zipped(x=npy()))).files)) == '["x"]'
