"""The checks in their order; each waits for those without which its answer means nothing.

A check looks at a :class:`Subject` and yields a :class:`Failure` for everything that is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vaezoo.checks.agreement import check_agreement
from vaezoo.checks.behaviour import (
    check_finite,
    check_gradients,
    check_predictive,
    check_rows,
    check_seeds,
)
from vaezoo.checks.density import check_density, check_reparameterised
from vaezoo.checks.padding import check_padding
from vaezoo.checks.remarks import Remarks
from vaezoo.checks.saving import check_saving
from vaezoo.checks.structure import (
    check_arguments,
    check_plate,
    check_runs,
    check_shapes,
    check_sites,
    check_store,
)
from vaezoo.checks.subject import Subject

__all__ = ["CHECKS", "Check"]


@dataclass(frozen=True)
class Check:
    """A check, and the checks without which its answer would mean nothing."""

    name: str
    run: Callable[[Subject], Remarks]
    after: tuple[str, ...] = ()


CHECKS = (
    Check("arguments", check_arguments),
    Check("runs", check_runs, after=("arguments",)),
    Check("sites", check_sites, after=("runs",)),
    Check("plate", check_plate, after=("runs",)),
    Check("shapes", check_shapes, after=("plate",)),
    Check("reparameterised", check_reparameterised, after=("runs",)),
    Check("density", check_density, after=("sites", "plate")),
    Check("store", check_store, after=("runs",)),
    Check("finite", check_finite, after=("sites", "shapes")),
    Check("gradients", check_gradients, after=("finite",)),
    Check("seeds", check_seeds, after=("finite",)),
    Check("rows", check_rows, after=("seeds",)),
    Check("padding", check_padding, after=("rows",)),
    Check("agreement", check_agreement, after=("rows",)),
    Check("predictive", check_predictive, after=("seeds",)),
    Check("saving", check_saving, after=("seeds",)),
)
