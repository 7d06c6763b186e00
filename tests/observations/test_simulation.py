"""Data of the model take the place of a batch, and leave alone what is no data."""

import torch
from torch import Tensor

from vaezoo.observations.simulation import simulate
from vaezoo.pairs.particles import probing
from vaezoo.testing.pairs import LabelledPair, LinearPair
from vaezoo.testing.sequence_pairs import LinearRecurrence


def test_rows_are_used_again_for_more_data() -> None:
    x, c = torch.randn(3), torch.arange(3.0)
    pair = LabelledPair()
    with probing(pair, x.device):
        latents, (simulated, labels) = simulate(pair, (x, c), 7)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len(latents["z"]) == len(simulated) == 7


def test_simulated_data_have_the_distribution_of_the_model() -> None:
    x = torch.zeros(2, 4, dtype=torch.float64)
    pair = LinearPair()
    with probing(pair, x.device):
        latents, (simulated,) = simulate(pair, (x,), 20_000)
    covariance = torch.cov(simulated.T)
    weight, sigma = pair.linear.weight, pair.linear.sigma
    expected = weight @ weight.T + sigma**2 * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(covariance, expected, atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(latents["z"].T), torch.eye(2).double(), atol=0.1, rtol=0)


def test_padding_stays_where_it_was() -> None:
    x, length = torch.full((3, 4, 1), 9.0), torch.tensor([4, 1, 2])
    pair = LinearRecurrence()
    with probing(pair, x.device):
        latents, (simulated, lengths) = simulate(pair, (x, length))
    assert torch.equal(lengths, length)
    assert frames_that_are(simulated, 9.0) == [0, 3, 2]
    assert latents["z"].shape == (3, 4, 1)


def frames_that_are(x: Tensor, value: float) -> list[int]:
    return (x == value).flatten(1).sum(1).tolist()


def test_what_is_drawn_elsewhere_is_what_it_was() -> None:
    x, pair = torch.randn(3, 4, dtype=torch.float64), LinearPair()
    before = torch.get_rng_state()
    with probing(pair, x.device):
        simulate(pair, (x,))
    assert torch.equal(torch.get_rng_state(), before)
