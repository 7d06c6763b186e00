"""The variational autoencoder, and the papers that change nothing but its settings.

    p(x, z)  = p(z) p(x | z)
    q(z | x) = N(z; mu(x), diag sigma(x)^2)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed
====  ============  ===========================================

One class; below it, each paper's variant is a registration: a name, other defaults, presets, and
what the paper says, in the docstring.
"""

from typing import Literal

import pyro
from pydantic import PositiveInt
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["VAE", "BetaVAE", "VAEBernoulli", "VAEDoersch", "VAEGaussian"]


class VAE(nn.Module):
    """Variational autoencoder: a decoder and an encoder, each one network with its distribution."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 20,
        hidden: tuple[PositiveInt, ...] = (500,),
        decoder_hidden: tuple[PositiveInt, ...] | Literal["mirrored"] = "mirrored",
        activation: parts.Activation = "tanh",
        decoder_activation: parts.Activation | Literal["same"] = "same",
        net: parts.Net = "mlp",
        likelihood: parts.Likelihood = parts.Bernoulli,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        widths = hidden[::-1] if decoder_hidden == "mirrored" else decoder_hidden
        if decoder_activation == "same":
            decoder_activation = activation
        decoder = parts.Decoder(z_dim, widths, x_shape, activation=decoder_activation, net=net)
        self.decoder = likelihood(decoder)  # p(x | z)
        encoder = parts.Encoder(x_shape, hidden, activation=activation, net=net)
        self.encoder = posterior(encoder, z_dim)  # q(z | x)
        self.prior = prior(z_dim, self.encoder, self.decoder)  # p(z)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x))


@register(
    "vae-bernoulli",
    data="images",
    reference="arXiv:1312.6114",
    presets={
        "paper-mnist": {"z_dim": 20, "hidden": [500], "training": {"batch_size": 100}},
        "mnist": {
            "z_dim": 128,
            "hidden": [256, 256],
            "activation": "relu",
            "training": {"batch_size": 128, "epochs": 166},
        },
        "conv": {"z_dim": 32, "hidden": [256], "activation": "relu", "net": "conv"},
    },
)
class VAEBernoulli(VAE):
    """Variational autoencoder for binary data.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; mu(x), diag sigma(x)^2),    h = tanh(W3 x + b3), two linear heads of h

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, App. C.1
        (decoder) and C.2 (encoder).

    Differs from the paper
        Adam instead of Adagrad; torch's initialisation instead of N(0, 0.01); maximum likelihood
        for the weights instead of MAP. More layers, other activations and convolutions are
        settings.
    """


@register(
    "vae-gaussian",
    data="images",
    reference="arXiv:1312.6114",
    defaults={"z_dim": 10, "hidden": (200,), "likelihood": parts.Gaussian},
    presets={
        "frey": {
            "z_dim": 10,
            "hidden": [200],
            "likelihood": {"name": "gaussian", "sigma": "per-pixel", "mean": "sigmoid"},
            "training": {"batch_size": 100, "epochs": 400, "plateau": 30, "patience": 100},
        },
        "conv": {"z_dim": 32, "hidden": [256], "activation": "relu", "net": "conv"},
    },
)
class VAEGaussian(VAE):
    """Variational autoencoder for real-valued data.

        p(x, z)  = N(z; 0, I) N(x; mu(z), diag sigma(z)^2)
                   h = tanh(W3 z + b3),   mu = W4 h + b4,   log sigma^2 = W5 h + b5
        q(z | x) = N(z; mu(x), diag sigma(x)^2), the same network with z and x swapped

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    The decoder's standard deviation has five forms, the setting ``likelihood.sigma``: ``per-pixel``
    (the paper), ``shared`` (one learned number), ``per-dim``, ``fixed:VALUE`` (squared error) and
    ``analytic``.

    Reference
        Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, App. C.2.

    Differs from the paper
        sigma has a floor, because the likelihood of a free sigma is unbounded
        (Mattei & Frellsen 2018, arXiv:1802.04826); Adam instead of Adagrad; no weight decay.
    """


@register(
    "beta-vae",
    data="images",
    reference="Higgins et al. 2017",
    tags=("disentangling",),
    defaults={
        "z_dim": 10,
        "hidden": (1200, 1200),
        "decoder_hidden": (1200, 1200, 1200),
        "activation": "relu",
        "decoder_activation": "tanh",
    },
    presets={
        "default": {"training": {"beta": 4.0}},
        "conv": {"net": "conv", "hidden": [256, 256], "decoder_hidden": [256, 256]},
        "dsprites": {
            "hidden": [256, 256],
            "decoder_hidden": [256, 256],
            "training": {"batch_size": 64, "steps": 5000},
        },
    },
    data_set="dsprites",
)
class BetaVAE(VAE):
    """beta-VAE: disentangled latents by a weighted KL term.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   z -> 1200 -> 1200 -> 1200 -> y, tanh
        q(z | x) = N(z; mu(x), diag sigma(x)^2),    x -> 1200 -> 1200 -> (mu, log sigma^2), ReLU

        objective  E_q[log p(x | z)] - beta KL(q(z | x) || p(z)),   beta = 4

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    beta is no part of the pair: the setting ``beta`` of a training weighs the KL term of every pair
    of the zoo. This entry has the networks of the paper and its beta as a preset. The reported ELBO
    is the plain one, beta = 1.

    Its default data are dSprites (``vaezoo data fetch dsprites``), with a preset of that name: two
    layers of 256 and 5,000 steps, a minute instead of hours. ``--preset default`` has the paper's
    networks there. Where dSprites are not on disk, the embedded digits stand for them, on which
    beta = 4 leaves no latent in use.

    Reference
        Higgins et al. 2017, *beta-VAE: Learning Basic Visual Concepts with a Constrained
        Variational Framework*, ICLR, App. A (networks for 2D shapes); Burgess et al. 2018,
        arXiv:1804.03599 (``conv``).

    Differs from the paper
        Adam, learning rate 1e-3, instead of Adagrad, 1e-2 (``optimizer="adagrad"``, ``lr=1e-2``).
    """


@register(
    "vae-doersch",
    data="images",
    reference="arXiv:1606.05908",
    defaults={
        "z_dim": 10,
        "hidden": (200,),
        "activation": "relu",
        "likelihood": parts.Part("likelihood", "gaussian", parts.Gaussian, {"sigma": "fixed:0.25"}),
    },
)
class VAEDoersch(VAE):
    """Variational autoencoder of the tutorial: one layer of noise, a decoder without a sigma of it.

        p(x, z)  = N(z; 0, I) N(x; f(z), sigma^2 I),   sigma fixed, a setting
        q(z | x) = N(z; mu(x), diag sigma(x)^2)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    The decoder has one output, f(z), and the reconstruction term is a squared error over 2 sigma^2:
    sigma, here 0.25 in units of the data, says how much an error costs beside the KL
    (``likelihood.sigma=fixed:VALUE``). That f(z) is what is shown does not make p(x | z) a point.

    Reference
        Doersch 2016, *Tutorial on Variational Autoencoders*, arXiv:1606.05908, section 2 and
        figure 4.

    Differs from the paper
        Its code scores pixels by a cross-entropy instead of a squared error.
    """
