"""Measures of codes and of what is decoded from them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["coverage", "gaps", "labels", "reconstruction", "rotations", "squared_error"]


def reconstruction() -> "Measure":
    """Return a measure of ``MSE``: the mean of x given the mean of z, against x, per datum."""

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import vaezoo

        if not trained.has_codes:
            return {}
        return {"MSE": squared_error(vaezoo.reconstruct(trained.run, limit=trained.scale.limit))}

    return measure


def squared_error(both: "tuple[Any, Any]") -> "Array":
    """Return the mean square of the difference of data and reconstructions, of each datum ``(N,)``.

    Examples
    --------
    >>> import numpy as np
    >>> squared_error((np.zeros((2, 3)), np.array([[0.0, 0.0, 3.0], [1.0, 1.0, 1.0]]))).tolist()
    [3.0, 1.0]
    """
    import numpy as np

    x, again = (np.asarray(values, np.float64) for values in both)
    return np.asarray(((again - x) ** 2).reshape(len(x), -1).mean(1))


def coverage(level: float = 0.9, draws: int = 200) -> "Measure":
    """Return a measure of ``coverage error``: how honest the noise of p(x | z) is.

    Of each element of x, the share of test data that lie in the central interval of x given x's own
    posterior, against the level: the mean of the distances. Bits have no intervals, and no measure.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import numpy as np

        import vaezoo

        both = vaezoo.reconstruct(
            trained.run, limit=trained.scale.limit, z="sample", x="sample", draws=draws
        )
        x, again = (np.asarray(values) for values in both)
        if len(np.unique(again)) == 2:
            return {}
        ends = np.quantile(again, [(1 - level) / 2, (1 + level) / 2], axis=1)
        shares = ((ends[0] <= x) & (x <= ends[1])).mean(0)
        return {"coverage error": float(np.abs(shares - level).mean())}

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


def rotations(number: int = 10) -> "Measure":
    """Return a measure of the axes of codes: ``MIG``, and ``MIG lost`` when codes are rotated.

    Codes are scaled to a variance of one each before they are rotated at random, mean over so many
    rotations, so that no element is large. Of codes without preferred axes nothing is lost.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import numpy as np

        import vaezoo
        from vaezoo.study.toys import CLASSES

        data = trained.run.find_data()
        rows = data.rows("test")
        classes = np.stack([data.arrays[name][rows] for name in CLASSES], 1)
        z = np.asarray(vaezoo.encode(trained.run)["z"], np.float64)
        own, turned = gaps(z, classes, number)
        return {"MIG": own, "MIG lost": own - turned}

    return measure


def gaps(codes: "Array", classes: "Array", number: int = 10) -> tuple[float, float]:
    """Return the MIG of codes ``(N, L)``, and the mean of it over rotations of codes in use.

    Examples
    --------
    >>> import numpy as np
    >>> classes = np.stack(np.meshgrid(range(3), range(3)), -1).reshape(-1, 2).repeat(50, 0)
    >>> own, turned = gaps(classes * 1.0, classes)
    >>> round(own, 6), turned < 0.7
    (1.0, True)
    """
    import numpy as np
    from scipy.stats import ortho_group

    from vaezoo.training.metrics import ACTIVE_VARIANCE

    is_used = codes.var(0) > ACTIVE_VARIANCE
    z = codes[:, is_used] if is_used.sum() > 1 else codes
    z = (z - z.mean(0)) / np.maximum(z.std(0), 1e-12)
    turns = ortho_group.rvs(z.shape[1], number, random_state=0)
    return gap_of(z, classes), float(np.mean([gap_of(z @ turn, classes) for turn in turns]))


def gap_of(codes: "Array", classes: "Array") -> float:
    """Return the mutual information gap of codes ``(N, L)`` and classes ``(N, F)``.

    Examples
    --------
    >>> import numpy as np
    >>> classes = np.stack(np.meshgrid(range(2), range(3)), -1).reshape(-1, 2).repeat(20, 0)
    >>> round(gap_of(classes * 1.0, classes), 6)
    1.0
    """
    from vaezoo.predict.latents.disentanglement import Factored, entropies, information_with, mig

    return mig(information_with(Factored(codes, classes)), entropies(classes))
