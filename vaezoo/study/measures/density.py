"""Measures of the density: bounds on log p(x), and what they are made of."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["bounds", "train_gap"]


def bounds(num_samples: int = 100, *, split: str = "test") -> "Measure":
    """Return a measure of ``log p(x)`` (importance weighted, K draws), ``ELBO`` and its terms.

    ``log p(x)`` is per datum, in nats in units of the data; ``ELBO``, ``KL`` and ``active units``
    are one number of a run.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo
        from vaezoo.predict.comparison.comparing import log_density

        values, _ = log_density(
            trained.run, split=split, num_samples=num_samples, limit=trained.scale.limit
        )
        metrics = vaezoo.evaluate(
            trained.run, split=split, iwae=(1,), limit=trained.scale.limit
        ).metrics
        every: dict[str, float | Array] = {"log p(x)": values, "ELBO": float(metrics.elbo)}
        every["KL"] = float(metrics.kl)
        if metrics.active_units is not None:
            every["active units"] = float(metrics.active_units)
        return every

    return measure


def train_gap(num_samples: int = 100) -> "Measure":
    """Return a measure of ``train log p(x)``, and of how far that of test data lies below it."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        from vaezoo.predict.comparison.comparing import log_density

        means = [
            log_density(
                trained.run, split=split, num_samples=num_samples, limit=trained.scale.limit
            )[0].mean()
            for split in ("train", "test")
        ]
        return {"train log p(x)": float(means[0]), "train-test gap": float(means[0] - means[1])}

    return measure
