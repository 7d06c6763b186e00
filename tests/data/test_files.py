import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vaezoo.data.files.reader import load_file
from vaezoo.errors import RequestError

REAL = np.random.default_rng(0).standard_normal((20, 3))
GREY = np.random.default_rng(0).integers(0, 256, (20, 4, 5), dtype=np.uint8)


@pytest.fixture
def npy(tmp_path: Path) -> Callable[[Any], Path]:
    def save(x: Any) -> Path:
        np.save(tmp_path / "x.npy", x)
        return tmp_path / "x.npy"

    return save


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Write images by name, as arrays of pixels, into a folder."""

    def save(**by_name: np.ndarray) -> Path:
        for name, pixels in by_name.items():
            path = tmp_path / "images" / f"{name.replace('__', '/')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        return tmp_path / "images"

    return save


def test_npy_is_memory_mapped(npy: Callable[[Any], Path]) -> None:
    data = load_file(npy(REAL))
    assert isinstance(data.x, np.memmap)
    assert np.array_equal(data.x, REAL)
    assert data.scale == 1.0


def test_npy_of_grey_levels_gets_their_scale(npy: Callable[[Any], Path]) -> None:
    assert load_file(npy(GREY)).scale == 255.0


def test_npy_of_zeros_and_ones_keeps_its_scale(npy: Callable[[Any], Path]) -> None:
    assert load_file(npy(GREY // 128)).scale == 1.0


def test_other_byte_order_becomes_native(npy: Callable[[Any], Path]) -> None:
    x = load_file(npy(REAL.astype(">f4"))).x
    assert x.dtype.isnative
    assert np.array_equal(x, REAL.astype(np.float32))


def test_split_is_fixed_by_the_seed(npy: Callable[[Any], Path]) -> None:
    path = npy(REAL)
    first, again, other = (load_file(path, seed=seed).splits["test"] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_checksum_is_that_of_the_file(npy: Callable[[Any], Path]) -> None:
    path = npy(REAL)
    assert load_file(path).checksum == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("key", ["x", "data", "anything"])
def test_npz_key(npz: Callable[..., Path], key: str) -> None:
    assert np.array_equal(load_file(npz(**{key: REAL})).x, REAL)


@pytest.mark.parametrize("key", ["label", "y"])
def test_npz_label(npz: Callable[..., Path], key: str) -> None:
    data = load_file(npz(images=REAL, **{key: np.arange(20)}))
    assert np.array_equal(data.arrays["label"], np.arange(20))


def test_npz_text_labels_become_numbers(npz: Callable[..., Path]) -> None:
    data = load_file(npz(x=REAL, label=np.array(["b", "a"] * 10)))
    assert data.arrays["label"].tolist() == [1, 0] * 10


def test_npz_sequences(npz: Callable[..., Path]) -> None:
    data = load_file(npz(x=REAL.reshape(5, 4, 3), length=np.array([1, 2, 3, 4, 4])))
    assert data.kind == "sequences"


def test_npz_without_a_clear_key_lists_the_keys(npz: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match="the arrays a, b; name the data 'x'"):
        load_file(npz(a=REAL, b=REAL))


MALFORMED_ARRAYS = {
    "objects": (np.array([[{}], [{}]]), "Python objects"),
    "text": (np.array([["a", "b"]]), "not numbers"),
    "complex": (REAL.astype(complex), "not numbers"),
    "one dimension": (REAL[:, 0], "expected \\(N, D\\)"),
    "no rows": (REAL[:0], "no data"),
}


@pytest.mark.parametrize(("x", "message"), MALFORMED_ARRAYS.values(), ids=MALFORMED_ARRAYS)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_malformed_array_is_one_line(tmp_path: Path, kind: str, x: Any, message: str) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(path, x)
    else:
        np.savez(path, x=x)
    with pytest.raises(RequestError, match=message) as failure:
        load_file(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet"])
@pytest.mark.parametrize("raw", [b"", b"no such format", b"PK\x03\x04half"])
def test_damaged_file_is_one_line(tmp_path: Path, suffix: str, raw: bytes) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(raw)
    with pytest.raises(RequestError, match="cannot read") as failure:
        load_file(path)
    assert "\n" not in str(failure.value)


def test_truncated_npy_is_one_line(npy: Callable[[Any], Path]) -> None:
    path = npy(REAL)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RequestError, match="cannot read"):
        load_file(path)


def test_labels_of_another_length_are_refused(npz: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match="rows differ"):
        load_file(npz(x=REAL, label=np.arange(3)))


def test_csv_columns(csv: Callable[[str], Path]) -> None:
    data = load_file(csv("height,weight\n1.5,60\n1.7,70\n1.8,80\n"))
    assert data.columns == ("height", "weight")
    assert data.x.dtype == np.float32
    assert data.x[2].tolist() == pytest.approx([1.8, 80])


@pytest.mark.parametrize("name", ["label", "y", "class", "target"])
@pytest.mark.parametrize("values", ["213", "bac"])
def test_csv_label(csv: Callable[[str], Path], name: str, values: str) -> None:
    rows = "".join(f"{index}.5,{value}\n" for index, value in enumerate(values))
    data = load_file(csv(f"a,{name}\n{rows}"))
    assert data.columns == ("a",)
    assert np.argsort(data.arrays["label"]).tolist() == [1, 0, 2]


def test_csv_real_column_named_y_is_data(csv: Callable[[str], Path]) -> None:
    assert load_file(csv("x,y\n1,0.5\n2,1.5\n3,2.5\n")).columns == ("x", "y")


def test_csv_without_names(csv: Callable[[str], Path]) -> None:
    data = load_file(csv("1.5,2\n3,4\n5,6\n"))
    assert data.x.shape == (3, 2)
    assert data.columns == ()


def test_csv_with_numbered_columns(csv: Callable[[str], Path]) -> None:
    assert load_file(csv("0,1,2\n3,4,5\n6,7,8\n")).x.tolist() == [[3, 4, 5], [6, 7, 8]]


def test_csv_row_numbers_are_left_out(tmp_path: Path) -> None:
    pd.DataFrame(REAL, columns=["a", "b", "c"]).to_csv(tmp_path / "x.csv")
    assert load_file(tmp_path / "x.csv").columns == ("a", "b", "c")


def test_csv_missing_value_is_nan(csv: Callable[[str], Path]) -> None:
    assert np.isnan(load_file(csv("a,b\n1,2\n,4\n5,6\n")).x[1, 0])


MALFORMED_TABLES = {
    "empty": ("", "cannot read"),
    "no rows": ("a,b\n", "no rows"),
    "text": ("city\nRome\nRome\n", "no columns are left"),
    "ragged": ("a,b\n1,2\n1,2,3,4\n", "cannot read"),
    "label alone": ("label\na\nb\n", "no data"),
    "missing text label": ("a,label\n1,x\n2,\n", "no label in row 1"),
    "missing number label": ("a,label\n1,3\n2,\n", "no label in row 1"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED_TABLES.values(), ids=MALFORMED_TABLES)
def test_malformed_csv_is_one_line(csv: Callable[[str], Path], text: str, message: str) -> None:
    path = csv(text)
    with pytest.raises(RequestError, match=message) as failure:
        load_file(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_csv_of_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("größe,b\n1,2\n".encode("utf-16"))
    with pytest.raises(RequestError, match="cannot read"):
        load_file(tmp_path / "x.csv")


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, None], "label": ["n", "m", "n"]})
    table.astype({"b": "Int64"}).to_parquet(tmp_path / "x.parquet")
    data = load_file(tmp_path / "x.parquet")
    assert data.columns == ("a", "b")
    assert data.arrays["label"].tolist() == [1, 0, 1]
    assert np.isnan(data.x[2, 1])


@pytest.mark.skipif(os.name == "nt", reason="a pipe of POSIX")
@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "parquet"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"x.{ending}")
    with pytest.raises(RequestError, match="it is a pipe"):
        load_file(tmp_path / f"x.{ending}")


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(RequestError, match=r"pip install 'vaezoo\[parquet\]'"):
        load_file(tmp_path / "x.parquet")


def test_grey_images(images: Callable[..., Path]) -> None:
    data = load_file(images(b=GREY[1], a=GREY[0], c=GREY[2]))
    assert np.array_equal(data.x, GREY[:3])
    assert (data.kind, data.scale) == ("images", 255.0)


def test_colour_images_have_channels_first(images: Callable[..., Path]) -> None:
    colour = np.stack([GREY[0], GREY[1], GREY[2]], axis=-1)
    data = load_file(images(a=colour, b=colour, c=colour))
    assert np.array_equal(data.x[0], GREY[:3])


def test_grey_among_colour_becomes_colour(images: Callable[..., Path]) -> None:
    colour = np.stack([GREY[0], GREY[1], GREY[2]], axis=-1)
    data = load_file(images(a=GREY[3], b=colour, c=colour))
    assert np.array_equal(data.x[0], np.stack([GREY[3]] * 3))


def test_transparency_is_dropped(images: Callable[..., Path]) -> None:
    data = load_file(images(a=np.stack([GREY[0], GREY[1], GREY[2], GREY[3]], axis=-1)))
    assert np.array_equal(data.x[0], GREY[:3])


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpeg", "jpg", "JPG", "png", "webp"])
def test_image_formats(tmp_path: Path, suffix: str) -> None:
    for index in range(3):
        Image.fromarray(GREY[index]).save(tmp_path / f"{index}.{suffix}")
    assert load_file(tmp_path).x.shape[-2:] == (4, 5)


def test_sub_folders_are_labels(images: Callable[..., Path]) -> None:
    data = load_file(images(dog__a=GREY[0], cat__b=GREY[1], dog__c=GREY[2]))
    assert data.arrays["label"].tolist() == [0, 1, 1]
    assert np.array_equal(data.x[0], GREY[1])


def test_images_beside_sub_folders_are_refused(images: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match="both beside and in sub-folders"):
        load_file(images(dog__a=GREY[0], b=GREY[1]))


def test_hidden_files_are_left_out(images: Callable[..., Path]) -> None:
    folder = images(a=GREY[0], b=GREY[1], c=GREY[2])
    (folder / "._a.png").write_bytes(b"not an image")
    assert len(load_file(folder).x) == 3


def test_first_image_of_another_size_is_named(images: Callable[..., Path]) -> None:
    folder = images(a=GREY[0], b=GREY[1, :3], c=GREY[2, :2])
    with pytest.raises(RequestError, match=r"b\.png' is 5x3, but .*a\.png' is 5x4"):
        load_file(folder)


def test_unreadable_image_is_named(images: Callable[..., Path]) -> None:
    folder = images(a=GREY[0])
    (folder / "b.png").write_bytes(b"not an image")
    with pytest.raises(RequestError, match=r"b\.png' is not an image"):
        load_file(folder)


def test_truncated_image_is_named(images: Callable[..., Path]) -> None:
    folder = images(a=np.tile(GREY[0], (40, 40)))
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError, match=r"cannot read the image .*a\.png"):
        load_file(folder)


def test_sixteen_bits_are_refused(images: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match="more than 8 bits"):
        load_file(images(a=GREY[0].astype(np.uint16) * 256))


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no images"):
        load_file(tmp_path)


@pytest.mark.parametrize("change", ["pixels", "name"])
def test_folder_checksum_sees_names_and_pixels(images: Callable[..., Path], change: str) -> None:
    folder = images(a=GREY[0], b=GREY[1])
    before = load_file(folder).checksum
    if change == "pixels":
        images(a=GREY[2])
    else:
        (folder / "a.png").rename(folder / "aa.png")
    assert load_file(folder).checksum != before


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").touch()
    with pytest.raises(RequestError, match=r"expected .*\.npz"):
        load_file(tmp_path / "x.pkl")


def test_pickles_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    (tmp_path / "x.npy").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(RequestError, match="Python objects"):
        load_file(tmp_path / "x.npy")


def test_thousands_of_columns_of_one_name_are_refused(csv: Callable[[str], Path]) -> None:
    with pytest.raises(RequestError, match="2000 columns called 'a'"):
        load_file(csv(",".join(["a"] * 2000) + "\n"))
