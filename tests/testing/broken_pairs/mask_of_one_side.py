"""A latent that is masked in the model alone: -log q counts for data that have no log p of it."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn


class Broken(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(3, x_shape[0])
        self.encoder = nn.Linear(x_shape[0], 2)
        self.guess = nn.Linear(x_shape[0], 1)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            prior, there = dist.Normal(torch.zeros(1), 1.0).to_event(1), x[:, 0] > 0
            w = pyro.sample("w", prior, obs=x[:, :1], obs_mask=there)
            pyro.sample(
                "x", dist.Normal(self.decoder(torch.cat([z, w], -1)), 1.0).to_event(1), obs=x
            )

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))
            pyro.sample("w_unobserved", dist.Normal(self.guess(x), 1.0).to_event(1))  # wrong
