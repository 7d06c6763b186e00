"""A run says in five lines what it is."""

from pathlib import Path

import numpy as np
import pytest

from vaezoo import Run, fit, load_run

SETTINGS = {"z_dim": 2, "hidden": [8], "likelihood": {"sigma": "fixed:0.3"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "first"
    return fit("vae-gaussian", config=SETTINGS, training={"epochs": 2, "lr": 0.01}, out=folder)


def rows(run: Run) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in repr(run).splitlines())


def test_a_run_prints_what_it_is(run: Run) -> None:
    best = next(r for r in run.metrics if r["epoch"] == run.info["best_epoch"])
    assert rows(run) == {
        "model": "vae-gaussian: likelihood.sigma='fixed:0.3', z_dim=2, hidden=[8]",
        "data": "digits (8, 8): all by default",
        "training": "epochs=2, batch_size=128, lr=0.01, plateau=25, patience=84",
        "result": (
            f"2 epochs, 24 steps in {run.metrics[-1]['seconds']:.3g} s on cpu; validation ELBO "
            f"{best['validation']['elbo']:.4g} nats per datum in epoch {best['epoch']}"
        ),
        "folder": str(run.path),
    }


def test_a_loaded_run_prints_the_same(run: Run) -> None:
    assert repr(load_run(run.folder())) == repr(run)


def test_a_notebook_shows_a_table(run: Run) -> None:
    table = run._repr_html_()
    assert table.count("<tr>") == table.count("<th") == table.count("<td") == 5
    assert "fixed:0.3" in table
    assert "'" not in table  # escaped


def test_a_run_in_memory_says_so() -> None:
    walks = [np.ones((3, 2))] * 10
    run = fit("vrnn", walks, config={"likelihood": "gaussian"}, training={"steps": 1})
    assert rows(run)["model"] == "vrnn: likelihood='gaussian'"
    assert rows(run)["folder"] == "none, kept in memory"
    assert "nats per frame" in rows(run)["result"]
    assert rows(run)["result"].startswith("1 epoch, 1 step in")


def test_an_interrupted_run_says_so(run: Run, tmp_path: Path) -> None:
    copy = load_run(run.folder())
    copy.info["status"] = "interrupted"
    assert rows(copy)["result"].startswith("interrupted; 2 epochs")
