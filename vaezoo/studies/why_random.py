"""Why means, variances and sampling, and not codes that are regularised to N(0, I)?

Asked: an encoder could give one code, and a penalty could make all codes together look like
N(0, I); what do the means, the variances and the noise buy? A ladder of models that differ in one
thing each: a code (ae), noise without its price (KL not paid), noise of one size with a mean that
is free or between -1 and 1, noise alone, and noise of a learned size (vae); beside them, codes
without noise that are held to N(0, I) as a whole (wae-mmd) or to be small (rae).

Hypothesis
    Noise of a learned size gains likelihood over noise of one size; with tanh the rate has a
    ceiling; noise alone carries nothing. Codes without noise that are held to N(0, I) are as good
    to sample from, and have no likelihood.

Refuted by
    Intervals on the other side of the thresholds of the claims.

Limits
    Digits of 8 x 8, one net of 200, 10 latents. The prior gap is an energy distance: a bound on the
    likelihood has no meaning for a code without noise.
"""

from functools import partial

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.codes import labels, reconstruction
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.samples import prior_gap
from vaezoo.study.measures.tasks import generalisation
from vaezoo.study.toys import dequantised

__all__ = ["study"]

LARGE = SCALES[1:]  # where there is time for all
NETS = {"z_dim": 10, "hidden": (200,), "activation": "relu"}
LIKELIHOOD = {"name": "gaussian", "sigma": "shared"}


def noisy(name: str, posterior: dict[str, object], beta: float = 1.0) -> Variant:
    """Return a model whose codes have noise."""
    config = {**NETS, "likelihood": LIKELIHOOD, "posterior": posterior}
    scales = SCALES if name in ("vae", "noise only") else LARGE
    return Variant(name, "vae-gaussian", config, {"beta": beta}, scales=scales)


study = Study(
    name="why-random",
    rows=("1-3", "1-48", *(f"2-{n}" for n in range(1, 11)), "2-12", "2-13"),
    variants=[
        Variant("ae", "ae", NETS, scales=LARGE),
        noisy("noise, KL not paid", {"name": "mean-only"}, beta=0.0),
        noisy("mean only", {"name": "mean-only"}),
        noisy("mean only, tanh", {"name": "mean-only", "mean": "tanh"}),
        noisy("noise only", {"name": "noise-only"}),
        noisy("vae", {"name": "diagonal"}),
        Variant("wae-mmd", "wae-mmd", NETS, scales=LARGE),
        Variant("rae", "rae", NETS, scales=LARGE),
    ],
    data={"digits": partial(dequantised, "digits")},
    measures=[bounds(100), reconstruction(), labels(), prior_gap(), generalisation()],
    claims=[
        Claim("A learned variance is beneficial", "log p(x)", "vae", "mean only",
              by=0.5, rows=("2-3", "2-6", "2-8")),
        Claim("With tanh a code carries at most 0.35 nats in each element", "information",
              "mean only, tanh", 3.5, "smaller", rows=("2-3",)),
        Claim("Noise alone carries no information", "information", "noise only", 0.0, "same", 0.05,
              rows=("2-4",)),
        Claim("Codes regularised to N(0, I) are as good to sample from", "N(0, I) distance",
              "wae-mmd", "vae", "smaller", -0.01, ("2-1", "2-12")),
        Claim("The loose link regularises: a VAE overfits less", "MSE gap", "vae", "ae", "smaller",
              rows=("2-9",)),
        Claim("Randomness makes better features", "probe", "vae", "ae",
              by=0.01, rows=("1-3", "1-48", "2-10")),
    ],
    scales={
        "smoke": Scale(2, 0.3, {"steps": 5}, limit=40),
        "quick": Scale(5, 5, {"steps": 1000}),
        "full": Scale(20, 60, {"steps": 5000}),
    },
    reference="vae",
)  # fmt: skip
