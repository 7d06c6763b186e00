"""The Gaussian process VAE: each latent is a smooth path over time, seen through a network.

    p(x, z)  = prod_j GP(z^j_{1:T}; 0, K_j) prod_t p(x_t | z_t)
    k_j(s, t) = 1 / (1 + (s - t)^2 / l_j^2) + 0.001 [s = t],   l_j = l, or l / 2, l / 4, ...
    q(z | x) = prod_j N(z^j_{1:T}; m_j, (B_j B_j^T)^-1),  B_j upper bidiagonal
    m_j, B_j = a convolution over time of x_{1:T}, then one hidden layer in each frame

====  =================  ===========================================
site  event shape        meaning
====  =================  ===========================================
z     ``(z_dim, T)``     latents, each a path
x     ``(T, *x_shape)``  observed frames
====  =================  ===========================================

The precision of q is banded, so that neighbours in time correlate and a path is drawn in one pass
from the first frame on,

    z_t = m_t + a_t (z_{t-1} - m_{t-1}) + eps_t / d_t,   d_t >= 1, |a_t| < 1,

which holds the exact posterior of a linear decoder under ``kernel="matern"``. With
``posterior="diagonal"`` a = 0. Frames are one unit of time apart. Those beyond the end have
independent N(0, 1) latents on both sides, and those that are missing (nan) are left out of the
likelihood and are zeros for the guide: the prior says what lies between their neighbours.

Reference
    Fortuin et al. 2020, *GP-VAE: Deep Probabilistic Time Series Imputation*, arXiv:1907.04155,
    eqs. 2-6, and the authors' code.

Differs from the paper
    The signs of the off-diagonal of B are free, -a_t d_t: a softplus there, as in the authors'
    code, lets neighbours correlate negatively only. ``rbf`` is exp(-(s - t)^2 / 2 l^2), ``matern``
    exp(-abs(s - t) / l). beta is 1, and a setting of training.

What its defaults are worth
    Rows of a picture are not smooth: on ``digits-rows`` the ELBO is -3.32 +- 0.01 nats per frame of
    test rows (``vaezoo evaluate RUN --seed S``, mean over S = 0, ..., 7; one draw of S = 0 has
    -3.37), that of frames given the value before -3.37. With lr 0.01 and ``hidden=128`` it is
    -3.32, with ``kl_warmup=1000`` as well -3.34, with ``kernel="matern"`` instead of that -3.29,
    all +- 0.01.
"""

import math
from typing import Literal

import pyro
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from vaezoo import parts, register
from vaezoo.sequences import frame_mask

__all__ = ["GPVAE", "Kernel", "gram", "markov_normal"]

Kernel = Literal["cauchy", "rbf", "matern"]


