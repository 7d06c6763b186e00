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

if TYPE_CHECKING:
    from vaezoo.data import Data

__all__ = ["study"]

NUM_LATENTS = 10


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
    ],
    data={"simulated": simulated, "digits": "digits"},
    measures=[bounds(100)],
    claims=[
        Claim("A linear VAE has the likelihood of probabilistic PCA", "log p(x)", "vae", "ppca",
              "same", 0.5, ("1-15", "4-8")),
        Claim("In turns, as in EM, it ends where joint steps end", "log p(x)", "vae, in turns",
              "vae", "same", 0.5, ("1-4", "1-5")),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 30}, data=("simulated",), limit=50),
        "quick": Scale(5, 2, {"epochs": 100}),
        "full": Scale(20, 20, {"epochs": 300}, limit=1000),
    },
    units={"log p(x)": "nats", "ELBO": "nats", "KL": "nats"},
)  # fmt: skip
