"""One step after another: what every row is given, what it keeps, and what is fed back."""

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from vaezoo import RequestError
from vaezoo.models.vae_linear import VAELinear
from vaezoo.sequences import Rollout, SequencePair
from vaezoo.sequences.sequence_pair import as_sequence_pair


class Counter(SequencePair):
    """h counts; the prior is the same for all rows, the posterior is at e, and x is at h + z."""

    hidden = 1

    def prior(self, h: Tensor) -> TorchDistribution:
        return dist.Normal(torch.zeros(1), 1.0).to_event(1)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        return dist.Delta(e, event_dim=1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        return dist.Delta(h + z, event_dim=1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return f + 1


class NoLatents(Counter):
    has_latents = False


def test_every_row_has_a_distribution_of_its_own() -> None:
    prior = Rollout(Counter(), torch.zeros(4, 1)).latent("prior")
    assert prior.batch_shape == (4,)
    assert len(prior.sample().unique()) == 4


def test_a_batch_that_fits_no_row_is_left_to_pyro() -> None:
    class NoEvent(Counter):
        def prior(self, h: Tensor) -> TorchDistribution:
            return dist.Normal(torch.zeros(len(h), 3), 1.0)

    assert Rollout(NoEvent(), torch.zeros(4, 1)).latent("prior").batch_shape == (4, 3)
    with pyro.validation_enabled(True), pytest.raises(ValueError, match="Shape mismatch"):
        NoEvent().model(torch.zeros(4, 1, 1), torch.ones(4))


@pytest.mark.parametrize("side", ["prior", "posterior"])
def test_no_latents_have_density_one_and_use_no_noise(side: str) -> None:
    rollout, state = Rollout(NoLatents(), torch.zeros(4, 1)), torch.get_rng_state()
    latent = rollout.latent("prior" if side == "prior" else "posterior")
    z = latent.sample()
    assert z.shape == rollout.draw("prior").shape == (4, 0)
    assert latent.log_prob(z).tolist() == [0.0] * 4
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_that_do_not_run_stay() -> None:
    rollout, running = Rollout(Counter(), torch.zeros(2, 1)), torch.tensor([True, False])
    for _ in range(3):
        rollout.advance(torch.zeros(2, 1), rollout.h, running)
    assert rollout.h.tolist() == [[3.0], [0.0]]


def test_frames_that_are_made_are_fed_back() -> None:
    rollout = Rollout(NoLatents(), torch.zeros(1, 1))
    pair = rollout.pair
    assert isinstance(pair, NoLatents)
    pair.likelihood = lambda z, h: dist.Delta(2 * h + 1, event_dim=1)  # type: ignore[method-assign]
    frames = [float(rollout.generate()[1]) for _ in range(4)]
    assert frames == [1.0, 5.0, 13.0, 29.0]  # h is x + 1, and x is 2 h + 1


def test_a_posterior_needs_what_the_guide_sees() -> None:
    with pytest.raises(TypeError, match="what the guide sees"):
        Rollout(Counter(), torch.zeros(1, 1)).latent("posterior")


def test_other_pairs_are_refused() -> None:
    pair = Counter()
    assert as_sequence_pair(pair, "a forecast") is pair
    with pytest.raises(RequestError, match=r"a forecast needs a sequence pair.*VAELinear is none"):
        as_sequence_pair(VAELinear(x_shape=(2,)), "a forecast")
