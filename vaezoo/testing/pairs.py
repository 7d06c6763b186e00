"""Small pairs whose log p(x) and posterior are known exactly, to test what works on any pair.

Their guides are exact, or are spoiled by a known amount, so that an estimate, a verdict or a
figure can be compared with a truth instead of with an earlier run::

    x, pair = torch.randn(5, 4), LinearPair(scale=2.0)  # a guide that is twice too wide
    log_weights = importance_weights(pair, (x,), 20_000).log_weights
    error = log_evidence(log_weights) - pair.log_evidence(x)

========================  ===================================================================
pair                      p(z), p(x | z)
========================  ===================================================================
:class:`LinearPair`       N(0, I), N(W z + b, sigma^2 I): probabilistic PCA
:class:`StatesPair`       Categorical(p), N(2 k, 1): a discrete latent
:class:`GammaPoisson`     Gamma(2, 1), Poisson(rate): a latent that is positive
:class:`LabelledPair`     N(0, 1), N(z + 10 c, 0.5^2): a label that both sides see
:class:`FoldedPair`       N(0, I), N((z_1^2, z_2), 0.3^2 I): two modes; by quadrature
:class:`SquaresPair`      N(0, I), N((z_1^2, z_2, ...), noise^2 I): two modes far apart
:class:`NoLatents`        none, N(0, I): log p(x) is that of the likelihood
========================  ===================================================================

``EXACT`` names those that have ``log_evidence``, each built without an argument.
Sequences are in :mod:`vaezoo.testing.sequence_pairs`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo.exact.linear_gaussian import LinearGaussian

__all__ = [
    "CORRELATED",
    "EXACT",
    "ORTHOGONAL",
    "FoldedPair",
    "GammaPoisson",
    "LabelledPair",
    "LinearPair",
    "NoLatents",
    "PointGuide",
    "SquaresPair",
    "StatesPair",
]

# Weights of a linear pair. Where the columns are orthogonal, a diagonal guide is exact.
ORTHOGONAL = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
CORRELATED = torch.tensor([[1.0, 0.6], [0.5, 1.0], [0.2, 0.7], [-0.4, 0.3]], dtype=torch.float64)


class LinearPair(nn.Module):
    """z ~ N(0, I), x ~ N(W z + b, sigma^2 I), and the best diagonal guide, or a spoiled one.

    ``log p(x) = log N(x; b, W W^T + sigma^2 I)``, and the posterior is Gaussian with the precision
    ``I + W^T W / sigma^2``. The guide has its mean and, as variances, the inverse of the diagonal
    of the precision: exact where the columns of W are orthogonal, and else below log p(x) by
    ``linear.mean_field_gap()`` nats.

    Parameters
    ----------
    weight
        W, ``(D, L)``, in float64.
    bias
        b, ``(D,)``; zero by default.
    sigma
        Standard deviation of the noise.
    scale
        Factor of the standard deviations of the guide, one or one for each latent.
    shift
        By how many standard deviations the means of the guide are too large.
    """

    def __init__(
        self,
        weight: Tensor = ORTHOGONAL,
        bias: Tensor | None = None,
        sigma: float = 0.5,
        *,
        scale: float | Sequence[float] = 1.0,
        shift: float = 0.0,
    ) -> None:
        super().__init__()
        self.linear = LinearGaussian(
            weight, weight.new_zeros(len(weight)) if bias is None else bias, sigma
        )
        self.scale, self.shift = scale, shift

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)`` in float64."""
        return self.linear.log_prob(x.double())

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean ``(B, L)`` and covariance ``(L, L)`` of p(z | x), in float64."""
        return self.linear.posterior(x.double())

    def model(self, x: Tensor) -> None:
        """Draw ``z``, and observe ``x (B, D)``."""
        weight, bias = self.linear.weight.to(x), self.linear.bias.to(x)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(weight.shape[1]), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ weight.T + bias, self.linear.sigma).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw ``z`` from a diagonal Gaussian."""
        mean, _ = self.posterior(x)
        sd = self.linear.precision.diagonal().rsqrt()
        loc, scale = mean + self.shift * sd, sd.new_tensor(self.scale) * sd
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc.to(x), scale.to(x)).to_event(1))


