"""Linear-Gaussian state space models, whose log p(x) and moments of z are known exactly."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.pairs.lengths import fill_padding

__all__ = ["KalmanModel", "Moments"]


@dataclass(frozen=True)
class Moments:
    """Means ``(B, T, L)`` and covariances ``(B, T, L, L)`` of z_t; NaN behind ``length``."""

    mean: Tensor
    covariance: Tensor

    @property
    def sd(self) -> Tensor:
        """Standard deviations, ``(B, T, L)``."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()


@dataclass(frozen=True)
class KalmanModel:
    """z_1 ~ N(m0, P0), z_t = A z_{t-1} + N(0, Q), x_t = C z_t + d + N(0, R), in float64.

    Every method takes sequences ``x (B, T, D)`` and their lengths ``(B,)``. What is nan in x is
    missing, and says nothing.

    Attributes
    ----------
    A, Q
        Transition and its noise, ``(L, L)``. A may be that of each step, ``(B, T, L, L)``, into the
        state z_t; the first is not used.
    C, R
        Emission ``(D, L)`` and its noise ``(D, D)``. C may be that of each step, ``(B, T, D, L)``.
    m0, P0
        Mean ``(L,)`` and covariance ``(L, L)`` of the first state.
    d
        Mean of x where z is zero, ``(D,)``.

    Notes
    -----
    Kalman 1960; Rauch, Tung & Striebel 1965. Covariances do not depend on x, so that those of the
    filter are computed once for all sequences, unless something is missing.

    Examples
    --------
    One frame, x = z + noise: half of it is taken for z.

    >>> one = torch.eye(1)
    >>> model = KalmanModel(A=one, Q=one, C=one, R=one, m0=torch.zeros(1), P0=one)
    >>> moments = model.filtered(torch.tensor([[[3.0]]]), torch.tensor([1]))
    >>> float(moments.mean), float(moments.covariance)
    (1.5, 0.5)
    """

    A: Tensor
    Q: Tensor
    C: Tensor
    R: Tensor
    m0: Tensor
    P0: Tensor
    d: Tensor | float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, torch.as_tensor(value, dtype=torch.float64))

    def log_evidence(self, x: Tensor, length: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)``."""
        return self._filter(x, length)[0]

    def filtered(self, x: Tensor, length: Tensor) -> Moments:
        """Return the moments of z_t given x_1 ... x_t."""
        _, means, covariances = self._filter(x, length)
        covariance = torch.stack([P.expand(len(x), -1, -1) for P in covariances], 1)
        return _moments(torch.stack(means, 1), covariance, length)

    def smoothed(self, x: Tensor, length: Tensor) -> Moments:
        """Return the moments of z_t given the whole sequence."""
        _, means, covariances = self._filter(x, length)
        m, P = means[-1], covariances[-1].expand(len(x), -1, -1)
        smooth = [(m, P)]
        for t in reversed(range(x.shape[1] - 1)):
            A = _of_step(self.A, t + 1)
            ahead = A @ covariances[t] @ A.mT + self.Q
            gain = torch.linalg.solve(ahead, A @ covariances[t]).mT
            inside = (t < length - 1).unsqueeze(-1)
            back = _times(gain, m - _times(A, means[t]))
            m = means[t] + torch.where(inside, back, 0.0)
            back = gain @ (P - ahead) @ gain.mT
            P = covariances[t] + torch.where(inside.unsqueeze(-1), back, 0.0)
            smooth.append((m, P))
        mean, covariance = (torch.stack(parts[::-1], 1) for parts in zip(*smooth, strict=True))
        return _moments(mean, covariance, length)

    def _filter(self, x: Tensor, length: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return log p(x) ``(B,)``, and of each step the means ``(B, L)`` and covariances.

        These are ``(1, L, L)`` where nothing is missing and all steps are alike, as they do not
        depend on x then, and else ``(B, L, L)``.
        """
        x = x.double() - self.d
        missing = x.isnan()
        log_evidence = x.new_zeros(len(x))
        m, P = self.m0.expand(len(x), -1), self.P0.unsqueeze(0)
        means, covariances = [], []
        for t in range(x.shape[1]):
            if t:
                A = _of_step(self.A, t)
                m, P = _times(A, m), A @ P @ A.mT + self.Q
            C, R = self._emission(_of_step(self.C, t), missing[:, t])
            S = C @ P @ C.mT + R
            gain = torch.linalg.solve(S, C @ P).mT
            residual = torch.where(missing[:, t], 0.0, x[:, t] - _times(C, m))
            # What is missing is seen as 0 of N(0, 1), and its density is taken off again.
            log_p = _log_normal(residual, S) + missing[:, t].sum(-1) * 0.5 * math.log(2 * math.pi)
            log_evidence += torch.where(t < length, log_p, 0.0)
            m, P = m + _times(gain, residual), P - gain @ S @ gain.mT
            means.append(m)
            covariances.append(P)
        return log_evidence, means, covariances

    def _emission(self, emission: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Return C and R of a step, without what is missing of its frames ``(B, D)``."""
        if not bool(missing.any()):
            return emission, self.R
        there = (~missing).double()
        both = there.unsqueeze(-1) * there.unsqueeze(-2)
        return there.unsqueeze(-1) * emission, both * self.R + torch.diag_embed(1 - there)


def _of_step(matrices: Tensor, t: int) -> Tensor:
    """Return a matrix for all steps as it is, and of those of each step that of one."""
    return matrices if matrices.dim() == 2 else matrices[:, t]


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the products of matrices ``(B, L, D)``, or of one, with vectors ``(B, D)``."""
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def _log_normal(residual: Tensor, covariance: Tensor) -> Tensor:
    """Return log N(residual; 0, covariance), ``(B,)``."""
    whitened = _times(torch.linalg.inv(covariance), residual)
    log_det = torch.linalg.slogdet(covariance).logabsdet
    squares = (residual * whitened).sum(-1)
    return -0.5 * (squares + log_det + residual.shape[-1] * math.log(2 * math.pi))


def _moments(mean: Tensor, covariance: Tensor, length: Tensor) -> Moments:
    return Moments(*(fill_padding(part, length, math.nan) for part in (mean, covariance)))
