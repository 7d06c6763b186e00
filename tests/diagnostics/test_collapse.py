"""KL of latents and what is left of it as information, against closed forms and quadrature."""

import math

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.data.transform import Transform
from vaezoo.diagnostics.collapse import collapse, element_names
from vaezoo.models.rnn import RNN
from vaezoo.models.vrnn import VRNN
from vaezoo.sequences.paths import training_form
from vaezoo.training.metrics import measure

SD = (0.5, 0.8, 1.0)


class Known(nn.Module):
    """q(z | x) = N(x, sd^2) for each of three latents; the third has mean 0, and is dead."""

    def __init__(self, prior: str = "normal", sd: tuple[float, ...] = SD) -> None:
        super().__init__()
        self.prior = prior
        self.sd = torch.tensor(sd, dtype=torch.float64)

    def model(self, x: Tensor) -> None:
        zeros = x.new_zeros(3)
        with pyro.plate("data", len(x)):
            if self.prior == "joint":
                p = dist.MultivariateNormal(zeros, torch.eye(3, dtype=x.dtype))
            elif self.prior == "student":
                p = dist.StudentT(x.new_tensor(1e6), zeros, 1.0).to_event(1)
            else:
                p = dist.Normal(zeros, 1.0).to_event(1)
            z = pyro.sample("z", p)
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        mean = x * x.new_tensor([1.0, 1.0, 0.0])
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean, self.sd).to_event(1))


class OneLatent(nn.Module):
    """q(z | x) = N(x, sd^2)."""

    def __init__(self, sd: float) -> None:
        super().__init__()
        self.sd = sd

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, self.sd).to_event(1))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(500, 3, dtype=torch.float64)


def closed_form(x: Tensor) -> list[float]:
    sd, mean = torch.tensor(SD, dtype=torch.float64), x * x.new_tensor([1.0, 1.0, 0.0])
    return (0.5 * (sd**2 + mean**2 - 1) - sd.log()).mean(0).tolist()


def test_kl_of_elements_is_the_closed_form(x: Tensor) -> None:
    latents = collapse(Known(), (x,))
    assert list(latents.kl_per_element) == ["z[0]", "z[1]", "z[2]"]
    assert list(latents.kl_per_element.values()) == pytest.approx(closed_form(x))
    assert latents.kl == pytest.approx(sum(closed_form(x)))


def test_dead_latent_is_named(x: Tensor) -> None:
    latents = collapse(Known(), (x,))
    assert latents.collapsed == ("z[2]",)
    assert latents.active_units == 2


def test_kl_without_closed_form_is_by_draws(x: Tensor) -> None:
    """A Student's t of 10^6 degrees is a normal; 5 standard errors. Failure rate 2e-6."""
    latents = collapse(Known("student"), (x,), num_samples=200)
    error = 1.5 / math.sqrt(200 * 500)
    assert list(latents.kl_per_element.values()) == pytest.approx(closed_form(x), abs=5 * error)
    assert latents.collapsed == ("z[2]",)


def test_prior_that_does_not_factorise_has_one_entry(x: Tensor) -> None:
    """5 standard errors of about 2 / sqrt(100,000). Failure rate 2e-6."""
    latents = collapse(Known("joint"), (x,), num_samples=200)
    assert list(latents.kl_per_element) == ["z"]
    assert latents.kl == pytest.approx(sum(closed_form(x)), abs=0.03)


@pytest.mark.parametrize("sd", [0.1, 0.5])
def test_kl_is_information_and_marginal(sd: float) -> None:
    """Both by quadrature of 1/N sum_j q(z | x_j); 5 standard errors. Failure rate 2e-6."""
    x = 0.7 * torch.randn(2000, 1, dtype=torch.float64) + 0.3
    latents = collapse(OneLatent(sd), (x,))
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    log_q = dist.Normal(x.squeeze(1), sd).log_prob(grid[:, None]).logsumexp(1) - math.log(2000)
    weight = log_q.exp() * (grid[1] - grid[0])
    marginal = float((weight * (log_q - dist.Normal(0.0, 1.0).log_prob(grid))).sum())
    information = -float((weight * log_q).sum()) - 0.5 * math.log(2 * math.pi * math.e * sd**2)
    assert latents.information == pytest.approx(information, abs=5 * 1.0 / math.sqrt(2000))
    assert latents.marginal == pytest.approx(marginal, abs=5 * 1.0 / math.sqrt(2000))
    assert latents.information is not None
    assert latents.marginal is not None
    assert latents.kl == pytest.approx(latents.information + latents.marginal)
    assert not latents.is_capped


def test_information_at_its_cap_is_flagged() -> None:
    """Codes of 50 data that do not overlap are worth log 50, however narrow."""
    x = torch.linspace(-3, 3, 50, dtype=torch.float64).unsqueeze(1)
    latents = collapse(OneLatent(1e-3), (x,))
    assert latents.information == pytest.approx(math.log(50))
    assert latents.cap == pytest.approx(math.log(50))
    assert latents.is_capped


def test_sequences_have_kl_per_frame() -> None:
    """The number that training logs; of 100 draws its sd is below 0.5 %. Failure rate 1e-6."""
    x, length = torch.randint(0, 2, (8, 5, 3)).float(), torch.tensor([5, 1, 2, 3, 4, 5, 5, 2])
    pair = VRNN(x_shape=(3,), z_dim=2, hidden=4)
    latents = collapse(pair, (x, length), num_samples=100)
    logged = measure(training_form(pair), [(x, length)] * 100, Transform())
    assert list(latents.kl_per_element) == ["z[0]", "z[1]"]
    assert latents.kl == pytest.approx(logged.kl, rel=0.05)
    assert (latents.information, latents.marginal, latents.active_units) == (None, None, None)
    assert not latents.is_capped


def test_masked_frames_have_no_kl() -> None:
    x, length = torch.randint(0, 2, (8, 5, 3)).float(), torch.tensor([1] * 8)
    pair = VRNN(x_shape=(3,), z_dim=2, hidden=4)
    whole, first = (collapse(pair, (part, length)) for part in (x, x[:, :1]))
    assert whole.kl == pytest.approx(first.kl, rel=1e-5)


def test_names_of_elements() -> None:
    assert element_names("z", (2, 2)) == ("z[0,0]", "z[0,1]", "z[1,0]", "z[1,1]")
    assert element_names("k", ()) == ("k",)


def test_nothing_is_touched(x: Tensor) -> None:
    state = torch.get_rng_state()
    pair = Known().train()
    first, second = collapse(pair, (x,)), collapse(pair, (x,))
    assert first == second
    assert pair.training
    assert torch.equal(state, torch.get_rng_state())


def test_pair_without_latents_is_refused() -> None:
    with pytest.raises(RequestError, match="an analysis of latents needs latents, and"):
        collapse(RNN(x_shape=(2,)), (torch.zeros(3, 4, 2), torch.full((3,), 4)))


def test_no_draws_are_refused(x: Tensor) -> None:
    with pytest.raises(RequestError, match="takes 1 draw or more, got 0"):
        collapse(Known(), (x,), num_samples=0)


class Scalar(nn.Module):
    """A latent and a datum that are one number each, of a family without a KL in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            tau = pyro.sample("tau", dist.LogNormal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(0.0, tau), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("tau", dist.Gamma(self.loc.exp() + 1, 1.0))


def test_a_latent_of_one_number_has_a_kl() -> None:
    latents = collapse(Scalar(), (torch.randn(20),), num_samples=50)
    assert list(latents.kl_per_element) == ["tau"]
    assert math.isfinite(latents.kl_per_element["tau"])
