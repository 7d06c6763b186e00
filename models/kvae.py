"""The Kalman variational autoencoder: a linear state space model of the codes of frames.

    p(x, a, z)   = prod_t N(z_t; A_t z_{t-1}, diag q) N(a_t; C_t z_t, diag r) p(x_t | a_t)
    q(z, a | x)  = p(z | a) prod_t N(a_t; mu(x_t), diag sigma(x_t)^2)
    A_t = sum_k alpha_t^k A^k,   C_t = sum_k alpha_t^k C^k,   z_0 ~ N(0, I)
    alpha_t = softmax(W d_t + w),   d_t = LSTM(a_{t-1}, d_{t-1}),   a_{-1} is learned

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
a_t   ``(a_dim,)``  code of a frame, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

What a frame looks like is in a_t, and how it moves in z_t. Given all codes, z is linear and
Gaussian, its posterior known: it is summed out, and no site. What is left of it is

    p(a) = prod_t N(a_t; C_t m_t, C_t P_t C_t^T + diag r),

where m_t and P_t are the mean and the covariance of z_t given a_0 ... a_{t-1}, which a Kalman
filter hands on. The state of the pair is h_t = [LSTM's h and c, m_t, the root of P_t], so that any
numbers are a state. :meth:`KVAE.dynamics` gives the moments of z given codes.

Reference
    Fraccaro, Kamronn, Paquet & Winther 2017, *A Disentangled Recognition and Nonlinear Dynamics
    Model for Unsupervised Learning*, arXiv:1710.05741, eqs. 1-10.

Differs from the paper
    z is summed out by the filter instead of drawn by the smoother, which gives the same bound with
    less noise. q, r and all matrices are learned from the first step on, and the reconstruction is
    not weighted; there are no controls u. Codes of missing frames are read off zeros. A code sees
    its own frame alone, which has to tell it: rows of eight pixels, the default data, hardly do.
"""

import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register
from vaezoo.exact.kalman import KalmanModel
from vaezoo.parts import sigma_of

__all__ = ["KVAE"]

FLOOR = 0.01


