"""What lies in the blanks between codes?

Asked: is the latent space of an autoencoder not continuous, hard to interpolate, with classes
clustered bluntly, so that unseen inputs land in blanks and fail? Every model is trained without the
digit 8, and then asked for random codes, ways between data, and the 8 itself.

Hypothesis
    An autoencoder leaves more of its space empty than a VAE, what it makes of random codes is
    farther from data, and ways jump more; the class that neither has seen is made badly by both.

Refuted by
    Shares and distances of the autoencoder that are no larger than the VAE's.

Limits
    Digits of 8 x 8, one class away; nearness is by distance of pixels; random codes are normal,
    each element by itself.
"""

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.codes import reconstruction
from vaezoo.study.measures.samples import blanks
from vaezoo.study.measures.tasks import anomalies, generalisation, ways
from vaezoo.study.toys import digits_but_8

__all__ = ["study"]

LARGE = SCALES[1:]  # where there is time for all
NETS = {"z_dim": 10, "hidden": (200,), "activation": "relu"}
SHARED = {**NETS, "likelihood": {"name": "gaussian", "sigma": "shared"}}


study = Study(
    name="holes",
    rows=("1-17", "1-18", "1-20", "1-21"),
    variants=[
        Variant("ae", "ae", NETS),
        Variant("ae-denoising", "ae-denoising", NETS, scales=LARGE),
        Variant("rae", "rae", NETS, scales=LARGE),
        Variant("wae-mmd", "wae-mmd", NETS, scales=LARGE),
        Variant("vae", "vae-gaussian", SHARED),
        Variant("beta-vae", "vae-gaussian", SHARED, {"beta": 4.0}, scales=LARGE),
    ],
    data={"digits but 8": digits_but_8},
    measures=[reconstruction(), blanks(), ways(), generalisation(), anomalies()],
    claims=[
        Claim("An autoencoder leaves more of its space empty", "blank", "ae", "vae",
              by=0.02, rows=("1-17", "1-18")),
        Claim("What an autoencoder makes of random codes is farther from data", "random distance",
              "ae", "vae", by=0.05, rows=("1-18",)),
        Claim("The space of an autoencoder is not continuous: ways jump more", "way jump", "ae",
              "vae", rows=("1-17", "1-20")),
        Claim("An autoencoder fails on a class it has not seen, more than a VAE", "new MSE", "ae",
              "vae", by=0.1, rows=("1-18",)),
        Claim("An unseen class is told by its error as well with an autoencoder", "AUC, error",
              "ae", "vae", by=-0.03, rows=("1-21",)),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 5}, limit=90),
        "quick": Scale(5, 4, {"steps": 1000}),
        "full": Scale(20, 40, {"steps": 4000}),
    },
    reference="ae",
)  # fmt: skip
