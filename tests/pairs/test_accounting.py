"""The accounting of a datum: masks, scales, plates and factors count, the same way for everyone."""

import math
from collections.abc import Sequence

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from vaezoo.errors import RequestError
from vaezoo.objectives import ELBO, IWAE, Context, DReG, Objective
from vaezoo.observations.predictions import prior_predictive
from vaezoo.pairs.accounting import (
    elbo_terms,
    log_joint,
    log_mean_exp,
    log_weights,
    num_units,
    units_per_row,
)
from vaezoo.pairs.plates import log_density, total_log_density
from vaezoo.pairs.sites import trace_pair
from vaezoo.testing.pairs import LinearPair, NoLatents
from vaezoo.testing.sequence_pairs import LinearRecurrence

X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def test_the_scale_of_an_author_counts() -> None:
    trace = trace_pair(LinearPair(), (X,))
    (x,) = trace.observed.values()
    torch.testing.assert_close(log_density({**x, "scale": 0.25}), 0.25 * log_density(x))


def test_a_weight_is_that_of_latents() -> None:
    trace = trace_pair(LinearPair(), (X,))
    (p, _), (x,) = trace.latents["z"], trace.observed.values()
    both = 0.25 * log_density(p) + log_density(x)
    torch.testing.assert_close(total_log_density([p, x], weight=0.25), both)
    torch.testing.assert_close(log_joint(trace.model, weight=0.25), both)


def test_a_masked_row_has_no_density() -> None:
    mask = torch.tensor([True, False, True])
    trace = trace_pair(LinearPair(), (X,))
    for site in (*trace.latents["z"], *trace.observed.values()):
        assert (log_density(site, rows=mask) == 0).tolist() == [False, True, False]


def test_terms_are_those_of_the_closed_form() -> None:
    pair = LinearPair()
    trace = trace_pair(pair, (X,))
    _, q = trace.latents["z"]
    terms = elbo_terms(pair, (X,), trace=trace)
    mean, sd = q["fn"].mean, q["fn"].stddev
    kl = kl_divergence(Normal(mean, sd), Normal(torch.zeros_like(mean), 1.0))
    torch.testing.assert_close(terms.kl_per_latent["z"], kl)
    torch.testing.assert_close(terms.kl_total, kl.sum(-1))
    torch.testing.assert_close(terms.elbo, terms.recon - kl.sum(-1))


def test_without_latents_there_is_no_kl() -> None:
    terms = elbo_terms(NoLatents(), (X,))
    assert terms.kl == {}
    assert torch.equal(terms.elbo, terms.recon)


class Unordered(nn.Module):
    """Three latents, which model and guide draw in another order."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = _draw(("z", "a", "b"), x)
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).expand(x.shape).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            _draw(("z", "b", "a"), x)


def _draw(names: Sequence[str], x: Tensor) -> Tensor:
    draws = [pyro.sample(name, dist.Normal(x.new_zeros(()), 1.0)) for name in names]
    return torch.as_tensor(draws[0])


def test_a_plate_of_as_many_elements_as_data_is_not_that_of_the_data() -> None:
    class Topics(LinearPair):
        def model(self, x: Tensor) -> None:
            with pyro.plate("topics", 3):
                pyro.sample("w", dist.Normal(x.new_zeros(3), 1.0))
            super().model(x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("topics", 3):
                pyro.sample("w", dist.Normal(x.new_ones(3), 1.0))
            super().guide(x)

    terms = elbo_terms(Topics(), (torch.zeros(3, 4),))
    assert list(terms.kl) == ["z"]
    assert float(terms.kl_global["w"]) == pytest.approx(3 / 2)


def test_latents_in_another_order_have_no_closed_form() -> None:
    """The prior of one may depend on the draw of the other."""
    terms = elbo_terms(Unordered(), (X,))
    assert set(terms.kl) == {"z", "a", "b"}
    assert terms.kl_per_latent == {}


def test_steps_of_a_sequence_are_one_latent() -> None:
    x, length = torch.randn(3, 4, 1), torch.tensor([4, 1, 2])
    pair = LinearRecurrence()
    terms = elbo_terms(pair, (x, length))
    assert terms.kl["z"].shape == (3,)
    assert terms.kl_per_latent["z"].shape == (3, 1)
    torch.testing.assert_close(terms.kl_per_latent["z"].sum(-1), terms.kl["z"])
    assert units_per_row(pair, (x, length)).tolist() == [4, 1, 2]
    assert int(num_units(pair, (x, length), torch.tensor([True, False, True]))) == 6


@pytest.mark.parametrize("max_rows", [1, 3, 7, 8192])
def test_weights_of_the_exact_guide_are_the_evidence_in_pieces_of_any_size(max_rows: int) -> None:
    pair = LinearPair()
    weights = log_weights(pair, (X,), 5, max_rows=max_rows)
    torch.testing.assert_close(weights, pair.log_evidence(X).expand(5, 3))


def test_mean_of_weights_along_either_dimension() -> None:
    log_w = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(log_mean_exp(log_w), log_w.exp().mean(0).log())
    torch.testing.assert_close(log_mean_exp(log_w, 1), log_w.exp().mean(1).log())


# One accounting for everyone


class Small(nn.Module):
    """z ~ N(0, 1), x ~ N(w z, 1) of two elements, with a guide that is not exact."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.8, -0.5], dtype=torch.float64))
        self.a = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def prior(self, x: Tensor) -> Tensor:
        return pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))

    def likelihood(self, z: Tensor, x: Tensor) -> None:
        pyro.sample("x", dist.Normal(z[..., None] * self.w, 1.0).to_event(1), obs=x)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            self.likelihood(self.prior(x), x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.a * x.sum(-1), 0.7))


