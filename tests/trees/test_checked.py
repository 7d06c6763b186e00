"""What goes with checked draws: replicated data, verdicts as numbers, ranks of the calibration."""

import math

import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro import distributions as dist

from vaezoo import analyse
from vaezoo.data import SPLITS, Data
from vaezoo.data.transform import Transform
from vaezoo.models.lgssm import LGSSM
from vaezoo.report import Report
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.testing.pairs import LinearPair

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)


def made(num_data: int = 12) -> Data:
    x = np.random.default_rng(0).normal(size=(num_data, 3)).astype(np.float32)
    return Data("made", {"x": x}, dict.fromkeys(SPLITS, np.arange(num_data)))


def run_of(pair: torch.nn.Module, shapes: dict[str, tuple[int, ...]]) -> Run:
    return Run(pair, "pair", {}, DataSettings(name="x"), Training(), Transform(), shapes)


@pytest.fixture(scope="module")
def report() -> Report:
    return analyse(run_of(LinearPair(WEIGHT, shift=1.5), {"x": (3,)}), made())


@pytest.fixture(scope="module")
def checked(report: Report) -> xr.DataTree:
    return report.trees["checked"]


def test_replicated_data_belong_to_their_draws(checked: xr.DataTree) -> None:
    """Five standard errors of mean and deviation of 3,600 residuals: fails once in 870,000 runs."""
    replicated = checked["posterior_predictive"]["x"]
    z = checked["posterior"]["z"].sel(draw=replicated["draw"]).values
    rest = (replicated.values - z @ WEIGHT.float().numpy().T) / LinearPair(WEIGHT).linear.sigma
    assert rest.shape == (4, 25, 12, 3)
    assert abs(rest.mean()) < 5 / math.sqrt(rest.size)
    assert abs(rest.std() - 1) < 5 / math.sqrt(2 * rest.size)


@pytest.mark.parametrize("at_once", [100, 200, 10_000])
def test_replicated_sequences_end_where_they_end(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 draws each, one sequence at a time, two, or all."""
    monkeypatch.setattr("vaezoo.trees.rows.rows_at_once", lambda num_frames: at_once)
    torch.manual_seed(0)
    rng, length = np.random.default_rng(1), np.array([6, 2, 5, 1, 3, 6])
    x = rng.normal(size=(6, 6, 2)).astype(np.float32)
    x[np.arange(6) >= length[:, None]] = 0
    data = Data("made", {"x": x, "length": length}, dict.fromkeys(SPLITS, np.arange(6)))
    run = run_of(LGSSM(x_shape=(2,), z_dim=2), {"x": (6, 2), "length": ()})
    replicated = analyse(run, data).trees["checked"]["posterior_predictive"]["x"]
    assert replicated.dims == ("chain", "draw", "datum", "time", "element")
    is_there = np.arange(6) < length[:, None]
    assert np.array_equal(replicated.notnull().all(("chain", "draw", "element")), is_there)


def test_numbers_of_the_verdict_go_with_it(report: Report, checked: xr.DataTree) -> None:
    constant = checked["constant_data"]
    assert report.posteriors is not None
    assert constant["verdict"].values.tolist() == report.posteriors.verdicts
    expected = report.posteriors.log_evidence.numpy()
    np.testing.assert_array_equal(constant["log_evidence"], expected)


def test_ranks_are_those_of_the_draws_beside_them(report: Report) -> None:
    assert report.calibration is not None
    assert report.calibration.repaired is not None
    sides = {"q": report.calibration.guide, "checked": report.calibration.repaired}
    for name, ranks in sides.items():
        pit = report.trees[name]["prior_sbc"]["pit"]
        assert pit.dims == ("chain", "draw", "quantity")
        np.testing.assert_array_equal(pit[0], ranks.pit)


class Shares(torch.nn.Module):
    """Latents with an edge, which are drawn in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = torch.nn.Linear(3, 3)

    def model(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Dirichlet(x.new_full((3,), 2.0)))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Dirichlet(x.new_full((len(x), 3), 2.0)))


def test_latents_with_an_edge_are_replicated_too() -> None:
    torch.manual_seed(0)
    trees = analyse(run_of(Shares(), {"x": (3,)}), made(4)).trees
    assert trees["checked"]["posterior_predictive"]["x"].shape == (4, 25, 4, 3)
