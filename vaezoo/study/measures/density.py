"""Measures of the density: bounds on log p(x), and what they are made of."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["bounds", "memorising"]


def bounds(num_samples: int = 100) -> "Measure":
    """Return a measure of ``log p(x)`` (importance weighted, K draws), ``ELBO`` and its terms.

    Both bounds are in units of the data, nats per datum, also of sequences. An autoencoder has none
    of these.
    ``log p(x)`` has a value for each datum, the others are one number of a run:
    ``ELBO``, ``KL``, ``active units``, and the two parts of the KL, which are the ``information``
    of z and x and the ``marginal KL`` of all codes from the prior (Hoffman & Johnson 2016).
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        from vaezoo.predict.comparison.comparing import log_density

        evaluation, metrics = trained.evaluation, trained.evaluation.metrics
        if metrics.is_autoencoder:
            return {}
        values, _ = log_density(trained.run, num_samples=num_samples, limit=trained.scale.limit)
        frames = (evaluation.num_frames or evaluation.num_rows) / evaluation.num_rows
        every: dict[str, float | Array] = {
            "log p(x)": values,
            "ELBO": evaluation.in_units.get("ELBO", float(metrics.elbo)) * frames,
            "KL": float(metrics.kl) * frames,
        }
        if metrics.active_units is not None:
            every["active units"] = float(metrics.active_units)
        if evaluation.information is not None:
            every["information"] = evaluation.information
            every["marginal KL"] = float(metrics.kl) - evaluation.information
        return every

    return measure


def memorising() -> "Measure":
    """Return measures of the epochs of a training that went on to its last step.

    ``ELBO, best`` and ``ELBO, last`` are of validation data, ``gap, best`` and ``gap, last`` how
    far those of training data lie above; ``sigma`` is the deviation that the last reconstruction
    term of training data has as a Gaussian, ``sigma, held out`` that of validation data.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import math

        epochs = trained.run.metrics
        last, best = epochs[-1], max(epochs, key=lambda own: own["validation"]["elbo"])
        num_elements = math.prod(trained.run.find_data().x.shape[1:])

        def sigma(split: str) -> float:
            nats = last[split]["recon"] / num_elements
            return math.exp(-nats - (1 + math.log(2 * math.pi)) / 2)

        def gap(epoch: "Mapping[str, Mapping[str, float]]") -> float:
            return epoch["train"]["elbo"] - epoch["validation"]["elbo"]

        elbos = {f"ELBO, {n}": e["validation"]["elbo"] for n, e in (("best", best), ("last", last))}
        gaps = {"gap, best": gap(best), "gap, last": gap(last)}
        return elbos | gaps | {"sigma": sigma("train"), "sigma, held out": sigma("validation")}

    return measure
