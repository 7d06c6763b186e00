"""Any Pyro model before ArviZ: its guide, its MCMC, or draws that somebody has."""

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer import HMC, MCMC, config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoNormal
from torch import Tensor, nn

from vaezoo import RequestError, from_pyro
from vaezoo.runtime.isolation import isolated
from vaezoo.testing.pairs import LinearPair

Y = torch.tensor([1.0, 2.0, 4.0])
SIGMA = torch.tensor([0.5, 1.0, 2.0])


def schools(y: Tensor, sigma: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, 1.0))
        pyro.deterministic("twice", 2 * theta)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def guide(y: Tensor, sigma: Tensor) -> None:
    pyro.sample("mu", dist.Normal(1.0, 1.0))
    with pyro.plate("school", len(y)):
        pyro.sample("theta", dist.Normal(y, sigma))


def values_of(tree: Any, group: str, name: str) -> Any:
    return tree[group][name].values


def test_groups_and_dimensions_are_those_of_the_model() -> None:
    tree = from_pyro(schools, guide, (Y, SIGMA), num_samples=8, coords={"school": list("abc")})
    assert tree["posterior"]["mu"].dims == ("chain", "draw")
    assert tree["posterior"]["twice"].dims == ("chain", "draw", "school")
    for group in ("posterior_predictive", "log_likelihood", "prior_predictive"):
        assert tree[group]["y"].dims == ("chain", "draw", "school")
    assert tree["observed_data"]["y"].dims == ("school",)
    assert list(tree["constant_data"].data_vars) == ["sigma"]
    assert tree["prior"]["twice"].shape == (4, 2, 3)
    assert list(tree["posterior"]["school"].values) == ["a", "b", "c"]


def test_densities_are_those_of_the_draws() -> None:
    tree = from_pyro(schools, guide, (Y, SIGMA), num_samples=8)
    mu, theta = (torch.from_numpy(values_of(tree, "posterior", n)) for n in ("mu", "theta"))
    likelihood = dist.Normal(theta, SIGMA).log_prob(Y)
    np.testing.assert_allclose(values_of(tree, "log_likelihood", "y"), likelihood, rtol=1e-5)
    of_theta = dist.Normal(mu[..., None], 1.0).log_prob(theta).sum(-1)
    lp = likelihood.sum(-1) + dist.Normal(0.0, 5.0).log_prob(mu) + of_theta
    np.testing.assert_allclose(values_of(tree, "sample_stats", "lp"), lp, rtol=1e-5)
    log_q = dist.Normal(1.0, 1.0).log_prob(mu) + dist.Normal(Y, SIGMA).log_prob(theta).sum(-1)
    np.testing.assert_allclose(values_of(tree, "sample_stats", "log_weight"), lp - log_q, rtol=1e-4)


def test_methods_of_a_pair_and_an_exact_guide_give_the_evidence() -> None:
    pair, x = LinearPair(), torch.randn(5, 4)
    tree = from_pyro(pair.model, pair.guide, x, num_samples=8)
    truth = float(pair.linear.log_prob(x.double()).sum())
    np.testing.assert_allclose(values_of(tree, "sample_stats", "log_weight"), truth, atol=1e-3)


def test_arguments_by_name_are_as_good() -> None:
    first = from_pyro(schools, guide, (Y, SIGMA), num_samples=8)
    second = from_pyro(schools, guide, {"sigma": SIGMA, "y": Y}, num_samples=8)
    assert np.array_equal(*(values_of(t, "posterior", "theta") for t in (first, second)))


def test_replicated_data_follow_each_other() -> None:
    """A random walk that is drawn anew goes on from its own steps, not from those of the data."""

    def walk(x: Tensor) -> None:
        step = pyro.sample("step", dist.Normal(0.0, 1.0))
        place = torch.tensor(0.0)
        for i, value in enumerate(x):
            place = pyro.sample(f"x_{i}", dist.Normal(place + step, 1e-3), obs=value)

    x = torch.tensor([5.0, 50.0])
    tree = from_pyro(walk, {"step": np.ones((1, 4), np.float32)}, x)
    assert values_of(tree, "posterior_predictive", "x_1") == pytest.approx(2.0, abs=0.05)


@config_enumerate
def mixture(x: Tensor) -> None:
    loc = pyro.sample("loc", dist.Normal(torch.tensor([-9.0, 9.0]), 1.0).to_event(1))
    with pyro.plate("datum", len(x)):
        kind = pyro.sample("kind", dist.Categorical(torch.ones(2)))
        pyro.sample("x", dist.Normal(loc[kind], 1.0), obs=x)


def test_discrete_latents_that_were_summed_out_are_drawn_given_the_rest() -> None:
    x = torch.tensor([-9.0, 9.0, 9.0])
    with isolated():
        found = AutoDelta(poutine.block(mixture, hide=["kind"]))
        tree = from_pyro(mixture, found, x, num_samples=8)
    assert (values_of(tree, "posterior", "kind") == [0, 1, 1]).all()


def test_chains_are_taken_as_they_are() -> None:
    pyro.set_rng_seed(0)
    mcmc = MCMC(HMC(schools), num_samples=6, warmup_steps=2, disable_progbar=True)
    mcmc.run(Y, SIGMA)
    tree = from_pyro(schools, mcmc, (Y, SIGMA))
    draws = mcmc.get_samples(group_by_chain=True)["theta"].numpy()
    assert np.array_equal(values_of(tree, "posterior", "theta"), draws)
    assert values_of(tree, "sample_stats", "diverging").shape == (1, 6)
    assert tree.attrs["r_hat_is_meaningful"] == 1


def test_loo_of_latents_of_single_data_says_what_it_is() -> None:
    assert "loo" in from_pyro(schools, guide, (Y, SIGMA), num_samples=4)["log_likelihood"].attrs

    def shared(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        with pyro.plate("datum", len(y)):
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with isolated():
        tree = from_pyro(shared, AutoNormal(shared), Y, num_samples=4)
    assert "loo" not in tree["log_likelihood"].attrs


def test_modules_are_evaluated_and_left_as_they_were() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def model(self, x: Tensor) -> None:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(self.drop(torch.ones(9)) + z, 1.0).to_event(1), obs=x)

    pair = Dropping()
    tree = from_pyro(pair.model, {"z": torch.zeros(1, 4)}, torch.zeros(9))
    assert np.ptp(values_of(tree, "log_likelihood", "x")) == 0
    assert pair.drop.training


def test_what_cannot_be_drawn_from_is_left_out() -> None:
    def flat(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
        pyro.sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)

    with pytest.warns(UserWarning, match="no groups prior"):
        tree = from_pyro(flat, {"mu": torch.zeros(1, 4)}, Y)
    assert "y" in tree["posterior_predictive"].data_vars


@pytest.mark.parametrize(
    ("draws", "settings", "words"),
    [
        ({"mu": torch.zeros(1, 4)}, {}, "latent 'theta', which the guide has not"),
        ({"nu": torch.zeros(1, 4)}, {}, "latent 'nu', which the model has not"),
        ({"mu": torch.zeros(4)}, {}, "shape \\(chain, draw"),
        (3, {}, "takes a guide"),
        (guide, {"num_samples": 3}, "multiple of 4"),
        (guide, {"dims": {"theta": ["a", "b"]}}, "2 names"),
        (guide, {"coords": {"school": ["a"]}}, "1 labels"),
        (guide, {"max_gib": 1e-9}, "take fewer"),
    ],
)
def test_refused_in_one_line(draws: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as refused:
        from_pyro(schools, draws, (Y, SIGMA), **settings)
    assert "\n" not in str(refused.value)
