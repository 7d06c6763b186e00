"""Training on data with missing entries, end to end."""

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

import vaezoo
from vaezoo.data import from_arrays
from vaezoo.data.dataset import with_mask
from vaezoo.data.summary import describe_missing
from vaezoo.errors import RequestError
from vaezoo.exact.linear_gaussian import LinearGaussian
from vaezoo.inference.completion import draw_missing
from vaezoo.settings import DataSettings
from vaezoo.training.callbacks import Callback
from vaezoo.training.fit import fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 2)) @ RNG.normal(size=(2, 5)) + 0.3 * RNG.normal(size=(300, 5))
GAPS = np.where(RNG.random(X.shape) < 0.15, np.nan, X)
SHORT: dict[str, Any] = {"epochs": 3, "plateau": 0, "batch_size": 128}


class MIWAE(nn.Module):
    """A guide that sees what is there (Mattei & Frellsen 2019, arXiv:1812.02633)."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        (d,) = x_shape
        self.encoder, self.decoder = nn.Linear(2 * d, 4), nn.Linear(2, d)

    def model(self, x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor, mask: Tensor) -> None:
        loc, log_scale = self.encoder(torch.cat([x, mask.float()], -1)).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


class Notes(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_warning(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_guide_with_a_mask_is_trained_and_captured(engine: str) -> None:
    run = fit(MIWAE, GAPS, training={**SHORT, "engine": engine})
    assert run.info["steps_by_engine"] == {engine: 6}
    assert np.isfinite(run.metrics[-1]["validation"]["elbo"])


def test_both_tiers_take_the_same_steps() -> None:
    eager, graph = (fit(MIWAE, GAPS, training={**SHORT, "engine": e}) for e in ("eager", "graph"))
    for ours, theirs in zip(eager.pair.parameters(), graph.pair.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_one_line_says_how_many_are_missing() -> None:
    notes = Notes()
    fit(MIWAE, GAPS, training=SHORT, callbacks=[notes])
    number = int(np.isnan(GAPS).sum())
    assert any(f"have {number} missing entries of x (15 %)" in line for line in notes.lines)
    assert describe_missing(from_arrays(X)) == ""


def test_the_line_counts_what_is_missing_of_every_argument() -> None:
    w = np.where(np.arange(len(X)) % 4 == 0, np.nan, 1.0)
    data = from_arrays(X, w=w)
    number = int(np.isnan(w).sum())
    assert f"{number} missing entries of w (25 %)" in describe_missing(data, ("x", "w"))
    assert describe_missing(data) == ""


def test_the_bound_is_below_the_density_of_what_is_there() -> None:
    run = fit("vae-linear", GAPS, config={"z_dim": 2}, training={**SHORT, "epochs": 60})
    pair: Any = run.pair
    linear = LinearGaussian(
        pair.decoder.weight.detach().double(),
        pair.decoder.bias.detach().double(),
        float(pair.log_sigma.detach().exp()),
    )
    rows = GAPS[run.fitted_to.rows("test")] if run.fitted_to else GAPS
    exact = np.mean([evidence(linear, torch.as_tensor(row)) for row in rows])
    bounds = vaezoo.evaluate(run, iwae=(1, 500)).iwae
    assert bounds[0].value < exact
    assert bounds[1].value == pytest.approx(exact, abs=0.1)


def evidence(linear: LinearGaussian, row: Tensor) -> float:
    there = ~row.isnan()
    part = LinearGaussian(linear.weight[there], linear.bias[there], linear.sigma)
    return float(part.log_prob(row[there].unsqueeze(0))) if there.any() else 0.0


def test_bits_per_dim_count_what_is_there() -> None:
    """Of independent columns, those that are always missing change nothing."""
    run = fit(Columns, X[:, :2], training=SHORT)
    more = np.concatenate([X[:, :2], np.full((300, 2), np.nan)], 1)
    wide = fit(Columns, more, training=SHORT)
    ours, theirs = (r.metrics[-1]["validation"]["bits_per_dim"] for r in (run, wide))
    assert ours == pytest.approx(theirs, rel=1e-5)


class Columns(nn.Module):
    """N(0, 1) of every element, whatever a latent that nobody uses."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(torch.zeros_like(x), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 1.0))


def test_a_run_answers_on_data_with_gaps() -> None:
    run = fit(MIWAE, GAPS, training=SHORT)
    assert np.isfinite(np.asarray(vaezoo.reconstruct(run).x)).all()
    assert np.isfinite(vaezoo.encode(run)["z"]).all()
    assert np.isfinite(np.asarray(vaezoo.sample(run, 3))).all()
    assert np.isfinite(vaezoo.impute(run, num_samples=2, burn_in=2).x).all()


def test_a_run_on_whole_data_answers_on_data_with_gaps() -> None:
    run = fit("vae-linear", X, config={"z_dim": 2}, training=SHORT)
    assert np.isfinite(vaezoo.evaluate(run, GAPS, iwae=(1,)).metrics.elbo)
    assert np.isfinite(np.asarray(vaezoo.reconstruct(run, GAPS).x)).all()


def test_missing_entries_are_refused_where_that_is_asked_for(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", GAPS)
    settings = DataSettings(name=str(tmp_path / "x.npy"), missing="refuse")
    with pytest.raises(RequestError, match=r"missing \(nan\), the first in row .*`missing='nan'`"):
        fit(MIWAE, settings, training=SHORT)


def test_a_mask_is_false_in_padding_and_where_nothing_is() -> None:
    x = np.array([[[1.0], [np.nan], [0.0]], [[1.0], [2.0], [3.0]]])
    mask = with_mask(from_arrays(x, length=np.array([2, 3]))).arrays["mask"][..., 0]
    assert mask.tolist() == [[True, False, False], [True, True, True]]


def test_masked_guides_impute_the_exact_conditional() -> None:
    """Of 400 chains, means within 5 standard errors of the exact one: fails once in 1e6 runs."""
    torch.manual_seed(0)
    pair = MIWAE(x_shape=(3,))
    weight, bias = pair.decoder.weight.detach().double(), pair.decoder.bias.detach().double()
    covariance = weight @ weight.T + 0.25 * torch.eye(3, dtype=torch.float64)
    gain = covariance[2, :2] @ torch.linalg.inv(covariance[:2, :2])
    x = torch.tensor([0.5, -1.0, 7.0]).expand(400, 3)
    missing = torch.tensor([False, False, True]).expand(400, 3)
    draws, _ = draw_missing(pair, (x, ~missing), {"x": missing}, num_samples=20, burn_in=20)
    draws = draws["x"]
    exact = bias[2] + gain @ (torch.tensor([0.5, -1.0]).double() - bias[:2])
    spread = (covariance[2, 2] - gain @ covariance[:2, 2]).sqrt()
    error = (draws[-1][:, 2].double().mean() - exact) / (spread / 20)
    assert float(error.abs()) < 5


def test_a_pair_with_a_mask_fills_in_rows_of_data_without_one() -> None:
    run = fit(MIWAE, GAPS, training=SHORT)
    filled = vaezoo.impute(run, limit=5, num_samples=2, burn_in=1)
    assert np.isfinite(filled.x).all()
