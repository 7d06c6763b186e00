"""An argument of the constructor that no setting can reach."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn


class Broken(nn.Module):
    def __init__(self, z_dim: int, *, x_shape: tuple[int, ...]) -> None:  # wrong
        super().__init__()
        self.decoder = nn.Linear(z_dim, x_shape[0])
        self.encoder = nn.Linear(x_shape[0], z_dim)
        self.z_dim = z_dim

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(self.z_dim), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))
