"""Why amortise: what does one network for all data cost, against a posterior fitted to each datum?

Asked: VAEs are said to be variational inference for large data. What does that buy, and what is
lost by it?

Hypothesis
    The encoder gives the posterior of a datum at a small part of the cost of fitting one by
    gradient steps, and what it loses against the best diagonal Gaussian of each datum falls with
    the number of training data.

Refuted by
    A per-datum fit that is as cheap, or a loss (the amortisation gap of Cremer et al. 2018,
    arXiv:1801.03558) that stays above 1 nat with all data.

Limits
    8 x 8 digits and a small network; 300 steps of Adam for each fit. Seconds are CPU time of one
    machine: their ratio is what counts.
"""

from typing import TYPE_CHECKING

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.inference import amortisation

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaezoo.data import Data

__all__ = ["study"]


def first(number: int) -> "Callable[[], Data]":
    """Return what makes the digits with only so many training data."""

    def make() -> "Data":
        from dataclasses import replace

        from vaezoo import load_data

        data = load_data("digits")
        return replace(data, splits={**data.splits, "train": data.rows("train")[:number]})

    return make


study = Study(
    name="scaling",
    rows=("1-4",),
    variants=[Variant("vae", "vae-bernoulli", {"hidden": (200,), "z_dim": 10})],
    data={"100 digits": first(100), "400 digits": first(400), "all digits": "digits"},
    measures=[amortisation()],
    claims=[
        Claim(
            "Fitting each datum costs ten times what the encoder costs, or more",
            *("cost of a fit over that of the encoder", "vae", 10.0, "larger", 0.0, ("1-4",)),
        ),
        Claim(
            "Little is lost by one network for all: less than a nat",
            *("amortisation gap", "vae", 1.0, "smaller", 0.0, ("1-4",)),
        ),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 30}, data=("100 digits",), limit=20),
        "quick": Scale(5, 2, {"steps": 1500}, limit=180),
        "full": Scale(20, 30, {"steps": 10000}, limit=180),
    },
)
