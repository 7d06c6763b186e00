"""What does a richer prior buy?

Asked: is an isotropic Gaussian enough for most, and when is the prior modelled differently? VRNN
makes its prior of the past: does that give better representations than the same net without it?

Hypothesis
    With the same nets a mixture, a VampPrior or a flow gives a higher log p(x) than N(0, I), and
    a lower divergence of all codes together from the prior, but no better features. A sequential
    prior gives more than that, as the past says much about the next frame.

Refuted by
    Differences within the noise, or in favour of N(0, I).

Limits
    Small digits, and digits read row by row for VRNN, whose twin has N(0, I) in each step. The
    probe reads the mean of the code of a datum, of a sequence the mean over its steps.
"""

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.codes import labels
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.samples import sample_quality

__all__ = ["study"]


def prior(name: str, **options: object) -> Variant:
    """Return a VAE with another p(z)."""
    config = {"hidden": (200,), "z_dim": 10, "prior": {"name": name, **options}}
    return Variant(name, "vae-bernoulli", config, data=("digits",))


def vrnn(name: str) -> Variant:
    """Return a VRNN with a prior of each step that follows the past, or does not."""
    return Variant(f"vrnn, {name}", "vrnn", {"prior": name}, data=("digits, row by row",))


study = Study(
    name="priors",
    rows=("1-10", "1-11", "1-12", "1-13", "2-13"),
    variants=[
        *(prior("standard"), prior("mog"), prior("vamp"), prior("flow")),
        *(vrnn("static"), vrnn("sequential")),
    ],
    data={"digits": "digits", "digits, row by row": "digits-rows"},
    measures=[bounds(100), labels(), sample_quality()],
    claims=[
        Claim(
            "An isotropic Gaussian is enough: a mixture gains less than a nat",
            *("log p(x)", "mog", "standard", "same", 1.0, ("1-10",)),
        ),
        Claim(
            "A VampPrior explains the data better than an isotropic Gaussian",
            *("log p(x)", "vamp", "standard", "larger", 0.0, ("1-10", "1-12")),
        ),
        Claim(
            "A prior that is a flow explains the data better than an isotropic Gaussian",
            *("log p(x)", "flow", "standard", "larger", 0.0, ("1-12",)),
        ),
        Claim(
            "A sequential prior, as in VRNN, explains the data better than a static one",
            *("log p(x)", "vrnn, sequential", "vrnn, static", "larger", 0.0, ("1-11", "1-13")),
        ),
        Claim(
            "A sequential prior, as in VRNN, gives better representations than a static one",
            *("probe", "vrnn, sequential", "vrnn, static", "larger", 0.01, ("1-13",)),
        ),
        Claim(
            "A VampPrior gives better representations than an isotropic Gaussian",
            *("probe", "vamp", "standard", "larger", 0.01, ("1-13",)),
        ),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 10}, data=("digits",), limit=40),
        "quick": Scale(5, 4, {"steps": 1000}),
        "full": Scale(20, 60, {"steps": 10000}),
    },
)
