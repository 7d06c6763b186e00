"""What does a VAE find where everything can be computed?

Asked: is a VAE the same as principal components, as variational EM, as full Bayes next to
regularised least squares? With a linear decoder and Gaussian noise the model is probabilistic PCA
(Tipping & Bishop 1999), whose maximum likelihood and posterior are known in closed form.

Hypothesis
    Stochastic variational inference ends at the maximum of the likelihood of probabilistic PCA,
    whether model and guide step together or in turns; the subspace is that of the principal
    components, for the VAE and for the linear autoencoder, which has no likelihood.

Refuted by
    A log p(x) of held-out data that lies more than half a nat from that of the closed form, or a
    subspace that is more than a degree away.

Limits
    Linear decoders only, which is what makes it exact; 10 latents.
"""

from typing import TYPE_CHECKING

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.linear import against_closed_form

if TYPE_CHECKING:
    from vaezoo.data import Data

__all__ = ["study"]

NUM_LATENTS = 10
# From 0.01 to 0.0002 in 8,000 steps, without a stop: what is compared are optima.
ANNEALED = {"lr": 0.01, "lr_decay": 0.9995, "plateau": 0, "patience": 0}


def simulated() -> "Data":
    """Return 2,000 data of a known linear model: 10 latents of falling size in 30 dimensions."""
    import numpy as np

    from vaezoo.data import as_data

    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(30, NUM_LATENTS)))[0]
    z = rng.normal(size=(2000, NUM_LATENTS)) * np.linspace(4, 1.5, NUM_LATENTS)
    x = z @ directions.T + 0.5 * rng.normal(size=(2000, 30))
    return as_data(x.astype(np.float32))


study = Study(
    name="linear",
    rows=("0-8", "1-4", "1-5", "1-15", "1-28", "1-30", "2-11", "4-8"),
    variants=[
        Variant("ppca", "ppca", {"z_dim": NUM_LATENTS}),
        Variant("vae", "vae-linear", {"z_dim": NUM_LATENTS}),
        Variant("vae, in turns", "vae-linear", {"z_dim": NUM_LATENTS}, {"schedule": "em"}),
        Variant("autoencoder", "ae-linear", {"z_dim": NUM_LATENTS}),
    ],
    data={"simulated": simulated, "digits": "digits"},
    measures=[against_closed_form(), bounds(100)],
    claims=[
        Claim(
            "A linear VAE ends at the likelihood of probabilistic PCA",
            *("below the optimum", "vae", 0.0, "same", 0.5, ("1-15", "4-8")),
        ),
        Claim(
            "Model and guide in turns, as in EM, end where joint steps end",
            *("below the optimum", "vae, in turns", "vae", "same", 0.5, ("1-4", "1-5")),
        ),
        Claim(
            "Importance weights give log p(x)",
            *("below log p(x)", "vae", 0.0, "same", 0.1, ("0-8", "1-30")),
        ),
        Claim(
            "The guide's mean is what regularised least squares gives",
            *("off ridge", "vae", 0.0, "same", 0.05, ("2-11",)),
        ),
        Claim(
            "X hidden units of an autoencoder span the first X principal components",
            *("angle", "autoencoder", 0.0, "same", 1.0, ("1-28",)),
        ),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 30}, data=("simulated",), limit=50),
        "quick": Scale(3, 4, {"steps": 8000, **ANNEALED}),
        "full": Scale(20, 30, {"steps": 10000, **ANNEALED}, limit=1000),
    },
)
