"""Keeps the rules: everything that changes is a tensor, and what is random is drawn by torch."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn


class Plain(nn.Module):
    """p(x, z) = N(z; 0, I) N(x; decode(z), I), q(z | x) = N(z; encode(x), I / 4)."""

    def __init__(self, *, x_shape: tuple[int, ...] = (4,)) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, x_shape[0])
        self.encoder = nn.Linear(x_shape[0], 2)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x), 0.5).to_event(1))
