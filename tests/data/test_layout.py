"""Pictures whose colours stand last."""

from pathlib import Path

import numpy as np
import pytest

from vaezoo.data import Data, as_data, load_data
from vaezoo.settings import DataSettings

X = np.random.default_rng(0).integers(0, 256, (20, 12, 10, 3))


def test_colours_that_stand_last_are_recognised() -> None:
    data = as_data(X)
    assert np.array_equal(data.x, X.transpose(0, 3, 1, 2))
    assert "pictures 12x10 whose 3 colours stood last" in data.notes[0]


@pytest.mark.parametrize("shape", [(20, 3, 12, 10), (20, 6, 6, 6), (20, 12, 10), (20, 3, 3, 3)])
def test_nothing_else_is_turned(shape: tuple[int, ...]) -> None:
    data = as_data(np.zeros(shape))
    assert (data.x.shape, data.notes) == (shape, ())


def read(x: np.ndarray, path: Path, **settings: str) -> Data:
    np.save(path / "x.npy", x)
    return load_data(path / "x.npy", settings=DataSettings.model_validate({"name": "", **settings}))


def test_a_file_is_read_as_its_array(tmp_path: Path) -> None:
    file = read(X, tmp_path)
    assert isinstance(file.x, np.memmap)
    assert np.array_equal(file.x, as_data(X).x)


def test_a_setting_decides(tmp_path: Path) -> None:
    assert read(X, tmp_path, channels="first").x.shape == X.shape
    assert read(np.zeros((9, 5, 4, 7)), tmp_path, channels="last").x.shape == (9, 7, 5, 4)
