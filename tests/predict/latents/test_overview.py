"""What is said of codes, where it can be computed by hand: a linear decoder."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vaezoo
from vaezoo.cli import main
from vaezoo.pairs.sites import trace_pair
from vaezoo.plots.latents.codes import _ellipses
from vaezoo.plots.paper import new_figure
from vaezoo.predict.latents.overview import LatentOverview
from vaezoo.predict.latents.plane import plane_of
from vaezoo.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("overview") / "run"
    return vaezoo.fit("vae-linear", config={"z_dim": 3}, training={"steps": 300}, out=folder)


@pytest.fixture(scope="module")
def seen(run: Run) -> LatentOverview:
    return vaezoo.latents(run)


def test_codes_and_draws_are_those_of_encode(run: Run, seen: LatentOverview) -> None:
    order = [unit.index for unit in seen.units]
    np.testing.assert_allclose(seen.codes, vaezoo.encode(run)["z"][:, order], rtol=1e-5)
    draws = vaezoo.encode(run, z="sample")["z"][:, order]
    np.testing.assert_allclose(seen.draws, draws, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(seen.label, vaezoo.encode(run)["label"])


def test_moments_are_those_of_the_codes(seen: LatentOverview) -> None:
    np.testing.assert_allclose(seen.variance, seen.codes.var(0), rtol=1e-5)
    np.testing.assert_allclose(seen.correlation, np.corrcoef(seen.codes.T), rtol=1e-5)
    assert seen.num_active == int((seen.codes.var(0) > 0.01).sum())


def test_what_is_lost_is_the_fall_of_the_density(run: Run, seen: LatentOverview) -> None:
    (x,) = run.batches().whole("test")
    order = np.argsort([unit.index for unit in seen.units])
    z = torch.tensor(seen.draws[:, order])
    sigma = float(run.pair.log_sigma.detach().exp())

    def error(z: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) - run.pair.decoder(z)).detach().square().sum(1)

    for unit, lost in zip(seen.units, seen.lost, strict=True):
        pruned = z.clone()
        pruned[:, unit.index] = float(vaezoo.encode(run)["z"][:, unit.index].mean())
        fall = float((error(pruned) - error(z)).mean()) / (2 * sigma**2)
        assert lost == pytest.approx(fall, rel=1e-3, abs=1e-3)


def test_an_element_that_the_decoder_does_not_hear_loses_nothing() -> None:
    run = vaezoo.fit("vae-linear", config={"z_dim": 3}, training={"steps": 50})
    with torch.no_grad():
        run.pair.decoder.weight[:, 1] = 0.0
    seen = vaezoo.latents(run)
    lost = dict(zip((unit.name for unit in seen.units), seen.lost, strict=True))
    assert lost["z[1]"] == 0.0
    assert abs(lost["z[0]"]) > 1e-3


def test_covariances_are_those_of_a_guide_of_full_rank() -> None:
    config = {"z_dim": 2, "posterior": "full-rank"}
    run = vaezoo.fit("vae-bernoulli", config=config, training={"steps": 5})
    seen = vaezoo.latents(run, limit=60)
    (x,) = run.batches().whole("test", limit=60)
    q = trace_pair(run.pair, (x[seen.some],), z="mean").latents["z"][1]["fn"]
    exact = (q.scale_tril @ q.scale_tril.mT).detach().numpy()
    index = [unit.index for unit in seen.units]
    np.testing.assert_allclose(seen.covariance, exact[:, index][:, :, index], rtol=1e-5)
    assert seen.covariance[:, 0, 1].any()
    assert len(seen.some) == 12


def test_a_covariance_of_draws_is_that_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 2 x 12 variances, of 64 draws, within 6 of its deviations: fails once in 1e6."""
    config = {"z_dim": 2, "hidden": [4]}
    run = vaezoo.fit("vae-bernoulli", config=config, training={"steps": 5})
    exact = vaezoo.latents(run, limit=40).covariance
    monkeypatch.setattr("vaezoo.predict.latents.units.GAUSSIAN", ())
    of_draws = vaezoo.latents(run, limit=40).covariance
    ratio = np.diagonal(of_draws / exact.clip(1e-12), axis1=1, axis2=2)
    assert np.abs(ratio - 1).max() < 6 * np.sqrt(2 / 63)


def test_a_plane_shows_a_covariance_projected() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 3)) * [3.0, 2.0, 1.0]
    plane = plane_of(codes, ["a", "b", "c"])
    shape = np.random.default_rng(1).normal(size=(3, 3))
    shadow = plane.project_covariance(shape @ shape.T)
    points = plane.project(plane.centre + shape.T)  # three half axes
    np.testing.assert_allclose(shadow, points.T @ points, atol=1e-12)


