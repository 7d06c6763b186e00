"""Reparameterised draws, or the score function: what does the trick buy?

Asked: the lower bound comes with a trick, z = mu + sigma eps, so that gradients go through the
draw. What is it good for, since the score function gives an unbiased gradient of any q?

Hypothesis
    Both gradients of the encoder have one mean; that of the score has a variance that is a
    hundred times larger at the same weights, and trains a worse model in equal steps.

Refuted by
    A ratio of variances below ten, or an ELBO within half a nat.

Limits
    Digits in 0 ... 1 with one learned sigma, 10 latents. The score function has the control
    variate that is usual here, the mean of the other draws where there are several, and none with
    one; the KL term is in closed form for both. Without its own score, sticking the landing
    (Roeder et al. 2017, arXiv:1703.09194) has no noise where q is exact.
"""

from collections.abc import Mapping
from typing import Any

from vaezoo.study import Claim, Scale, Study, Trained, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.gradients import gradient_of, objective_of, spread
from vaezoo.study.toys import noisy_digits

__all__ = ["study"]

SIZES = {"z_dim": 10, "hidden": [200], "likelihood": {"name": "gaussian", "sigma": "shared"}}
SCORE, PATH = "vaezoo.studies._pairs:ScoreFunction", "vae-gaussian"


def encoders(trained: Trained) -> Mapping[str, float]:
    """Return log10 of the variance of the encoder's gradient, and of its ratio to a path's.

    At the weights of the run, by its own estimator and by that of the plain ELBO with a path, of
    the same 128 rows.
    """
    import math

    import torch

    import vaezoo
    from vaezoo.objectives.base import make_objective

    run = trained.run
    args = run.batches(split="train").train("train", torch.arange(128))
    config = {**SIZES, **dict(trained.variant.config)}
    path = vaezoo.build_model(PATH, config, args[0].shape[1:])
    path.load_state_dict(run.pair.state_dict())
    both = ((run.pair, objective_of(trained)), (path, make_objective("elbo")))
    variances = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for pair, objective in both:
            phi = [p for name, p in pair.named_parameters() if name.startswith("encoder.")]
            every = [gradient_of(pair, objective, args, phi) for _ in range(100)]
            variances.append(math.log10(spread(every)))
    own, of_path = variances
    return {"log10 variance": own, "log10 of the ratio": own - of_path}


def _variant(name: str, model: str, scale: int = 0, **training: Any) -> Variant:
    return Variant(name, model, SIZES, training, scales=SCALES[scale:])


study = Study(
    name="gradients",
    rows=("4-9",),
    variants=[
        _variant("path", PATH),
        _variant("score, 1 draw", SCORE),
        _variant("score, 16 draws", SCORE, 1, num_particles=16),
        _variant("sticking the landing", PATH, 1, objective="stl"),
    ],
    data={"digits": noisy_digits},
    measures=[bounds(20), encoders],
    claims=[
        Claim("The trick lowers the variance of the gradient tenfold and more",
              "log10 of the ratio", "score, 1 draw", 1.0, "larger", 0.0, ("4-9",)),
        Claim("The score function trains a worse model in equal steps", "ELBO",
              "score, 1 draw", "path", "smaller", 0.5, ("4-9",)),
        Claim("Sixteen draws make up for it", "ELBO", "score, 16 draws", "path", "same", 0.5,
              ("4-9",)),
        Claim("Sticking the landing has less noise", "log10 of the ratio",
              "sticking the landing", 0.0, "smaller", 0.0, ("4-9",)),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 10, "engine": "eager"}, limit=40),
        "quick": Scale(5, 2, {"steps": 800, "lr": 2e-3}),
        "full": Scale(20, 60, {"steps": 20000, "lr": 1e-3}),
    },
)  # fmt: skip