class Factored(Small):
    """With a factor."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = self.prior(x)
            pyro.factor("sparsity", -2.0 * z.abs())
            self.likelihood(z, x)


class ScaledLikelihood(Small):
    """With a likelihood that counts three times."""

    def likelihood(self, z: Tensor, x: Tensor) -> None:
        with pyro.poutine.scale(scale=3.0):
            super().likelihood(z, x)


class ScaledLatent(Small):
    """With a prior that counts half, and a posterior that counts whole."""

    def prior(self, x: Tensor) -> Tensor:
        with pyro.poutine.scale(scale=0.5):
            return super().prior(x)


class MaskedInModel(Small):
    """With a latent that the model alone masks in some rows."""

    def prior(self, x: Tensor) -> Tensor:
        with pyro.poutine.mask(mask=(torch.arange(len(x)) % 2 == 0).bool()):  # type: ignore[call-overload]
            return super().prior(x)


class Subsampled(Small):
    """The batch is a subsample of the data set, as in Pyro's documentation."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", 100, subsample=torch.arange(len(x))):
            self.likelihood(self.prior(x), x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", 100, subsample=torch.arange(len(x))):
            pyro.sample("z", dist.Normal(self.a * x.sum(-1), 0.7))


class Nested(Small):
    """With a plate for the elements of x, instead of an event."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("elements", 2, dim=-1):
                pyro.sample("x", dist.Normal(z * self.w, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(self.a * x.sum(-1, keepdim=True), 0.7))


class NestedLeft(Small):
    """With that plate left of the data, where Pyro puts it."""

    def likelihood(self, z: Tensor, x: Tensor) -> None:
        with pyro.plate("elements", 2):
            pyro.sample("x", dist.Normal(z * self.w[:, None], 1.0), obs=x.T)


class Recorded(Small):
    """With a value that is recorded."""

    def likelihood(self, z: Tensor, x: Tensor) -> None:
        super().likelihood(pyro.deterministic("double", 2 * z) / 2, x)


class Carried(Small):
    """With a guide that carries a draw to the latent, as Pyro's AutoGuides do."""

    def guide(self, x: Tensor) -> None:
        base = dist.Normal(2 * self.a * x.sum(-1), 1.4)
        with pyro.plate("data", len(x)):
            u = pyro.sample("z_unconstrained", base, infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(u / 2, log_density=torch.full_like(u, math.log(2))))


class Binary(Small):
    """With a latent that has no path derivative."""

    def prior(self, x: Tensor) -> Tensor:
        return pyro.sample("z", dist.Bernoulli(x.new_tensor(0.3)))

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.a * x.sum(-1)))


PAIRS = [
    *(Small, Factored, ScaledLikelihood, ScaledLatent, MaskedInModel, Subsampled, Nested),
    *(NestedLeft, Recorded, Carried, Binary),
]
ROWS = X[:, :2].repeat(3000, 1)


@pytest.mark.parametrize("cls", PAIRS)
def test_objective_printed_elbo_and_mean_log_weight_agree(cls: type[Small]) -> None:
    """Within five standard errors of 9,000 draws each: fails one run in a million, if at all."""
    pair, objective = cls(), ELBO()
    objective.prepare(pair, (ROWS[:7],))
    with torch.no_grad():
        weights = log_weights(pair, (ROWS,), 1)[0]
        printed = elbo_terms(pair, (ROWS,)).elbo
        trained = -objective.loss(pair, (ROWS,))
    error = 5 * float(weights.reshape(-1, 3).std(0).mean()) / math.sqrt(len(ROWS)) + 1e-9
    assert float(weights.mean()) == pytest.approx(float(printed.mean()), abs=2 * error)
    assert float(trained) == pytest.approx(float(printed.mean()), abs=2 * error)


@pytest.mark.parametrize("objective", [ELBO(), IWAE(), DReG()])
@pytest.mark.parametrize("cls", [Subsampled, Nested, NestedLeft, Recorded])
def test_other_ways_to_write_a_pair_train_it_alike(cls: type[Small], objective: Objective) -> None:
    results = []
    for pair in (Small(), cls()):
        objective.prepare(pair, (X[:, :2],))
        torch.manual_seed(0)
        loss = objective.loss(pair, (X[:, :2],), Context(0.5))
        results.append([loss, *torch.autograd.grad(loss, list(pair.parameters()))])
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_a_factor_is_a_term_of_its_own_and_never_data() -> None:
    trace = trace_pair(Factored(), (ROWS[:3],))
    z = trace.latents["z"][0]["value"]
    terms = elbo_terms(Factored(), (ROWS[:3],), trace=trace)
    assert list(trace.observed) == ["x"]
    torch.testing.assert_close(terms.factors["sparsity"], -2 * z.abs())
    torch.testing.assert_close(terms.elbo, terms.recon - terms.kl_total - 2 * z.abs())


