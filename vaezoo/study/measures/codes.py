"""Measures of codes and of what is decoded from them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["coverage", "labels", "reconstruction"]


def reconstruction() -> "Measure":
    """Return a measure of ``MSE``: the mean of x given the mean of z, against x, per datum."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import numpy as np

        import vaezoo
        from vaezoo.errors import RequestError

        try:
            vaezoo.encode(trained.run, limit=1)
            both = vaezoo.reconstruct(trained.run, limit=trained.scale.limit)
        except RequestError:  # it has no codes
            return {}
        x, again = (np.asarray(value, np.float64) for value in both)
        return {"MSE": ((again - x) ** 2).reshape(len(x), -1).mean(1)}

    return measure


def coverage(level: float = 0.9, draws: int = 200) -> "Measure":
    """Return a measure of ``coverage error``: how honest the noise of p(x | z) is.

    Of each element of x, the share of test data that lie in the central interval of x given x's own
    posterior, against the level: the mean of the distances. Bits have no intervals, and no measure.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import numpy as np

        import vaezoo

        x, again = vaezoo.reconstruct(
            trained.run, limit=trained.scale.limit, z="sample", x="sample", draws=draws
        )
        if len(np.unique(again)) == 2:
            return {}
        ends = np.quantile(again, [(1 - level) / 2, (1 + level) / 2], axis=1)
        shares = ((ends[0] <= x) & (x <= ends[1])).mean(0)
        return {"coverage error": float(np.abs(shares - level).mean())}

    return measure

    return measure


def labels(*, with_factors: bool = False) -> "Measure":
    """Return scores of labels by the codes: linear probe, few labels, purity of neighbours.

    With the scores of known factors, ``MIG``, ``SAP``, ``DCI`` (1 is best), where data have such.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo
        from vaezoo.errors import RequestError

        try:
            scores = vaezoo.probe(trained.run, limit=trained.scale.limit)
        except RequestError:  # neither labels nor factors, or no codes
            return {}
        values: dict[str, float | Array] = {}
        if (of_label := scores.label) is not None:
            values |= {"probe": of_label.linear, "few labels": of_label.few}
            values["k-NN purity"] = of_label.purity
        if with_factors and scores.factors is not None:
            own = scores.factors.codes
            values |= {"MIG": own.mig, "SAP": own.sap, "DCI": own.dci_disentanglement}
        return values

    return measure
