"""Measures of codes and of what is decoded from them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["labels", "reconstruction"]


def reconstruction() -> "Measure":
    """Return a measure of ``MSE``: the mean of x given the mean of z, against x, per datum."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import numpy as np

        import vaezoo

        data = trained.run.find_data()
        x = np.asarray(data.x[data.rows("test")[: trained.scale.limit]], np.float32)
        again = np.asarray(vaezoo.reconstruct(trained.run, x), np.float32)
        return {"MSE": ((again - x) ** 2).reshape(len(x), -1).mean(1)}

    return measure


def labels() -> "Measure":
    """Return scores of labels by the codes: linear probe, few labels, purity of neighbours."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo

        scores = vaezoo.probe(trained.run, limit=trained.scale.limit).label
        if scores is None:
            return {}
        both = {"probe": scores.linear, "few labels": scores.few, "k-NN purity": scores.purity}
        return {name: float(value) for name, value in both.items()}

    return measure
