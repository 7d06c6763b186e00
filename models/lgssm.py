"""The linear-Gaussian state space model, with a linear-Gaussian guide.

    p(x, z)  = N(z_1; 0, I) prod_{t > 1} N(z_t; A z_{t-1}, diag q) prod_t N(x_t; C z_t + d, diag r)
    q(z | x) = N(z_1; M_1 e_1, S_1 S_1^T) prod_{t > 1} N(z_t; M z_{t-1} + e_t, S S^T)
    e_t = K x_t + k + F e_{t+1}, read from the last frame on

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame, real
====  ============  ===========================================

Its log p(x) and the moments of its latents are known exactly (:mod:`vaezoo.exact.kalman`), so
that whatever vaezoo estimates of a sequence can be compared with the truth. The true posterior of a
long sequence has the form of the guide: its matrices change near the last frame only. In a sequence
pair the state is h_t = (z_{t-1}, 1), and zeros at the first step.

Reference
    Kalman 1960, *A New Approach to Linear Filtering and Prediction Problems*; the form of the
    guide: Krishnan et al. 2017, *Structured Inference Networks for Nonlinear State Space Models*,
    arXiv:1609.09869, eq. 3.
"""

import math

import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, register
from vaezoo.exact.kalman import KalmanModel
from vaezoo.parts import sigma_of
from vaezoo.sequences import read_backwards

__all__ = ["LGSSM"]

FLOOR = 0.01


class _Linear(nn.Module):
    """e_t = read_t + F e_{t+1}."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.hidden_size = z_dim
        self.F = nn.Parameter(0.5 * torch.eye(z_dim))

    def forward(self, read: Tensor, e: Tensor) -> Tensor:
        return read + e @ self.F.T


@register(
    "lgssm",
    data="sequences",
    reference="arXiv:1609.09869",
    tags=("sequence",),
    presets={"default": {"training": {"lr": 0.01, "clip_norm": 10.0}}},
)
class LGSSM(SequencePair):
    """Linear-Gaussian state space model, with exact answers by the Kalman filter."""

    def __init__(self, *, x_shape: tuple[int, ...], z_dim: PositiveInt = 4) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        self.z_dim = z_dim
        self.hidden = z_dim + 1
        x_dim = math.prod(x_shape)
        self.A = nn.Parameter(0.9 * torch.eye(z_dim))
        self.log_q = nn.Parameter(torch.zeros(z_dim))
        self.emission = nn.Linear(z_dim, x_dim)  # C z_t + d
        self.log_r = nn.Parameter(torch.zeros(x_dim))
        self.reader = nn.Linear(x_dim, z_dim)  # K x_t + k
        self.smoother = _Linear(z_dim)
        self.M = nn.Parameter(torch.stack([torch.eye(z_dim), 0.5 * torch.eye(z_dim)]))
        self.log_S = nn.Parameter(torch.zeros(2, z_dim, z_dim))  # of the first step and the others

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """e_t ``(B, T, z_dim)``, linear in the frames t ... length - 1."""
        return read_backwards(self.smoother, self.reader(x.flatten(2)), length)

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t | z_{t-1})."""
        z, started = h[:, :-1], h[:, -1:]
        scale = torch.exp(0.5 * self.log_q * started)
        return dist.MultivariateNormal(z @ self.A.T, scale_tril=torch.diag_embed(scale))

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_{t-1}, x_t ... x_T)."""
        z, started = h[:, :-1], h[:, -1:]
        loc = torch.where(started > 0, z @ self.M[1].T + e, e @ self.M[0].T)
        diagonal = self.log_S.diagonal(dim1=-2, dim2=-1).exp()
        S = self.log_S.tril(-1) + torch.diag_embed(diagonal)
        scale_tril = torch.where(started.unsqueeze(-1) > 0, S[1], S[0])
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t)."""
        sigma = sigma_of(self.log_r, FLOOR).reshape(self.x_shape)
        loc = self.emission(z).reshape(-1, *self.x_shape)
        return dist.Normal(loc, sigma).to_event(len(self.x_shape))

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = (z_t, 1)."""
        return torch.cat([z, torch.ones_like(h[:, -1:])], -1)

    @torch.no_grad()
    def exact(self) -> KalmanModel:
        """Return the model, without the guide, for exact answers about ``x (B, T, x_dim)``."""
        q, r = self.log_q.double().exp(), sigma_of(self.log_r.double(), FLOOR).square()
        m0, P0 = torch.zeros_like(q), torch.eye(self.z_dim)
        C, d = self.emission.weight, self.emission.bias
        return KalmanModel(self.A, torch.diag(q), C, torch.diag(r), m0, P0, d)
