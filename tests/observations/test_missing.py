"""Missing entries, against the closed-form density of what is there."""

import math
from typing import Any

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.observations.missing import IncompletePair, with_missing
from vaezoo.observations.predictions import reconstruct
from vaezoo.pairs.accounting import elbo_terms, log_weight, log_weights
from vaezoo.pairs.sites import trace_pair
from vaezoo.testing.pairs import CORRELATED, LinearPair

NAN = math.nan
SIGMA = 0.7


@pytest.fixture
def x() -> Tensor:
    """Rows with entries missing at random, in one row all of them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    x[torch.rand(20, 4, generator=generator) < 0.4] = NAN
    x[3] = NAN
    return x


class PPCA(nn.Module):
    """Probabilistic PCA, whose guide is the exact posterior given the entries that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Parameter(CORRELATED.clone())
        self.b = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.W.T + self.b, SIGMA).to_event(1), obs=x)

    def posterior(self, x: Tensor) -> dist.MultivariateNormal:
        there = (~x.isnan()).double()
        W = self.W * there.unsqueeze(-1) / SIGMA**2
        precision = torch.eye(2) + W.mT @ self.W
        loc = torch.linalg.solve(precision, (W.mT @ (x.nan_to_num() - self.b).unsqueeze(-1)))
        return dist.MultivariateNormal(loc.squeeze(-1), precision_matrix=precision)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))


