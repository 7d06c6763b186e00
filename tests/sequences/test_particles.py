"""A filter asks a pair in whatever form it is written: the same density, and refusals in words."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import MultivariateNormal, Normal, TransformedDistribution
from pyro.distributions.transforms import AffineAutoregressive
from pyro.nn import AutoRegressiveNN
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.inference.filtering import free_running, particle_filter
from vaezoo.pairs.accounting import log_weights
from vaezoo.sequences import SequencePair
from vaezoo.testing.sequence_pairs import KalmanPair, damped_rotation

MODEL, FRAMES = damped_rotation()
LENGTH = torch.tensor([12, 5, 9])
X = FRAMES[:, :12].repeat(3, 1, 1) + 0.3 * torch.randn(
    3, 12, 1, generator=torch.Generator().manual_seed(0), dtype=FRAMES.dtype
)


class Written(nn.Module):
    """A sequence pair as any pair: its model and its guide, and nothing of its steps."""

    def __init__(self, pair: SequencePair) -> None:
        super().__init__()
        self.pair = pair

    def model(self, x: Tensor, length: Tensor) -> None:
        self.pair.model(x, length)

    def guide(self, x: Tensor, length: Tensor) -> None:
        self.pair.guide(x, length)


class StaticMean(nn.Module):
    """f of the sequence and z_t of its frames: x_t ~ N(f + z_t, 1), all standard normal.

    Frames are then jointly normal, with covariance 11' + 2 I.
    """

    def model(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            f = pyro.sample("f", Normal(0.0, 1.0))
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z = pyro.sample(f"z_{t + 1}", Normal(0.0, 1.0))
                    fn = Normal((f + z).unsqueeze(-1), 1.0).to_event(1)
                    pyro.sample(f"x_{t + 1}", fn, obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            f = pyro.sample("f", Normal(0.5 * x.mean((1, 2)), 0.8))
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    pyro.sample(f"z_{t + 1}", Normal(0.5 * (x[:, t, 0] - f), 0.8))


class Centred(StaticMean):
    """Each frame looks at the mean of all."""

    def model(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("f", Normal(0.0, 1.0))
            z = [pyro.sample(f"z_{t + 1}", Normal(0.0, 1.0)) for t in range(x.shape[1])]
            for t in range(x.shape[1]):
                loc = torch.stack(z).mean(0).unsqueeze(-1)
                pyro.sample(f"x_{t + 1}", Normal(loc, 1.0).to_event(1), obs=x[:, t])


class JointPath(StaticMean):
    """One site holds the latents of all frames, which are mixed in a way that nobody knows."""

    def model(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            normal = Normal(x.new_zeros(len(x), x.shape[1]), 1.0).to_event(1)
            flow = TransformedDistribution(normal, [AffineAutoregressive(AutoRegressiveNN(4, [8]))])
            z = pyro.sample("z", flow if x.shape[1] == 4 else normal)
            pyro.sample("x", Normal(z.unsqueeze(-1), 1.0).to_event(2), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Normal(0.5 * x[..., 0], 0.7).to_event(1))


def test_any_pair_with_numbered_sites_is_filtered_as_one_step_is() -> None:
    """The guide is p(z | x): every particle has the weight p(x), whatever it draws."""
    pair = Written(KalmanPair(MODEL))
    filtered = particle_filter(pair, (X, LENGTH), 5, threshold=0)
    torch.testing.assert_close(
        filtered.log_evidence.double(), MODEL.log_evidence(X, LENGTH), rtol=1e-4, atol=1e-3
    )
    assert bool(filtered.mean[1, 5:].isnan().all())


@pytest.mark.parametrize("proposal", ["posterior", "prior"])
def test_a_latent_of_the_sequence_is_one_of_the_first_step(proposal: str) -> None:
    """Within 0.1 nats of the truth with 20,000 particles, whose error is about 0.02."""
    torch.manual_seed(0)
    x = torch.randn(1, 4, 1)
    joint = MultivariateNormal(torch.zeros(4), torch.ones(4, 4) + 2 * torch.eye(4))
    filtered = particle_filter(
        StaticMean(), (x, torch.tensor([4])), 20_000, threshold=0, proposal=proposal
    )
    assert abs(float(filtered.log_evidence) - float(joint.log_prob(x[0, :, 0]))) < 0.1


def test_resampling_takes_all_that_a_particle_was_through() -> None:
    """With every step resampled the filter estimates the same number; error as above."""
    torch.manual_seed(0)
    x = torch.randn(1, 4, 1)
    joint = MultivariateNormal(torch.zeros(4), torch.ones(4, 4) + 2 * torch.eye(4))
    filtered = particle_filter(StaticMean(), (x, torch.tensor([4])), 20_000, threshold=1.0)
    assert abs(float(filtered.log_evidence) - float(joint.log_prob(x[0, :, 0]))) < 0.1


def test_one_particle_is_a_draw_of_the_elbo() -> None:
    """Means of 2,000 draws within 6 standard errors; failure rate below 1e-6."""
    torch.manual_seed(0)
    args = torch.randn(1, 4, 1).expand(2000, 4, 1), torch.full((2000,), 4)
    elbo = log_weights(StaticMean(), args, 1)[0]
    filtered = particle_filter(StaticMean(), args, 1).log_evidence
    error = float((elbo.var() + filtered.var()).sqrt()) / math.sqrt(2000)
    assert abs(float(elbo.mean() - filtered.mean())) < 6 * error


def test_a_model_by_itself_hears_its_own_frames() -> None:
    """One frame ahead is what the filter predicts; both estimates have errors of about 0.03."""
    torch.manual_seed(0)
    args = X[:1, :6], torch.tensor([6])
    alone = {}
    for pair in (KalmanPair(MODEL), Written(KalmanPair(MODEL))):
        alone[type(pair).__name__] = free_running(pair, args, 5000, prefix=3)
    ours, theirs = alone.values()
    assert bool(ours[0, :3].isnan().all())
    torch.testing.assert_close(ours[0, 3:], theirs[0, 3:], rtol=0.0, atol=0.25)


@pytest.mark.parametrize(
    ("pair", "says"),
    [(JointPath(), "'z' is one .* over time"), (Centred(), "depends on later ones")],
)
def test_what_has_no_steps_is_refused(pair: nn.Module, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        particle_filter(pair, (torch.randn(2, 4, 1), torch.tensor([4, 3])), 3)
