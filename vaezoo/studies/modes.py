"""Is one latent for each mode of multi-modal data cheaper?

Asked: with multi-modal data the KL is said to be cheaper with one latent Gaussian for each mode,
hence the latents disentangle. Commenters ask what multi-modal means: modes of the density, or
several sources?

Hypothesis
    For four modes of a density the KL pays for log 4 nats of which mode it is, whatever the number
    of latents: more latents are not cheaper. For four sources of two modes each there are 4 log 2
    nats to pay, and one latent cannot say them all.

Refuted by
    A KL that is lower by more than a tenth of a nat with one latent for each mode than with one.

Limits
    Made-up data in eight dimensions with small noise, where what there is to know is known.
"""

from typing import TYPE_CHECKING

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.density import bounds

if TYPE_CHECKING:
    from vaezoo.data import Data

__all__ = ["study"]


def modes() -> "Data":
    """Return data with four modes: corners of a cube that are far apart, with noise."""
    import numpy as np

    from vaezoo.data import as_data

    rng = np.random.default_rng(0)
    corners = np.sign(rng.normal(size=(4, 8)))
    x = corners[rng.integers(4, size=2000)] + 0.3 * rng.normal(size=(2000, 8))
    return as_data(x.astype(np.float32))


def sources() -> "Data":
    """Return data of four sources, each in two dimensions of its own, with two modes."""
    import numpy as np

    from vaezoo.data import as_data

    rng = np.random.default_rng(0)
    signs = np.repeat(rng.choice([-1.0, 1.0], size=(2000, 4)), 2, axis=1)
    return as_data((signs + 0.3 * rng.normal(size=(2000, 8))).astype(np.float32))


def latents(number: int) -> Variant:
    """Return a VAE with so many latents."""
    config = {
        "hidden": (64,),
        "z_dim": number,
        "likelihood": {"name": "gaussian", "sigma": "shared"},
    }
    return Variant(f"{number} latent{'s' if number > 1 else ''}", "vae-gaussian", config)


study = Study(
    name="modes",
    rows=("1-36", "1-37"),
    variants=[latents(1), latents(2), latents(4)],
    data={"four modes": modes, "four sources": sources},
    measures=[bounds(100)],
    claims=[
        Claim(
            "The KL is cheaper with one latent for each mode than with one for all",
            *("KL", "4 latents", "1 latent", "smaller", 0.1, ("1-36",)),
        ),
        Claim(
            "One latent for each mode explains the data better than one for all",
            *("log p(x)", "4 latents", "1 latent", "larger", 0.1, ("1-36", "1-37")),
        ),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 20}, data=("four modes",), limit=40),
        "quick": Scale(5, 1, {"steps": 2000}),
        "full": Scale(20, 30, {"steps": 20000}),
    },
)
