"""New data from a density that is fitted to codes."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vaezoo
from vaezoo import RequestError
from vaezoo.cli import main
from vaezoo.predict.latents.ex_post import draw_ex_post
from vaezoo.runs import Run

RNG = np.random.default_rng(0)
MODES = RNG.choice([-3.0, 3.0], size=(400, 1)) * np.array([[1.0, 1.0, -1.0, 0.0]])
X = (MODES + 0.3 * RNG.normal(size=(400, 4))).astype("float32")
AUTOENCODER = {"prior": "flat", "posterior": "delta", "z_dim": 2, "hidden": (16,)}


@pytest.fixture(scope="module")
def run() -> Run:
    """An autoencoder of two clusters."""
    training = {"epochs": 30, "lr": 0.01}
    return vaezoo.fit("vae-gaussian", X, config=AUTOENCODER, training=training)


@pytest.mark.parametrize("source", ["gmm", "flow"])
def test_draws_have_the_density_of_the_codes(run: Run, source: str) -> None:
    """Both clusters are there, in about their shares: failure rate below 1e-6 for 1000 draws."""
    codes = torch.as_tensor(vaezoo.encode(run, split="train")["z"])
    draws = draw_ex_post(run, run.placeholder(1000), source, seed=1)["z"]  # type: ignore[arg-type]
    axis = codes.std(0).argmax()
    middle = (codes[:, axis].min() + codes[:, axis].max()) / 2
    share, exact = (float((z[:, axis] > middle).float().mean()) for z in (draws, codes))
    assert abs(share - exact) < 0.1
    torch.testing.assert_close(draws.mean(0), codes.mean(0), rtol=0, atol=float(codes.std()) / 3)


@pytest.mark.parametrize("source", ["gmm", "flow"])
def test_an_autoencoder_makes_new_data(run: Run, source: str) -> None:
    new = vaezoo.sample(run, 7, latents=source, x="sample", seed=3)  # type: ignore[arg-type]
    assert new.shape == (7, 4)
    assert np.isfinite(new).all()
    again = vaezoo.sample(run, 7, latents=source, x="sample", seed=3)  # type: ignore[arg-type]
    assert (new == again).all()


def test_without_a_density_its_refusal_says_how(run: Run) -> None:
    with pytest.raises(RequestError, match=r"latents='gmm'"):
        vaezoo.sample(run, 3)


def test_codes_may_be_those_of_other_data(run: Run) -> None:
    same = np.repeat(X[:1], 50, 0)
    new = np.asarray(vaezoo.sample(run, 5, latents="gmm", data=same))
    made = np.asarray(vaezoo.reconstruct(run, same, limit=1).x)
    np.testing.assert_allclose(new, np.repeat(made, 5, 0), atol=0.1)


def test_latents_with_an_edge_stay_inside() -> None:
    run = vaezoo.fit("vae-gumbel", training={"steps": 3})
    z = draw_ex_post(run, run.placeholder(5), "gmm")["z"]
    assert z.shape == (5, 10, 4)
    torch.testing.assert_close(z.sum(-1), torch.ones(5, 10))


def test_several_latents_are_drawn_together() -> None:
    run = vaezoo.fit("ladder-vae", training={"steps": 3})
    assert vaezoo.sample(run, 4, latents="gmm").shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [("vae-sphere", "site 'z'"), ("vrnn", "data without time")],
)
def test_what_has_no_such_density_is_refused(name: str, message: str) -> None:
    run = vaezoo.fit(name, training={"steps": 1})
    with pytest.raises(RequestError, match=message):
        vaezoo.sample(run, 3, latents="gmm")


def test_a_prefix_has_its_own_latents() -> None:
    run = vaezoo.fit("vrnn", training={"steps": 1})
    with pytest.raises(RequestError, match="drop `latents`"):
        vaezoo.sample(run, 3, prefix=2, latents="gmm")


def test_the_command(tmp_path: pytest.TempPathFactory) -> None:
    out = f"{tmp_path}/run"
    vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 3}, out=out)
    result = CliRunner().invoke(main, ["sample", out, "--from", "gmm", "-n", "4"])
    assert result.exit_code == 0, result.output
    assert "4 samples, z: sample (Gaussian mixture of codes), x: mean" in result.output
