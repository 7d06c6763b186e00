"""log p(x) and the posterior of one or two latents by summing over a grid: the exact answer.

A smooth density that vanishes at the edges of a grid has its integral by the trapezoidal rule with
an error that falls faster than any power of the spacing; the difference to the sum over every
second point says whether the grid is fine enough.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.target import Target
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces
from vaezoo.pairs.sites import Args

__all__ = ["Quadrature", "quadrature"]

NUM_POINTS = {1: 2001, 2: 301}
WIDTH = 7.0
DRAWS_OF_PRIOR = 2000


@dataclass(frozen=True)
class Quadrature:
    """The posterior of each datum on a grid, for unconstrained latents.

    Attributes
    ----------
    log_evidence
        log p(x), ``(B,)``, in nats.
    error
        How much that changes with every second point only, ``(B,)``. The error of the whole grid is
        far smaller where this is small.
    mean, sd
        Moments, each ``(B, L)``.
    points
        The grid, ``(G, L)``.
    log_posterior
        Log of the share of the posterior at each point, ``(G, B)``.
    """

    log_evidence: Tensor
    error: Tensor
    mean: Tensor
    sd: Tensor
    points: Tensor
    log_posterior: Tensor


def quadrature(
    pair: nn.Module, args: Args, *, num_points: int | None = None, width: float = WIDTH
) -> Quadrature:
    """Sum over a grid that spans the prior.

    Parameters
    ----------
    pair
        Any pair with one or two continuous latents.
    args
        A batch, tensors of ``(B, ...)``.
    num_points
        Points on each axis; by default 2,001 for one latent and 301 for two.
    width
        Half the length of an axis, in standard deviations of the prior.

    Raises
    ------
    RequestError
        When the pair has more latents, or is not of the kind that
        :class:`vaezoo.inference.target.Target` takes.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> exact = quadrature(pair, (x,))
    >>> bool(((exact.log_evidence - pair.log_evidence(x)).abs() < 1e-4).all())
    True
    """
    with probing(pair, args[0].device, seed=0):
        target = Target(pair, args, "quadrature")
        if target.num_latents not in NUM_POINTS:
            raise RequestError(
                f"quadrature is for 1 or 2 latents, and {type(pair).__name__} has "
                f"{target.num_latents}; use vaezoo.diagnostics.checking.check_posteriors"
            )
        number = num_points or NUM_POINTS[target.num_latents]
        if number < 5:
            raise RequestError(f"a grid takes 5 points or more on each axis, got {number}")
        points, spacing = _grid(target, number + 1 - number % 2, width)
        log_p = _log_joint(target, points).cpu().double()
    return _summary(points, log_p, spacing)


def _grid(target: Target, number: int, width: float) -> tuple[Tensor, Tensor]:
    """Return points ``(G, L)`` and their spacing ``(L,)``."""
    prior = target.draw_prior(math.ceil(DRAWS_OF_PRIOR / target.num_data)).flatten(0, 1)
    centre, half = prior.mean(0), width * prior.std(0)
    steps = torch.linspace(-1, 1, number, dtype=prior.dtype, device=prior.device)
    axes = [c + h * steps for c, h in zip(centre, half, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    return grid, 2 * half / (number - 1)


def _log_joint(target: Target, points: Tensor) -> Tensor:
    """Return log p(x, u) ``(G, B)``, the decoder seeing each point once where a pair allows it."""
    few = points[:: max(1, len(points) // 5)].unsqueeze(1)
    spread = few.expand(-1, target.num_data, -1)
    shared = False
    if target.in_plate:
        try:
            once, each = target.log_joint(few), target.log_joint(spread)
            shared = once.shape == each.shape and torch.allclose(once, each, rtol=1e-4, atol=1e-4)
        except Exception:  # whatever a pair does with a batch dimension that it does not expect
            shared = False
    rows = points.unsqueeze(1)
    if not shared:
        rows = rows.expand(-1, target.num_data, -1)
    return in_pieces(target.log_joint, rows, target.rows_at_once())


def _summary(points: Tensor, log_p: Tensor, spacing: Tensor) -> Quadrature:
    log_volume = float(spacing.double().log().sum())
    log_evidence = log_p.logsumexp(0) + log_volume
    size, number = points.shape[1], round(len(points) ** (1 / points.shape[1]))
    shaped = log_p.unflatten(0, (number,) * size)
    coarse = shaped[(slice(None, None, 2),) * size].flatten(0, size - 1)
    error = coarse.logsumexp(0) + log_volume + size * math.log(2) - log_evidence
    log_posterior = log_p - log_p.logsumexp(0)
    u, share = points.cpu().double(), log_posterior.exp().T
    mean = share @ u
    sd = (share @ u.square() - mean.square()).clamp(min=0).sqrt()
    return Quadrature(log_evidence, error.abs(), mean, sd, u, log_posterior)
