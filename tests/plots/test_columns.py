"""Rows of a table are shown column by column."""

from pathlib import Path

import numpy as np
import pytest

import vaezoo
from vaezoo.data import from_arrays
from vaezoo.data.transform import Transform
from vaezoo.plots.figures import plot_run
from vaezoo.plots.vectors import cells, columns
from vaezoo.plots.vectors.columns import plot_column_pairs, plot_columns
from vaezoo.runs.stamps import read_stamp, stamp_of_weights


def test_whole_numbers_have_a_bar_each() -> None:
    assert columns._edges(np.array([0.0, 2.0, 3.0])).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("values", [np.linspace(0, 1, 200), np.full(3, 0.5), np.array([0.25])])
def test_edges_rise(values: np.ndarray) -> None:
    edges = columns._edges(values)
    assert len(edges) == columns.NUM_BINS + 1
    assert (np.diff(edges) > 0).all()


def test_missing_entries_and_empty_columns_are_left_out(tmp_path: Path) -> None:
    x = np.array([[np.nan, 1.0], [np.nan, np.inf]])
    plot_columns(x, ["a", "b"], tmp_path / "x.png", beside=x)
    plot_column_pairs(x, x, [], tmp_path / "y.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in "xy")


def test_cells_are_in_deviations_of_their_column() -> None:
    """Ten apples and a million grains, both a deviation above their mean, have one colour."""
    transform = Transform(mean=np.array([8.0, 9e5]), std=np.array([2.0, 1e5]))
    centre, unit, look, words = cells._colours(np.array([[10.0, 1e6]]), transform)
    assert ((np.array([10.0, 1e6]) - centre) / unit).tolist() == [1.0, 1.0]
    assert (look["vmin"], look["vmax"], words) == (-1.0, 1.0, "deviations of x")


def test_counts_beside_standardised_columns_have_deviations_of_their_own() -> None:
    transform = Transform(mean=np.array([8.0, 0.0, 0.0]), std=np.array([2.0, 1.0, 1.0]))
    x = np.array([[10.0, 90.0, 0.2], [8.0, 110.0, 0.4]])
    centre, unit, _, _ = cells._colours(x, transform)
    assert ((x - centre) / unit).tolist() == [[1.0, -1.0, 0.2], [0.0, 1.0, 0.4]]


def test_cells_of_grey_levels_stay_as_they_are() -> None:
    centre, unit, look, words = cells._colours(np.array([[0.0, 16.0]]), Transform(16.0))
    assert (centre.tolist(), unit.tolist(), look["vmax"], words) == ([0.0], [1.0], 16.0, "x")


def test_samples_of_a_table_lie_upon_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    data = from_arrays(x)
    run = vaezoo.fit("vae-linear", data, config={"z_dim": 2}, training={"steps": 2}, out=tmp_path)
    keep = seen.setdefault

    def plot(made: np.ndarray, *args: object, beside: np.ndarray) -> None:
        keep("made", made), keep("beside", beside)
        plot_columns(made, [], tmp_path / "figures" / "samples.png", beside=beside)
        raise ValueError("seen")

    monkeypatch.setattr("vaezoo.plots.figures.plot_columns", plot)
    drawn = plot_run(run, notify=lambda line: None)
    assert "reconstructions.png" in drawn
    assert seen["made"].shape == (500, 3)
    assert (seen["beside"] == x[data.splits["validation"]]).all()
    assert read_stamp(tmp_path / "figures" / "reconstructions.png") == stamp_of_weights(run)
