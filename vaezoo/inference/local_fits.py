"""The best Gaussian guide of each datum, and with it where a guide loses nats.

log p(x) - ELBO is the gap of inference. A guide whose encoder were perfect would still have the
approximation gap, log p(x) - ELBO of the best q; the rest, the amortisation gap, a better encoder
would recover (Cremer et al. 2018, arXiv:1801.03558, sec. 3).
"""

import math

import torch
from torch import Tensor, nn

from vaezoo.engine.optimizers import Optimizer
from vaezoo.inference.target import Target
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces
from vaezoo.pairs.sites import Args

__all__ = ["NUM_DRAWS", "NUM_STEPS", "best_elbo", "local_elbo"]

NUM_STEPS, NUM_DRAWS, RATE = 300, 8, 0.1


def local_elbo(
    pair: nn.Module,
    args: Args,
    *,
    num_steps: int = NUM_STEPS,
    num_samples: int = 1000,
    seed: int = 0,
) -> Tensor:
    """Return the ELBO of the best diagonal Gaussian of each datum, ``(B,)``, in nats.

    Its mean and standard deviations are found by Adam from those of the guide, with 8 draws a step,
    and its ELBO is averaged over ``num_samples`` other draws. Latents with constraints are carried
    to the reals first. A guide that is no diagonal Gaussian, as a flow, can be better.

    Examples
    --------
    The guide of this pair is exact, so that no other is better than log p(x).

    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> elbo = local_elbo(pair, (x,), num_steps=20, num_samples=100)
    >>> bool(((elbo - pair.log_evidence(x)).abs() < 0.2).all())
    True
    """
    with probing(pair, args[0].device, seed=seed):
        target = Target(pair, args, "the split of the gap")
        return best_elbo(target, num_steps, num_samples)


def best_elbo(target: Target, num_steps: int = NUM_STEPS, num_samples: int = 1000) -> Tensor:
    """Return the same of a target, for use inside :func:`vaezoo.pairs.particles.probing`."""
    loc, scale = target.moments_of_guide()
    shift, log_ratio = torch.zeros_like(loc), torch.zeros_like(loc)
    parameters = [shift.requires_grad_(), log_ratio.requires_grad_()]
    optimizer = Optimizer("adam", parameters, lr=RATE)  # torch's own imports Dynamo
    one, finite = loc.new_ones(()), torch.ones((), dtype=torch.bool, device=loc.device)
    constant = 0.5 * target.num_latents * math.log(2 * math.pi) + scale.log().sum(-1)

    def elbo(noise: Tensor) -> Tensor:
        u = loc + scale * (shift + log_ratio.exp() * noise)
        return target.log_joint(u) + log_ratio.sum(-1) + constant + 0.5 * noise.square().sum(-1)

    for step in range(num_steps):
        noise = torch.randn(NUM_DRAWS, *loc.shape, dtype=loc.dtype, device=loc.device)
        with torch.enable_grad():
            loss = -elbo(noise).mean(0).sum()
            gradients = torch.autograd.grad(loss, parameters)
        optimizer.update([g.nan_to_num(0.0, 0.0, 0.0) for g in gradients], one, finite)
        optimizer.scale_lr(_rate(step + 1, num_steps) / _rate(step, num_steps))
    noise = torch.randn(num_samples, *loc.shape, dtype=loc.dtype, device=loc.device)
    return in_pieces(elbo, noise, target.rows_at_once()).detach().mean(0)


def _rate(step: int, num_steps: int) -> float:
    """Return the learning rate, along a cosine from the first to a hundredth of it."""
    return RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * step / num_steps)) / 2)
