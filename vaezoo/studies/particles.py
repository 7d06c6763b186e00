"""How many draws of z does each datum need in a step?

Asked: in theory an expectation is an average of many samples; in practice one for each datum is
taken. Is one enough, because there are many steps? What do more draws cost and bring, beside more
data in a batch?

Hypothesis
    One draw is enough: most of the noise of a gradient comes from which rows are in the batch, so
    that the same work is better spent on other rows than on more draws of the same ones.

Refuted by
    An ELBO that is half a nat better with 16 draws at equal steps, or by draws instead of rows at
    equal work; a share of the draws of more than half of the variance.

Limits
    Bernoulli decoder, bits of digits, drawn anew at each visit, which counts as noise of the
    rows. The price is CPU time of one gradient in the eager engine on a machine with other work.
"""

from typing import Any

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.gradients import gradient_noise

__all__ = ["study"]


def _variant(draws: int, rows: int) -> Variant:
    training: dict[str, Any] = {"num_particles": draws, "batch_size": rows}
    scales = SCALES[2:] if draws == 64 else SCALES[1:] if draws == 4 or rows == 512 else SCALES
    name = f"{draws} draw{'s'[: draws > 1]}, {rows} rows"
    return Variant(name, "vae-bernoulli", {"z_dim": 10, "hidden": [200]}, training, scales=scales)


study = Study(
    name="particles",
    rows=("4-4", "4-5"),
    variants=[
        _variant(1, 128),
        _variant(4, 128),
        _variant(16, 128),
        _variant(64, 128),
        _variant(1, 512),
        _variant(16, 8),
    ],
    data={"digits": "digits", "mnist": "mnist"},
    measures=[bounds(10), gradient_noise(30)],
    claims=[
        Claim("One draw of each datum is enough: 16 train no better", "ELBO",
              "1 draw, 128 rows", "16 draws, 128 rows", "same", 0.5, ("4-5",)),
        Claim("Of equal work, 128 rows with one draw train better than 8 with 16", "ELBO",
              "1 draw, 128 rows", "16 draws, 8 rows", "larger", 0.0, ("4-5",)),
        Claim("The noise of a gradient comes from the draws more than from the rows",
              "share of draws", "1 draw, 128 rows", 0.5, "larger", 0.0, ("4-4", "4-5")),
        Claim("Four times the draws lower the variance as much as four times the rows",
              "log10 variance", "4 draws, 128 rows", "1 draw, 512 rows", "same", 0.1, ("4-4",)),
        Claim("16 draws are worth their price: less variance for the same CPU time",
              "log10 variance x CPU", "16 draws, 128 rows", "1 draw, 128 rows", "smaller", 0.0,
              ("4-5",)),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 10, "engine": "eager"}, data=("digits",), limit=40),
        "quick": Scale(3, 2, {"steps": 500, "lr": 2e-3}, data=("digits",)),
        "full": Scale(10, 240, {"steps": 20000}),
    },
)  # fmt: skip
