"""The disentangled sequential autoencoder: what stays of a sequence apart from what changes.

    p(x, f, z) = N(f; 0, I) prod_t N(z_t; mu(h_t), diag sigma(h_t)^2) p(x_t | z_t, f)
    q(f | x)   = N(f; nu(g), diag tau(g)^2),   g = [the two ends of r]
    q(z | f, x) = prod_t N(z_t; m(r_t, f), diag s(r_t, f)^2)
    h_0 = 0,  h_{t+1} = GRU(z_t, h_t)
    r_t = a GRU from each end, of phi_x(x_1) ... phi_x(x_T)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
f     ``(f_dim,)``  content: of the whole sequence
z_t   ``(z_dim,)``  dynamics, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

f is drawn once, and each frame sees it; z_t knows of the frames before by the latents before alone.
With the z of one sequence and the f of another, the frames of :meth:`DSAE.frames` move as the one
and look as the other.

Reference
    Li & Mandt 2018, *Disentangled Sequential Autoencoder*, arXiv:1803.02991, eqs. 1-3; the guide is
    the paper's full q.

Differs from the paper
    GRUs instead of LSTMs; the z_t of the guide read both ways without a further recurrent network.
    By default the weight of the KL term grows over 400 steps: with all of it from the start the
    latents of short frames stay at the prior for many epochs, and some for good.
"""

import pyro
import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.sequences import frame_mask, read, read_backwards

__all__ = ["DSAE"]


@register(
    "dsae",
    data="sequences",
    reference="arXiv:1803.02991",
    tags=("sequence", "disentangling"),
    presets={
        "default": {"training": {"lr": 1e-2, "clip_norm": 10.0, "epochs": 100, "kl_warmup": 400}},
        "small": {"f_dim": 8, "z_dim": 4, "hidden": 32},
        "paper": {"f_dim": 256, "z_dim": 32, "hidden": 512},
    },
)
class DSAE(nn.Module):
    """Disentangled sequential autoencoder: one latent of the sequence, and one of each frame."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        f_dim: PositiveInt = 16,
        z_dim: PositiveInt = 8,
        hidden: PositiveInt = 64,
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.f_dim = f_dim
        self.hidden = hidden
        # p(z_t | h_t), h_{t+1} = GRU(z_t, h_t)
        self.prior = parts.DiagonalNormal(parts.Encoder((hidden,)), z_dim)
        self.gru = nn.GRUCell(z_dim, hidden)
        # p(x_t | z_t, f)
        self.decoder = likelihood(parts.Decoder(z_dim + f_dim, [hidden], x_shape))
        # q(f | x), q(z_t | f, x)
        self.phi_x = parts.Encoder(x_shape, [hidden])
        self.forwards = nn.GRUCell(hidden, hidden)
        self.backwards = nn.GRUCell(hidden, hidden)
        self.content = posterior(parts.Encoder((2 * hidden,), [hidden]), f_dim)
        self.dynamics = posterior(parts.Encoder((2 * hidden + f_dim,), [hidden]), z_dim)

    def model(self, x: Tensor, length: Tensor) -> None:
        """p(x, f, z) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            f = pyro.sample("f", dist.Normal(x.new_zeros(self.f_dim), 1.0).to_event(1))
            h = x.new_zeros(*f.shape[:-1], self.hidden)
            for t in range(x.shape[1]):
                with poutine.mask(mask=there[:, t]):  # type: ignore[call-overload]
                    z_t = pyro.sample(f"z_{t}", self.prior(h))
                    pyro.sample(
                        f"x_{t}", self.decoder(z_t, f.expand(*z_t.shape[:-1], -1)), obs=x[:, t]
                    )
                h = self.remember(z_t, h)

    def guide(self, x: Tensor, length: Tensor) -> None:
        """q(f, z | x) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        there, (g, r) = frame_mask(length, x.shape[1]), self.read(x, length)
        with pyro.plate("data", len(x)):
            f = pyro.sample("f", self.content(g))
            for t in range(x.shape[1]):
                r_t = r[:, t].expand(*f.shape[:-1], -1)
                with poutine.mask(mask=there[:, t]):  # type: ignore[call-overload]
                    pyro.sample(f"z_{t}", self.dynamics(torch.cat([r_t, f], -1)))

    def frames(self, z: Tensor, f: Tensor) -> dist.TorchDistribution:
        """p(x_t | z_t, f) of ``z (B, T, z_dim)`` and ``f (B, f_dim)``, batch shape ``(B, T)``.

        Examples
        --------
        Two sequences that move as they did, each with the content of the other:

        >>> pair, z, f = DSAE(x_shape=(5,)), torch.randn(2, 6, 8), torch.randn(2, 16)
        >>> pair.frames(z, f.flip(0)).mean.shape
        torch.Size([2, 6, 5])
        """
        content = f.unsqueeze(-2).expand(*z.shape[:-1], self.f_dim)
        fn: dist.TorchDistribution = self.decoder(z, content)
        return fn

    def remember(self, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = GRU(z_t, h_t)."""
        h = h.expand(*z.shape[:-1], self.hidden)
        after: Tensor = self.gru(z.reshape(-1, z.shape[-1]), h.reshape(-1, self.hidden))
        return after.reshape(h.shape)

    def read(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Return g ``(B, 2 H)`` and r ``(B, T, 2 H)``, what a GRU from each end says."""
        features = self.phi_x(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        ahead = read(self.forwards, features)
        back = read_backwards(self.backwards, features, length)
        last = (length - 1).clamp(min=0).reshape(-1, 1, 1).expand(-1, 1, self.hidden)
        g = torch.cat([ahead.gather(1, last).squeeze(1), back[:, 0]], -1)
        return g, torch.cat([ahead, back], -1)
