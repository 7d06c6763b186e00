"""Variational autoencoders of data in classes: given a label, from some labels, and from none."""

import math
from typing import Annotated

import pyro
import torch
from pydantic import NonNegativeFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["CVAE", "GMVAE", "SSVAE"]

NumLabels = Annotated[PositiveInt | None, parts.FromData("num_labels")]
_CERTAIN = 30.0  # log-odds of what a label says


@register("cvae", data="images", reference="Sohn et al. 2015", tags=("labels",))
class CVAE(nn.Module):
    """Conditional variational autoencoder: data given their label.

        p(x, z | label) = N(z; 0, I) Bernoulli(x; y(z, label)),   (z, label) -> 500 -> y, ReLU
        q(z | x, label) = N(z; mu(x, label), diag sigma(x, label)^2)

    =====  ============  ===========================================
    site   event shape   meaning
    =====  ============  ===========================================
    z      ``(z_dim,)``  latent, what the label does not say
    x      ``x_shape``   observed, binary
    =====  ============  ===========================================

    The label is a condition, ``(B,)``, one-hot on both sides. ``vaezoo sample RUN --given label=3``
    draws from one class.

    Reference
        Sohn, Lee & Yan 2015, *Learning Structured Output Representation using Deep Conditional
        Generative Models*, NeurIPS, eq. 4.

    Differs from the paper
        p(z) does not depend on the label; there is no baseline network of the label alone.
    """

    one_hot: Tensor

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 20,
        hidden: tuple[PositiveInt, ...] = (500,),
        activation: parts.Activation = "relu",
        num_labels: NumLabels = None,
        likelihood: parts.Likelihood = parts.Bernoulli,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        number, x_dim = num_labels or 10, math.prod(x_shape)
        self.register_buffer("one_hot", torch.eye(number), persistent=False)
        decoder = parts.Decoder(z_dim + number, hidden[::-1], x_shape, activation=activation)
        self.decoder = likelihood(decoder)  # p(x | z, label)
        encoder = parts.Encoder((x_dim + number,), hidden, activation=activation)
        self.encoder = posterior(encoder, z_dim)  # q(z | x, label)
        self.prior = prior(z_dim)  # p(z)

    def model(self, x: Tensor, label: Tensor) -> None:
        """p(z) p(x | z, label) of ``x (B, *x_shape)``, ``label (B,)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.decoder(z, self.one_hot[label]), obs=x)

    def guide(self, x: Tensor, label: Tensor) -> None:
        """q(z | x, label)."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x.flatten(1), self.one_hot[label]))


