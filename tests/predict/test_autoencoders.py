"""A guide that gives each latent one value has a reconstruction, and no density."""

import json

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

import vaezoo
from vaezoo import RequestError
from vaezoo.parts.priors import Flat, StandardNormal
from vaezoo.runs import Run
from vaezoo.testing import check_pair

PRIORS = {"flat": Flat, "standard": StandardNormal}
X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")


class Autoencoder(nn.Module):
    """A linear autoencoder, with a prior by its name."""

    def __init__(self, *, x_shape: tuple[int, ...], prior: str = "flat") -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(x_shape[0], 2), nn.Linear(2, x_shape[0])
        self.prior = PRIORS[prior](2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x)).to_event(1))


@pytest.fixture(scope="module", params=["flat", "standard"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("autoencoder") / "run"
    torch.manual_seed(0)
    settings = {"prior": request.param}
    return vaezoo.fit(Autoencoder, X, config=settings, training={"steps": 10}, out=folder)


def test_the_pair_keeps_the_contract() -> None:
    check_pair(Autoencoder(x_shape=(4,)), (torch.from_numpy(X[:5]),))


def test_metrics_are_named_by_what_they_are(run: Run) -> None:
    record = json.loads((run.folder() / "metrics.jsonl").read_text().splitlines()[-1])
    assert sorted(record["validation"]) == ["at_floor", "penalty", "reconstruction"]
    assert "validation reconstruction" in repr(run)
    assert "ELBO" not in repr(run)


def test_the_reconstruction_is_the_likelihood_at_the_code(run: Run) -> None:
    result = vaezoo.evaluate(run, X)
    with torch.no_grad():
        x = torch.from_numpy(X)
        z = run.pair.encoder(x)
        exact = dist.Normal(run.pair.decoder(z), 1.0).to_event(1).log_prob(x).mean()
    assert result.to_dict()["metrics"]["reconstruction"] == pytest.approx(float(exact), abs=1e-4)
    assert (result.iwae, result.information) == ((), None)
    assert "IWAE" in result.left_out[0]


def test_the_penalty_is_that_of_the_prior(run: Run) -> None:
    z = run.pair.encoder(torch.from_numpy(X)).detach()
    exact = -run.pair.prior().log_prob(z).mean()
    penalty = vaezoo.evaluate(run, X).to_dict()["metrics"]["penalty"]
    assert penalty == pytest.approx(float(exact), abs=1e-4)


def test_codes_and_reconstructions_are_there(run: Run) -> None:
    assert vaezoo.encode(run, X)["z"].shape == (60, 2)
    assert vaezoo.reconstruct(run, X).x.shape == (60, 4)


def test_new_data_take_a_proper_prior(run: Run) -> None:
    if run.config["prior"] == "standard":
        assert vaezoo.sample(run, 3).shape == (3, 4)
        return
    with pytest.raises(RequestError, match=r"site 'z' cannot be drawn .* `vaezoo.reconstruct"):
        vaezoo.sample(run, 3)


def test_there_is_no_posterior_to_analyse(run: Run) -> None:
    with pytest.raises(RequestError, match="gives each latent one value"):
        vaezoo.analyse(run, X)
