"""The values of x are (D, B): Pyro counts the dimensions of nested plates from the right."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn


class Broken(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, x_shape[0])
        self.encoder = nn.Linear(x_shape[0], 2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            with pyro.plate("elements", x.shape[1]):
                pyro.sample("x", dist.Normal(self.decoder(z).T, 1.0), obs=x.T)  # wrong

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))
