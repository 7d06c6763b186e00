"""What a person should know of a pair before it is trained: what its numbers mean, how noisy."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vaezoo.pairs.admission import examine
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.plates import score_function
from vaezoo.pairs.sites import PairTrace

__all__ = ["notes"]

EVALUATIONS = 10

_WORDS = {
    "scaled": "the author scales site '{}': ELBO and log p(x) are those of a tempered density",
    "factor": "`pyro.factor` at site '{}' counts in log p, which is then not normalised",
    "penalty": "`pyro.factor` at site '{}' of the guide is a penalty: it is added to the loss",
    "global": "all data share site '{}': its KL counts once for the data set, 1 / N in each datum",
}


def notes(trace: PairTrace, gradients: Callable[[], Sequence[Tensor]]) -> dict[str, str]:
    """Return what to say of a pair, each line by a short name.

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
    >>> list(notes(trace_pair(StatesPair(), (torch.zeros(3, 1),)), noise))
    ['noise']
    """
    lines: dict[str, str] = {}
    for finding in examine(trace):
        if finding.kind in _WORDS:
            lines.setdefault(finding.kind, _WORDS[finding.kind].format(finding.site))
    unmarked = list(_without_path(trace))
    if unmarked:
        mark = """`infer={"enumerate": "parallel"}`"""
        lines["noise"] = (
            f"'{unmarked[0]}' has no path derivative: its gradient is a score function, whose "
            f"standard deviation is {_noise(gradients):.1f} times the gradient on a batch; mark a "
            f"latent of finite support by {mark}, and it is summed out"
        )
    return lines


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
