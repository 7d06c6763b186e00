"""Windows of long series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaezoo.data import Data, load_data
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings
from vaezoo.training.admission import prepare


def read(path: Path, **settings: Any) -> Data:
    return load_data(path, settings=DataSettings(name=str(path), **settings))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.arange(200.0).reshape(100, 2))
    return tmp_path / "x.npy"


def test_a_series_is_cut_into_windows(series: Path) -> None:
    data = read(series, window=10)
    assert (data.kind, data.x.shape) == ("sequences", (10, 10, 2))
    assert np.array_equal(data.x.reshape(100, 2), np.load(series))


def test_windows_may_overlap(series: Path) -> None:
    data = read(series, window=10, stride=5)
    assert data.x[:2, 0, 0].tolist() == [0, 10]


@pytest.mark.parametrize("stride", [1, 3, 10])
def test_no_frame_is_in_two_splits(series: Path, stride: int) -> None:
    data = read(series, window=10, stride=stride)
    frames = [set(data.x[rows].ravel().tolist()) for rows in data.splits.values()]
    assert sum(map(len, frames)) == 200
    assert max(frames[0]) < min(frames[1]) < max(frames[1]) < min(frames[2])


def test_the_last_window_may_be_shorter(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 7, 2)))
    data = read(tmp_path / "x.npy", window=4)
    assert data.arrays["length"].tolist() == [4, 3] * 5
    assert not data.x[1::2, 3].any()


def test_series_stay_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.repeat(np.arange(10.0), 12).reshape(10, 12, 1))
    data = read(tmp_path / "x.npy", window=4)
    of_split = [set(data.x[rows].ravel().tolist()) for rows in data.splits.values()]
    assert sorted(map(len, of_split)) == [1, 1, 8]


def test_what_goes_with_frames_is_cut_with_them(tmp_path: Path) -> None:
    u = np.arange(60)
    np.savez(tmp_path / "x.npz", x=u[:, None] / 2, u=u)
    data = read(tmp_path / "x.npz", window=6)
    assert np.array_equal(data.arrays["u"], 2 * data.x[:, :, 0])


def test_a_table_is_one_series(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{n},{n / 4}\n" for n in range(50)))
    data = read(tmp_path / "x.csv", window=5)
    assert (data.x.shape, data.columns) == ((10, 5, 2), ("a", "b"))


def test_pictures_have_no_windows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 3, 8, 8)))
    with pytest.raises(RequestError, match=r"`window` cuts series .* shape \(5, 3, 8, 8\)"):
        read(tmp_path / "x.npy", window=4)


@pytest.mark.parametrize("shape", [(70, 2), (7, 10, 2)])
def test_other_series_are_taken_whole(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.arange(140.0).reshape(shape))
    settings = DataSettings(name="", window=10)
    data = load_data(tmp_path / "x.npy", settings=settings, whole=True)
    assert data.rows("test").tolist() == list(range(7))
    assert data.x[data.rows("test")].ravel().tolist() == list(range(140))


def test_a_run_is_asked_about_all_of_another_series(series: Path, tmp_path: Path) -> None:
    how = {"window": 10}
    run, data = prepare("vrnn", series, data_settings=how, config={"likelihood": "gaussian"})
    np.save(tmp_path / "other.npy", np.load(series) + 1)
    other = run.find_data(tmp_path / "other.npy")
    assert other.is_whole
    assert len(other.x) == len(data.x)
