"""Autoencoders: one code for each datum, without a density of codes, by what keeps them in shape.

    x = D(z) + noise,   z = E(x),   maximising log p(x | z) less a penalty

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  code, a function of x
x     ``x_shape``   observed
====  ============  ===========================================

The pair is that of :mod:`vaezoo.models.vae` with a flat prior and a guide that is a point:
KL(q || p) has no meaning, so that there is a reconstruction in nats, and no ELBO. With sigma fixed
at 1 the reconstruction is half the squared error but for a constant. New data need a density of
codes, which is fitted to them afterwards. What tells the entries apart is the objective of their
preset, which ``--objective`` gives to any other pair as well.
"""

from vaezoo import parts, register
from vaezoo.models.vae import VAE

__all__ = [
    "AE",
    "RAE",
    "AdversarialAE",
    "ContractiveAE",
    "DenoisingAE",
    "LinearAE",
    "SparseAE",
    "WassersteinAE",
]


@register(
    "ae",
    data="images",
    reference="Hinton & Salakhutdinov 2006",
    defaults={
        "prior": parts.Flat,
        "posterior": parts.Delta,
        "likelihood": parts.Gaussian,
        "z_dim": 10,
        "hidden": (200,),
        "activation": "relu",
    },
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
        }
    },
    tags=("autoencoder",),
)
class AE(VAE):
    """Autoencoder: the squared error of what is made of one code.

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, z = E(x); one hidden layer of 200 on each side

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    Reference
        Hinton & Salakhutdinov 2006, *Reducing the Dimensionality of Data with Neural Networks*,
        Science 313.

    Differs from the paper
        One hidden layer of ReLU instead of four of sigmoids, without layerwise training first.
    """


@register(
    "ae-linear",
    data="images",
    reference="Baldi & Hornik 1989",
    defaults={"hidden": ()},
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
        }
    },
    tags=("autoencoder",),
)
class LinearAE(AE):
    """Linear autoencoder: its code spans the first principal components.

        p(x | z) = N(x; W z + b, I),   p(z) flat
        q(z | x) = a point, z = V x + c

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    At every minimum the columns of W span the space of the first ``z_dim`` principal components;
    all other stationary points are saddles. The columns are neither orthogonal nor in order.

    Reference
        Baldi & Hornik 1989, *Neural Networks and Principal Component Analysis*, Neural Networks 2.

    Differs from the paper
        Biases, in the place of centred data.
    """


@register(
    "ae-denoising",
    data="images",
    reference="Vincent et al. 2008",
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
            "training": {"objective": {"name": "denoising", "corrupt": "mask:0.3"}},
        }
    },
    tags=("autoencoder",),
)
class DenoisingAE(AE):
    """Denoising autoencoder: clean data from the code of spoiled ones.

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, z = E(x~), where x~ is x with 30 % of its elements put to 0

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    ``--set objective.corrupt=gaussian:0.5`` adds noise instead. Only training spoils data.

    Reference
        Vincent et al. 2008, *Extracting and Composing Robust Features with Denoising
        Autoencoders*, ICML, sec. 2.3.

    Differs from the paper
        Untied weights, and ReLU instead of sigmoids.
    """


@register(
    "ae-sparse",
    data="images",
    reference="arXiv:1312.5663",
    defaults={"z_dim": 50},
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
            "posterior": {"name": "delta", "keep": 10},
        },
        "l1": {
            "posterior": {"name": "delta", "keep": "all"},
            "training": {"objective": {"name": "sparse", "l1": 0.1}},
        },
    },
    tags=("autoencoder",),
)
class SparseAE(AE):
    """Sparse autoencoder: all but the largest elements of a code are zero.

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, the 10 largest of the 50 elements of E(x), the others 0

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    The preset ``l1`` lets codes pay for their absolute size instead (Ng 2011, *Sparse autoencoder*,
    CS294A lecture notes). A decoder that is free to grow then makes codes small rather than few.

    Reference
        Makhzani & Frey 2014, *k-Sparse Autoencoders*, arXiv:1312.5663, sec. 2.

    Differs from the paper
        The largest by absolute value; a hidden layer on both sides; as many elements when codes
        are used as in training.
    """


@register(
    "ae-contractive",
    data="images",
    reference="Rifai et al. 2011",
    defaults={"activation": "tanh"},
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
            "training": {"objective": {"name": "contractive", "weight": 0.1}},
        }
    },
    tags=("autoencoder",),
)
class ContractiveAE(AE):
    """Contractive autoencoder: codes that small changes of x leave alone.

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, z = E(x)
        minimising |x - D(z)|^2 / 2 + 0.1 |dE/dx|^2

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    Reference
        Rifai et al. 2011, *Contractive Auto-Encoders: Explicit Invariance During Feature
        Extraction*, ICML, eq. 4.

    Differs from the paper
        Untied weights, so that the decoder may grow as the encoder contracts; the norm is
        estimated, without bias, from one random direction.
    """


@register(
    "rae",
    data="images",
    reference="arXiv:1903.12436",
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
            "training": {"objective": {"name": "rae", "form": "l2"}},
        }
    },
    tags=("autoencoder",),
)
class RAE(AE):
    """Regularised autoencoder: a smooth decoder without noise in the code.

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, z = E(x)
        minimising |x - D(z)|^2 / 2 + code |z|^2 / 2 + weight R

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    R is the sum of squared weights of the decoder, or with ``--set objective.form=gradient`` the
    squared norm of its Jacobian.

    Reference
        Ghosh et al. 2020, *From Variational to Deterministic Autoencoders*, arXiv:1903.12436,
        eq. 11 to 13.

    Differs from the paper
        One hidden layer instead of convolutions (``--set net=conv``).
    """


@register(
    "wae-mmd",
    data="images",
    reference="arXiv:1711.01558",
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
            "training": {
                "objective": {"name": "info", "alpha": 1.0, "weight": 10.0, "kernel": "imq"}
            },
        }
    },
    tags=("autoencoder",),
)
class WassersteinAE(AE):
    """Wasserstein autoencoder: codes without noise, as a whole held to N(0, I).

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, z = E(x)
        minimising |x - D(z)|^2 / 2 + 10 MMD(q(z), N(0, I)),   q(z) the codes of all data

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    The kernel is the inverse multiquadratic one. As the code of a datum is no distribution, its
    KL is infinite: what is held to the prior is the mean over data.

    Reference
        Tolstikhin et al. 2018, *Wasserstein Auto-Encoders*, arXiv:1711.01558, alg. 2 (WAE-MMD).

    Differs from the paper
        One hidden layer instead of convolutions; half the squared error, so that the weight of 10
        is as 20 there; the kernel has seven scales, as in the code of the authors.
    """


@register(
    "aae",
    data="images",
    reference="arXiv:1511.05644",
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "fixed:1"},
            "training": {"objective": {"name": "adversarial", "weight": 1.0}},
        }
    },
    tags=("autoencoder",),
)
class AdversarialAE(AE):
    """Adversarial autoencoder: codes that a critic cannot tell from draws of N(0, I).

        p(x | z) = N(x; D(z), I),   p(z) flat
        q(z | x) = a point, z = E(x)
        critic: log-odds of being a draw of N(0, I), against codes

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  code, a function of x
    x     ``x_shape``   observed
    ====  ============  ===========================================

    Reference
        Makhzani et al. 2016, *Adversarial Autoencoders*, arXiv:1511.05644, sec. 2.

    Differs from the paper
        Pair and critic step together, with Adam, instead of in turn, with momentum.
    """
