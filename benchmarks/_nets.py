"""The nets that the engine is measured on: pairs of the zoo, and the rows that they are fed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor, nn

from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO, IWAE, Objective
from vaezoo.parts.networks import Activation, Net

__all__ = ["NETS", "Architecture", "Feed", "make_pair"]


@dataclass(frozen=True)
class Architecture:
    """A variational autoencoder with a Bernoulli decoder, and how it is trained.

    Attributes
    ----------
    title
        What the tables call it.
    num_draws
        Of the importance weighted bound (Burda et al. 2016, arXiv:1509.00519); 1 is the ELBO.
    """

    title: str
    x_shape: tuple[int, ...]
    hidden: tuple[int, ...]
    z_dim: int
    batch_size: int
    activation: Activation = "tanh"
    net: Net = "mlp"
    num_draws: int = 1

    def objective(self) -> Objective:
        """Return the objective of the zoo."""
        return ELBO() if self.num_draws == 1 else IWAE(num_particles=self.num_draws)


NETS = {
    "a": Architecture("784-500-20, batch 100", (784,), (500,), 20, 100),
    "b": Architecture("784-200-200-50, batch 20", (784,), (200, 200), 50, 20),
    "c": Architecture("64-128-16, batch 128", (64,), (128,), 16, 128),
    "d": Architecture(
        "convolutions (preset `conv`), 28 x 28, batch 128",
        (1, 28, 28),
        (256,),
        32,
        128,
        activation="relu",
        net="conv",
    ),
    "e": Architecture(
        "784-200-200-50, batch 20, IWAE with 50 draws", (784,), (200, 200), 50, 20, num_draws=50
    ),
}


def make_pair(architecture: Architecture, weights: nn.Module) -> VAEBernoulli:
    """Return ``vae-bernoulli`` with the weights of a net written by hand, in the same order."""
    pair = VAEBernoulli(
        x_shape=architecture.x_shape,
        z_dim=architecture.z_dim,
        hidden=architecture.hidden,
        activation=architecture.activation,
        net=architecture.net,
    )
    with torch.no_grad():
        for own, given in zip(pair.parameters(), weights.parameters(), strict=True):
            own.copy_(given)
    return pair.to(next(weights.parameters()).device)


class Feed:
    """Full batches of rows that lie on the device, in a random order, again and again.

    Parameters
    ----------
    rows
        All rows, ``(N, *x_shape)``.
    batch_size
        Rows of a batch.
    """

    def __init__(self, rows: Tensor, batch_size: int) -> None:
        order = torch.randperm(len(rows), device=rows.device)
        order = order[: len(rows) // batch_size * batch_size]
        self.rows = rows
        self.positions: Iterator[Tensor] = cycle(order.split(batch_size))
        self.batch = rows.new_empty(batch_size, *rows.shape[1:])

    def __call__(self) -> Tensor:
        """Return the next batch, always in the same memory."""
        return torch.index_select(self.rows, 0, next(self.positions), out=self.batch)