@register("gmvae", data="images", reference="arXiv:1611.05148", tags=("discrete", "labels"))
class GMVAE(nn.Module):
    """Gaussian mixture variational autoencoder: latents in clusters, found without labels.

        p(x, z, c) = Cat(c; pi) N(z; m_c, diag s_c^2) Bernoulli(x; y(z))
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    c     ``()``        latent cluster, summed out
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    c is enumerated, not drawn, and p(c | z) is known exactly: there is no q(c | x), and the bound
    is that of the mixture p(z). :meth:`clusters` returns p(c | z).

    Reference
        Jiang et al. 2017, *Variational Deep Embedding*, arXiv:1611.05148, eqs. 1-3; Dilokthanakul
        et al. 2016, arXiv:1611.02648.

    Differs from the paper
        c is summed out of the bound; no pretraining by an autoencoder; means start at random.
    """

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        num_clusters: PositiveInt = 10,
        hidden: tuple[PositiveInt, ...] = (500,),
        activation: parts.Activation = "relu",
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_clusters))
        self.means = nn.Parameter(torch.randn(num_clusters, z_dim))
        self.log_var = nn.Parameter(torch.zeros(num_clusters, z_dim))
        decoder = parts.Decoder(z_dim, hidden[::-1], x_shape, activation=activation)
        self.decoder = likelihood(decoder)  # p(x | z)
        encoder = parts.Encoder(x_shape, hidden, activation=activation)
        self.encoder = posterior(encoder, z_dim)  # q(z | x)

    def _cluster(self, c: Tensor) -> dist.TorchDistribution:
        """p(z | c)."""
        return dist.Normal(self.means[c], parts.sigma_of(self.log_var[c], 0.01)).to_event(1)

    def model(self, x: Tensor) -> None:
        """p(c) p(z | c) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            p_c = dist.Categorical(logits=self.logits)
            c = pyro.sample("c", p_c, infer={"enumerate": "parallel"})
            z = pyro.sample("z", self._cluster(c))
            pyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x))

    def clusters(self, z: Tensor) -> Tensor:
        """Return p(c | z) ``(..., num_clusters)`` of ``z (..., z_dim)``."""
        each = self._cluster(torch.arange(len(self.logits), device=z.device))
        return (self.logits + each.log_prob(z.unsqueeze(-2))).softmax(-1)


@register("ssvae", data="images", reference="arXiv:1406.5298", tags=("discrete", "labels"))
class SSVAE(nn.Module):
    """Semi-supervised variational autoencoder, model M2: a few labels, many data.

        p(x, z, y) = Cat(y; 1 / K) N(z; 0, I) Bernoulli(x; f(y, z))
        q(z, y | x) = Cat(y; pi(x)) N(z; mu(x, y), diag sigma(x, y)^2)

        objective  ELBO + alpha E log q(y = label | x) over the rows that have a label

    =======  ============  ==========================================================
    site     event shape   meaning
    =======  ============  ==========================================================
    y        ``()``        latent class, summed out; it is the label where there is one
    z        ``(z_dim,)``  latent, what the class does not say
    label    ``()``        factor: alpha log q(label | x), and that y is the label
    x        ``x_shape``   observed, binary
    =======  ============  ==========================================================

    ``label`` is ``(B,)``, -1 where it is not known. :meth:`classify` returns q(y | x).

    Reference
        Kingma, Rezende, Mohamed & Welling 2014, *Semi-supervised Learning with Deep Generative
        Models*, arXiv:1406.5298, eqs. 6, 7 and 9.

    Differs from the paper
        Batches hold labelled and other rows as they come; alpha is a weight of a labelled row, not
        0.1 times the number of rows.
    """

    one_hot: Tensor

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 20,
        hidden: tuple[PositiveInt, ...] = (500,),
        activation: parts.Activation = "relu",
        num_labels: NumLabels = None,
        alpha: NonNegativeFloat = 50.0,
        likelihood: parts.Likelihood = parts.Bernoulli,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        number, x_dim = num_labels or 10, math.prod(x_shape)
        self.alpha = alpha
        self.register_buffer("one_hot", torch.eye(number), persistent=False)
        decoder = parts.Decoder(z_dim + number, hidden[::-1], x_shape, activation=activation)
        self.decoder = likelihood(decoder)  # p(x | y, z)
        encoder = parts.Encoder((x_dim + number,), hidden, activation=activation)
        self.encoder = posterior(encoder, z_dim)  # q(z | x, y)
        classifier = parts.Encoder(x_shape, hidden, activation=activation)
        self.classifier = nn.Sequential(classifier, classifier.head(number))  # q(y | x)
        self.prior = prior(z_dim)  # p(z)

    def model(self, x: Tensor, label: Tensor) -> None:
        """p(y) p(z) p(x | y, z) of ``x (B, *x_shape)``, ``label (B,)``."""
        is_known = label >= 0
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(logits=torch.zeros_like(self.one_hot[0])))
            z = pyro.sample("z", self.prior())
            log_q = self.classify(x).log().gather(-1, label.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            agrees = torch.where(y == label, 0.0, -_CERTAIN)
            pyro.factor("label", torch.where(is_known, self.alpha * log_q + agrees, 0.0))
            pyro.sample("x", self.decoder(z, self.one_hot[y]), obs=x)

    def guide(self, x: Tensor, label: Tensor) -> None:
        """q(y | x) q(z | x, y), y the label where it is known."""
        is_known = (label >= 0).unsqueeze(-1)
        certain = _CERTAIN * self.one_hot[label.clamp(min=0)]
        with pyro.plate("data", len(x)):
            logits = torch.where(is_known, certain, self.classifier(x))
            q_y = dist.Categorical(logits=logits)
            y = pyro.sample("y", q_y, infer={"enumerate": "parallel"})
            pyro.sample("z", self.encoder(x.flatten(1), self.one_hot[y]))

    def classify(self, x: Tensor) -> Tensor:
        """Return q(y | x) ``(B, num_labels)`` of ``x (B, *x_shape)``."""
        probs: Tensor = self.classifier(x).softmax(-1)
        return probs
