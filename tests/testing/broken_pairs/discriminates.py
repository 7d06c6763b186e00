"""A label is predicted from the data, beside which it is observed."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn


class Broken(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, x_shape[0])
        self.encoder = nn.Linear(x_shape[0], 2)
        self.classifier = nn.Linear(x_shape[0], 2)

    def model(self, x: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)
            logits = 1e-2 * self.classifier(x)
            pyro.sample("label", dist.Categorical(logits=logits), obs=label)  # wrong

    def guide(self, x: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))
