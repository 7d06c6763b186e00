"""Autoencoders whose codes are taken from a table: vector quantisation, and finite scalars.

    p(x, z)  = p(z) p(x | z),   p(z) = prod_i Categorical(k_i; pi_i),  z_i = e_(k_i)
    q(z | x) = a point: the entry of the table that is nearest to E(x)_i, for each position i

====  ========================  =====================================
site  event shape               meaning
====  ========================  =====================================
z     ``(positions, code_dim)``  entries of the table
x     ``x_shape``               observed
====  ========================  =====================================

The gradient of the decoder by z_i is given to E(x)_i as it is, straight through the choice of the
entry. The prior is a categorical distribution of each position, learned with the rest, so that
``vaezoo sample`` draws codes from it. As each datum has one code, there is a reconstruction in nats
and no ELBO; what the code costs under the prior is in the loss.
"""

import math
from typing import Any

import pyro
import torch
from pydantic import NonNegativeFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints

from vaezoo import parts, register

__all__ = ["FSQ", "VQVAE", "Entries"]

ONE = torch.Size()


class Entries(dist.TorchDistribution):
    """Entries of a table, one for each position, by categorical distributions of their index.

    Parameters
    ----------
    logits
        Of the index of each position, ``(positions, K)``, unnormalised.
    table
        The entries, ``(K, code_dim)``.
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012
    support = constraints.independent(constraints.real, 2)
    is_countable = True  # its draws, though gradients are asked for as of reals

    def __init__(self, logits: Tensor, table: Tensor, batch_shape: torch.Size = ONE) -> None:
        self.logits, self.table = logits, table
        event_shape = torch.Size((logits.shape[0], table.shape[1]))
        super().__init__(batch_shape, event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: object = None) -> "Entries":
        return Entries(self.logits, self.table, torch.Size(batch_shape))

    def sample(self, sample_shape: Any = ONE) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        index = dist.Categorical(logits=self.logits).sample(shape)
        return self.table.detach()[index]

    def log_prob(self, value: Tensor) -> Tensor:
        index = nearest(value.detach(), self.table)
        log_p = self.logits.log_softmax(-1).expand(*index.shape, -1)
        return log_p.gather(-1, index[..., None])[..., 0].sum(-1).expand(value.shape[:-2])


def nearest(value: Tensor, table: Tensor) -> Tensor:
    """Return the index of the entry of a table that is nearest to each value ``(..., D)``."""
    return torch.as_tensor((value[..., None, :] - table).square().sum(-1).argmin(-1))


@register(
    "vq-vae",
    data="images",
    reference="arXiv:1711.00937",
    presets={"default": {"likelihood": {"name": "gaussian", "sigma": "fixed:1"}}},
    tags=("autoencoder", "discrete"),
)
class VQVAE(nn.Module):
    """VQ-VAE: each position of a code is the nearest entry of a table that is learned.

        p(x, z)  = prod_i Categorical(k_i; pi_i) p(x | z),   z_i = e_(k_i)
        q(z | x) = a point, z_i = e_k,   k = argmin_j |E(x)_i - e_j|
        minimising  - log p(x | z) - log p(z) + |sg(E(x)) - z|^2 + 0.25 |E(x) - sg(z)|^2

    ====  =========================  =====================================
    site  event shape                meaning
    ====  =========================  =====================================
    z     ``(positions, code_dim)``  entries of the table
    x     ``x_shape``                observed
    ====  =========================  =====================================

    sg stops the gradient: the first square moves entries to the encoder's output, the second keeps
    the encoder near its entries.

    Reference
        van den Oord, Vinyals & Kavukcuoglu 2017, *Neural Discrete Representation Learning*,
        arXiv:1711.00937, eq. 1 to 3.

    Differs from the paper
        Dense layers instead of convolutions, so that positions have no place in the picture; the
        prior is a categorical distribution of each position, learned with the rest, instead of a
        PixelCNN afterwards.
    """

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        positions: PositiveInt = 8,
        code_dim: PositiveInt = 4,
        entries: PositiveInt = 32,
        commitment: NonNegativeFloat = 0.25,
        hidden: tuple[PositiveInt, ...] = (200,),
        activation: parts.Activation = "relu",
        likelihood: parts.Likelihood = parts.Gaussian,
    ) -> None:
        super().__init__()
        self.shape, self.commitment = (positions, code_dim), commitment
        size = positions * code_dim
        self.decoder = likelihood(parts.Decoder(size, hidden[::-1], x_shape, activation=activation))
        self.encoder = parts.Encoder(x_shape, hidden, activation=activation)
        self.head = self.encoder.head(size)
        self.table = nn.Parameter(torch.randn(entries, code_dim) / math.sqrt(code_dim))
        self.logits = nn.Parameter(torch.zeros(positions, entries))

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", Entries(self.logits, self.table))
            pyro.sample("x", self.decoder(z.flatten(-2)), obs=x)

    def guide(self, x: Tensor) -> None:
        """The nearest entries, of ``x (B, *x_shape)``, and what it costs to be far from them."""
        with pyro.plate("data", len(x)):
            e = self.head(self.encoder(x)).unflatten(-1, self.shape)
            z = self.table[nearest(e.detach(), self.table)]
            distance = (e.detach() - z).square() + self.commitment * (e - z.detach()).square()
            pyro.factor("quantisation", distance.sum((-2, -1)), has_rsample=True)
            pyro.sample("z", dist.Delta(z.detach() + (e - e.detach())).to_event(2))


@register(
    "fsq",
    data="images",
    reference="arXiv:2309.15505",
    presets={"default": {"likelihood": {"name": "gaussian", "sigma": "fixed:1"}}},
    tags=("autoencoder", "discrete"),
)
class FSQ(nn.Module):
    """Finite scalar quantisation: each element of a code is rounded to one of a few levels.

        p(x, z)  = prod_i Categorical(k_i; pi_i) p(x | z),   z_i the level k_i
        q(z | x) = a point, z_i = the nearest of L levels between -1 and 1 to tanh(E(x)_i)
        minimising  - log p(x | z) - log p(z)

    ====  ==================  =====================================
    site  event shape         meaning
    ====  ==================  =====================================
    z     ``(positions, 1)``  levels
    x     ``x_shape``         observed
    ====  ==================  =====================================

    No table is learned, so that no entry can be left unused, and there is no loss beside.

    Reference
        Mentzer et al. 2024, *Finite Scalar Quantization: VQ-VAE Made Simple*, arXiv:2309.15505,
        sec. 3.

    Differs from the paper
        One number of levels for all elements; dense layers; a categorical prior of each element,
        learned with the rest.
    """

    table: Tensor

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        positions: PositiveInt = 16,
        levels: PositiveInt = 5,
        hidden: tuple[PositiveInt, ...] = (200,),
        activation: parts.Activation = "relu",
        likelihood: parts.Likelihood = parts.Gaussian,
    ) -> None:
        super().__init__()
        self.decoder = likelihood(
            parts.Decoder(positions, hidden[::-1], x_shape, activation=activation)
        )
        self.encoder = parts.Encoder(x_shape, hidden, activation=activation)
        self.head = self.encoder.head(positions)
        self.register_buffer("table", torch.linspace(-1, 1, levels)[:, None])
        self.logits = nn.Parameter(torch.zeros(positions, levels))

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", Entries(self.logits, self.table))
            pyro.sample("x", self.decoder(z.flatten(-2)), obs=x)

    def guide(self, x: Tensor) -> None:
        """The nearest levels, of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            e = self.head(self.encoder(x)).tanh()[..., None]
            z = self.table[nearest(e.detach(), self.table)]
            pyro.sample("z", dist.Delta(z.detach() + (e - e.detach())).to_event(2))
