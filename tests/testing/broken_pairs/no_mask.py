"""Frames beyond the length count."""

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor, nn


class Broken(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(1 + x_shape[0], x_shape[0])
        self.encoder = nn.Linear(x_shape[0], 1)

    def model(self, x: Tensor, length: Tensor) -> None:
        before = torch.zeros_like(x[:, 0])
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < 99):
                    z = pyro.sample(f"z_{t}", dist.Normal(torch.zeros(1), 1.0).to_event(1))
                    loc = self.decoder(torch.cat([z, before], -1))
                    x_t = pyro.sample(f"x_{t}", dist.Normal(loc, 1.0).to_event(1), obs=x[:, t])
                before = x_t

    def guide(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < 99):
                    loc = self.encoder(x[:, t])
                    pyro.sample(f"z_{t}", dist.Normal(loc, 1.0).to_event(1))  # wrong
