"""What chains learn in warm-up: the metric and the step size of each datum.

Step sizes by dual averaging, Hoffman & Gelman 2014, arXiv:1111.4246, sec. 3.2; the covariance is
shrunk as in Stan.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.inference.leapfrog import LARGEST_STEP, SMALLEST_STEP

__all__ = ["Frame", "StepSize"]


@dataclass(frozen=True)
class Frame:
    """Whitened coordinates w of each datum: u = loc + factor w.

    ``factor`` is lower triangular, ``(B, L, L)``, or a diagonal, ``(B, L)``. Chains move in w with
    unit masses, which is the same as moving in u with the covariance as inverse mass matrix, and
    needs neither masses in the trajectory nor their Cholesky factor for every momentum. The change
    of variables has a constant volume for each datum, which no acceptance depends on.

    Examples
    --------
    >>> frame = Frame(torch.ones(1, 2), torch.tensor([[2.0, 3.0]]))
    >>> frame.outside(torch.ones(1, 1, 2)), frame.inside(torch.ones(1, 1, 2))
    (tensor([[[3., 4.]]]), tensor([[[0., 0.]]]))
    """

    loc: Tensor
    factor: Tensor

    def outside(self, w: Tensor) -> Tensor:
        """Return u of ``w (C, B, L)``."""
        if self.factor.dim() == 2:
            return self.loc + self.factor * w
        return self.loc + torch.einsum("blm,cbm->cbl", self.factor, w)

    def inside(self, u: Tensor) -> Tensor:
        """Return w of ``u (C, B, L)``."""
        centred = u - self.loc
        if self.factor.dim() == 2:
            return centred / self.factor
        solved = torch.linalg.solve_triangular(self.factor, centred.permute(1, 2, 0), upper=False)
        return solved.permute(2, 0, 1)

    def refit(self, u: Tensor) -> "Frame":
        """Return the frame of mean and covariance of draws ``(S, B, L)``, slightly regularised.

        A mean of the S draws and 5 draws of a small variance, as in Stan, so that chains that have
        not moved still have a factor. A datum whose covariance is not positive definite all the
        same, by rounding, keeps the factor it has.
        """
        number = len(u)
        loc = u.mean(0)
        centred = u - loc
        weight, small = number / (number + 5.0), 1e-3 * 5.0 / (number + 5.0)
        if self.factor.dim() == 2:
            return Frame(loc, (weight * centred.square().mean(0) + small).sqrt())
        covariance = torch.einsum("sbl,sbm->blm", centred, centred) / number
        eye = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        factor, failed = torch.linalg.cholesky_ex(weight * covariance + small * eye)
        factor = torch.where(failed.bool()[:, None, None], self.factor, factor)
        return Frame(loc, factor)


class StepSize:
    """Dual averaging of one step size for each datum (Hoffman & Gelman 2014, eq. 6).

    ``current`` is what warm-up moves by, and varies less and less; ``averaged`` is what it
    settles at, and stays fixed for the draws that are kept: a step size that goes on learning would
    make the chains depend on their past, and their draws biased.
    """

    # Those of the paper and of Stan: how fast to learn, how long to distrust the first draws, how
    # soon to forget them.
    GAMMA, T0, KAPPA = 0.05, 10.0, 0.75

    def __init__(self, start: Tensor, target: float) -> None:
        self.target = target
        self.restart(start)

    def restart(self, start: Tensor) -> None:
        """Begin again from step sizes ``(B,)``, as after a change of the metric."""
        # The paper draws log step sizes to log(10 start), since its start is a guess; here it is
        # that of the metric, or what was learned before.
        self.centre = start.log()
        self.current = self.averaged = start
        self.log_averaged = self.centre
        self.shortfall = torch.zeros_like(start)
        self.count = 0

    def update(self, acceptance: Tensor) -> None:
        """Learn from acceptance probabilities ``(B,)``."""
        self.count += 1
        rate = 1 / (self.count + self.T0)
        self.shortfall = (1 - rate) * self.shortfall + rate * (self.target - acceptance)
        log_step = self.centre - math.sqrt(self.count) / self.GAMMA * self.shortfall
        log_step = log_step.clamp(math.log(SMALLEST_STEP), math.log(LARGEST_STEP))
        weight = self.count**-self.KAPPA
        self.log_averaged = weight * log_step + (1 - weight) * self.log_averaged
        self.current, self.averaged = log_step.exp(), self.log_averaged.exp()
