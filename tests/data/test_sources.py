import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from vaezoo.data.sets.readers import read_idx
from vaezoo.data.sets.sources import SOURCES, Source, default_source, get_source, load_source
from vaezoo.errors import RequestError

BUNDLED = ["digits", "digits-rows"]
PUBLISHED = ["binarized-mnist", "frey", "mnist"]
NAMED_OTHERWISE = {
    "pendigits-train": "pendigits-orig.tra",
    "pendigits-test": "pendigits-orig.tes",
    "v1.0.9.tar.gz": "free-spoken-digit-dataset-1.0.9.tar.gz",
}


def idx(shape: tuple[int, ...], num_values: int, magic: int | None = None) -> bytes:
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + bytes(range(num_values))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_is_row_major(tmp_path: Path, compress: type[bytes]) -> None:
    path = tmp_path / "images"
    path.write_bytes(compress(idx((2, 3, 4), 24)))
    assert np.array_equal(read_idx(path, 3), np.arange(24).reshape(2, 3, 4))


MALFORMED = {
    "empty": (b"", "not an IDX file"),
    "html": (b"<html>not found</html>", "not an IDX file"),
    "other type": (idx((2, 3, 4), 24, magic=0x0D03), "not an IDX file"),
    "other dimensions": (idx((6,), 6), "not an IDX file"),
    "too short": (idx((2, 3, 4), 23), "announces 24 values .* holds 23"),
    "too long": (idx((2, 3, 4), 25), "announces 24 values .* holds 25"),
    "truncated gzip": (gzip.compress(idx((2, 3, 4), 24))[:-9], "broken gzip"),
    "damaged gzip": (gzip.compress(idx((2, 3, 4), 24))[:12] + b"damage" * 9, "broken gzip"),
}


@pytest.mark.parametrize(("raw", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_idx_is_one_line(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(raw)
    with pytest.raises(RequestError, match=message) as failure:
        read_idx(path, 3)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'fashion-mnist'"):
        get_source("fashion_mnist")


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_facts_are_complete(source: Source) -> None:
    assert source.name == source.name.lower()
    assert all((source.summary, source.licence, source.citation))
    for remote in source.remotes:
        assert remote.urls
        for form in remote.forms:
            ends = [url.rpartition("/")[2] for url in form.urls]
            named = {form.file} if ends else set()  # one without an address is found on disk only
            assert {NAMED_OTHERWISE.get(end, end) for end in ends} == named
        assert all(
            re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum)
            for checksum in remote.checksums
        )


@pytest.mark.parametrize("is_there", [True, False])
def test_preferred_data_are_the_default_where_they_are_on_disk(
    tmp_path: Path, is_there: bool
) -> None:
    folder = tmp_path / "dsprites"
    folder.mkdir()
    if is_there:
        (folder / SOURCES["dsprites"].remotes[0].file).write_bytes(b"looked at when it is read")
    name = default_source("images", "dsprites", data_dir=tmp_path)
    assert name == ("dsprites" if is_there else "digits")


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_facts_hold(name: str) -> None:
    data = load_source(name)
    assert data.x.shape == SOURCES[name].shape
    assert data.kind == SOURCES[name].kind


def test_digits() -> None:
    data = load_source("digits")
    assert data.x.dtype == np.uint8
    assert (data.x.min(), data.x.max(), data.scale) == (0, 16, 16.0)
    assert sorted(set(data.arrays["label"])) == list(range(10))
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 1437,
        "validation": 180,
        "test": 180,
    }


def test_digits_rows_are_the_digits() -> None:
    rows = load_source("digits-rows")
    assert np.array_equal(rows.x, load_source("digits").x)
    assert set(rows.arrays["length"]) == {8}


def test_checksum_is_the_same_every_time() -> None:
    assert load_source("digits").checksum == load_source("digits").checksum


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_facts_hold(name: str, real_data: Path) -> None:
    data = load_source(name, data_dir=real_data)
    assert data.x.shape == SOURCES[name].shape
    assert data.kind == SOURCES[name].kind
    assert data.x.dtype == np.uint8
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(len(data.x)))


