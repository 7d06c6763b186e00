"""Objectives against formulas worked out by hand."""

import math
from pathlib import Path

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

import vaezoo
from vaezoo.config import build_model
from vaezoo.errors import RequestError
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import (
    ELBO,
    IWAE,
    OBJECTIVES,
    Context,
    DReG,
    make_objective,
)
from vaezoo.pairs.accounting import elbo_terms, log_weights, num_units
from vaezoo.pairs.sites import trace_pair
from vaezoo.registry import get_model
from vaezoo.testing import made_up_batch
from vaezoo.training.schedule import kl_weight

SEQUENCE_PAIR = str(Path(vaezoo.__file__).parent / "testing" / "templates" / "sequence_pair.py")


@pytest.fixture
def pair() -> VAEBernoulli:
    torch.manual_seed(1)
    return VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(4,))


@pytest.fixture
def x() -> Tensor:
    return torch.bernoulli(torch.full((5, 6), 0.4))


def posterior_of(pair: VAEBernoulli, x: Tensor) -> tuple[Tensor, Tensor]:
    """mu and log sigma^2, from the weights: App. C.2 with z and x swapped."""
    first = pair.encoder.net.body[0]
    head = pair.encoder.head
    h = torch.tanh(x @ first.weight.T + first.bias)
    mu = h @ head.loc.weight.T + head.loc.bias
    log_var = h @ head.log_var.weight.T + head.log_var.bias
    return mu, (log_var.exp() + head.floor**2).log()


def reconstruction_of(pair: VAEBernoulli, x: Tensor, z: Tensor) -> Tensor:
    """sum x log y + (1 - x) log(1 - y), y = sigmoid(W2 tanh(W1 z + b1) + b2): App. C.1."""
    first, second = pair.decoder.net.body[0], pair.decoder.logits[0]
    logits = torch.tanh(z @ first.weight.T + first.bias) @ second.weight.T + second.bias
    y = torch.sigmoid(logits)
    return (x * y.log() + (1 - x) * (1 - y).log()).sum(-1)


def kl_of(mu: Tensor, log_var: Tensor) -> Tensor:
    """-1/2 sum(1 + log sigma^2 - mu^2 - sigma^2): App. B."""
    return -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(-1)


def hand_written_loss(
    pair: VAEBernoulli, x: Tensor, beta: float = 1.0, number: int = 1, free_bits: float = 0.0
) -> Tensor:
    mu, log_var = posterior_of(pair, x)
    z = mu + torch.exp(0.5 * log_var) * torch.randn(number, *mu.shape)
    recon = reconstruction_of(pair, x, z).mean()
    if free_bits:
        by_latent = torch.stack([kl_of(mu[:, [j]], log_var[:, [j]]).mean() for j in range(3)])
        return beta * by_latent.clamp(min=free_bits).sum() - recon
    return beta * kl_of(mu, log_var).mean() - recon


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("free_bits", [0.0, 0.02])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_loss_is_the_hand_written_bound(
    pair: VAEBernoulli, x: Tensor, beta: float, free_bits: float, number: int
) -> None:
    torch.manual_seed(3)
    expected = hand_written_loss(pair, x, beta, number, free_bits)
    objective = ELBO(num_particles=number, free_bits=free_bits)
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    loss = objective.loss(pair, (x,), Context(beta)).detach()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("free_bits", [0.0, 0.02])
@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_gradient_is_that_of_the_hand_written_bound(
    pair: VAEBernoulli, x: Tensor, beta: float, free_bits: float, number: int
) -> None:
    parameters = list(pair.parameters())
    torch.manual_seed(3)
    expected = torch.autograd.grad(hand_written_loss(pair, x, beta, number, free_bits), parameters)
    objective = ELBO(num_particles=number, free_bits=free_bits)
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    grads = torch.autograd.grad(objective.loss(pair, (x,), Context(beta)), parameters)
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_terms_are_the_formulas_of_the_paper(pair: VAEBernoulli, x: Tensor) -> None:
    mu, log_var = posterior_of(pair, x)
    torch.manual_seed(3)
    z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
    torch.manual_seed(3)
    terms = elbo_terms(pair, (x,))
    torch.testing.assert_close(terms.recon, reconstruction_of(pair, x, z))
    torch.testing.assert_close(terms.kl["z"], kl_of(mu, log_var), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.kl_per_latent["z"].sum(-1), terms.kl["z"])
    torch.testing.assert_close(terms.elbo, terms.recon - terms.kl_total)