@register(
    "kvae",
    data="sequences",
    reference="arXiv:1710.05741",
    tags=("sequence",),
    presets={
        "default": {"training": {"lr": 1e-2, "clip_norm": 10.0, "epochs": 80}},
        "small": {"a_dim": 2, "z_dim": 4, "hidden": 32},
        "paper": {"a_dim": 2, "z_dim": 4, "hidden": 50},
    },
)
class KVAE(SequencePair):
    """Kalman variational autoencoder: codes of frames that a mixture of linear systems moves."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        a_dim: PositiveInt = 4,
        z_dim: PositiveInt = 8,
        num_matrices: PositiveInt = 3,
        hidden: PositiveInt = 64,
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.sizes = [hidden, hidden, z_dim, z_dim * z_dim]  # of h, c, m_t and the root of P_t
        # A^k, C^k and their noise
        self.A = nn.Parameter(torch.eye(z_dim) + 0.05 * torch.randn(num_matrices, z_dim, z_dim))
        self.C = nn.Parameter(torch.randn(num_matrices, a_dim, z_dim) / z_dim**0.5)
        self.log_q = nn.Parameter(torch.zeros(z_dim))
        self.log_r = nn.Parameter(torch.zeros(a_dim))
        # alpha_t = softmax(W d_t + w), d_t = LSTM(a_{t-1}, d_{t-1})
        self.a_before = nn.Parameter(torch.zeros(a_dim))
        self.lstm = nn.LSTMCell(a_dim, hidden)
        self.mixing = nn.Linear(hidden, num_matrices)
        # p(x_t | a_t)
        self.decoder = likelihood(parts.Decoder(a_dim, [hidden], x_shape))
        # q(a_t | x_t)
        self.phi_x = parts.Encoder(x_shape, [hidden])
        self.encoder = posterior(parts.Encoder((hidden,)), a_dim)

    def initial(self, x: Tensor) -> Tensor:
        """h_0: the LSTM has seen a_{-1}, and z_0 is N(0, I)."""
        d, c = self.lstm(self.a_before.expand(len(x), -1))
        root = torch.eye(self.z_dim, dtype=d.dtype, device=d.device).flatten().expand(len(x), -1)
        return torch.cat([d, c, torch.zeros_like(root[:, : self.z_dim]), root], -1)

    def embed(self, x: Tensor) -> Tensor:
        """Features of frames, ``(N, hidden)``."""
        return self.phi_x(x)

    def prior(self, h: Tensor) -> dict[str, TorchDistribution]:
        """p(a_t | a_0 ... a_{t-1}), z_t summed out."""
        d, _, m, P = self._unpacked(h)
        C = self._mixed(self.C, d)
        S = C @ P @ C.mT + self._noise(self.log_r)
        return {"a": dist.MultivariateNormal(_times(C, m), scale_tril=_root(S))}

    def posterior(self, e: Tensor, h: Tensor) -> dict[str, TorchDistribution]:
        """q(a_t | x_t)."""
        return {"a": self.encoder(e)}

    def likelihood(self, z: dict[str, Tensor], h: Tensor) -> TorchDistribution:
        """p(x_t | a_t)."""
        return self.decoder(z["a"])

    def transition(self, f: Tensor, z: dict[str, Tensor], h: Tensor) -> Tensor:
        """Correct m_t and P_t by a_t, and go on to those of t + 1."""
        d, c, m, P = self._unpacked(h)
        C, R = self._mixed(self.C, d), self._noise(self.log_r)
        gain = torch.cholesky_solve(C @ P, _root(C @ P @ C.mT + R)).mT
        m = m + _times(gain, z["a"] - _times(C, m))
        # Joseph's form, which keeps P positive in float32
        rest = torch.eye(self.z_dim, dtype=P.dtype, device=P.device) - gain @ C
        P = rest @ P @ rest.mT + gain @ R @ gain.mT
        d, c = self.lstm(z["a"], (d, c))
        A = self._mixed(self.A, d)
        m, P = _times(A, m), A @ P @ A.mT + self._noise(self.log_q)
        return torch.cat([d, c, m, _root(P).flatten(1)], -1)

    def _mixed(self, matrices: Tensor, d: Tensor) -> Tensor:
        """Return sum_k alpha_t^k of matrices ``(K, I, J)``, ``(N, I, J)``."""
        alpha = self.mixing(d).softmax(-1)
        return (alpha @ matrices.flatten(1)).unflatten(1, matrices.shape[1:])

    def _noise(self, log_var: Tensor) -> Tensor:
        return torch.diag(sigma_of(log_var, FLOOR).square())

    def _unpacked(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return h and c of the LSTM, m_t ``(N, L)`` and P_t ``(N, L, L)``."""
        d, c, m, root = h.split(self.sizes, -1)
        root = root.unflatten(1, (self.z_dim, self.z_dim))
        return d, c, m, root @ root.mT

    @torch.no_grad()
    def dynamics(self, a: Tensor) -> KalmanModel:
        """Return the linear model of z and of codes ``a (B, T, a_dim)``: exact answers about them.

        Examples
        --------
        >>> pair, a = KVAE(x_shape=(5,)), torch.randn(2, 6, 4)
        >>> pair.dynamics(a).smoothed(a, torch.tensor([6, 3])).mean.shape
        torch.Size([2, 6, 8])
        """
        d, c = self.lstm(self.a_before.expand(len(a), -1))
        states = [d]
        for a_t in a.to(d).unbind(1)[:-1]:
            d, c = self.lstm(a_t, (d, c))
            states.append(d)
        A, C = (
            torch.stack([self._mixed(matrices, d) for d in states], 1)
            for matrices in (self.A, self.C)
        )
        zeros, identity = torch.zeros(self.z_dim), torch.eye(self.z_dim)
        return KalmanModel(A, self._noise(self.log_q), C, self._noise(self.log_r), zeros, identity)


def _root(covariances: Tensor) -> Tensor:
    """Return the lower triangle L of L L^T ``(N, I, I)``, without a look at whether there is one.

    A look would have a GPU wait; noise is added to all that is handed in here.
    """
    root: Tensor = torch.linalg.cholesky_ex(covariances).L
    return root


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the products of matrices ``(N, I, J)`` with vectors ``(N, J)``."""
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)
