"""How noisy the gradient of a latent without a path derivative is, said before training."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import trial_rows
from vaezoo.pairs.plates import score_function
from vaezoo.pairs.sites import Args, PairTrace, trace_pair

__all__ = ["noise_of", "trace_of_few"]

EVALUATIONS = 10


def trace_of_few(pair: nn.Module, rows: Callable[[], Args], device: torch.device) -> PairTrace:
    """Return the trace of the first of some rows, whose making may draw; it changes nothing."""
    with probing(pair, device, seed=0):
        return trace_pair(pair, trial_rows(rows()))


def noise_of(trace: PairTrace, gradients: Callable[[], Sequence[Tensor]]) -> str:
    """Return how noisy the gradient of a score function is, in a line; empty without any.

    Parameters
    ----------
    trace
        Of a few rows.
    gradients
        Evaluates the gradients of the loss on a batch, with new draws each time.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import StatesPair
    >>> noise = lambda: [torch.randn(5)]
    >>> noise_of(trace_pair(StatesPair(), (torch.zeros(3, 1),)), noise)[:26]
    "'k' has no path derivative"
    """
    unmarked = list(_without_path(trace))
    if not unmarked:
        return ""
    mark = """`infer={"enumerate": "parallel"}`"""
    return (
        f"'{unmarked[0]}' has no path derivative: its gradient is a score function, whose "
        f"standard deviation is {_noise(gradients):.1f} times the gradient on a batch; mark a "
        f"latent of finite support by {mark}, and it is summed out"
    )


def _without_path(trace: PairTrace) -> Iterator[str]:
    for name, (_, q) in trace.latents.items():
        if not is_marked(q) and score_function(q) is not None:
            yield name


def _noise(gradients: Callable[[], Sequence[Tensor]]) -> float:
    """Return the standard deviation of the gradient, as a share of the norm of its mean."""
    draws = torch.stack(
        [torch.cat([g.flatten() for g in gradients()]).cpu() for _ in range(EVALUATIONS)]
    )
    norm = draws.mean(0).norm().clamp(min=torch.finfo(draws.dtype).tiny)
    return float(draws.var(0).sum().sqrt() / norm)
