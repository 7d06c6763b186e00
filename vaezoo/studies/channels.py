"""Do a mean and a variance carry more than a mean, and would a third channel be worth it?

Asked: the encoder's mu and sigma are called two channels, near (0, 1) and informative; a third may
be added if it is worth it; researchers are presumed to have tried only the mean, and found the
variance beneficial.

Hypothesis
    A guide with a variance of its own for each datum explains data better than one with the mean
    alone; most of what it says is in the mean. Richer guides gain less than that.

Refuted by
    A mean-only guide that is as good, or a third channel (correlations, tails, a flow) that gains
    more than the variance did.

Limits
    One net on small digits, all guides with the same optimiser; "mean only" has noise of one size.
"""

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.inference import channels

__all__ = ["study"]


def guide(name: str, posterior: str) -> Variant:
    """Return a VAE with another q(z given x)."""
    config = {"hidden": (200,), "z_dim": 10, "posterior": {"name": posterior}}
    return Variant(name, "vae-bernoulli", config)


study = Study(
    name="channels",
    rows=("2-6", "2-7", "2-8"),
    variants=[
        guide("mu", "mean-only"),
        guide("mu, sigma", "diagonal"),
        guide("mu, sigma, correlations", "full-rank"),
        guide("mu, sigma, tails", "student-t"),
        guide("mu, sigma, flow", "iaf"),
    ],
    data={"digits": "digits"},
    measures=[bounds(100), channels()],
    claims=[
        Claim(
            "The variance is beneficial: researchers who tried only mu found it so",
            *("log p(x)", "mu, sigma", "mu", "larger", 0.0, ("2-8",)),
        ),
        Claim(
            "Most of what the guide says is in mu",
            *("lost without sigma", "mu, sigma", 1.0, "smaller", 0.0, ("2-6",)),
        ),
        Claim(
            "A third channel, correlations, is worth it",
            *("log p(x)", "mu, sigma, correlations", "mu, sigma", "larger", 0.0, ("2-7",)),
        ),
        Claim(
            "A third channel, a flow, is worth it",
            *("log p(x)", "mu, sigma, flow", "mu, sigma", "larger", 0.0, ("2-7",)),
        ),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 20}, limit=40),
        "quick": Scale(5, 2, {"steps": 1500}),
        "full": Scale(20, 40, {"steps": 10000}),
    },
    reference="mu, sigma",
)