@register(
    "gp-vae",
    data="sequences",
    reference="arXiv:1907.04155",
    tags=("sequence", "missing"),
    presets={
        "default": {"training": {"clip_norm": 10.0, "lr": 3e-3}},
        "small": {"z_dim": 4, "hidden": 32},
        "physionet": {
            "z_dim": 35,
            "hidden": 128,
            "length_scale": 7.0,
            "window": 24,
            "likelihood": {"name": "gaussian"},
            "training": {"beta": 0.2},
        },
    },
)
class GPVAE(nn.Module):
    """Gaussian process VAE: latents that are smooth over time, for sequences with gaps."""

    length_scales: Tensor

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 16,
        hidden: PositiveInt = 64,
        window: PositiveInt = 7,
        kernel: Kernel = "cauchy",
        length_scale: PositiveFloat = 1.0,
        num_scales: PositiveInt = 1,
        noise: NonNegativeFloat = 1e-3,
        posterior: Literal["banded", "diagonal"] = "banded",
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.kernel: Kernel = kernel
        self.noise = noise
        # z^1 ... z^z_dim share the scales out, the longest first
        scales = [length_scale / 2 ** (j * num_scales // z_dim) for j in range(z_dim)]
        self.register_buffer("length_scales", torch.tensor(scales), persistent=False)
        self.decoder = likelihood(parts.Decoder(z_dim, [hidden], x_shape))  # p(x_t | z_t)
        self.convolution = nn.Conv1d(math.prod(x_shape), hidden, window, padding="same")
        self.encoder = parts.Encoder((hidden,), [hidden])
        self.loc, self.diagonal = self.encoder.head(z_dim), self.encoder.head(z_dim)
        self.coefficient = self.encoder.head(z_dim) if posterior == "banded" else None

    def model(self, x: Tensor, length: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(there, x.dtype))
            pyro.sample("x", self.decoder(z.mT).mask(there).to_event(1), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        """q(z | x) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x, frame_mask(length, x.shape[1])))

    def prior(self, there: Tensor, dtype: torch.dtype) -> dist.TorchDistribution:
        """p(z), event ``(z_dim, T)``, of sequences that have the frames ``there (B, T)``."""
        K = gram(self.kernel, self.length_scales, there.shape[1], self.noise)
        # The first rows of a factor are the factor of the first frames: one serves all lengths.
        factor = torch.linalg.cholesky(K).to(dtype)
        alone = torch.eye(there.shape[1], dtype=dtype, device=there.device)
        scale_tril = torch.where(there[:, None, :, None], factor, alone)
        loc = scale_tril.new_zeros(scale_tril.shape[:-1])
        return dist.MultivariateNormal(loc, scale_tril=scale_tril).to_event(1)

    def posterior(self, x: Tensor, there: Tensor) -> dist.TorchDistribution:
        """q(z | x), event ``(z_dim, T)``, of ``x (B, T, *x_shape)``."""
        frames = torch.where(there[..., None], x.flatten(2), 0.0)
        h = self.encoder(self.convolution(frames.mT).relu().mT)
        loc, d = self.loc(h), 1 + softplus(self.diagonal(h))
        a = torch.zeros_like(loc) if self.coefficient is None else self.coefficient(h).tanh()
        there = there[..., None]
        loc, d, a = (torch.where(there, v, rest) for v, rest in ((loc, 0.0), (d, 1.0), (a, 0.0)))
        return markov_normal(loc.mT, d.mT, a.mT).to_event(1)


def gram(kernel: Kernel, length_scales: Tensor, num_frames: int, noise: float = 0.0) -> Tensor:
    """Return the covariances of frames one unit of time apart, ``(J, T, T)``, in double precision.

    Parameters
    ----------
    kernel
        ``cauchy``, ``rbf`` or ``matern`` (1/2), of variance 1.
    length_scales
        ``(J,)``, in frames.
    num_frames
        T.
    noise
        Variance of white noise that is added.

    Examples
    --------
    >>> gram("cauchy", torch.tensor([1.0]), 3)[0, 0]
    tensor([1.0000, 0.5000, 0.2000], dtype=torch.float64)
    """
    precise = torch.float32 if length_scales.device.type == "mps" else torch.float64
    t = torch.arange(num_frames, dtype=precise, device=length_scales.device)
    lag = (t[:, None] - t).abs() / length_scales.to(precise)[:, None, None]
    if kernel == "cauchy":
        K = 1 / (1 + lag.square())
    else:
        K = (-0.5 * lag.square() if kernel == "rbf" else -lag).exp()
    return K + noise * torch.eye(num_frames, dtype=precise, device=t.device)


def markov_normal(loc: Tensor, d: Tensor, a: Tensor) -> dist.MultivariateNormal:
    """Return the normal over time whose precision is B B^T, B upper bidiagonal.

    Parameters
    ----------
    loc
        Means, ``(..., T)``.
    d
        Diagonal of B, positive.
    a
        What z_t takes of z_{t-1}, both from their means; that of the first frame is not looked at.
        The off-diagonal of B is -a_t d_t.

    Examples
    --------
    >>> normal = markov_normal(torch.zeros(2), torch.ones(2), torch.tensor([0.0, 0.5]))
    >>> normal.precision_matrix
    tensor([[ 1.2500, -0.5000],
            [-0.5000,  1.0000]])
    """
    # B^T, whose inverse is a lower factor of the covariance
    factor = torch.diag_embed(d) - pad(torch.diag_embed((a * d)[..., 1:]), (0, 1, 1, 0))
    alone = torch.eye(d.shape[-1], dtype=d.dtype, device=d.device)
    scale_tril = torch.linalg.solve_triangular(factor, alone.expand_as(factor), upper=False)
    return dist.MultivariateNormal(loc, scale_tril=scale_tril)