def test_ellipses_have_the_axes_of_their_covariance() -> None:
    _, axis = new_figure()
    _ellipses(axis, np.array([[1.0, -1.0]]), np.array([[[2.5, 1.5], [1.5, 2.5]]]), ["black"])
    one, two = axis.patches
    assert (one.width, one.height) == pytest.approx((4.0, 2.0))
    assert (two.width, two.height) == pytest.approx((8.0, 4.0))
    assert two.angle % 180 == pytest.approx(45.0)


def test_an_autoencoder_has_no_spread() -> None:
    run = vaezoo.fit("ae", config={"z_dim": 2, "hidden": [8]}, training={"steps": 20})
    seen = vaezoo.latents(run)
    assert not seen.spread.any()
    assert {unit.kl for unit in seen.units} == {None}


def test_of_sequences_frames_count_that_are_there() -> None:
    x = [np.random.default_rng(t).normal(size=(t, 2)).astype(np.float32) for t in (3, 5, 4) * 10]
    config = {"z_dim": 2, "hidden": 8, "likelihood": "gaussian"}
    run = vaezoo.fit("dmm", x, config=config, training={"steps": 3})
    frames = int(run.batches().data.length[run.batches().data.rows("test")].sum())
    assert vaezoo.latents(run).codes.shape == (frames, 2)


def test_the_command_draws_and_prints(run: Run) -> None:
    result = CliRunner().invoke(main, ["latents", str(run.path), "--json"])
    facts = json.loads(result.stdout)
    units = vaezoo.latents(run).units
    assert [fact["latent"] for fact in facts["latents"]] == [unit.name for unit in units]
    assert Path(facts["picture"]).stat().st_size > 10_000


def matrix(run: Run, seen: LatentOverview) -> np.ndarray:
    """Return W of x = W z + b in the units of the pair, its columns in the order of the units."""
    weight = run.pair.decoder.weight.detach().numpy()
    return weight[:, [unit.index for unit in seen.units]]


def test_the_jacobian_of_a_linear_decoder_is_its_matrix(run: Run, seen: LatentOverview) -> None:
    weight = matrix(run, seen)
    norms = np.linalg.norm(weight, axis=0)
    assert seen.decoder is not None
    cosine = np.abs(weight.T @ weight) / np.outer(norms, norms)
    np.testing.assert_allclose(seen.decoder.cosine, cosine, atol=2e-3)
    moved = norms / len(weight) ** 0.5 * seen.codes[:100].std(0)
    np.testing.assert_allclose(seen.decoder.moved, moved, rtol=0.1)  # its sd is of all 180 codes


def test_mean_cosine_is_of_pairs(seen: LatentOverview) -> None:
    assert seen.decoder is not None
    expected = seen.decoder.cosine[[0, 0, 1], [1, 2, 2]].mean()
    assert seen.decoder.mean_cosine(np.ones(3, bool)) == pytest.approx(expected)
    assert np.isnan(seen.decoder.mean_cosine(np.array([True, False, False])))


def test_nothing_is_pruned_where_all_are_active(seen: LatentOverview) -> None:
    assert (seen.num_active, seen.pruned) == (3, 0.0)


def test_elements_out_of_use_are_pruned_at_once(run: Run) -> None:
    """A decoder that does not hear an element loses nothing without it."""
    pair = deepcopy(run.pair)
    with torch.no_grad():
        pair.decoder.weight[:, 1] = 0.0
        pair.encoder.weight[1] = 0.0
    deaf = vaezoo.latents(replace(run, pair=pair))
    assert deaf.num_active == 2
    assert deaf.pruned == pytest.approx(0, abs=1e-4)


def test_draws_of_the_prior_are_standard_normal(seen: LatentOverview) -> None:
    """Of 180 draws, mean and sd are within 4 standard errors: 1 test in 2,000 fails."""
    assert seen.prior is not None
    assert seen.prior.shape == seen.draws.shape
    assert np.abs(seen.prior.mean(0)).max() < 4 / 180**0.5
    assert np.abs(seen.prior.std(0) - 1).max() < 4 / 360**0.5


def test_an_autoencoder_with_a_flat_prior_has_no_draws_of_it() -> None:
    run = vaezoo.fit("ae", config={"z_dim": 2, "hidden": [8]}, training={"steps": 2})
    assert vaezoo.latents(run, limit=20).prior is None


def test_sequences_have_a_prior_and_no_jacobian() -> None:
    run = vaezoo.fit("dmm", config={"z_dim": 2, "hidden": 4}, training={"steps": 2})
    seen = vaezoo.latents(run, limit=10)
    assert seen.prior is not None
    assert seen.prior.shape == seen.draws.shape
    assert seen.decoder is None


def test_the_command_lays_codes_beside_the_prior(run: Run) -> None:
    done = CliRunner().invoke(main, ["latents", str(run.folder()), "--json"])
    facts = json.loads(done.stdout)
    assert 0.3 < facts["c2st"] < 0.8
    assert facts["wasserstein"] < 0.5
    assert 0 <= facts["cosine"] <= 1
    assert facts["pruned"] == 0
