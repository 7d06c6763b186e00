"""Objectives over the aggregate posterior: closed forms, exact splits, and what is refused."""

import math
from collections.abc import Mapping

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

import vaezoo
from vaezoo.errors import RequestError
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO, Context, Objective, make_objective
from vaezoo.objectives.aggregate.beta_tc import split_of_kl
from vaezoo.objectives.aggregate.codes import Codes
from vaezoo.objectives.aggregate.info import Kernel, mmd
from vaezoo.objectives.losses import named_losses
from vaezoo.pairs.accounting import elbo_terms


@pytest.fixture
def pair() -> VAEBernoulli:
    torch.manual_seed(1)
    return VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(4,)).double()


@pytest.fixture
def x() -> Tensor:
    return torch.bernoulli(torch.full((8, 6), 0.4, dtype=torch.float64))


def loss_of(
    objective: Objective, pair: nn.Module, x: Tensor, context: Context | None = None
) -> Tensor:
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    return named_losses(objective.loss(pair, (x,), context or Context()))["pair"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("info", {"alpha": 0.0, "weight": 1.0}),
        ("dip", {"off": 0.0, "diagonal": 0.0}),
        ("factor", {"gamma": 0.0}),
    ],
)
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_without_its_penalty_each_is_the_elbo(
    pair: VAEBernoulli, x: Tensor, name: str, options: dict[str, float], beta: float
) -> None:
    loss = loss_of(make_objective(name, options=options), pair, x, Context(beta))
    torch.testing.assert_close(loss, loss_of(ELBO(), pair, x, Context(beta)))


def test_the_parts_of_the_kl_sum_to_it(pair: VAEBernoulli, x: Tensor) -> None:
    """Draw by draw: the split is one of log q(z | x) - log p(z)."""
    objective = make_objective("beta-tc", options={"tc": 1.0})
    loss = loss_of(objective, pair, x)
    torch.manual_seed(3)
    terms = elbo_terms(pair, (x,), closed_form=())
    torch.testing.assert_close(loss, -terms.elbo.mean())


def test_the_split_is_exact_where_the_batch_is_all_data() -> None:
    """Two data far apart: a draw tells which it is of, and so does each latent by itself."""
    loc = torch.tensor([[-20.0, -20.0], [20.0, 20.0]], dtype=torch.float64)
    posterior = dist.Normal(loc, 1.0).to_event(1)
    prior = dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1)
    codes = Codes(prior, posterior, loc, torch.full((2,), 0.5, dtype=torch.float64))
    information, correlation, _ = split_of_kl(codes, num_data=2)
    assert float(information) == pytest.approx(math.log(2), abs=1e-9)
    assert float(correlation) == pytest.approx(math.log(2), abs=1e-9)  # each alone tells them apart


def closed_form(kernel_width: float, shift: float, dim: int) -> float:
    """MMD^2 of N(0, I) and N(shift, I) under exp(-|a - b|^2 / w): Gaussian integrals."""
    same = (1 + 4 / kernel_width) ** (-dim / 2)
    other = same * math.exp(-dim * shift**2 / (kernel_width + 4))
    return 2 * same - 2 * other


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_mmd_between_gaussians_is_its_closed_form(shift: float) -> None:
    """Failure rate below 1e-6: the mean of 40 samples within 6 standard errors."""
    torch.manual_seed(0)
    draws = torch.stack([mmd(torch.randn(200, 2), torch.randn(200, 2) + shift) for _ in range(40)])
    error = float(draws.std()) / math.sqrt(len(draws))
    assert abs(float(draws.mean()) - closed_form(2.0, shift, 2)) < 6 * error


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_rows_that_do_not_count_leave_mmd_alone(kernel: Kernel) -> None:
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    share = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]) / 3
    expected = mmd(a[:3], b[:3], kernel=kernel)
    torch.testing.assert_close(mmd(a, b, share, kernel=kernel), expected)


