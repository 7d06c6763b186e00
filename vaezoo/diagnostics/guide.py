"""What draws from the guide alone say of each posterior. They are blind to what the guide missed.

==========  ====================  ============  =========================
check       good                  bad           of what
==========  ====================  ============  =========================
``k_hat``   up to 0.7             above 1       importance weights (PSIS)
``ess``     10 %, and 400 draws   below 1 %     importance weights
==========  ====================  ============  =========================
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.grading import grade_guide
from vaezoo.inference.importance import importance_weights, pareto_smooth, summary
from vaezoo.pairs.pieces import join, numbered_rows
from vaezoo.pairs.sites import Args

__all__ = ["GuideCheck", "check_guide"]


@dataclass(frozen=True)
class GuideCheck:
    """Importance weights of draws from the guide, for each of B data.

    Attributes
    ----------
    grades
        Place in :data:`vaezoo.diagnostics.grading.GRADES` of each check, ``(B,)``.
    elbo, iwae, psis
        ``(B,)``, in nats: mean log weight, log mean weight, and that of smoothed weights.
    k_hat, ess
        ``(B,)``; the effective sample size is a share of the draws.
    num_samples
        Draws for each datum.
    seconds
        What it took.
    """

    grades: Mapping[str, Tensor]
    elbo: Tensor
    iwae: Tensor
    psis: Tensor
    k_hat: Tensor
    ess: Tensor
    num_samples: int
    seconds: float

    @property
    def is_contradicted(self) -> Tensor:
        """Whether the weights themselves say that the guide is off, ``(B,)``.

        Otherwise it is not contradicted, which is less than trusted: a mode that the guide never
        visits leaves no trace in its weights.
        """
        return torch.stack([*self.grades.values()]).max(0).values > 0


def check_guide(
    pair: nn.Module, args: Args, *, num_samples: int = 4000, seed: int = 0, max_data: int = 256
) -> GuideCheck:
    """Weigh draws from the guide of each datum.

    Parameters
    ----------
    pair
        Any pair with latents, continuous or discrete.
    args
        A batch, tensors of ``(B, ...)``.
    num_samples
        Draws for each datum.
    seed
        Seed of the draws.
    max_data
        Data that are worked on at a time.

    Raises
    ------
    RequestError
        When the pair has no latents, or a guide without a density.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> check = check_guide(LinearPair(shift=3.0), (torch.zeros(2, 4),), num_samples=500)
    >>> check.grades["ess"].tolist()  # few draws count: both are bad
    [2, 2]
    """
    begun, parts = time.perf_counter(), []
    for first, part in numbered_rows(args, max_data):
        weighted = importance_weights(pair, part, num_samples, seed=seed + first)
        log_weights = weighted.log_weights.cpu().double()
        parts.append(summary(log_weights, pareto_smooth(log_weights)))
    values = join(parts)
    return GuideCheck(
        grade_guide(values["k_hat"], values["ess"], num_samples),
        num_samples=num_samples,
        seconds=time.perf_counter() - begun,
        **values,
    )
