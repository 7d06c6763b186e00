"""Does an isotropic prior disentangle?

Asked: VAEs give disentangled factors, due to isotropic Gaussian priors. But N(0, I) looks the same
from all sides: for any rotation R, codes R z with a decoder that turns them back have the same
prior, the same p(x) and the same bound, if q may turn as well. Here codes of known factors are
rotated, and those of a q with a full covariance stand beside those of a diagonal one.

Hypothesis
    What prefers axes is the diagonal q, and more of it a larger beta: rotating costs the diagonal
    VAE a part of its MIG, and next to nothing where q is free to turn.

Refuted by
    Codes of a full-rank q that lose as much as those of a diagonal one, or a beta that gains no
    MIG.

Limits
    Drawn shapes of 12 x 12 with four factors, two of them places; MIG judges axes only. Codes are
    scaled to one variance each, and those out of use are left out, before they are turned.
"""

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.codes import rotations
from vaezoo.study.measures.density import bounds
from vaezoo.study.toys import shapes

__all__ = ["study"]

LARGE = SCALES[1:]  # where there is time for all
NETS = {"z_dim": 6, "hidden": (200,), "activation": "relu"}
SHARED = {**NETS, "likelihood": {"name": "gaussian", "sigma": "shared"}}
FULL = {**SHARED, "posterior": {"name": "full-rank"}}

study = Study(
    name="rotate-prior",
    rows=("1-8", "1-9", "1-16", "1-27"),
    variants=[
        Variant("vae", "vae-gaussian", SHARED),
        Variant("vae, full-rank q", "vae-gaussian", FULL),
        Variant("beta 4", "vae-gaussian", SHARED, {"beta": 4.0}, scales=LARGE),
        Variant("beta 16", "vae-gaussian", SHARED, {"beta": 16.0}, scales=LARGE),
        Variant("beta 4, full-rank q", "vae-gaussian", FULL, {"beta": 4.0}, scales=LARGE),
        Variant("ae", "ae", NETS, scales=LARGE),
    ],
    data={"shapes": shapes},
    measures=[rotations(), bounds(20)],
    claims=[
        Claim("The isotropic prior disentangles, whatever q is", "MIG lost", "vae, full-rank q",
              0.0, by=0.02, rows=("1-8",)),
        Claim("With a diagonal q, codes prefer axes", "MIG lost", "vae", 0.0,
              by=0.02, rows=("1-8",)),
        Claim("A VAE disentangles more than an autoencoder", "MIG", "vae", "ae",
              by=0.02, rows=("1-8", "1-27")),
        Claim("A larger beta disentangles more", "MIG", "beta 4", "vae",
              by=0.02, rows=("1-9",)),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 5}, limit=50),
        "quick": Scale(5, 5, {"steps": 1000}),
        "full": Scale(20, 60, {"steps": 8000}),
    },
)  # fmt: skip
