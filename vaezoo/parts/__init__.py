"""What pairs are built from, in one place: ``from vaezoo import parts``.

===============================  ==================================================
networks                         ``Encoder``, ``Decoder``, ``GaussianHead``
p(z)                             ``StandardNormal``, ``LearnedNormal``, ``LaplacePrior``,
                                 ``StudentTPrior``, ``GaussianMixturePrior``, ``VampPrior``,
                                 ``FlowPrior``, ``Flat``
p(x | z), built from a decoder   ``Bernoulli``, ``Gaussian``, ``GaussianMixture``,
                                 ``Handwriting``
q(z | x), built from an encoder  ``DiagonalNormal``, ``MeanOnly``, ``NoiseOnly``,
                                 ``FullRankNormal``, ``LowRankNormal``, ``StudentTPosterior``,
                                 ``NormalMixture``, ``InverseAutoregressiveFlow``,
                                 ``SplineFlow``, ``Delta``
                                 ``NormalMixture``, ``Delta``
p(z)                             ``StandardNormal``
p(x | z), built from a decoder   ``Bernoulli``, ``Gaussian`` and others, by the kind
                                 of data (:mod:`vaezoo.parts.likelihoods`)
q(z | x), built from an encoder  ``DiagonalNormal``
arguments that a setting swaps   ``Prior``, ``Likelihood``, ``Posterior``
arguments that are choices       ``Activation``, ``Net``
===============================  ==================================================

A likelihood of one's own takes ``@parts.LIKELIHOODS.register("name")`` above its class.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.parts.axes import (
        LIKELIHOODS,
        POSTERIORS,
        PRIORS,
        Axis,
        FromData,
        Likelihood,
        Part,
        Posterior,
        Prior,
    )
    from vaezoo.parts.flows import FlowPrior, InverseAutoregressiveFlow, SplineFlow
    from vaezoo.parts.likelihoods import (
        Bernoulli,
        Beta,
        Binomial,
        Categorical,
        Columns,
        ContinuousBernoulli,
        DiscretizedLogistic,
        Gamma,
        Gaussian,
        GaussianMixture,
        Handwriting,
        Laplace,
        LogNormal,
        Multinomial,
        NegativeBinomial,
        OneHot,
        Ordinal,
        Poisson,
        StudentT,
        ZeroInflatedNegativeBinomial,
    )
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
    from vaezoo.parts.posteriors import (
        Delta,
        DiagonalNormal,
        FullRankNormal,
        LowRankNormal,
        MeanOnly,
        NoiseOnly,
        NormalMixture,
        StudentTPosterior,
    )
    from vaezoo.parts.priors import (
        Flat,
        GaussianMixturePrior,
        LaplacePrior,
        LearnedNormal,
        StandardNormal,
        StudentTPrior,
        VampPrior,
    )

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Activation",
    "Axis",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "Decoder",
    "DecoderNet",
    "Delta",
    "DiagonalNormal",
    "DiscretizedLogistic",
    "Encoder",
    "EncoderNet",
    "Flat",
    "FlowPrior",
    "FromData",
    "FullRankNormal",
    "Gamma",
    "Gaussian",
    "GaussianHead",
    "GaussianMixture",
    "GaussianMixturePrior",
    "Handwriting",
    "InverseAutoregressiveFlow",
    "Laplace",
    "LaplacePrior",
    "LearnedNormal",
    "Likelihood",
    "LogNormal",
    "LowRankNormal",
    "MeanOnly",
    "Multinomial",
    "NegativeBinomial",
    "Net",
    "NoiseOnly",
    "NormalMixture",
    "OneHot",
    "Ordinal",
    "Part",
    "Poisson",
    "Posterior",
    "Prior",
    "SplineFlow",
    "StandardNormal",
    "StudentT",
    "StudentTPosterior",
    "StudentTPrior",
    "VampPrior",
    "ZeroInflatedNegativeBinomial",
    "sigma_of",
]

__getattr__, __dir__ = lazy_names(__name__)
