"""What pairs are built from, in one place: ``from vaezoo import parts``.

===============================  ==================================================
networks                         ``Encoder``, ``Decoder``, ``GaussianHead``
p(z)                             ``StandardNormal``
p(x | z), built from a decoder   ``Bernoulli``, ``Gaussian``, ``GaussianMixture``,
                                 ``Handwriting``
q(z | x), built from an encoder  ``DiagonalNormal``
arguments that a setting swaps   ``Prior``, ``Likelihood``, ``Posterior``
arguments that are choices       ``Activation``, ``Net``
===============================  ==================================================

A likelihood of one's own takes ``@parts.LIKELIHOODS.register("name")`` above its class.
"""

from vaezoo.parts.axes import (
    LIKELIHOODS,
    POSTERIORS,
    PRIORS,
    Axis,
    Likelihood,
    Part,
    Posterior,
    Prior,
)
from vaezoo.parts.likelihoods import Bernoulli, Gaussian, GaussianMixture, Handwriting
from vaezoo.parts.networks import (
    Activation,
    Decoder,
    DecoderNet,
    Encoder,
    EncoderNet,
    GaussianHead,
    Net,
    sigma_of,
)
from vaezoo.parts.posteriors import DiagonalNormal
from vaezoo.parts.priors import StandardNormal

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Activation",
    "Axis",
    "Bernoulli",
    "Decoder",
    "DecoderNet",
    "DiagonalNormal",
    "Encoder",
    "EncoderNet",
    "Gaussian",
    "GaussianHead",
    "GaussianMixture",
    "Handwriting",
    "Likelihood",
    "Net",
    "Part",
    "Posterior",
    "Prior",
    "StandardNormal",
    "sigma_of",
]
