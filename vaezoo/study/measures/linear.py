"""Measures against what is known in closed form, of pairs with a linear decoder."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from vaezoo.data.dataset import Array
    from vaezoo.runs import Run
    from vaezoo.study.design import Measure, Trained

__all__ = ["against_closed_form", "weight_and_bias"]


def against_closed_form() -> "Measure":
    """Return a measure of how far a run with a linear decoder lies from the closed form.

    ``below the optimum`` is what its exact log p(x) of test data lacks of that of probabilistic
    PCA fitted to the training data (Tipping & Bishop 1999), in nats; ``below log p(x)`` what its
    importance-weighted bound of 100 draws lacks of its own exact log p(x); ``off ridge`` how far
    the means of its guide lie from ridge regression on W with penalty sigma^2, which are the exact
    means of p(z given x), as a share of these. An autoencoder has only the ``angle``, in degrees:
    the largest between the span of W and that of the principal components.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import numpy as np
        import torch
        from scipy.linalg import subspace_angles

        from vaezoo.exact.linear_gaussian import LinearGaussian, fit_ppca
        from vaezoo.predict.comparison.comparing import log_density

        run = trained.run
        batches = run.batches()
        train = batches.whole("train")[0].double().flatten(1)
        (x,) = batches.whole("test", limit=trained.scale.limit)
        test = x.double().flatten(1)
        weight, bias, sigma = weight_and_bias(run)
        exact, _ = fit_ppca(train, weight.shape[1])
        angle = float(np.degrees(subspace_angles(weight.numpy(), exact.weight.numpy()).max()))
        if sigma is None:
            return {"angle": angle}
        own = LinearGaussian(weight, bias, sigma)
        log_p = own.log_prob(test)
        bound, _ = log_density(run, num_samples=100, limit=trained.scale.limit)
        scaled = bound + trained.evaluation.metrics.log_volume
        with torch.no_grad():
            means = _guide_means(run.pair, x)
        ridge = own.posterior(test)[0]
        return {
            "below the optimum": (exact.log_prob(test) - log_p).numpy(),
            "below log p(x)": log_p.numpy() - scaled,
            "off ridge": float((means - ridge).norm() / ridge.norm()),
            "angle": angle,
        }

    return measure


def weight_and_bias(run: "Run") -> "tuple[Tensor, Tensor, float | None]":
    """Return W ``(D, L)``, b ``(D,)`` and sigma of a run whose decoder is linear.

    sigma is None for an autoencoder, whose loss has none.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("ppca", config={"z_dim": 3}, training={"steps": 3})
    >>> weight_and_bias(run)[0].shape
    torch.Size([64, 3])
    """
    import torch

    pair: Any = run.pair
    with torch.no_grad():
        if hasattr(pair, "W"):
            return pair.W.double(), pair.b.double(), float(pair.psi[0].sqrt())
        if isinstance(pair.decoder, torch.nn.Linear):
            weight, bias = pair.decoder.weight.double(), pair.decoder.bias.double()
            return weight, bias, float(pair.log_sigma.exp())
        identity = torch.eye(run.config["z_dim"])
        bias = pair.decoder(torch.zeros(1, len(identity))).mean.flatten(1)
        columns = pair.decoder(identity).mean.flatten(1) - bias
        return columns.T.double(), bias[0].double(), None


def _guide_means(pair: Any, x: "Tensor") -> "Tensor":
    """Return the means of q(z given x) of ``x (N, *x_shape)``, at once."""
    from pyro import poutine

    trace = poutine.trace(pair.guide).get_trace(x)
    mean: Tensor = trace.nodes["z"]["fn"].mean
    return mean.double()
