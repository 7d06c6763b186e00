"""Variational autoencoders whose papers, or questions, are about p(z).

    p(x, z)  = p(z) p(x | z)
    q(z | x) = N(z; mu(x), diag sigma(x)^2)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed
====  ============  ===========================================

All are registrations of :class:`vaezoo.models.vae.VAE` with another prior; any pair of the zoo
takes it as the setting ``prior``.
"""

from vaezoo import parts, register
from vaezoo.models.vae import VAE

__all__ = ["VAEFlowPrior", "VAEMixture", "VampPriorVAE"]


@register(
    "vampprior",
    data="images",
    reference="arXiv:1705.07120",
    defaults={
        "z_dim": 40,
        "hidden": (300, 300),
        "activation": "relu",
        "prior": parts.VampPrior,
    },
    presets={
        "mnist": {"training": {"batch_size": 100, "lr": 5e-4, "kl_warmup": 50_000}},
    },
)
class VampPriorVAE(VAE):
    """Variational autoencoder whose prior is a mean of its posteriors.

        p(z)     = 1/K sum_k q(z | u_k),            K = 500 pseudo-inputs u, learned
        p(x | z) = Bernoulli(x; y(z)),              z -> 300 -> 300 -> y, ReLU
        q(z | x) = N(z; mu(x), diag sigma(x)^2),    x -> 300 -> 300 -> (mu, log sigma^2), ReLU

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    The prior that maximises the ELBO is the mean of q(z | x) over the data; pseudo-inputs stand for
    them. ``vaezoo show vampprior`` has the number of these as ``prior.num_components``.

    Reference
        Tomczak & Welling 2018, *VAE with a VampPrior*, arXiv:1705.07120, eq. 9 and section 4.

    Differs from the paper
        ReLU instead of gated layers; one layer of latents (L = 1); pixels of pseudo-inputs are a
        sigmoid, which starts at random, instead of numbers cut off at 0 and 1. The preset ``mnist``
        has the paper's learning rate, batch, and warm-up of 100 epochs of 50,000 rows.
    """


@register(
    "vae-mixture",
    data="images",
    reference="arXiv:1611.02648",
    defaults={"z_dim": 10, "hidden": (200,), "prior": parts.GaussianMixturePrior},
)
class VAEMixture(VAE):
    """Variational autoencoder with a learned mixture of Gaussians for its prior.

        p(z)     = sum_k pi_k N(z; mu_k, diag sigma_k^2),   K = 10, all learned
        p(x | z) = Bernoulli(x; y(z)),                      y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    The component is summed out in p(z), and no site of the pair: log p(z) has no closed KL from
    q(z | x), and is taken at the draw. That components are clusters is nowhere asked for.

    Reference
        Dilokthanakul et al. 2016, *Deep Unsupervised Clustering with Gaussian Mixture Variational
        Autoencoders*, arXiv:1611.02648, for such priors; the baseline "MoG" of Tomczak & Welling
        2018, arXiv:1705.07120, section 4.

    Differs from the paper
        The parameters of the components are learned as such, and are no network of a further
        latent, as in the former.
    """


@register(
    "vae-flow-prior",
    data="images",
    reference="arXiv:1611.02731",
    defaults={"z_dim": 10, "hidden": (200,), "prior": parts.FlowPrior},
)
class VAEFlowPrior(VAE):
    """Variational autoencoder with a normalising flow for its prior.

        p(z)     = N(f(z); 0, I) |det df/dz|,   f of three masked autoregressive transforms
        p(x | z) = Bernoulli(x; y(z)),          y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    The density of z takes one pass, a draw as many as there are latents. ``prior.bins=8`` makes
    the transforms splines. Flows are Zuko's: ``pip install 'vaezoo[flows]'``.

    Reference
        Chen et al. 2017, *Variational Lossy Autoencoder*, arXiv:1611.02731, section 3.2; flows of
        Papamakarios et al. 2017, arXiv:1705.07057.

    Differs from the paper
        The decoder sees z alone, and is no autoregressive network of x.
    """
