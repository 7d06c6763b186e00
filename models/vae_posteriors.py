"""Variational autoencoders whose papers, or questions, are about q(z | x).

    p(x, z)  = N(z; 0, I) p(x | z)
    q(z | x) = another distribution than a diagonal normal

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed
====  ============  ===========================================

All are registrations of :class:`vaezoo.models.vae.VAE` with another posterior; any pair of the zoo
takes it as the setting ``posterior``.
"""

from vaezoo import parts, register
from vaezoo.models.vae import VAE

__all__ = ["VAEIAF", "VAEFullRank", "VAEMeanOnly", "VAENoiseOnly"]


@register(
    "vae-full-rank",
    data="images",
    reference="arXiv:1906.02691",
    defaults={"z_dim": 10, "hidden": (200,), "posterior": parts.FullRankNormal},
)
class VAEFullRank(VAE):
    """Variational autoencoder whose latents correlate given the data.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; mu(x), L(x) L(x)^T),        L lower triangular, a linear layer of h

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    A linear decoder has a posterior with one covariance for all data, which is diagonal where the
    columns of its weights are orthogonal: else a diagonal guide has a gap of
    ``LinearGaussian.mean_field_gap()`` nats, and this one none.

    Reference
        Kingma & Welling 2019, *An Introduction to Variational Autoencoders*, arXiv:1906.02691,
        section 2.5.1.

    Differs from the paper
        Diagonal entries of L are those of the diagonal guide, so that it starts as that does.
    """


@register(
    "vae-iaf",
    data="images",
    reference="arXiv:1606.04934",
    defaults={"z_dim": 10, "hidden": (200,), "posterior": parts.InverseAutoregressiveFlow},
)
class VAEIAF(VAE):
    """Variational autoencoder whose posterior is an inverse autoregressive flow.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x):  z0 = mu(x) + sigma(x) eps,       z = f2(f1(z0; h); h), each latent scaled and
                   shifted by functions of those before it and of h(x)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    It has neither mean nor mode in closed form: a code is a draw. The density of a value that it
    has not drawn takes a pass for each latent. Flows are Zuko's: ``pip install 'vaezoo[flows]'``.

    Reference
        Kingma et al. 2016, *Improving Variational Inference with Inverse Autoregressive Flow*,
        arXiv:1606.04934, algorithm 1 and section 5.

    Differs from the paper
        Scale and shift are exp and identity of masked layers, and not the gated form of eq. 14; one
        layer of latents, fully connected networks.
    """


@register(
    "vae-meanonly",
    data="images",
    reference="arXiv:1312.6114",
    defaults={"z_dim": 10, "hidden": (200,), "posterior": parts.MeanOnly},
    presets={"tanh": {"posterior": {"name": "mean-only", "mean": "tanh"}}},
)
class VAEMeanOnly(VAE):
    """Variational autoencoder whose encoder has a mean, and noise of one size.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; mu(x), I)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    A step between an autoencoder and a variational one: it says what the learned sigma buys. With
    the preset ``tanh``, mu is between -1 and 1, and the KL is at most half a nat for each latent,
    whatever is learned; otherwise mu grows until noise of size 1 is small beside it.

    Reference
        An ablation of Kingma & Welling 2014, arXiv:1312.6114.

    Differs from the paper
        By the sigma that is missing.
    """


@register(
    "vae-noiseonly",
    data="images",
    reference="arXiv:1312.6114",
    defaults={"z_dim": 10, "hidden": (200,), "posterior": parts.NoiseOnly},
    tags=("baseline",),
)
class VAENoiseOnly(VAE):
    """A control: a variational autoencoder without an encoder, z is noise.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; 0, I)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    The KL is 0, nothing of x is in z, and the decoder can do no better than ignore it: its ELBO is
    that of independent elements. What another pair has above it is due to its latents.

    Reference
        An ablation of Kingma & Welling 2014, arXiv:1312.6114.

    Differs from the paper
        By the encoder that is missing.
    """
