"""Likelihoods of each kind of data: their own sums, scipy's densities, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import vaezoo
from vaezoo import RequestError, fit
from vaezoo.config import build_model
from vaezoo.distributions.entries import observed_entries
from vaezoo.distributions.families import elements_of, point_of
from vaezoo.models.vae import VAEBernoulli
from vaezoo.parts import LIKELIHOODS
from vaezoo.parts.networks import Decoder

LEVELS = {"num_levels": 5}
OPTIONS: dict[str, dict[str, Any]] = {
    "binomial": {"total": 4},
    "categorical": LEVELS,
    "discretized-logistic": LEVELS,
    "ordinal": LEVELS,
}
WHOLE = ("bernoulli", "binomial", "categorical", "ordinal", "discretized-logistic")
COUNTS = ("poisson", "negative-binomial", "zinb")
# Where each density lives, far enough out that what is beyond has no weight.
GRIDS = {
    "continuous-bernoulli": np.linspace(0, 1, 4001),
    "beta": np.linspace(0, 1, 200_001)[1:-1],
    "gaussian": np.linspace(-40, 40, 80_001),
    "laplace": np.linspace(-60, 60, 120_001),
    "student-t": np.linspace(-400, 400, 800_001),
    "gamma": np.geomspace(1e-8, 1e3, 200_001),
    "log-normal": np.geomspace(1e-8, 1e6, 200_001),
}
OTHERS = ("columns", "multinomial", "one-hot", "gaussian-mixture", "handwriting")
X_SHAPE = (3,)


def likelihood(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    net = Decoder(2, [8], X_SHAPE)
    module: nn.Module = LIKELIHOODS.find(name)(net, **{**OPTIONS.get(name, {}), **options})
    return module.double()


def elements(name: str, scale: float = 1.0, **options: Any) -> Any:
    """One row of independent elements, of a decoder that reads something."""
    z = scale * torch.randn(1, 2, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        return elements_of(likelihood(name, **options)(z))


def test_every_likelihood_is_tested() -> None:
    assert sorted(LIKELIHOODS.choices) == sorted([*WHOLE, *COUNTS, *GRIDS, *OTHERS])


@pytest.mark.parametrize("name", [*WHOLE, *COUNTS])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_probabilities_sum_to_one(name: str, scale: float) -> None:
    fn = elements(name, scale)
    last = getattr(fn.support, "upper_bound", 1 if name == "bernoulli" else 20_000)
    values = torch.arange(last + 1).double()[:, None, None].expand(-1, 1, 3)
    total = fn.log_prob(values).logsumexp(0)
    # What a count has beyond 20,000 is below 1e-4 as long as its mean is below a thousandth of it.
    sums = total[fn.mean < 20] if name in COUNTS else total.flatten()
    torch.testing.assert_close(sums, torch.zeros_like(sums), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", list(GRIDS))
def test_densities_integrate_to_one(name: str) -> None:
    grid = torch.from_numpy(GRIDS[name])
    density = elements(name).log_prob(grid[:, None, None].expand(-1, 1, 3)).exp()
    total = torch.trapezoid(density, grid, dim=0)
    torch.testing.assert_close(total, torch.ones_like(total), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["discretized-logistic"])
def test_a_mixture_of_levels_sums_to_one(name: str) -> None:
    fn = elements(name, num_components=3)
    total = fn.log_prob(torch.arange(5).double()[:, None, None].expand(-1, 1, 3)).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros_like(total))


def frozen(name: str, fn: Any) -> Any:
    """The same elements in scipy."""
    if name == "negative-binomial":
        return stats.nbinom(fn.total_count.numpy(), 1 - fn.probs.numpy())
    made: dict[str, Callable[[], Any]] = {
        "binomial": lambda: stats.binom(4, fn.probs.numpy()),
        "poisson": lambda: stats.poisson(fn.rate.numpy()),
        "beta": lambda: stats.beta(fn.concentration1.numpy(), fn.concentration0.numpy()),
        "laplace": lambda: stats.laplace(fn.loc.numpy(), fn.scale.numpy()),
        "student-t": lambda: stats.t(fn.df.numpy(), fn.loc.numpy(), fn.scale.numpy()),
        "gamma": lambda: stats.gamma(fn.concentration.numpy(), scale=1 / fn.rate.numpy()),
        "log-normal": lambda: stats.lognorm(fn.scale.numpy(), scale=fn.loc.exp().numpy()),
    }
    return made[name]()


@pytest.mark.parametrize("name", ["binomial", "poisson", "negative-binomial"])
def test_probabilities_are_those_of_scipy(name: str) -> None:
    fn, x = elements(name), np.array([[0.0, 2.0, 4.0]])
    expected = torch.from_numpy(frozen(name, fn).logpmf(x))
    torch.testing.assert_close(fn.log_prob(torch.from_numpy(x)), expected)


@pytest.mark.parametrize("name", ["beta", "laplace", "student-t", "gamma", "log-normal"])
def test_densities_are_those_of_scipy(name: str) -> None:
    fn, x = elements(name), np.array([[0.1, 0.5, 0.9]])
    expected = torch.from_numpy(frozen(name, fn).logpdf(x))
    torch.testing.assert_close(fn.log_prob(torch.from_numpy(x)), expected)


def test_zeros_of_a_second_kind() -> None:
    """log p(0) = log(g + (1 - g) NB(0)), log p(2) = log((1 - g) NB(2))."""
    fn = elements("zinb")
    gate = fn.gate_logits.sigmoid()
    base = frozen("negative-binomial", fn.base_dist)
    zero = (gate + (1 - gate) * torch.from_numpy(base.pmf(0))).log()
    two = ((1 - gate) * torch.from_numpy(base.pmf(2))).log()
    torch.testing.assert_close(fn.log_prob(torch.zeros(1, 3).double()), zero)
    torch.testing.assert_close(fn.log_prob(torch.full((1, 3), 2.0).double()), two)


def test_counts_of_a_total_are_those_of_scipy() -> None:
    fn, x = likelihood("multinomial", total=4)(torch.ones(1, 2).double()), [1, 0, 3]
    shares = fn.logits.exp()[0].detach().numpy()
    expected = stats.multinomial(4, shares / shares.sum()).logpmf(x)
    assert fn.log_prob(torch.tensor([x]).double()).item() == pytest.approx(expected)


def test_counts_that_are_left_have_their_own_total() -> None:
    """Of (1, missing, 3): a binomial with the shares of the two."""
    fn = likelihood("multinomial", total=4)(torch.ones(1, 2).double())
    first, _, last = fn.logits.exp()[0].tolist()
    expected = stats.binom(4, first / (first + last)).logpmf(1)
    value = torch.tensor([[1.0, torch.nan, 3.0]]).double()
    assert fn.log_prob(value).item() == pytest.approx(expected)


SMALL = {**dict.fromkeys(WHOLE, 1.0), **dict.fromkeys(COUNTS, 2.0)}
INSIDE = {**SMALL, **dict.fromkeys(GRIDS, 0.3)}


@pytest.mark.parametrize("name", list(INSIDE))
@pytest.mark.parametrize("scale", [0.0, 1e2, 1e5])
def test_gradients_are_finite_wherever_a_network_wanders(name: str, scale: float) -> None:
    """In 32 bits; the value may be as small as it likes. That of a Gaussian is exp(h), as ever."""
    if name == "gaussian" and scale > 1e3:
        pytest.skip("sigma is exp(h / 2), whatever h, as in the paper")
    module = likelihood(name).float()
    z = scale * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    log_prob = module(z).log_prob(torch.full((2, 3), INSIDE[name]))
    gradients = torch.autograd.grad(log_prob.sum(), [*module.parameters()], allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


@pytest.mark.parametrize("name", list(INSIDE))
def test_points_are_what_draws_average_to(name: str) -> None:
    """Failure rate below 1e-5: 40,000 draws, six standard errors of each of three elements.

    The Student-t has 5 degrees of freedom, so that its draws have a variance.
    """
    torch.manual_seed(3)
    fn = elements(name)
    point, kind = point_of(fn)
    draws = fn.sample((40_000,))
    error = draws.std(0) / 200
    assert kind == "mean"
    assert bool(((draws.mean(0) - point).abs() < 6 * error + 1e-3).all())


@pytest.mark.parametrize("name", list(INSIDE))
def test_missing_entries_count_nothing(name: str) -> None:
    fn = likelihood(name)(torch.ones(2, 2).double())
    whole = torch.full((2, 3), INSIDE[name]).double()
    holes = whole.clone()
    holes[:, 1] = torch.nan
    apart = elements_of(fn).log_prob(whole)
    expected = apart[:, 0] + apart[:, 2]
    torch.testing.assert_close(observed_entries(fn).log_prob(holes), expected)


FITTING: dict[str, np.ndarray] = {
    "bernoulli": np.random.default_rng(0).integers(0, 2, (60, 3)),
    "binomial": np.random.default_rng(0).integers(0, 5, (60, 3)),
    "beta": np.random.default_rng(0).uniform(0.1, 0.9, (60, 3)),
    "one-hot": np.eye(3)[np.random.default_rng(0).integers(0, 3, 60)],
    "gamma": np.random.default_rng(0).gamma(2.0, 1.0, (60, 3)),
    "gaussian": np.random.default_rng(0).normal(size=(60, 3)),
}
for _name in ("categorical", "ordinal", "discretized-logistic", "multinomial", *COUNTS):
    FITTING[_name] = FITTING["binomial"]
FITTING["continuous-bernoulli"] = FITTING["beta"]
FITTING["log-normal"] = FITTING["gamma"]
for _name in ("laplace", "student-t", "gaussian-mixture"):
    FITTING[_name] = FITTING["gaussian"]
TINY = {"hidden": [4], "z_dim": 2}


@pytest.mark.parametrize("name", list(FITTING))
def test_each_trains_on_data_that_it_explains(name: str) -> None:
    x = FITTING[name].astype(np.float32)
    run = fit("vae-bernoulli", x, config={**TINY, "likelihood": name}, training={"steps": 3})
    assert np.isfinite(vaezoo.evaluate(run, iwae=(1,)).metrics.elbo)
    assert vaezoo.sample(run, 4, x="sample").shape == (4, 3)


@pytest.mark.parametrize("name", [n for n in FITTING if "gauss" not in n and n[0] not in "ls"])
def test_each_refuses_data_that_it_does_not_explain(name: str) -> None:
    with pytest.raises(RequestError, match="explain"):
        fit("vae-bernoulli", -3.5 * np.ones((60, 3)), config={**TINY, "likelihood": name})


def test_levels_are_read_off_the_data() -> None:
    x = FITTING["binomial"]
    run = fit("vae-bernoulli", x, config={**TINY, "likelihood": "categorical"},
              training={"steps": 1})  # fmt: skip
    assert run.config["likelihood"]["num_levels"] == 5
    asked = {"name": "categorical", "num_levels": 9}
    run = fit("vae-bernoulli", x, config={**TINY, "likelihood": asked}, training={"steps": 1})
    assert run.config["likelihood"]["num_levels"] == 9


def test_levels_of_a_convolution_are_channels_of_its_own() -> None:
    settings = {"net": "conv", "likelihood": {"name": "categorical", "num_levels": 4}}
    pair = build_model(VAEBernoulli, settings, (8, 8))
    fn: Any = pair.decoder(torch.zeros(3, 20))
    assert fn.event_shape == (8, 8)
    assert elements_of(fn).log_probs.shape == (3, 8, 8, 4)


@pytest.fixture
def integers() -> Tensor:
    return torch.arange(5).double()


def test_ordinal_levels_rise_with_the_network(integers: Tensor) -> None:
    """p(x > k) grows with h for every k: proportional odds."""
    module: Any = likelihood("ordinal")
    fn = elements_of(module(torch.randn(50, 2).double()))
    h = module.location(module.net(torch.randn(50, 2).double()))
    assert fn.log_probs.shape == (50, 3, 5)
    assert h.shape == (50, 3)
    values = integers[:, None, None].expand(-1, 50, 3)
    torch.testing.assert_close(fn.log_prob(values).exp().sum(0), torch.ones(50, 3).double())


@pytest.mark.parametrize("name", ["gamma", "log-normal", "one-hot", "beta", "columns"])
def test_padding_of_sequences_harms_no_density(name: str) -> None:
    """Frames beyond the length of a sequence are 0, which is outside of these supports."""
    x = FITTING["gaussian"] if name == "columns" else FITTING[name]
    sequences = [x[i : i + 3 + i % 3].astype(np.float32) for i in range(0, 50, 2)]
    config = {"hidden": 4, "z_dim": 2, "likelihood": name}
    run = fit("vrnn", sequences, config=config, training={"steps": 2})
    assert np.isfinite(vaezoo.evaluate(run, iwae=(1,)).metrics.elbo)
