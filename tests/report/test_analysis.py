"""`vaezoo analyse`: verdicts against pairs whose posterior is known, files, words, budgets."""

import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro import distributions as dist
from torch import Tensor, nn

import vaezoo
from vaezoo import RequestError, RunError, load_run
from vaezoo.checks.admission import mark_admitted
from vaezoo.data import SPLITS, Data
from vaezoo.data.transform import Transform
from vaezoo.diagnostics.sequences import check_sequences
from vaezoo.exact.quadrature import quadrature
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.rnn import RNN
from vaezoo.pairs.sites import argument_names
from vaezoo.report import Report, analyse, per_datum, prepare, save_report, verdict
from vaezoo.report.figures import figures_of
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.testing.pairs import LinearPair, PointGuide, StatesPair

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)
TRUTH = LinearPair(WEIGHT).linear
NUM_DATA = 12


def of_model(num_data: int = NUM_DATA) -> Data:
    """Data of the linear model."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(num_data, 2, generator=draw, dtype=torch.float64)
    x = z @ WEIGHT.T + TRUTH.sigma * torch.randn(num_data, 3, generator=draw, dtype=torch.float64)
    arrays = {"x": x.float().numpy()}
    return Data("made", arrays, dict.fromkeys(SPLITS, np.arange(num_data)))


def of_sequences(x_dim: int) -> Data:
    rng, length = np.random.default_rng(1), np.array([6, 2, 5, 1, 3, 6])
    x = rng.integers(0, 2, (6, 6, x_dim)).astype(np.float32)
    x[np.arange(6) >= length[:, None]] = 0
    return Data("made", {"x": x, "length": length}, dict.fromkeys(SPLITS, np.arange(6)))


def run_of(pair: nn.Module, data: Data) -> Run:
    shapes = {name: data.arrays[name].shape[1:] for name in argument_names(pair)}
    return Run(pair, "pair", {}, DataSettings(name="x"), Training(), Transform(), shapes)


def linear(**broken: float) -> tuple[Run, Data]:
    return run_of(LinearPair(WEIGHT, **broken), of_model()), of_model()


def kalman() -> tuple[Run, Data]:
    torch.manual_seed(0)
    return run_of(LGSSM(x_shape=(2,), z_dim=2), of_sequences(2)), of_sequences(2)


@cache
def analysed(**broken: float) -> Report:
    """What is said of a linear pair; not to be changed."""
    return analyse(*linear(**broken))


@pytest.fixture(scope="module")
def exact() -> Report:
    return analysed()


@pytest.fixture(scope="module")
def walks() -> Report:
    return analyse(*kalman())


@pytest.fixture(scope="module")
def digits(trained: Path) -> Report:
    return analyse(load_run(trained), limit=20)


# Verdicts


def test_exact_guide_is_trusted(exact: Report) -> None:
    assert exact.shares == {"trusted": 1.0, "repaired": 0.0, "not trusted": 0.0}
    assert exact.quality == "good"


def test_log_evidence_is_exact(exact: Report) -> None:
    x = torch.from_numpy(of_model().x).double()
    log_evidence = torch.from_numpy(per_datum(exact)["log_evidence"].values)
    torch.testing.assert_close(log_evidence, TRUTH.log_prob(x), rtol=0, atol=0.05)


@pytest.mark.parametrize("broken", [{"scale": 0.5}, {"shift": 1.5}], ids=["narrow", "shifted"])
def test_broken_guide_is_repaired(broken: dict[str, float]) -> None:
    report = analysed(**broken)
    assert report.shares["repaired"] == 1.0
    assert report.quality == "fair"


def test_checked_draws_have_the_moments_of_the_posterior() -> None:
    """Failure rate below 1e-4: 24 means of 1,000 draws, of an effective 400 or more, in 0.25 sd."""
    report = analysed(shift=1.5)
    z = report.trees["checked"]["posterior"]["z"].values.reshape(-1, NUM_DATA, 2)
    mean, covariance = TRUTH.posterior(torch.from_numpy(of_model().x).double())
    sd = covariance.diagonal().sqrt().numpy()
    assert np.abs((z.mean(0) - mean.numpy()) / sd).max() < 0.25


def test_quick_sees_no_more_than_the_guide() -> None:
    report = analyse(*linear(), level="quick")
    assert report.posteriors is None
    assert report.guide is not None
    assert report.shares == {}
    assert "not checked against other draws" in " ".join(verdict(report).split())


def test_narrow_guide_is_poor_by_its_weights() -> None:
    """A guide of half the width has k-hat 3/4 for each of two latents, and noise around it."""
    report = analyse(*linear(scale=0.3), level="quick")
    assert report.quality in ("fair", "poor")


def test_full_level_asks_for_a_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaezoo.diagnostics import second_opinion
    from vaezoo.inference.hmc import ChainSettings

    monkeypatch.setattr(second_opinion, "LONG", ChainSettings(num_samples=300, num_warmup=100))
    report = analyse(*linear(shift=1.5), level="full")
    assert report.second_opinion is not None
    assert float(report.second_opinion.comparison.c2st.min()) > 0.6
    assert float(report.second_opinion.convergence.r_hat.max()) < 1.05
    assert abs(report.second_opinion.bounds.mean_gap) < 0.3
    assert report.trees["mcmc"]["posterior"].sizes["draw"] == 300
    stats = report.trees["mcmc"]["sample_stats"]
    assert {"lp", "energy", "diverging", "acceptance_rate"} == set(stats.data_vars)
    assert stats["energy"].dims == ("chain", "draw", "datum")
    assert (stats["energy"] > -stats["lp"]).all()  # by the momentum


def test_same_seed_same_report() -> None:
    first, second = analysed(shift=1.5), analyse(*linear(shift=1.5))
    xr.testing.assert_identical(
        per_datum(first).drop_vars("seconds", errors="ignore"),
        per_datum(second).drop_vars("seconds", errors="ignore"),
    )


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    analyse(*linear(), level="quick")
    assert torch.equal(torch.rand(3), expected)


def test_checked_log_evidence_is_that_of_quadrature(digits: Report, trained: Path) -> None:
    run = load_run(trained)
    exact = quadrature(run.pair, *run.batches().fixed("test", limit=20)).log_evidence
    error = np.abs(per_datum(digits)["log_evidence"].values - exact.numpy())
    assert error.max() < 0.2


# Any pair


def test_discrete_latents_are_weighed_only() -> None:
    data = Data(
        "states",
        {"x": np.array([-1, 0, 1, 2, 3, 5], dtype=np.float32)[:, None]},
        dict.fromkeys(SPLITS, np.arange(6)),
    )
    report = analyse(run_of(StatesPair(strength=0.0), data), data)
    assert report.guide is not None
    assert report.posteriors is None
    assert "discrete" in report.skipped["posterior"]
    p = torch.tensor([0.2, 0.3, 0.5]).log() + dist.Normal(
        torch.tensor([0.0, 2.0, 4.0]), 1.0
    ).log_prob(torch.from_numpy(data.x))
    torch.testing.assert_close(report.guide.iwae.float(), p.logsumexp(1), rtol=0, atol=0.2)


def test_autoencoder_has_no_posterior() -> None:
    with pytest.raises(RequestError, match=r"no posterior to analyse; .* `vaezoo.reconstruct"):
        analyse(run_of(PointGuide(WEIGHT), of_model()), of_model())


def test_baseline_without_latents_is_checked_by_its_data() -> None:
    torch.manual_seed(0)
    report = analyse(run_of(RNN(x_shape=(3,), hidden=4), of_sequences(3)), of_sequences(3))
    assert report.quality == "unknown"
    assert report.predictive is not None
    assert any("has none" in why for why in report.skipped.values())


def test_all_reasons_are_said_once() -> None:
    torch.manual_seed(0)
    report = analyse(run_of(RNN(x_shape=(3,), hidden=4), of_sequences(3)), of_sequences(3))
    reasons = report.skipped.values()
    assert len(set(reasons)) == len(reasons)


# Sequences


def test_filters_of_a_linear_pair_are_near_the_kalman_filter() -> None:
    """Failure rate below 1e-3: with 400 particles, log Z of six short sequences is off by 1 nat."""
    run, data = kalman()
    args = tuple(torch.from_numpy(data.arrays[name]) for name in ("x", "length"))
    check = check_sequences(run.pair, args, num_particles=400)
    assert check.exact is not None
    assert float((check.fivo - check.exact).abs().max()) < 1.0
    assert bool((check.elbo <= check.exact + 0.5).all())


def test_sequences_are_judged(walks: Report) -> None:
    report = walks
    assert report.sequences is not None
    assert sum(report.shares.values()) == pytest.approx(1)
    table = per_datum(report)
    assert table["ess"].dims == ("datum", "time")
    assert bool(table["ess"].isnull().equals(table["k_hat"].isnull()))
    assert float(table["ess"].max()) <= 1 + 1e-6
    assert float(table["ess"].min()) > 0


def test_checked_paths_end_with_their_sequence(walks: Report) -> None:
    z = walks.trees["checked"]["posterior"]["z"]
    mask = walks.trees["checked"]["constant_data"]["mask"]
    assert bool((z.isnull().any(("chain", "draw", "latent")) == ~mask).all())


def test_short_sequences_are_as_long_as_the_longest_of_them() -> None:
    run, data = kalman()
    some = replace(data, splits={"test": np.array([1, 3, 4])})
    report = analyse(run, some)
    assert per_datum(report).sizes["time"] == 3
    assert report.trees["checked"]["posterior"].sizes["time"] == 3


def test_bad_proposal_is_not_trusted() -> None:
    run, data = kalman()
    with torch.no_grad():
        run.pair.log_S.fill_(-4.0)  # type: ignore[union-attr, operator]
    report = analyse(run, data)
    assert report.shares["trusted"] < 0.5


# What is written


@pytest.fixture(scope="module")
def saved(digits: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report; not to be changed."""
    folder = tmp_path_factory.mktemp("report") / "out"
    paths = save_report(digits, folder)
    assert {path.name for path in paths} == {p.name for p in folder.iterdir() if p.is_file()}
    return folder


