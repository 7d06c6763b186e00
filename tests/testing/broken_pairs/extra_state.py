"""State that is no tensor."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn


class Counting(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 1}


class Broken(nn.Module):  # wrong
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, x_shape[0])
        self.encoder = Counting(x_shape[0], 2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))
