"""Measures of which latents are in use."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.study.design import Trained

__all__ = ["against_spectrum"]


def against_spectrum(trained: "Trained") -> Mapping[str, float]:
    """Measure how many more latents are in use than the spectrum of the training data allows.

    Exact for a linear decoder with one fixed sigma (Lucas et al. 2019, arXiv:1911.02469): those
    are in use whose eigenvalue exceeds beta sigma^2. Nothing is said of other pairs.
    """
    from vaezoo.observations.usable import usable_latents

    run = trained.run
    usable = usable_latents(run.pair, run.batches().whole("train"), run.training.beta)
    if usable is None or not usable.is_exact:
        return {}
    active = trained.evaluation.metrics.active_units
    return {
        "eigenvalues above sigma^2": float(usable.number),
        "in use beyond the spectrum": float(active or 0) - usable.number,
    }
