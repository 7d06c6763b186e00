"""Variational autoencoders for factors that vary independently: one pair, another objective each.

    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
    q(z | x) = N(z; mu(x), diag sigma(x)^2)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===========================================

The pair is that of :mod:`vaezoo.models.vae`. What a paper adds stands in the preset of its entry,
and ``--objective`` gives it to any other pair as well. The printed ELBO is the plain one.
"""

from vaezoo import register
from vaezoo.models.vae import VAE

__all__ = ["DIPVAE", "BetaTCVAE", "CapacityVAE", "FactorVAE", "InfoVAE"]


@register(
    "beta-vae-capacity",
    data="images",
    reference="arXiv:1804.03599",
    defaults={"z_dim": 10, "hidden": (256, 256), "activation": "relu"},
    presets={
        "default": {
            "training": {
                "objective": {"name": "capacity", "target": 6.0, "gamma": 4.0, "rise": 1_500}
            }
        },
        "dsprites": {
            "net": "conv",
            "training": {
                "objective": {
                    "name": "capacity",
                    "target": 25.0,
                    "gamma": 1000.0,
                    "rise": 100_000,
                }
            },
        },
    },
    tags=("disentangling",),
)
class CapacityVAE(VAE):
    """beta-VAE with a capacity: latents come into use one after another as it rises.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

        maximising  E_q[log p(x | z)] - gamma |KL(q(z | x) || p(z)) - C|,   gamma = 4
        C rises from 0 to 6 nats over 1,500 steps

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Burgess et al. 2018, *Understanding Disentangling in beta-VAE*, arXiv:1804.03599, eq. 8 and
        App. A.

    Differs from the paper
        On small images a small network, and a capacity that rises within a short run to what digits
        of 8 x 8 pixels carry; C reaches 25 after 100,000 steps there (preset ``dsprites``). gamma
        is 1000 there, of pictures that are worth hundreds of nats: beside those of digits such a
        weight leaves the gradient of nothing else, and a KL of C nats that says nothing about x.
    """


@register(
    "beta-tcvae",
    data="images",
    reference="arXiv:1802.04942",
    defaults={"z_dim": 10, "hidden": (256, 256), "activation": "relu"},
    presets={"default": {"training": {"objective": {"name": "beta-tc", "tc": 6.0}}}},
    tags=("disentangling",),
)
class BetaTCVAE(VAE):
    """beta-TCVAE: the KL term in three parts, of which the total correlation weighs more.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

        KL(q(z | x) || p(z)), in the mean over data,
            = I(x; z) + TC(z) + sum_d KL(q(z_d) || p(z_d))
        maximising  E_q[log p(x | z)] - I - 6 TC - sum_d KL

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Chen et al. 2018, *Isolating Sources of Disentanglement in VAEs*, arXiv:1802.04942,
        eq. 2 and 4.

    Differs from the paper
        Two layers of 256 instead of two of 1200; q(z) by a stratified sample of all data, as in
        their App. C.2.
    """


@register(
    "factor-vae",
    data="images",
    reference="arXiv:1802.05983",
    defaults={"z_dim": 10, "hidden": (256, 256), "activation": "relu"},
    presets={"default": {"training": {"objective": {"name": "factor", "gamma": 10.0}}}},
    tags=("disentangling",),
)
class FactorVAE(VAE):
    """FactorVAE: a critic estimates the total correlation, which is taken from the ELBO.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

        maximising  ELBO - 10 TC(z),   TC from the log-odds of a critic that tells
        draws of q(z) from draws whose latents are permuted, each by itself

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Kim & Mnih 2018, *Disentangling by Factorising*, arXiv:1802.05983, eq. 2, alg. 2.

    Differs from the paper
        Three layers of 200 in the critic instead of six of 1000; pair and critic step together, on
        one batch.
    """


@register(
    "dip-vae",
    data="images",
    reference="arXiv:1711.00848",
    defaults={"z_dim": 10, "hidden": (256, 256), "activation": "relu"},
    presets={
        "default": {
            "training": {"objective": {"name": "dip", "form": "ii", "off": 10.0, "diagonal": 10.0}}
        },
        "i": {
            "training": {"objective": {"name": "dip", "form": "i", "off": 10.0, "diagonal": 100.0}}
        },
    },
    tags=("disentangling",),
)
class DIPVAE(VAE):
    """DIP-VAE: the covariance of the codes of all data is held to the identity.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

        maximising  ELBO - 10 sum_(i != j) C_ij^2 - 10 sum_i (C_ii - 1)^2
        C the covariance of q(z) (II, here), or of the means of q(z | x) (I, preset ``i``)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Kumar, Sattigeri & Balakrishnan 2018, *Variational Inference of Disentangled Latent Concepts
        from Unlabeled Observations*, arXiv:1711.00848, eq. 6 and 7.

    Differs from the paper
        Two layers of 256 instead of convolutions (``--set net=conv``).
    """


@register(
    "info-vae",
    data="images",
    reference="arXiv:1706.02262",
    defaults={"z_dim": 10, "hidden": (256, 256), "activation": "relu"},
    presets={
        "default": {
            "training": {"objective": {"name": "info", "alpha": 0.5, "weight": 100.0}},
        }
    },
)
class InfoVAE(VAE):
    """InfoVAE: less of a KL of each datum, and all codes together held to the prior instead.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

        maximising  E_q[log p(x | z)] - (1 - alpha) KL - (alpha + lambda - 1) MMD(q(z), p(z))
        alpha = 0.5, lambda = 100

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    ``--set objective.alpha=1`` counts no KL at all, the MMD-VAE; its decoder then uses its latents
    whatever its strength.

    Reference
        Zhao, Song & Ermon 2017, *InfoVAE: Information Maximizing Variational Autoencoders*,
        arXiv:1706.02262, eq. 6, sec. 3.2.

    Differs from the paper
        Two layers of 256 instead of convolutions (``--set net=conv``).
    """