def test_files_and_figures(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    assert names == {
        "q.nc", "checked.nc", "diagnostics.nc", "figures", "report.json", "report.html",
    }  # fmt: skip
    content = (saved / "report.html").read_text(encoding="utf-8")
    assert re.search(r"Weights of epoch \d+, step \d+", content)
    assert content.count("<figure") == content.count("<figcaption>") == 11
    assert len([*(saved / "figures").iterdir()]) == 11
    assert not re.search(r"""(src|href)=["'](?!data:)""", content)


def test_trees_open_in_arviz(saved: Path) -> None:
    tree = vaezoo.open_tree(saved / "checked.nc")
    assert tree["posterior"]["z"].dims == ("chain", "draw", "datum", "latent")
    assert set(np.unique(tree["constant_data"]["verdict"])) <= {
        "trusted", "repaired", "not trusted",
    }  # fmt: skip
    from vaezoo.runtime.arviz import import_arviz

    table = import_arviz().summary(tree["posterior"].to_dataset().isel(datum=[0]), kind="stats")
    assert np.isfinite(table["mean"].astype(float)).all()


def test_json_has_no_nan(digits: Report, saved: Path) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    content = (saved / "report.json").read_text(encoding="utf-8")
    table = json.loads(content, parse_constant=refuse)
    assert table["shares"] == digits.shares
    assert table["means"]["log_evidence"] == pytest.approx(
        float(per_datum(digits).log_evidence.mean())
    )


def test_verdict_has_its_lines(digits: Report) -> None:
    lines = verdict(digits).splitlines()
    labels = [line.split()[0] for line in lines if re.match(r"  \S", line)]
    assert labels[-9:-3] == ["posterior", "log", "gap", "k-hat", "modes", "exam"]
    assert labels[-3:] == ["calibration", "latents", "data"]
    assert max(map(len, lines)) <= 80


def test_report_prints_in_one_line(exact: Report) -> None:
    assert repr(exact) == (
        "Report('linearpair', 12 of 12 test data of made, level standard: good; "
        "100% trusted, 0% repaired, 0% not trusted)"
    )


def test_captions_say_of_which_figure_they_are(exact: Report) -> None:
    figures = list(figures_of(exact))
    assert len({figure.name for figure in figures}) == len(figures)
    assert not any("{" in figure.title + figure.caption for figure in figures)


def test_diagnostics_are_those_of_each_datum(digits: Report) -> None:
    table = per_datum(digits)
    assert table.sizes["datum"] == 20
    split = table["approximation_gap"] + table["amortisation_gap"]
    np.testing.assert_allclose(split, table["gap"], atol=1e-9)


# Requests


def test_arrays_are_data(digits: Report, trained: Path) -> None:
    run = load_run(trained)
    ((x,),) = run.batches().fixed("test", limit=20)
    of_array = analyse(run, run.transform.invert(x), limit=None)
    expected = float(per_datum(digits).iwae.mean())
    assert float(per_datum(of_array).iwae.mean()) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": "quik"}, "no level 'quik'; did you mean 'quick'"),
        ({"limit": 0}, "takes 1 datum or more, got 0"),
        ({"budget": 1e-9}, "is too short: 10 data at level standard take about"),
        ({"data": np.zeros((3, 2), dtype=np.float32)}, "has rows of shape"),
        ({"data": {"y": np.zeros(3)}}, "the arrays y; name the data 'x'"),
        ({"split": "tset"}, "no split 'tset'; did you mean 'test'"),
    ],
)
def test_bad_requests(change: dict[str, Any], message: str) -> None:
    run, data = linear()
    with pytest.raises(RequestError, match=message) as refusal:
        analyse(run, **{"data": data, **change})
    assert "\n" not in str(refusal.value)


class Blind(LinearPair):
    """A model without a likelihood."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))


class Broken(LinearPair):
    """A guide that draws no numbers."""

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(math.nan * x[:, :2], 1.0).to_event(1))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Blind(WEIGHT), "observes nothing"),
        (Broken(WEIGHT), "draws values of 'z' that are not finite"),
    ],
    ids=["no likelihood", "nan"],
)
def test_pairs_without_a_posterior_are_refused(pair: nn.Module, message: str) -> None:
    mark_admitted(pair)  # as what training admitted, and broke
    with pytest.raises(RequestError, match=message):
        analyse(run_of(pair, of_model()), of_model())


def test_budget_takes_fewer_data() -> None:
    run, data = run_of(LinearPair(WEIGHT), of_model(400)), of_model(400)
    whole = prepare(run, data, limit=400).plan
    part = prepare(run, data, limit=400, budget=whole.seconds / 3).plan
    assert 10 <= part.num_data < 400


def test_full_disk_is_one_line(
    exact: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
    with pytest.raises(RunError, match="No space left on device"):
        save_report(exact, tmp_path)
    assert (tmp_path / "report.json").exists()
