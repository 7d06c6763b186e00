"""How many latents does a VAE need, and what do too many cost?

Asked: with how many latents should one train, if those that the data do not need fall out of use
by themselves?

Hypothesis
    log p(x) rises with the number of latents up to what the data need, and stays there: latents
    too many have no KL and cost nothing. With a fixed sigma the number in use is the number of
    eigenvalues of the data's covariance above sigma^2, where the decoder is linear.

Refuted by
    A log p(x) with 50 latents that lies more than half a nat below that with 10, or another number
    in use than the spectrum says.

Limits
    Small digits, one net.
"""

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.units import against_spectrum

__all__ = ["study"]

# What the spectrum tells is about optima.
ANNEALED = {"steps": 8000, "lr": 0.01, "lr_decay": 0.9995, "plateau": 0, "patience": 0}


def latents(number: int) -> Variant:
    """Return a VAE with so many latents."""
    config = {"hidden": (200,), "z_dim": number}
    return Variant(f"{number} latents", "vae-bernoulli", config, data=("digits",))


def linear(sigma: float) -> Variant:
    """Return a linear VAE whose sigma is fixed."""
    likelihood = {"name": "gaussian", "sigma": f"fixed:{sigma:g}"}
    config = {"hidden": (), "z_dim": 20, "likelihood": likelihood}
    return Variant(f"linear, sigma {sigma:g}", "vae-gaussian", config, ANNEALED, data=("greys",))


study = Study(
    name="latent-dim",
    rows=("1-34", "1-35"),
    variants=[*map(latents, (2, 5, 10, 20, 50)), *map(linear, (0.4, 0.25, 0.15))],
    data={"digits": "digits", "greys": "digits"},
    measures=[bounds(100), against_spectrum],
    claims=[
        Claim(
            "Latents that are not needed cost nothing",
            *("log p(x)", "50 latents", "10 latents", "same", 0.5, ("1-35",)),
        ),
        Claim(
            "Two latents are too few",
            *("log p(x)", "2 latents", "10 latents", "smaller", 0.5, ("1-35",)),
        ),
        *(
            Claim(
                f"The spectrum tells how many are in use, sigma {sigma:g}",
                *("in use beyond the spectrum", f"linear, sigma {sigma:g}", 0.0, "same", 0.5),
                ("1-34",),
            )
            for sigma in (0.4, 0.25, 0.15)
        ),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 20}, data=("digits",), limit=40),
        "quick": Scale(3, 3, {"steps": 1500}),
        "full": Scale(20, 50, {"steps": 10000}),
    },
    reference="10 latents",
)