def marginal(pair: PPCA, row: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p of what is there in a row, and the mean of the whole given that."""
    there = ~row.isnan()
    covariance = pair.W @ pair.W.T + SIGMA**2 * torch.eye(4)
    if not there.any():
        return 0 * pair.b.sum(), pair.b
    own = covariance[there][:, there]
    normal = dist.MultivariateNormal(pair.b[there], own)
    gain = torch.linalg.solve(own, covariance[there] - SIGMA**2 * torch.eye(4)[there])
    return normal.log_prob(row[there]), pair.b + (row[there] - pair.b[there]) @ gain


def test_log_weights_are_the_density_of_what_is_there(x: Tensor) -> None:
    pair = PPCA()
    exact = torch.stack([marginal(pair, row)[0] for row in x])
    assert torch.allclose(log_weights(with_missing(pair, (x,)), (x,), 5), exact, atol=1e-5)


def test_reconstructions_are_the_means_given_what_is_there(x: Tensor) -> None:
    pair = PPCA()
    exact = torch.stack([marginal(pair, row)[1] for row in x])
    filled_in = reconstruct(with_missing(pair, (x,)), (x,))["x"]
    assert torch.allclose(filled_in, exact, atol=1e-5)


def test_nothing_changes_where_nothing_is_missing() -> None:
    pair, x = LinearPair(), torch.randn(3, 4)
    assert with_missing(pair, (x,)) is pair


def test_complete_rows_keep_their_elbo() -> None:
    pair, x = LinearPair(), torch.randn(3, 4)
    gaps = torch.cat([x, torch.full((1, 4), NAN)])
    whole = with_missing(pair, (gaps,))
    torch.manual_seed(0)
    ours = elbo_terms(whole, (x,)).elbo
    torch.manual_seed(0)
    assert torch.equal(ours, elbo_terms(pair, (x,)).elbo)


def test_a_row_with_nothing_has_the_likelihood_one(x: Tensor) -> None:
    pair = with_missing(PPCA(), (x,))
    assert elbo_terms(pair, (x,)).recon[3] == 0


def test_gradients_are_those_of_what_is_there(x: Tensor) -> None:
    pair = PPCA()
    exact = torch.stack([marginal(pair, row)[0] for row in x]).sum()
    theirs = torch.autograd.grad(exact, [pair.W, pair.b])
    torch.manual_seed(0)
    trace = trace_pair(with_missing(pair, (x,)), (x,))
    ours = torch.autograd.grad(log_weight(trace).sum(), [pair.W, pair.b])
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-8)


class Plain(nn.Module):
    """A pair with an encoder that cannot see nan, and any likelihood of h."""

    def __init__(self, x_dim: int = 3) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(x_dim, 2), nn.Linear(1, x_dim)

    def observe(self, h: Tensor, x: Tensor) -> None:
        raise NotImplementedError

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            self.observe(self.decoder(z), x)

    def guide(self, x: Tensor) -> None:
        loc, log_scale = self.encoder(x.float()).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


class Codes(Plain):
    def observe(self, h: Tensor, x: Tensor) -> None:
        logits = torch.stack([h, -h], -1)
        pyro.sample("x", dist.Categorical(logits=logits).to_event(1), obs=x.long())


class Mixed(Plain):
    def observe(self, h: Tensor, x: Tensor) -> None:
        pyro.sample("real", dist.Normal(h[:, :1], 1.0).to_event(1), obs=x[:, 1:2])
        pyro.sample("count", dist.Poisson(h[:, 1:].exp()).to_event(1), obs=x[:, [2, 0]])


class Autoregressive(Plain):
    def observe(self, h: Tensor, x: Tensor) -> None:
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], -1)
        pyro.sample("x", dist.Normal(h + before, 1.0).to_event(1), obs=x)


class OneHot(Plain):
    def observe(self, h: Tensor, x: Tensor) -> None:
        pyro.sample("x", dist.OneHotCategorical(logits=h), obs=x)


class Joint(Plain):
    def observe(self, h: Tensor, x: Tensor) -> None:
        pyro.sample("x", dist.MultivariateNormal(h, torch.eye(3)), obs=x)


class Missingness(Plain):
    """Not-MIWAE: which entries are missing is data, too (Ipsen et al. 2021, arXiv:2006.12871)."""

    def observe(self, h: Tensor, x: Tensor) -> None:
        x = pyro.sample("x", dist.Normal(h, 1.0).to_event(1), obs=x)
        pyro.sample("s", dist.Bernoulli(logits=x).to_event(1), obs=(~self.x.isnan()).float())

    def model(self, x: Tensor) -> None:
        self.x = x
        super().model(x)


ROWS = torch.tensor([[0.0, 1.0, 1.0], [1.0, NAN, 0.0], [NAN, NAN, NAN], [1.0, 1.0, 0.0]])


def by_site(pair: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the densities of observed sites, element by element, under one seed."""
    torch.manual_seed(0)
    sites = trace_pair(with_missing(pair, (x,)), (x,)).observed
    return {n: site["fn"].base_dist.log_prob(site["value"]) for n, site in sites.items()}


@pytest.mark.parametrize("cls", [Codes, Mixed, Autoregressive])
def test_missing_elements_count_nothing_and_others_as_before(cls: type[Plain]) -> None:
    torch.manual_seed(1)
    pair = cls()
    gaps, whole = by_site(pair, ROWS), by_site(pair, torch.cat([ROWS[[0, 0, 0, 3]], ROWS[1:2]]))
    there = ~ROWS.isnan()
    columns = {"x": [0, 1, 2], "real": [1], "count": [2, 0]}
    for name, log_prob in gaps.items():
        own = there[:, columns[name]]
        assert (log_prob[~own] == 0).all()
        assert torch.allclose(log_prob[[0, 3]], whole[name][[0, 3]])


def test_an_event_can_be_missing_as_a_whole() -> None:
    x = torch.cat([torch.eye(3), torch.full((1, 3), NAN)])
    terms = elbo_terms(with_missing(OneHot(), (x,)), (x,))
    assert terms.recon[3] == 0
    assert (terms.recon[:3] < 0).all()


@pytest.mark.parametrize("cls", [OneHot, Joint])
def test_a_part_of_an_event_cannot_be_missing(cls: type[Plain]) -> None:
    with pytest.raises(RequestError, match=r"site 'x' observes are missing.*not independent"):
        with_missing(cls(), (ROWS,))


def test_a_pair_may_explain_what_is_missing() -> None:
    pair = with_missing(Missingness(), (ROWS,))
    assert isinstance(pair, IncompletePair)
    assert pair.handling.model_sees_nan
    missing = trace_pair(pair, (ROWS,)).observed["s"]["value"]
    assert torch.equal(missing, (~ROWS.isnan()).float())


class Labelled(Plain):
    def model(self, x: Tensor, c: Tensor) -> None:  # type: ignore[override]
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z) + c, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, c: Tensor) -> None:  # type: ignore[override]
        super().guide(x)


def test_a_condition_cannot_be_missing() -> None:
    with pytest.raises(RequestError, match="'c' has missing entries"):
        with_missing(Labelled(), (torch.randn(4, 3), ROWS))


def test_an_own_density_that_leaves_out_nan_is_left_alone() -> None:
    x = torch.tensor([[1.0, NAN, 0.0], [0.0, 0.0, 1.0]])
    pair = with_missing(Own(), (x,))
    assert isinstance(pair, IncompletePair)
    assert pair.handling.left_alone == {"x"}
    assert torch.allclose(elbo_terms(pair, (x,)).recon, torch.tensor([-2.0, -3.0]))


class OneANat(dist.TorchDistribution):
    """A density of e^-1 for each entry that is there."""

    arg_constraints = {}  # noqa: RUF012

    @property
    def support(self) -> dist.constraints.Constraint:
        return dist.constraints.real_vector

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OneANat":
        return OneANat(batch_shape, self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return -(~value.isnan()).float().sum(-1)


class Own(Plain):
    def observe(self, h: Tensor, x: Tensor) -> None:
        pyro.sample("x", OneANat(h.shape[:-1], h.shape[-1:]), obs=x)
