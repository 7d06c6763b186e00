"""What each region of a plane of codes is decoded to, and which class a classifier sees there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, require_positive
from vaezoo.options import PointValue, require_choice
from vaezoo.predict.latents.classes import LabelledCodes, labelled_codes, train_classifier
from vaezoo.predict.latents.codes import Codes
from vaezoo.predict.latents.plane import Plane, plane_of
from vaezoo.predict.latents.units import Unit, named_unit, set_values, units_of, values_of
from vaezoo.predict.observed import shown
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given

__all__ = ["Regions", "regions"]

RANGE = (0.005, 0.995)  # quantiles of the codes along both directions of the plane


@dataclass(frozen=True)
class Regions:
    """A plane of codes, decoded at S x S places.

    Attributes
    ----------
    plane
        The plane, and where codes of data lie in it.
    values
        Where the places lie along both directions, ``(2, S)``.
    x
        What the model makes of them, ``(S, S, *x_shape)`` in units of the data: first the second
        direction, from its low end.
    labels
        Classes that a classifier tells apart, ``(K,)``.
    region
        That which it sees at each place, ``(S, S)``.
    probability
        How probable it finds that, ``(S, S)``.
    label
        Of the data whose codes are in the plane, ``(N,)``.
    share
        Of the places, by class, ``(K,)``.
    accuracy
        Of the classifier, logistic regression on reconstructions of training rows, on
        reconstructions of the rows of the split.
    agreement
        Share of the codes of the split whose own class is seen at the place next to them: what two
        directions know of the label.
    """

    plane: Plane
    values: Array
    x: Array
    labels: Array
    region: Array
    probability: Array
    label: Array
    share: Array
    accuracy: float
    agreement: float


def regions(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 1_000,
    plane: Sequence[str] = (),
    size: int = 20,
    x: PointValue = "mean",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Regions:
    """Decode a plane of codes, and say which class is seen in each region of it.

    Parameters
    ----------
    run
        A trained run on data with labels, or its folder; that of an autoencoder is as good.
    data, split, limit
        Whose codes say where the plane lies: by default those of the first 1,000 test rows.
    plane
        Two elements that span the plane, as ``("z[0]", "z[3]")``, the others at the mean of the
        codes; by default the only two, or the first two principal components of the codes.
    size
        Places S along each direction, between the 0.5 % and 99.5 % quantiles of the codes.
    x
        What is shown of p(x | z): the ``mean``, or a ``sample``.
    given
        Other conditions than those of the data, by name; places have those of the first row.
    seed
        Seed of draws.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        For data without labels, sequences, whose codes are paths, and latents that cannot be moved.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 200})
    >>> seen = vaezoo.regions(run, size=5)
    >>> seen.x.shape, seen.region.shape
    ((5, 5, 8, 8), (5, 5))
    """
    require_choice("x", x, PointValue)
    require_positive("size", size, "place")
    run = as_run(run)
    what = "a plane of classes"
    training = labelled_codes(run, None, split="train", data_dir=data_dir, what=what)
    held_out = labelled_codes(
        run, data, split=split, data_dir=data_dir, what=what, limit=limit, given=given
    )
    codes = held_out.codes
    if codes.length is not None:
        raise RequestError(f"{what} needs one code for each datum, and {run.name} is on sequences")
    batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
    units = units_of(codes.run, codes, batches, split, seed)
    chosen = _plane(codes, units, plane)
    values = np.quantile(chosen.points, RANGE, axis=0).T
    values = np.stack([np.linspace(low, high, size) for low, high in values])
    places = np.stack(np.meshgrid(*values), -1).reshape(-1, 2)  # the second direction comes first
    made = shown(_at(codes, units, chosen.centre + places @ chosen.axes).decoded(x=x, seed=seed))
    classifier = train_classifier(training, held_out)
    probabilities = classifier.probabilities(made)
    region = classifier.labels[probabilities.argmax(1)].reshape(size, size)
    return Regions(
        chosen,
        values,
        made.reshape(size, size, *made.shape[1:]),
        classifier.labels,
        region,
        probabilities.max(1).reshape(size, size),
        held_out.label,
        np.array([(region == label).mean() for label in classifier.labels]),
        classifier.accuracy,
        _agreement(chosen.points, values, region, held_out),
    )


def _plane(codes: Codes, units: Sequence[Unit], latents: Sequence[str]) -> Plane:
    """Return the plane of some elements, all others at their mean."""
    if latents and len({*latents}) != 2:
        raise RequestError(f"`plane` takes two latents, not {len({*latents})}")
    columns = values_of(codes, units)
    chosen = [units.index(named_unit(name, units)) for name in latents]
    plane = plane_of(columns, [unit.name for unit in units], chosen)
    if not chosen:
        return plane
    others = ~plane.axes.any(0)
    return replace(plane, centre=np.where(others, columns.mean(0), plane.centre))


def _at(codes: Codes, units: Sequence[Unit], columns: Array) -> Codes:
    """Return codes with elements as columns ``(M, L)``, with all else of the first datum."""
    return set_values(codes.at([0] * len(columns)), units, torch.from_numpy(columns))


def _agreement(points: Array, values: Array, region: Array, data: LabelledCodes) -> float:
    """Return the share of data whose label is that of the place next to their code."""
    nearest = [np.abs(points[:, [d]] - values[d]).argmin(1) for d in range(2)]
    return float((region[nearest[1], nearest[0]] == data.label).mean())