def test_more_particles_average_the_same_estimate(pair: VAEBernoulli, x: Tensor) -> None:
    """Failure rate below 1e-6: the means of 400 draws agree within 6 standard errors."""
    one, five = ELBO(), ELBO(num_particles=5)
    singles = torch.stack([one.loss(pair, (x,)).detach() for _ in range(400)])
    several = torch.stack([five.loss(pair, (x,)).detach() for _ in range(80)])
    error = math.sqrt(float(singles.var()) / 400 + float(several.var()) / 80)
    assert abs(float(singles.mean() - several.mean())) < 6 * error
    assert float(several.var()) < float(singles.var())


class Narrow(nn.Module):
    """One latent whose exact KL is known, for the traps of a scaled KL term."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.full((20,), 3.0))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(20), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0 * z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 0.1).to_event(1))

    @property
    def kl(self) -> float:
        return 20 * 0.5 * (3.0**2 + 0.1**2 - 1 - math.log(0.1**2))


def test_beta_weighs_the_kl_term() -> None:
    pair, x = Narrow(), torch.zeros(300, 20)
    elbo = ELBO()
    elbo.prepare(pair, (x,))

    def kl(beta: float) -> float:
        recon = -20 * 0.5 * math.log(2 * math.pi)
        return float(torch.as_tensor(elbo.loss(pair, (x,), Context(beta))).detach()) + recon

    assert kl(4.0) / pair.kl == pytest.approx(4.0, rel=0.02)
    assert kl(1.0) / pair.kl == pytest.approx(1.0, rel=0.02)


def test_beta_changes_the_gradient(pair: VAEBernoulli, x: Tensor) -> None:
    parameter = pair.encoder.head.loc.weight
    gradients = []
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        (gradient,) = torch.autograd.grad(ELBO().loss(pair, (x,), Context(beta)), parameter)
        gradients.append(gradient)
    assert not torch.allclose(*gradients, rtol=0.1)


def test_warm_up_is_linear_and_ends() -> None:
    weights = [kl_weight(step, beta=2.0, warmup=10) for step in range(13)]
    assert weights[:11] == pytest.approx([0.2 * step for step in range(11)])
    assert weights[10:] == [2.0, 2.0, 2.0]


def test_without_warm_up_beta_is_constant() -> None:
    assert kl_weight(0, beta=3.0, warmup=0) == 3.0


class TwoLayers(nn.Module):
    """Latents that model and guide visit in opposite orders."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            low = pyro.sample("low", dist.Normal(top, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(low, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("top", dist.Normal(low, 1.0).to_event(1))


def test_closed_form_kl_is_not_used_where_it_would_be_wrong() -> None:
    objective = ELBO()
    objective.prepare(TwoLayers(), (torch.zeros(3, 2),))
    assert objective._closed_form == frozenset()


def test_monte_carlo_kl_estimates_the_bound_of_a_hierarchy() -> None:
    """Failure rate below 1e-6: ELBO terms and log-weights have one mean, within 6 errors."""
    pair, x = TwoLayers(), torch.randn(3, 2)
    weights = log_weights(pair, (x,), 4000).mean(0)
    elbo = torch.stack([elbo_terms(pair, (x,)).elbo for _ in range(4000)])
    error = (elbo.var(0) * 2 / 4000).sqrt()
    assert bool(((elbo.mean(0) - weights).abs() < 6 * error).all())


# Free bits


