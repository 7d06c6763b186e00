"""How do holes in the data bias a VAE?

Asked: entries of tables are missing, and often because of what they are. What becomes of what is
imputed when that is ignored, and can a model of the holes repair it?

Hypothesis
    Where a hole depends on what is there (at random), miwae imputes without bias. Where it depends
    on the value itself, all that ignore it impute too little, probabilistic PCA with its right
    form, too; a model of the holes repairs it if it has the right form, and not otherwise.

Refuted by
    A bias of miwae beyond 0.1 at random or within 0.1 not at random; one of not-miwae beyond 0.1;
    a linear model of the holes that does as well as self-masking.

Limits
    Three Gaussian columns of one factor, deviation 1.1, the first with holes at large values. Bias
    is the distance from the exact mean of x given what is there and the hole, by true parameters.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from vaezoo.study import Claim, Scale, Study, Trained, Variant
from vaezoo.study.design import SCALES

if TYPE_CHECKING:
    from vaezoo.data import Data
    from vaezoo.data.dataset import Array

__all__ = ["AT_RANDOM", "NOT_AT_RANDOM", "exact", "study", "table"]

AT_RANDOM, NOT_AT_RANDOM = "at random", "not at random"
SIZES, LIKELIHOOD = {"z_dim": 2, "hidden": [32]}, {"name": "gaussian", "sigma": "per-dim"}
STEEPNESS, THRESHOLD, NOISE = 4.0, 0.3, 0.5


def table(kind: str) -> "tuple[Array, Array]":
    """Return 1,500 rows ``(N, 3)``, and which of the first column are missing ``(N,)``."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 1)) + NOISE * rng.normal(size=(1500, 3))
    cause = x[:, 1] if kind == AT_RANDOM else x[:, 0]
    missing = rng.random(len(x)) < 1 / (1 + np.exp(-STEEPNESS * (cause - THRESHOLD)))
    return x.astype(np.float32), missing


def exact(kind: str, others: "Array") -> "Array":
    """Return the mean of a missing entry given the others ``(N, 2)`` and the hole: quadrature."""
    import numpy as np

    precision = 1 / (1 / (1 + 2 / NOISE**2) + NOISE**2)  # of x given the others: z, and noise
    loc = others.sum(1) / NOISE**2 / (1 + 2 / NOISE**2)
    if kind == AT_RANDOM:
        return loc
    grid = loc[:, None] + np.linspace(-8, 8, 2001) / precision**0.5
    log_w = -precision * (grid - loc[:, None]) ** 2 / 2
    weights = np.exp(log_w) / (1 + np.exp(-STEEPNESS * (grid - THRESHOLD)))
    return (weights * grid).sum(1) / weights.sum(1)


def with_holes(kind: str) -> "Data":
    """Return the table as it is seen, the last 300 rows for test."""
    import numpy as np

    from vaezoo.data import as_data

    x, missing = table(kind)
    x[missing, 0] = np.nan
    return as_data({"train": x[:1000], "validation": x[1000:1200], "test": x[1200:]})


def imputed(trained: Trained) -> "Mapping[str, float | Array]":
    """Return how far what is imputed lies from the exact mean, and its error, of each hole."""
    import numpy as np

    import vaezoo

    kind = trained.cell.data
    x, missing = (part[1200:][: trained.scale.limit] for part in table(kind))
    seen = np.where(missing[:, None] & (np.arange(3) == 0), np.nan, x).astype(np.float32)
    mean = np.asarray(vaezoo.impute(trained.run, seen).mean)[missing, 0]
    truth, best = x[missing, 0], exact(kind, x[missing, 1:])
    errors = {"squared error": (mean - truth) ** 2, "squared error, exact": (best - truth) ** 2}
    return {"bias": mean - best, **errors}


def _masked(form: str, scale: int) -> Variant:
    config = {**SIZES, "missingness": form}
    return Variant(f"not-miwae, {form}", "not-miwae", config, scales=SCALES[scale:])


ABOVE = "not-miwae, self-masking-above"
study = Study(
    name="mnar",
    rows=(),
    variants=[
        Variant("miwae", "miwae", {**SIZES, "likelihood": LIKELIHOOD}),
        Variant("ppca", "ppca", {"z_dim": 1}, scales=SCALES[1:]),
        _masked("self-masking-above", 0),
        _masked("self-masking", 2),
        _masked("linear", 1),
    ],
    data={kind: partial(with_holes, kind) for kind in (AT_RANDOM, NOT_AT_RANDOM)},
    measures=[imputed],
    claims=[
        Claim("Why an entry is missing may be ignored", "bias", "miwae", 0.0, "same", 0.1),
        Claim("A flexible model is hurt less than probabilistic PCA", "squared error",
              "miwae", "ppca", "smaller", 0.0),
        Claim("A model of the holes repairs what they bias", "bias", ABOVE, 0.0, "same", 0.1),
        Claim("Which form a model of the holes has does not matter", "bias",
              "not-miwae, linear", ABOVE, "same", 0.1),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 10, "engine": "eager"}, data=(NOT_AT_RANDOM,), limit=40),
        "quick": Scale(4, 2, {"steps": 500, "lr": 5e-3}),
        "full": Scale(20, 60, {"steps": 5000, "lr": 1e-3}),
    },
)  # fmt: skip
