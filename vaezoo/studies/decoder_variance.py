"""One layer of means and variances, or a second pair in the decoder?

Asked: some texts have (mu, sigma) in the encoder only and a plain decoder, others a second pair in
the decoder. Which is better, is it worth the code, and who uses the second sigma, if most people
only look at the mean? May encoder and decoder share their layers?

Hypothesis
    What matters is that sigma is learned, not that a layer gives it: one learned number does most
    of what can be done where the noise is alike everywhere, a sigma of each pixel only pays where
    the noise differs by x, and costs where data are few. Means hardly change.

Refuted by
    A gain of more than half a nat by sigma(z) on each data set, or a better mean on each.

Limits
    One architecture (200 hidden units, 10 latents, tanh), equal steps for all, the best weights by
    the validation ELBO. Digits have uniform noise of their grey step added, since the density of
    rounded values has no bound. ``fixed:1`` is the squared error as it is written mostly.
    Shared layers are those of the tied model, on bits.
"""

from typing import TYPE_CHECKING

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.codes import coverage, reconstruction
from vaezoo.study.measures.density import bounds
from vaezoo.study.toys import noisy_digits

if TYPE_CHECKING:
    from vaezoo.data import Data

__all__ = ["study"]

GREYS = ("digits", "breast cancer", "uneven noise")
BITS = "digits as bits"


def breast_cancer() -> "Data":
    """Return 569 rows of 30 measured sizes and shapes of cells, standardised."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer

    from vaezoo.data import as_data

    x = load_breast_cancer().data
    return as_data(((x - x.mean(0)) / x.std(0)).astype(np.float32))


def uneven_noise() -> "Data":
    """Return 2,000 curves in 20 dimensions, the noisier the larger their one factor is."""
    import numpy as np

    from vaezoo.data import as_data

    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(2000, 1)), np.linspace(0, 2 * np.pi, 20)
    noise = rng.normal(size=(2000, 20)) * (0.05 + 0.3 / (1 + np.exp(-3 * z)))
    return as_data((np.sin(t + z) + noise).astype(np.float32))


def _variant(name: str) -> Variant:
    config = {"likelihood": {"name": "gaussian", "sigma": name}}
    scales = SCALES if name in ("shared", "per-pixel") else SCALES[1:]
    return Variant(name, "vae-gaussian", config, data=GREYS, scales=scales)


study = Study(
    name="decoder-variance",
    rows=("0-1", "0-2", "0-3", "0-5", "0-6", "0-7", "0-9", "0-10", "0-11", "0-12", "0-13", "0-14",
          "0-15", "0-16", "3-4", "3-12"),
    variants=[
        *map(_variant, ("shared", "fixed:1", "per-dim", "per-pixel", "analytic")),
        Variant("layers apart", "vae-bernoulli", {"z_dim": 10, "hidden": [200]}, data=(BITS,)),
        Variant("layers shared", "vae-tied", {"z_dim": 10, "hidden": 200}, data=(BITS,)),
    ],
    data={"digits": noisy_digits, "breast cancer": breast_cancer, "uneven noise": uneven_noise,
          BITS: "digits"},
    measures=[bounds(100), reconstruction(), coverage()],
    claims=[
        Claim("A second (mu, sigma) layer, in the decoder, is more expressive", "log p(x)",
              "per-pixel", "shared", "larger", 0.5, ("0-1", "0-4", "0-6", "0-13")),
        Claim("A fixed variance (squared error) does as well as a learned one", "log p(x)",
              "fixed:1", "shared", "same", 0.5, ("0-2", "0-10", "0-12")),
        Claim("sigma^2 I does as well as a sigma of each dimension", "log p(x)",
              "shared", "per-dim", "same", 0.5, ("3-4",)),
        Claim("The second layer tells the uncertainty of each dimension better", "coverage error",
              "per-pixel", "shared", "smaller", 0.0, ("0-14",)),
        Claim("Whoever only uses the mean has a better one from the second layer too", "MSE",
              "per-pixel", "shared", "smaller", 0.0, ("0-16",)),
        Claim("Encoder and decoder may share their layers", "log p(x)", "layers shared",
              "layers apart", "same", 0.5, ("3-12",)),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 20, "engine": "eager"}, data=("breast cancer",), limit=40),
        "quick": Scale(5, 4, {"steps": 1000, "lr": 2e-3}),
        "full": Scale(20, 60, {"steps": 10000, "lr": 2e-3}),
    },
)  # fmt: skip