class Latents(nn.Module):
    """Latents with a KL of 2.0, 0.045 and 0 nats that do not reach the data."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([2.0, 0.3, 0.0]))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0 * z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1))


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_latent_below_its_free_bits_has_no_gradient(beta: float) -> None:
    """d KL_j / d loc_j = loc_j, times beta, above; zero below."""
    pair = Latents()
    loss = ELBO(free_bits=0.1).loss(pair, (torch.zeros(4, 3),), Context(beta))
    (gradient,) = torch.autograd.grad(loss, pair.loc)
    torch.testing.assert_close(gradient, torch.tensor([2.0 * beta, 0.0, 0.0]))
    constant = 3 * 0.5 * math.log(2 * math.pi)
    assert loss.item() - constant == pytest.approx(beta * (2.0 + 0.1 + 0.1), rel=1e-5)


def test_free_bits_are_compared_with_the_average_over_the_batch() -> None:
    """Rows with a KL of 8 and of 0 nats: 4 on average, above 3 free nats; each alone is not."""

    class TwoRows(Latents):
        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                loc = self.loc * torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
                pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))

    loss = ELBO(free_bits=3.0).loss(TwoRows(), (torch.zeros(2, 3),))
    constant = 3 * 0.5 * math.log(2 * math.pi)
    assert loss.item() - constant == pytest.approx(4.0 + 3.0 + 3.0, rel=1e-5)


class Correlated(Latents):
    """A posterior that does not factorise."""

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(self.loc, torch.eye(3)))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.MultivariateNormal(torch.zeros(3), torch.eye(3)))
            pyro.sample("x", dist.Normal(0 * z, 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(("free_bits", "kl"), [(2.5, 2.5), (1.0, 2.045)])
def test_site_that_does_not_factorise_is_one_latent(free_bits: float, kl: float) -> None:
    loss = ELBO(free_bits=free_bits).loss(Correlated(), (torch.zeros(4, 3),))
    assert loss.item() - 1.5 * math.log(2 * math.pi) == pytest.approx(kl, rel=1e-5)


def test_free_bits_of_a_sequence_are_per_frame() -> None:
    """The steps of a latent share its free bits; frames are counted, not sequences."""
    pair = build_model(get_model(SEQUENCE_PAIR), {"z_dim": 2, "hidden": 8}, (3,))
    x, length = made_up_batch(pair, (3,))
    torch.manual_seed(3)
    trace = trace_pair(pair, (x, length))
    kl = torch.zeros(2)
    for p, q in trace.latents.values():
        step = torch.distributions.kl_divergence(q["fn"].base_dist, p["fn"].base_dist)
        kl += torch.where(q["mask"][:, None], step, 0.0).sum(0).detach() / length.sum()
    recon = elbo_terms(pair, (x, length), trace=trace).recon.sum() / length.sum()
    objective = ELBO(free_bits=float(kl.mean()))  # between the two latents
    objective.prepare(pair, (x, length))
    torch.manual_seed(3)
    loss = objective.loss(pair, (x, length)).item()
    assert loss == pytest.approx(float(kl.mean() + kl.max()) - recon.item(), rel=1e-5)


class Discrete(nn.Module):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal(c, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("c", dist.Bernoulli(logits=x))


class Shared(nn.Module):
    def model(self, x: Tensor) -> None:
        s = pyro.sample("s", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(s, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.sample("s", dist.Normal(0.0, 1.0))


class Auxiliary(nn.Module):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("u", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (Discrete(), "'c' is not; drop `free_bits`"),
        (Shared(), "'s' has others; .*drop `free_bits`"),
        (Auxiliary(), "the guide draws 'u', for which the model has no density; add its reverse"),
    ],
)
def test_free_bits_are_refused(pair: nn.Module, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        ELBO(free_bits=0.1).prepare(pair, (torch.randn(5),))


# The names


def test_options_reach_the_objective() -> None:
    elbo = make_objective("elbo", num_particles=3, free_bits=0.5)
    assert isinstance(elbo, ELBO)
    assert (elbo.num_particles, elbo.free_bits, elbo.judged_by_elbo) == (3, 0.5, True)
    for name, cls in (("iwae", IWAE), ("dreg", DReG)):
        objective = make_objective(name, num_particles=3)
        assert isinstance(objective, cls)
        assert (objective.num_particles, objective.judged_by_elbo) == (3, False)


@pytest.mark.parametrize("name", ["iwae", "dreg"])
def test_option_that_an_objective_does_not_have_is_refused(name: str) -> None:
    words = f"'{name}' has no 'free_bits', 'elbo' has; drop `free_bits`, or use `objective='elbo'`"
    with pytest.raises(RequestError, match=words):
        make_objective(name, free_bits=0.5)
    assert make_objective(name, num_particles=1, free_bits=0.0)


def test_unknown_objective_is_refused() -> None:
    with pytest.raises(RequestError, match="did you mean 'iwae'"):
        make_objective("iwea")


def test_objective_of_ones_own_takes_the_options_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Plain(ELBO):
        def __init__(self, *, free_bits: float = 0.0) -> None:
            super().__init__(free_bits=free_bits)

    monkeypatch.setitem(OBJECTIVES.imported, "plain", Plain)
    objective = make_objective("plain", free_bits=0.25)
    assert isinstance(objective, Plain)
    assert objective.free_bits == 0.25
    with pytest.raises(RequestError, match="drop `num_particles`, or use `objective="):
        make_objective("plain", num_particles=2)


def test_rows_that_a_mask_leaves_out_are_no_units() -> None:
    pair = build_model(get_model(SEQUENCE_PAIR), {"hidden": 8}, (3,))
    x, length = torch.zeros(3, 5, 3), torch.tensor([5, 2, 4])
    assert int(num_units(pair, (x, length))) == 11
    assert int(num_units(pair, (x, length), torch.tensor([True, False, True]))) == 9
