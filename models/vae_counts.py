"""Variational autoencoders of counts: cells by their genes, documents by their words.

In both, latents explain shares of a row, and its total stands beside them.
"""

import math
from typing import Annotated, Literal

import pyro
import torch
from pydantic import PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.distributions.totals import MultinomialOfTotals
from vaezoo.parts.likelihoods.counts import negative_binomial
from vaezoo.parts.likelihoods.links import compressed

__all__ = ["ProdLDA", "VAECounts"]

LogTotal = Annotated[tuple[float, PositiveFloat] | None, parts.FromData("log_total")]
MeanTotal = Annotated[PositiveInt | None, parts.FromData("mean_total")]


@register("vae-counts", data="vectors", reference="doi:10.1038/s41592-018-0229-2", tags=("counts",))
class VAECounts(nn.Module):
    """Variational autoencoder of counts with a library size, as of single cells.

        p(z) = N(0, I),   p(l) = N(m, s^2),   rho = softmax(W2 h(z) + b2)
        p(x | z, l) = prod_d ZINB(x_d; mean exp(l) rho_d, dispersion r_d, gate g_d(z))
        q(z, l | x) = N(z; mu(x), diag sigma(x)^2) N(l; mu_l(x), sigma_l(x)^2), of log(1 + x)

    ====  ============  ==============================================
    site  event shape   meaning
    ====  ============  ==============================================
    z     ``(z_dim,)``  latent, what kind of cell it is
    l     ``(1,)``      log of the library size
    x     ``x_shape``   observed, counts
    ====  ============  ==============================================

    The library size is how many molecules were caught, which says nothing of the cell; rho are the
    shares of its genes. m and s are those of the logarithm of the totals of the data, the setting
    ``log_total``, unless they are given.

    Reference
        Lopez, Regier, Cole, Jordan & Yosef 2018, *Deep generative modeling for single-cell
        transcriptomics*, Nature Methods 15 (scVI), Online Methods.

    Differs from the paper
        One m and s for all cells, without batches; the negative binomial is written as such, not as
        a mixture of Poissons; no dropout and no batch normalisation.
    """

    prior_of_l: Tensor

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        hidden: tuple[PositiveInt, ...] = (128,),
        noise: Literal["zinb", "negative-binomial"] = "zinb",
        log_total: LogTotal = None,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        x_dim = math.prod(x_shape)
        self.x_shape = tuple(x_shape)
        self.decoder = parts.Decoder(z_dim, hidden[::-1], (x_dim,))
        self.shares = self.decoder.head()  # log rho but for a constant
        self.gate = self.decoder.head() if noise == "zinb" else None
        self.log_r = nn.Parameter(torch.zeros(x_dim))
        self.encoder = posterior(parts.Encoder(x_shape, hidden), z_dim)  # q(z | x)
        self.encoder_of_l = parts.DiagonalNormal(parts.Encoder(x_shape, hidden), 1)  # q(l | x)
        self.prior = prior(z_dim)  # p(z)
        self.register_buffer("prior_of_l", torch.tensor(log_total or (0.0, 1.0)))

    def model(self, x: Tensor) -> None:
        """p(z) p(l) p(x | z, l) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            mean, deviation = self.prior_of_l[:1], self.prior_of_l[1:]
            log_total = pyro.sample("l", dist.Normal(mean, deviation).to_event(1))
            pyro.sample("x", self.likelihood(z, log_total), obs=x)

    def likelihood(self, z: Tensor, log_total: Tensor) -> dist.TorchDistribution:
        """p(x | z, l), of the decoder."""
        h = self.decoder(z)
        log_mean = log_total + self.shares(h).log_softmax(-1)
        # A dispersion for each gene, in the shape of x as everything else.
        shaped = [t.unflatten(-1, self.x_shape) for t in (log_mean, self.log_r.expand_as(log_mean))]
        counts = negative_binomial(*shaped)
        if self.gate is not None:
            gate = compressed(self.gate(h)).unflatten(-1, self.x_shape)
            counts = dist.ZeroInflatedDistribution(counts, gate_logits=gate)
        return counts.to_event(len(self.x_shape))

    def guide(self, x: Tensor) -> None:
        """q(z | x) q(l | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x.log1p()))
            pyro.sample("l", self.encoder_of_l(x.log1p()))


@register("prodlda", data="vectors", reference="arXiv:1703.01488", tags=("counts", "topics"))
class ProdLDA(nn.Module):
    """ProdLDA: topics of documents, each word a product of experts.

        p(z) = N(0, s^2 I),   s^2 = (1 - 1 / K) / alpha,   theta = softmax(z)
        p(x | z, N) = Multinomial(x; N, softmax(beta theta)), beta real, (V, K)
        q(z | x) = N(z; mu(x), diag sigma(x)^2), x -> 100 -> 100, softplus

    ====  =================  =============================================
    site  event shape        meaning
    ====  =================  =============================================
    z     ``(num_topics,)``  latent; its softmax are the shares of topics
    x     ``x_shape``        observed, counts of words
    ====  =================  =============================================

    The prior is the Laplace approximation of a Dirichlet(alpha), in the basis of softmax (eq. 2);
    the total N of a document is taken as it is. Row k of ``topics()`` are the log-shares of words
    in topic k alone.

    Reference
        Srivastava & Sutton 2017, *Autoencoding Variational Inference for Topic Models*,
        arXiv:1703.01488, sections 3 and 4.

    Differs from the paper
        No batch normalisation, since rows are independent here, and no dropout; a bias for words
        that are frequent in all topics; the encoder reads log(1 + x).
    """

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        num_topics: PositiveInt = 20,
        hidden: tuple[PositiveInt, ...] = (100, 100),
        alpha: PositiveFloat = 1.0,
        total: MeanTotal = None,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        self.total = total or 1
        self.num_topics = num_topics
        self.deviation = math.sqrt((1 - 1 / num_topics) / alpha) if num_topics > 1 else 1.0
        self.beta = nn.Linear(num_topics, math.prod(x_shape))
        encoder = parts.Encoder(x_shape, hidden, activation="softplus")
        self.encoder = posterior(encoder, num_topics)  # q(z | x)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z, N) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(self.num_topics)
            z = pyro.sample("z", dist.Normal(zeros, self.deviation).to_event(1))
            logits = self.beta(z.softmax(-1)).unflatten(-1, self.x_shape)
            likelihood = MultinomialOfTotals(logits, self.total, len(self.x_shape))
            pyro.sample("x", likelihood, obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x.log1p()))

    def topics(self) -> Tensor:
        """Return log-shares of words of each topic, ``(num_topics, *x_shape)``."""
        logits = self.beta.weight.T + self.beta.bias
        return logits.log_softmax(-1).unflatten(-1, self.x_shape)
