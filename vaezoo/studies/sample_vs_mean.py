"""Why decode a sample of q(z | x), and not its mean?

Asked: would the mean not be more accurate? Why an expectation, and not one squared error that is
known exactly? Is a delta for q somehow the same as an autoencoder, and why is it not allowed?

Hypothesis
    Decoded at the mean in training, x is reconstructed better, and nothing else works: the noise
    is what makes the loss a bound and the decoder smooth, so that without it sigma_q goes to 1
    where nobody looks and the ELBO is lost. With sigma_q held at ever smaller values the VAE
    becomes an autoencoder with half the squared code as penalty, while its KL grows without end.

Refuted by
    An ELBO of the one trained at the mean within a nat of the VAE's, or an error of sigma_q = 0.01
    that is not that of the autoencoder.

Limits
    Digits in 0 ... 1 with a sigma of 0.1 in the decoder, 10 latents. ``at the mean`` keeps the KL
    term: its loss is log p(x | E z) - KL. Weights are those of the best of each own loss.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaezoo.study import Claim, Scale, Study, Trained, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.toys import noisy_digits

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array

__all__ = ["study"]

SIGMA = 0.1
LIKELIHOOD = {"name": "gaussian", "sigma": f"fixed:{SIGMA}"}
SIZES = {"z_dim": 10, "hidden": [200], "activation": "tanh", "likelihood": LIKELIHOOD}
L2 = {"name": "rae", "form": "none", "code": 1.0}  # half the squared code, as in KL(q || N(0, I))


def both_ways(trained: Trained) -> "Mapping[str, float | Array]":
    """Return the error with z a mean and a draw, and the Jensen gap, in nats per datum.

    The gap is E log p(x | z) - log p(x | E z), of which only the squared error is left.
    """
    import numpy as np

    import vaezoo

    run, limit = trained.run, trained.scale.limit
    x, at_mean = map(np.asarray, vaezoo.reconstruct(run, limit=limit))
    error = np.square(at_mean - x).reshape(len(x), -1)
    if "autoencoder" in trained.variant.name:
        return {"MSE, mean": error.mean(1), "MSE, sample": error.mean(1)}
    draws = np.asarray(vaezoo.reconstruct(run, limit=limit, z="sample", draws=20).x)
    errors = np.square(draws - x[:, None]).reshape(*draws.shape[:2], -1)
    gap = (error.sum(1) - errors.sum(2).mean(1)) / (2 * SIGMA**2)
    metrics = vaezoo.evaluate(run, limit=limit, iwae=(1,)).metrics
    scores = {"ELBO": float(metrics.elbo), "KL": float(metrics.kl)}
    means = {"MSE, mean": error.mean(1), "MSE, sample": errors.mean((1, 2))}
    return {**scores, **means, "Jensen gap": gap}


def _held(sigma: float) -> Variant:
    posterior = {"name": "mean-only", "sigma": sigma}
    scales = SCALES[1:] if sigma > 0.01 else SCALES
    config = {**SIZES, "posterior": posterior}
    return Variant(f"sigma_q = {sigma:g}", "vae-gaussian", config, scales=scales)


study = Study(
    name="sample-vs-mean",
    rows=("4-2", "4-3", "4-6", "4-11", "4-12", "4-13"),
    variants=[
        Variant("a sample", "vae-gaussian", SIZES),
        Variant("at the mean", "vaezoo.studies._pairs:DecodesMean", SIZES,
                {"objective": "at-mean"}),
        *map(_held, (1.0, 0.3, 0.1, 0.01)),
        Variant("autoencoder, L2", "ae", SIZES, {"objective": L2}),
    ],
    data={"digits": noisy_digits},
    measures=[both_ways],
    claims=[
        Claim("Training with a sample is less accurate than with the mean", "MSE, mean",
              "a sample", "at the mean", "larger", 0.0, ("4-2",)),
        Claim("One squared error at the mean trains as good a model", "ELBO",
              "at the mean", "a sample", "same", 1.0, ("4-2", "4-11")),
        Claim("The mean instead of a sample changes the loss", "Jensen gap",
              "a sample", 0.0, "smaller", 1.0, ("4-6",)),
        Claim("With a sigma_q near 0 a VAE is the same as an autoencoder", "MSE, mean",
              "sigma_q = 0.01", "autoencoder, L2", "same", 0.001, ("4-13",)),
        Claim("A delta has no KL to be optimised: it grows by 23 nats for each tenth of sigma_q",
              "KL", "sigma_q = 0.01", "sigma_q = 0.1", "larger", 15.0, ("4-12",)),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 20, "engine": "eager"}, limit=40),
        "quick": Scale(5, 3, {"steps": 1000, "lr": 2e-3}),
        "full": Scale(20, 60, {"steps": 10000, "lr": 1e-3}),
    },
    units={"Jensen gap": "nats"},
)  # fmt: skip
