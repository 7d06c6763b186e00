"""A run knows the columns of its table by their names, in whatever order they stand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vaezoo
from vaezoo.errors import RequestError
from vaezoo.runs import Run

TABLE = pd.DataFrame(
    np.random.default_rng(0).normal(size=(40, 3)) * [1, 5, 9], columns=["a", "b", "c"]
)
SMALL = {"z_dim": 1, "hidden": [4]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("table")
    TABLE.to_csv(folder / "x.csv", index=False)
    steps = {"steps": 2}
    return vaezoo.fit(
        "vae-gaussian", folder / "x.csv", config=SMALL, training=steps, out=folder / "run"
    )


@pytest.mark.parametrize("order", ["cab", "bca", "cba"])
def test_a_frame_in_another_order_is_the_same(run: Run, order: str) -> None:
    codes, others = (vaezoo.encode(run, table)["z"] for table in (TABLE, TABLE[list(order)]))
    assert np.array_equal(codes, others)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_in_another_order_is_the_same(run: Run, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    other = TABLE[["b", "c", "a"]]
    other.to_csv(path, index=False) if ending == "csv" else other.to_parquet(path)
    assert np.allclose(run.find_data(path).x, TABLE.to_numpy())


def test_what_is_missing_or_too_many_is_named(run: Run) -> None:
    with pytest.raises(RequestError, match=r"no column 'b' and has a column 'd' more"):
        run.find_data(TABLE.rename(columns={"b": "d"}))


def test_a_column_too_many_is_refused(run: Run) -> None:
    with pytest.raises(RequestError, match="has a column 'd' more"):
        vaezoo.reconstruct(run, TABLE.assign(d=1.0))


def test_an_array_has_no_names(run: Run) -> None:
    assert run.find_data(TABLE.to_numpy()).columns == ()


def test_resume_takes_a_frame_in_another_order(tmp_path: Path) -> None:
    vaezoo.fit("vae-gaussian", TABLE, config=SMALL, training={"steps": 2}, out=tmp_path / "run")
    again = vaezoo.resume(tmp_path / "run", steps=3, data=TABLE[["c", "b", "a"]])
    assert again.info["steps"] == 3