@pytest.mark.parametrize("form", ["i", "ii"])
def test_dip_holds_the_covariance_to_the_identity(pair: VAEBernoulli, x: Tensor, form: str) -> None:
    objective = make_objective("dip", options={"form": form, "off": 2.0, "diagonal": 3.0})
    penalty = loss_of(objective, pair, x) - loss_of(ELBO(), pair, x)
    q = pair.encoder(x)
    covariance = torch.cov(q.mean.T, correction=0)
    if form == "ii":
        covariance = covariance + q.variance.mean(0).diag()
    off = covariance - covariance.diagonal().diag()
    expected = 2 * off.square().sum() + 3 * (covariance.diagonal() - 1).square().sum()
    torch.testing.assert_close(penalty, expected)


def test_the_critic_sees_a_total_correlation() -> None:
    """Of a Gaussian with correlation r it is -1/2 log(1 - r^2); the critic comes near it."""
    torch.manual_seed(0)
    pair, x = Correlated(0.9), torch.zeros(2000, 1)
    objective = make_objective("factor", options={"hidden": 32, "layers": 2, "gamma": 1.0})
    objective.prepare(pair, (x,))
    optimizer = torch.optim.Adam(objective.critic.parameters(), lr=3e-3)  # type: ignore[attr-defined]
    for _ in range(150):
        optimizer.zero_grad()
        losses = objective.loss(pair, (x,))
        assert isinstance(losses, Mapping)
        losses["critic"].backward()
        optimizer.step()
    torch.manual_seed(3)
    loss = named_losses(objective.loss(pair, (x,)))["pair"]
    tc = float((loss - loss_of(ELBO(), pair, x)).detach())
    assert tc == pytest.approx(-0.5 * math.log(1 - 0.81), abs=0.25)


class Correlated(nn.Module):
    """A guide whose two latents have a correlation, whatever x is."""

    def __init__(self, correlation: float) -> None:
        super().__init__()
        covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
        self.factor = nn.Parameter(torch.linalg.cholesky(covariance))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0 * z[..., :1], 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = torch.zeros(len(x), 2)
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=self.factor))


def test_a_split_of_correlated_latents_is_refused() -> None:
    with pytest.raises(RequestError, match="a posterior whose elements are independent"):
        make_objective("beta-tc").prepare(Correlated(0.5), (torch.zeros(3, 1),))


@pytest.mark.parametrize("name", ["info", "dip", "factor", "beta-tc"])
def test_sequences_have_no_one_latent_vector(name: str) -> None:
    with pytest.raises(RequestError, match="compares data by one latent vector of each"):
        vaezoo.fit("vrnn", training={"steps": 1, "objective": name})


@pytest.mark.parametrize(("step", "capacity"), [(0, 0.0), (5, 12.5), (10, 25.0), (100, 25.0)])
def test_the_capacity_rises_to_its_target(
    pair: VAEBernoulli, x: Tensor, step: int, capacity: float
) -> None:
    options = {"target": 25.0, "gamma": 3.0, "rise": 10}
    loss = loss_of(make_objective("capacity", options=options), pair, x, Context(step=step))
    torch.manual_seed(3)
    terms = elbo_terms(pair, (x,))
    expected = 3 * (terms.kl_total.mean() - capacity).abs() - terms.recon.mean()
    torch.testing.assert_close(loss, expected)


def test_a_capacity_that_rises_too_long_is_refused() -> None:
    training = {"steps": 10, "objective": {"name": "capacity", "rise": 10}}
    with pytest.raises(RequestError, match=r"does not end before.*use `objective\.rise=5`"):
        vaezoo.fit("vae-bernoulli", training=training)


def test_a_capacity_of_a_preset_rises_within_a_shorter_training() -> None:
    run = vaezoo.fit("beta-vae-capacity", training={"steps": 12})
    assert run.training.objective_options["rise"] == 6


@pytest.mark.parametrize(
    ("cycle", "warmup", "message"),
    [
        (4, 0, "use `kl_warmup=2`"),
        (4, 4, "use `kl_warmup=2`"),
        (10, 4, "first KL cycle of 10 steps does not end"),
    ],
)
def test_cycles_that_cannot_be_are_refused(cycle: int, warmup: int, message: str) -> None:
    training = {"steps": 10, "kl_cycle": cycle, "kl_warmup": warmup}
    with pytest.raises(RequestError, match=message):
        vaezoo.fit("vae-bernoulli", training=training)
