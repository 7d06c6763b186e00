"""Measures of what codes are used for: denoising, strange data, ways between data, arithmetic."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaezoo.study.measures.codes import squared_error

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = [
    "anomalies",
    "denoising",
    "directions",
    "epochs_to_target",
    "first_near_best",
    "generalisation",
    "ways",
]

NEAR = 0.05  # of all that validation gained, within which a training counts as done


def denoising(sigma: float) -> "Measure":
    """Return a measure of ``denoised MSE``: what is made of x + noise of ``sigma``, against x."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo

        if not trained.has_codes:
            return {}
        data = trained.run.find_data()
        x = np.asarray(data.x[data.rows("test")[: trained.scale.limit]], np.float32)
        noisy = x + np.random.default_rng(0).normal(scale=sigma, size=x.shape).astype(np.float32)
        again = vaezoo.reconstruct(trained.run, noisy, limit=None).x
        return {"denoised MSE": squared_error((x, again))}

    return measure


def generalisation() -> "Measure":
    """Return a measure of ``MSE gap``: how much worse test data are reconstructed than training.

    Of data with ``held_out`` also ``new MSE``, of the class that training lacked, over that of the
    others.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo

        errors = {
            split: squared_error(vaezoo.reconstruct(trained.run, split=split, limit=None))
            for split in ("train", "test")
        }
        data = trained.run.find_data()
        is_new = np.zeros(len(errors["test"]), bool)
        if "held_out" in data.arrays:
            is_new = data.arrays["held_out"][data.rows("test")] == 1
        of_known = float(errors["test"][~is_new].mean())
        values: dict[str, float | Array] = {"MSE gap": of_known - float(errors["train"].mean())}
        if is_new.any():
            values["new MSE"] = float(errors["test"][is_new].mean()) / of_known
        return values

    return measure


def anomalies(*, num_samples: int = 20) -> "Measure":
    """Return a measure of how well data of a class that training lacked are told from others.

    The data have ``held_out``, as of :func:`vaezoo.study.toys.without_class`. ``AUC, error`` by the
    squared error of reconstructions; ``AUC, density`` by log p(x), of models that have one.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        from sklearn.metrics import roc_auc_score

        import vaezoo
        from vaezoo.predict.comparison.comparing import log_density

        data = trained.run.find_data()
        is_new = data.arrays.get("held_out")
        if is_new is None:
            return {}
        is_new = is_new[data.rows("test")]
        values: dict[str, float | Array] = {}
        if trained.has_codes:
            error = squared_error(vaezoo.reconstruct(trained.run, limit=None))
            values["AUC, error"] = float(roc_auc_score(is_new, error))
        if trained.has_density:
            density, _ = log_density(trained.run, split="test", num_samples=num_samples)
            values["AUC, density"] = float(roc_auc_score(is_new, -density))
        return values

    return measure


def ways(pairs: int = 40) -> "Measure":
    """Return a measure of ways between the codes of test data, of each pair of rows.

    ``way distance`` from points on the way to the nearest row of the training, root mean square
    over elements, and ``way jump``, the largest step over the mean one (1 is even).
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo

        if not trained.has_codes:
            return {}
        ends = np.random.default_rng(0).permutation(2 * pairs).reshape(2, -1).T
        scores = [
            vaezoo.interpolate(trained.run, int(start), int(end), num_values=9).score
            for start, end in ends
        ]
        jumps = [score.largest_step / max(score.mean_step, 1e-12) for score in scores]
        distances = np.array([score.distance for score in scores])
        return {"way distance": distances, "way jump": np.array(jumps)}

    return measure


def directions(labels: Sequence[tuple[int, int]]) -> "Measure":
    """Return a measure of arithmetic: mean code of a label less that of another, added to codes.

    ``flipped`` is the share that a classifier then takes for the label, ``kept`` how much is left
    of what tells a datum from others of its class; means over the pairs of labels.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo
        from vaezoo.errors import RequestError

        try:
            every = [vaezoo.arithmetic(trained.run, plus, minus) for plus, minus in labels]
        except RequestError:  # it has no codes
            return {}
        both = {"flipped": [m.flipped for m in every], "kept": [m.kept for m in every]}
        return {name: float(np.mean(values)) for name, values in both.items()}

    return measure


def epochs_to_target() -> "Measure":
    """Return a measure of ``epochs``: how many until 95 % of what validation gained was gained."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        records = [record.get("validation", {}) for record in trained.run.metrics]
        scores = [
            record.get("elbo", record.get("reconstruction", 0.0) - record.get("penalty", 0.0))
            for record in records
        ]
        return {"epochs": float(first_near_best(np.array(scores)))} if scores else {}

    return measure


def first_near_best(scores: "Array") -> int:
    """Return the number of the first score within 5 % of all that was gained, counted from 1.

    Examples
    --------
    >>> first_near_best(np.array([-10.0, -2.0, -0.1, 0.0, -1.0]))
    3
    """
    least = scores.max() - NEAR * (scores.max() - scores[0])
    return int(np.argmax(scores >= least)) + 1