@pytest.mark.parametrize("cls", [Factored, MaskedInModel, Subsampled, Nested, NestedLeft])
def test_rows_that_do_not_count_have_no_terms(cls: type[Small]) -> None:
    rows = torch.tensor([True, False, True])
    terms = elbo_terms(cls(), (ROWS[:3],), rows=rows)
    for term in (terms.recon, *terms.kl.values(), *terms.factors.values()):
        assert (term == 0).tolist() == [False, True, False]


class PartlyObserved(Small):
    """With rows of x that Pyro's ``obs_mask`` leaves out; the guide draws those."""

    def likelihood(self, z: Tensor, x: Tensor) -> None:
        fn = dist.Normal(z[..., None] * self.w, 1.0).to_event(1)
        pyro.sample("x", fn, obs=x, obs_mask=x[:, 0] > 0)  # type: ignore[arg-type]

    def guide(self, x: Tensor) -> None:
        super().guide(x)
        with pyro.plate("rest", len(x)), pyro.poutine.mask(mask=x[:, 0] <= 0):  # type: ignore[call-overload]
            pyro.sample("x_unobserved", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))


def test_a_partly_observed_site_keeps_its_name() -> None:
    trace = trace_pair(PartlyObserved(), (X[:, :2],))
    assert (list(trace.observed), list(trace.latents)) == (["x"], ["z", "x_unobserved"])
    assert set(prior_predictive(PartlyObserved(), (X[:, :2],))) == {"z", "x", "x_unobserved"}


# What all data share


class Mean(nn.Module):
    """One mean of all data: mu ~ N(0, 1), x_n ~ N(mu, 1), and a guide N(m, s^2)."""

    def __init__(self, m: float, s: float) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.tensor(m, dtype=torch.float64))
        self.log_s = nn.Parameter(torch.tensor(s, dtype=torch.float64).log())

    def model(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.sample("mu", dist.Normal(self.m, self.log_s.exp()))


DATA = torch.linspace(-1, 2, 800, dtype=torch.float64)[torch.randperm(800)]
EXACT_MEAN, EXACT_SD = float(DATA.sum()) / 801, 801**-0.5


@pytest.mark.parametrize("size", [80, 800])
def test_exact_posterior_of_a_global_latent_is_where_gradients_vanish(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noises -1 and 1 are Gauss-Hermite quadrature, exact for a quadratic log-density."""
    gradients = []
    for factor in (1.0, 1.02):
        pair, total = Mean(EXACT_MEAN, factor * EXACT_SD), torch.zeros((), dtype=torch.float64)
        for noise in (-1.0, 1.0):
            one = torch.tensor(noise, dtype=torch.float64)
            monkeypatch.setattr(
                "torch.distributions.normal._standard_normal", lambda *_, one=one, **kind: one
            )
            for x in DATA.split(size):
                total = total + ELBO().loss(pair, (x,), Context(num_data=800))
        gradients.append(torch.stack(torch.autograd.grad(total, list(pair.parameters()))))
    assert float(gradients[0].abs().max()) < 1e-9
    assert float(gradients[1][1]) > 1e-5


def test_global_kl_is_a_term_of_the_data_set() -> None:
    pair = Mean(0.3, 0.5)
    terms = elbo_terms(pair, (DATA[:5],))
    expected = kl_divergence(Normal(0.3, 0.5), Normal(0.0, 1.0)).double()
    assert terms.kl == {}
    torch.testing.assert_close(terms.kl_global["mu"], expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(RequestError, match="all data share site 'mu'"):
        log_weights(pair, (DATA[:5],), 3)


class Reading(LinearPair):
    """Counts the rows that its guide reads."""

    rows = 0

    def guide(self, x: Tensor) -> None:
        self.rows += len(x)
        super().guide(x)


def test_the_guide_reads_each_datum_once_for_many_draws() -> None:
    """Once in each piece of 40 draws, and for some tries on few rows."""
    pair, x = Reading(), torch.randn(200, 4)
    assert log_weights(pair, (x,), 100).shape == (100, 200)
    assert pair.rows < 5 * 200


def test_weights_of_draws_in_a_plate_are_those_of_rows() -> None:
    """The guide is exact: every weight is p(x), in whatever order it was drawn."""
    x = torch.randn(5, 4, dtype=torch.float64)
    log_w = log_weights(LinearPair().double(), (x,), 7, max_rows=10)
    expected = LinearPair().double().log_evidence(x).expand(7, 5)
    torch.testing.assert_close(log_w.double(), expected, rtol=1e-5, atol=1e-5)
