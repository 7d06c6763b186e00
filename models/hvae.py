"""A deep hierarchy of latents, inferred from the top down along the path that generates.

    h_L    = b                                           p and q go down one path:
    h_l-1  = h_l + W_l z_l + r_l(h_l + W_l z_l),         l = L, ..., 1
    p(x, z)           = prod_l N(z_l; mu_l, diag sigma_l^2) Bernoulli(x; y(h_0)),
                        (mu_l, sigma_l) = prior_l(h_l)
    q(z | x)          = prod_l q(z_l | z_l+1..L, x),     d_1 = d(x), d_l+1 = d_l + e_l(d_l)
    q(z_l | z_>l, x)  = N(z_l; mu_l + sigma_l m_l, diag (sigma_l s_l)^2),
                        (m_l, s_l) = posterior_l(h_l, d_l)

==========  ================  ===========================================
site        event shape       meaning
==========  ================  ===========================================
zL, ... z2  ``(z_dims[l],)``  latents of the levels above, z_L at the top
z1          ``(z_dims[0],)``  latent of the lowest level
x           ``x_shape``       observed, binary
==========  ================  ===========================================

The posterior of a level is its prior, moved and scaled by what x says: a level that says nothing
costs nothing, and begins so. Shortcuts let every level reach x, which a chain of conditionals
(`ladder-vae`) does through those below it only.

Reference
    Child 2021, *Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images*,
    arXiv:2011.10650, section 3 and fig. 3: the top-down path and the scale of its residual blocks;
    the posterior relative to the prior is that of Vahdat & Kautz 2020, *NVAE: A Deep Hierarchical
    Variational Autoencoder*, arXiv:2007.03898, section 3.2; levels inferred from the top are
    Sonderby et al. 2016, arXiv:1602.02282.

Differs from the paper
    Blocks are fully connected, five levels instead of dozens, without maps of several sizes; the
    likelihood is a setting; no gradient is skipped.
"""

from collections.abc import Sequence
from typing import cast

import pyro
import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["HVAE"]


class _Residual(nn.Module):
    """h + W' silu(W silu(h)), the last layer scaled down by the depth (Child 2021, section 3)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, width)
        with torch.no_grad():
            self.last.weight.mul_(depth**-0.5)
            self.last.bias.zero_()

    def forward(self, h: Tensor) -> Tensor:
        inner = self.first(nn.functional.silu(h))
        return h + cast("Tensor", self.last(nn.functional.silu(inner)))


class _Level(nn.Module):
    """One level of latents: prior, correction by x, and how the path goes on."""

    def __init__(self, width: int, z_dim: int, depth: int) -> None:
        super().__init__()
        features = parts.Encoder((width,), [width], activation="silu")
        self.prior = parts.DiagonalNormal(features, z_dim)
        self.correction = parts.Encoder((2 * width,), [width], activation="silu")
        self.shift, self.log_scale = self.correction.head(z_dim), self.correction.head(z_dim)
        for head in (self.shift, self.log_scale):  # the posterior begins as the prior
            nn.init.zeros_(cast("nn.Linear", head).weight)
            nn.init.zeros_(cast("nn.Linear", head).bias)
        self.project = nn.Linear(z_dim, width, bias=False)
        self.block = _Residual(width, depth)

    def posterior(self, h: Tensor, d: Tensor) -> dist.TorchDistribution:
        """q(z_l | z_>l, x) of the path ``(B, H)`` and of what x says ``(B, H)``."""
        p = self.prior(h)
        features = self.correction(h.expand_as(d), d)
        loc = p.mean + p.stddev * self.shift(features)
        return dist.Normal(loc, p.stddev * self.log_scale(features).exp()).to_event(1)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """The path below this level, ``(B, H)``."""
        return cast("Tensor", self.block(h + self.project(z)))


@register(
    "hvae",
    data="images",
    reference="arXiv:2011.10650",
    presets={
        "default": {"training": {"kl_warmup": 1_000}},
        "mnist": {"training": {"batch_size": 256, "kl_warmup": 10_000}},
    },
)
class HVAE(nn.Module):
    """Hierarchical variational autoencoder of any number of levels, top-down."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dims: tuple[PositiveInt, ...] = (16, 8, 8, 4, 4),
        hidden: PositiveInt = 128,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        depth = len(z_dims)
        self.top = nn.Parameter(torch.zeros(hidden))  # b
        self.levels = nn.ModuleList(_Level(hidden, z_dim, depth) for z_dim in z_dims)
        self.decoder = likelihood(parts.Decoder(hidden, [], x_shape))  # p(x | h_0)
        self.encoder = parts.Encoder(x_shape, [hidden], activation="silu")  # d
        self.upwards = nn.ModuleList(_Residual(hidden, depth) for _ in z_dims[1:])  # e

    def model(self, x: Tensor) -> None:
        """prod_l p(z_l | z_>l) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            h = self.top
            for name, level in self._downwards():
                h = level(h, pyro.sample(name, level.prior(h)))
            pyro.sample("x", self.decoder(h), obs=x)

    def guide(self, x: Tensor) -> None:
        """prod_l q(z_l | z_>l, x) of ``x (B, *x_shape)``."""
        d = [self.encoder(x)]
        for block in self.upwards:
            d.append(block(d[-1]))
        with pyro.plate("data", len(x)):
            h = self.top
            for (name, level), said in zip(self._downwards(), reversed(d), strict=True):
                h = level(h, pyro.sample(name, level.posterior(h, said)))

    def _downwards(self) -> Sequence[tuple[str, _Level]]:
        """Return the levels with the names of their latents, from the top."""
        levels = cast("Sequence[_Level]", self.levels)
        return [(f"z{number}", levels[number - 1]) for number in range(len(levels), 0, -1)]