def test_first_rows_of_static_mnist_are_a_sample(real_data: Path) -> None:
    """In the file they are all zeros; the mean of 1,000 rows has an error of 0.0014."""
    data = load_source("binarized-mnist", data_dir=real_data)
    rows = data.rows("test")
    assert data.x[rows[:1000]].mean() == pytest.approx(data.x[rows].mean(), abs=0.008)


def test_mnist_has_the_published_mean(real_data: Path) -> None:
    data = load_source("mnist", data_dir=real_data)
    assert data.x[:60000].mean() / data.scale == pytest.approx(0.13066, abs=5e-6)


def test_mnist_labels_are_those_of_the_images(real_data: Path) -> None:
    data = load_source("mnist", data_dir=real_data)
    label = data.arrays["label"]
    assert label[:5].tolist() == [5, 0, 4, 1, 9]
    assert label[60000:60005].tolist() == [7, 2, 1, 0, 4]
    assert data.x[label == 1].mean() < data.x[label == 0].mean() / 2


def test_mnist_splits_are_consecutive(real_data: Path) -> None:
    splits = load_source("mnist", data_dir=real_data).splits
    assert {name: (rows[0], rows[-1]) for name, rows in splits.items()} == {
        "train": (0, 49999),
        "validation": (50000, 59999),
        "test": (60000, 69999),
    }


def test_mnist_is_found_in_its_own_folder(real_data: Path) -> None:
    whole = load_source("mnist", data_dir=real_data)
    assert load_source("mnist", data_dir=real_data / "mnist").checksum == whole.checksum


def test_binarized_mnist_has_the_published_fractions_of_ones(real_data: Path) -> None:
    data = load_source("binarized-mnist", data_dir=real_data)
    ones = [data.x[data.rows(split)].mean() for split in ("train", "validation", "test")]
    assert ones == pytest.approx([0.13056, 0.13113, 0.13251], abs=5e-6)
    assert (data.x.max(), data.scale, list(data.arrays)) == (1, 1.0, ["x"])


@pytest.mark.parametrize("form", ["text", "gzip", "matlab"])
def test_binarized_rows_are_read_from_every_format(tmp_path: Path, form: str) -> None:
    from scipy.io import savemat

    x = np.random.default_rng(0).integers(0, 2, (3, 784), dtype=np.uint8)
    text = "".join(" ".join(map(str, row)) + "\n" for row in x).encode()
    path = tmp_path / "rows.amat"
    if form == "matlab":
        savemat(str(path), {"X": x}, appendmat=False)
    else:
        path.write_bytes(gzip.compress(text) if form == "gzip" else text)
    data = SOURCES["binarized-mnist"].read([path, path, path])
    assert np.array_equal(data.x[np.sort(data.rows("test"))], x.reshape(-1, 28, 28))


@pytest.mark.parametrize("raw", [b"0 1\n", b"0 2 " * 392])
def test_malformed_binarized_rows_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "rows.amat"
    path.write_bytes(raw)
    with pytest.raises(RequestError, match=r"rows\.amat"):
        SOURCES["binarized-mnist"].read([path, path, path])


def test_frey_is_a_face(real_data: Path) -> None:
    data = load_source("frey", data_dir=real_data)
    assert (data.x.min(), data.x.max(), data.scale) == (8, 238, 255.0)
    assert [len(data.splits[name]) for name in ("train", "validation", "test")] == [1565, 200, 200]


def roughness(x: np.ndarray, axis: int) -> float:
    return float(np.abs(np.diff(x.astype(float), axis=axis)).mean())


def test_frey_frames_follow_one_another(real_data: Path) -> None:
    x = load_source("frey", data_dir=real_data).x
    shuffled = np.random.default_rng(0).permutation(x)
    assert roughness(x, axis=0) < 0.5 * roughness(shuffled, axis=0)


def test_frey_has_28_rows_of_20_pixels(real_data: Path) -> None:
    x = load_source("frey", data_dir=real_data).x
    misread = x.reshape(-1, 20, 28)
    assert roughness(x, axis=1) < 0.75 * roughness(misread, axis=1)
