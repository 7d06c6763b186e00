"""What is said of codes, where it can be computed by hand: a linear decoder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vaezoo
from vaezoo.cli import main
from vaezoo.predict.latents.overview import LatentOverview
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