class PointGuide(LinearPair):
    """The linear model with the guide of an autoencoder: one value for each datum, no density."""

    def guide(self, x: Tensor) -> None:
        """Take the mean of the posterior as ``z``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.posterior(x)[0].to(x)).to_event(1))


class StatesPair(nn.Module):
    """k ~ Categorical(p), x ~ N(2 k, 1) of one element, and a guide with the exact logits.

    ``p(x) = sum_k p_k N(x; 2 k, 1)``, and the posterior has the logits
    ``log p_k + log N(x; 2 k, 1)``.

    Parameters
    ----------
    probs
        p, one of each state.
    strength
        What the guide makes of a datum, a factor of log N(x; 2 k, 1): 1 is exact, 0 the prior.
    """

    def __init__(self, probs: Sequence[float] = (0.2, 0.3, 0.5), *, strength: float = 1.0) -> None:
        super().__init__()
        self.probs, self.strength = tuple(probs), strength

    def _log_likelihood(self, x: Tensor) -> Tensor:
        means = 2 * torch.arange(len(self.probs)).to(x)
        return dist.Normal(means, 1.0).log_prob(x)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)``, of ``x (B, 1)``."""
        return (x.new_tensor(self.probs).log() + self._log_likelihood(x)).logsumexp(-1)

    def model(self, x: Tensor) -> None:
        """Draw ``k``, and observe ``x (B, 1)``."""
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(x.new_tensor(self.probs)))
            pyro.sample("x", dist.Normal(2 * k[..., None].to(x), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw ``k`` given the datum."""
        logits = x.new_tensor(self.probs).log() + self.strength * self._log_likelihood(x)
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=logits))


class GammaPoisson(nn.Module):
    """rate ~ Gamma(2, 1), x ~ Poisson(rate), and a guide that does not look.

    ``p(x) = (x + 1) / 2^(x + 2)``, and the posterior is ``Gamma(2 + x, 2)``.
    """

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)``, of counts ``x (B,)``."""
        return (x + 1).log() - (x + 2) * math.log(2)

    def posterior(self, x: Tensor) -> dist.Gamma:
        """Return p(rate | x)."""
        return dist.Gamma(2 + x, x.new_tensor(2.0))

    def model(self, x: Tensor) -> None:
        """Draw ``rate``, and observe ``x (B,)``."""
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(x.new_tensor(2.0), x.new_tensor(1.0)))
            pyro.sample("x", dist.Poisson(rate), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw ``rate`` from LogNormal(0, 1)."""
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.LogNormal(torch.zeros_like(x), 1.0))


class LabelledPair(nn.Module):
    """z ~ N(0, 1), x ~ N(z + 10 c, 0.5^2) with a label c, and the exact guide.

    ``p(x | c) = N(x; 10 c, 1.25)``, and the posterior is ``N(0.8 (x - 10 c), 0.2)``.
    """

    def log_evidence(self, x: Tensor, c: Tensor) -> Tensor:
        """Return log p(x | c) in nats, ``(B,)``."""
        return dist.Normal(10.0 * c.to(x), math.sqrt(1.25)).log_prob(x)

    def model(self, x: Tensor, c: Tensor) -> None:
        """Draw ``z``, and observe ``x (B,)`` with the label ``c (B,)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z + 10 * c, 0.5), obs=x)

    def guide(self, x: Tensor, c: Tensor) -> None:
        """Draw ``z`` from its posterior."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * (x - 10 * c), math.sqrt(0.2)))


class FoldedPair(nn.Module):
    """z ~ N(0, I), x ~ N((z_1^2, z_2), 0.3^2 I): the posterior has a mode on each side of zero.

    The posterior is symmetric in z_1; log p(x) is known by
    :func:`vaezoo.exact.quadrature.quadrature`. A guide that misses a side is lower by log 2,
    which none of its own draws can tell.

    Parameters
    ----------
    sides
        Whether the guide is the Laplace approximation of both modes or only of the right one.
    """

    def __init__(self, sides: Literal["both", "right"] = "both") -> None:
        super().__init__()
        self.signs = torch.tensor([1.0, -1.0] if sides == "both" else [1.0])

    def model(self, x: Tensor) -> None:
        """Draw ``z``, and observe ``x (B, 2)``, whose first element is above 0.045."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = torch.stack([z[..., 0] ** 2, z[..., 1]], -1)
            pyro.sample("x", dist.Normal(loc, 0.3).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw ``z`` from a Gaussian at each mode."""
        height = (x[:, 0] - 0.045).sqrt()
        along = (4 * height**2 / 0.09).rsqrt()
        loc = torch.stack([height * s for s in self.signs], -1)
        loc = torch.stack([loc, (x[:, 1:] / 1.09).expand_as(loc)], -1)
        scale = torch.stack([along, torch.full_like(along, math.sqrt(0.09 / 1.09))], -1)
        components = dist.Normal(loc, scale.unsqueeze(1)).to_event(1)
        with pyro.plate("data", len(x)):
            which = dist.Categorical(torch.ones_like(loc[..., 0]))
            pyro.sample("z", dist.MixtureSameFamily(which, components))


class SquaresPair(nn.Module):
    """z ~ N(0, I), x ~ N((z_1^2, z_2, ...), noise^2 I): two modes, as far apart as one likes.

    The guide has one of them, so that what it says of log p(x) is lower by log 2. There are as many
    latents as elements of x, whose first is positive.

    Examples
    --------
    >>> from vaezoo.inference.importance import importance_weights, log_evidence
    >>> x = torch.tensor([[2.25, 0.0, 1.0]])
    >>> weights = importance_weights(SquaresPair(), (x,)).log_weights
    >>> round(float(SquaresPair().log_evidence(x) - log_evidence(weights)), 1)
    0.7
    """

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        self.noise = noise

    def model(self, x: Tensor) -> None:
        """Draw ``z``, and observe ``x (B, L)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))
            loc = torch.cat([z[..., :1] ** 2, z[..., 1:]], -1)
            pyro.sample("x", dist.Normal(loc, self.noise).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw ``z`` from a Gaussian at the right mode."""
        root, shrink = x[:, :1].clamp(min=0.01).sqrt(), 1 / (1 + self.noise**2)
        loc = torch.cat([root, x[:, 1:] * shrink], 1)
        width = torch.cat([0.5 / root, torch.full_like(x[:, 1:], math.sqrt(shrink))], 1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, self.noise * width).to_event(1))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x), ``(B,)``, in nats: exact but for a sum over a grid of z_1."""
        z = torch.linspace(-6.0, 6.0, 100_001, dtype=torch.float64)[:, None]
        each = dist.Normal(z**2, self.noise).log_prob(x[:, 0].double())
        first = (dist.Normal(0.0, 1.0).log_prob(z) + each).logsumexp(0) + math.log(1.2e-4)
        others = dist.Normal(0.0, math.sqrt(1 + self.noise**2)).log_prob(x[:, 1:].double())
        return first + others.sum(1)


class NoLatents(nn.Module):
    """x ~ N(0, I), and nothing to infer: log p(x) is the log-density of x."""

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)``."""
        return _standard_normal(x).log_prob(x)

    def model(self, x: Tensor) -> None:
        """Observe ``x (B, ...)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("x", _standard_normal(x), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw nothing."""


def _standard_normal(x: Tensor) -> TorchDistribution:
    return dist.Normal(torch.zeros_like(x), 1.0).to_event(x.dim() - 1)


EXACT: dict[str, Callable[[], Any]] = {
    "linear": LinearPair,
    "linear, correlated": lambda: LinearPair(CORRELATED),
    "discrete": StatesPair,
    "gamma-Poisson": GammaPoisson,
    "labelled": LabelledPair,
}
