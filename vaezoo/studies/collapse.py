"""Which latents carry something, and what cures those that do not?

Asked: a latent whose KL is near zero is said to be unused by the decoder, and the prior to act
through the KL alone, which beta multiplies.

Hypothesis
    How many latents are in use falls with beta. With a fixed sigma it can be told before training
    from beta sigma^2 and the spectrum of the data, exactly where the decoder is linear
    (Lucas et al. 2019, arXiv:1911.02469). Warming up the KL or granting it free bits keeps more in
    use; whether the data are explained better is another matter.

Refuted by
    A number in use that does not fall, or cures that change nothing.

Limits
    One net on small digits. A latent is in use where its mean varies by more than 0.01 over data
    (Burda et al. 2016).
"""

from collections.abc import Mapping

from vaezoo.study import Claim, Scale, Study, Trained, Variant
from vaezoo.study.measures.density import bounds

__all__ = ["study"]


def pruned(trained: Trained) -> Mapping[str, float]:
    """Measure the nats of log p(x | z) that latents of almost no KL are worth to the decoder."""
    import numpy as np

    import vaezoo

    overview = vaezoo.latents(trained.run, limit=trained.scale.limit)
    idle = [(unit.kl or 0.0) < 0.05 for unit in overview.units]
    lost = np.asarray(overview.lost)[np.asarray(idle)]
    return {"lost without idle latents": float(np.abs(lost).max()) if len(lost) else 0.0}


def beta(value: float) -> Variant:
    """Return a VAE of twenty latents whose KL weighs so much."""
    return Variant(f"beta {value:g}", "vae-bernoulli", CONFIG, {"beta": value})


CONFIG = {"hidden": (200,), "z_dim": 20}
study = Study(
    name="collapse",
    rows=("1-34", "1-35"),
    variants=[
        *(beta(0.5), beta(1), beta(2), beta(4)),
        Variant("warm-up", "vae-bernoulli", CONFIG, {"kl_warmup": 500}, scales=("quick", "full")),
        Variant("free bits", "vae-bernoulli", CONFIG, {"free_bits": 0.1}),
    ],
    data={"digits": "digits"},
    measures=[bounds(100), pruned],
    claims=[
        Claim(
            "The prior acts through the KL: with beta 4 fewer latents are in use",
            *("active units", "beta 4", "beta 1", "smaller", 0.0, ("1-34",)),
        ),
        Claim(
            "A latent whose KL is near zero is not used by the decoder",
            *("lost without idle latents", "beta 2", 0.1, "smaller", 0.0, ("1-35",)),
        ),
        Claim(
            "Free bits bring more latents into use",
            *("active units", "free bits", "beta 1", "larger", 0.0, ("1-35",)),
        ),
        Claim(
            "Latents that free bits bring into use explain the data better",
            *("log p(x)", "free bits", "beta 1", "larger", 0.0, ("1-35",)),
        ),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 20}, limit=40),
        "quick": Scale(5, 2, {"steps": 1500}),
        "full": Scale(20, 40, {"steps": 10000}),
    },
    reference="beta 1",
    units={"lost without idle latents": "nats", "active units": "of 20"},
)
