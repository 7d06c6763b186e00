"""Rows of straight-through draws keep what they were made of, so that they have a density."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.testing import check_pair

OneHot = dist.RelaxedOneHotCategoricalStraightThrough


class StraightThrough(nn.Module):
    """A category, drawn one-hot with the gradient of its relaxation."""

    temperature: Tensor
    logits: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 3), nn.Linear(3, 4)
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("logits", torch.zeros(3))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", OneHot(self.temperature, logits=self.logits))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", OneHot(self.temperature, logits=self.encoder(x)))


def test_the_pair_keeps_the_contract() -> None:
    torch.manual_seed(0)
    check_pair(StraightThrough(), (torch.randn(7, 4),))
