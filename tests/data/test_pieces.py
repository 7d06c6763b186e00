"""Whatever walks over data walks in pieces, in float64: a memory map stays on the disk."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaezoo.config import build_model
from vaezoo.data import choose_transform, from_arrays, load_file
from vaezoo.data.dataset import Data, checksum_of
from vaezoo.data.profile import describe
from vaezoo.data.summary import summarize
from vaezoo.data.transform import standardization
from vaezoo.registry import get_model

ROWS, SHAPE = 2_000, (64, 128)  # 62.5 MiB of float32, 125 MiB of float64
MOST = 48 * 2**20


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of values about 5, written in pieces."""
    path = tmp_path_factory.mktemp("large") / "x.npy"
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, *SHAPE))
    for start in range(0, ROWS, 500):
        x[start : start + 500] = rng.standard_normal((500, *SHAPE), np.float32) + 5
    x.flush()
    return path


@pytest.fixture
def data(path: Path) -> Data:
    return load_file(path)


@pytest.fixture
def bounded() -> Iterator[None]:
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST


def standardized(data: Data) -> Any:
    pair = build_model(get_model("vae-gaussian"), {"hidden": [4]}, SHAPE)
    return choose_transform(pair, data, standardize=True)


WALKS: dict[str, Callable[[Data], Any]] = {
    "summary": summarize,
    "profile": describe,
    "moments": standardization,
    "transform": standardized,
    "missing": lambda data: data.incomplete,
    "checksum": lambda data: checksum_of(data.arrays),
}


@pytest.mark.usefixtures("bounded")
def test_a_file_is_not_read_to_be_loaded(path: Path) -> None:
    assert isinstance(load_file(path).x, np.memmap)


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.usefixtures("bounded")
def test_a_walk_over_data_takes_little_memory(walk: str, data: Data) -> None:
    WALKS[walk](data)


@pytest.mark.usefixtures("bounded")
def test_another_order_in_memory_is_not_copied(path: Path, tmp_path: Path) -> None:
    turned = np.lib.format.open_memmap(
        tmp_path / "f.npy", "w+", np.float32, (ROWS, *SHAPE), fortran_order=True
    )
    checksum_of({"x": turned})


def test_the_checksum_is_that_of_the_values_whatever_their_order() -> None:
    x = np.arange(60_000.0).reshape(6_000, 10)
    assert checksum_of({"x": x}) == checksum_of({"x": np.asfortranarray(x)})


def test_moments_in_pieces_are_those_at_once(data: Data) -> None:
    mean, std = standardization(data)
    rows = np.asarray(data.x[data.rows("train")], np.float64)
    assert np.allclose(mean, rows.mean(axis=0), rtol=1e-12)
    assert np.allclose(std, rows.std(axis=0), rtol=1e-12)


def test_a_small_spread_beside_a_large_offset_is_not_lost() -> None:
    """In one pass, or in 32 bits, the deviation 1e-3 beside 1e6 would be."""
    rng = np.random.default_rng(0)
    x = 1e6 + 1e-3 * rng.standard_normal((600_000, 8))  # 36.6 MiB: in pieces
    mean, std = standardization(from_arrays(x))
    train = x[from_arrays(x).rows("train")]
    assert np.allclose(mean - 1e6, (train - 1e6).mean(axis=0), atol=1e-6)  # of 1e-3
    assert np.allclose(std, (train - 1e6).std(axis=0), rtol=1e-6)
