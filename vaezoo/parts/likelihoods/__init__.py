"""Likelihoods p(x | z): what a decoder says about the data.

Each is built from a decoder, owns it, and maps what the decoder reads to a distribution with batch
shape ``(B,)`` and event shape ``x_shape``; its log-density is in nats.
Which data it can explain is the support of that distribution; :mod:`vaezoo.data.contract` compares
the two before training.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.parts.likelihoods.binary import Bernoulli
    from vaezoo.parts.likelihoods.columns import Columns
    from vaezoo.parts.likelihoods.counts import (
        Binomial,
        Multinomial,
        NegativeBinomial,
        Poisson,
        ZeroInflatedNegativeBinomial,
    )
    from vaezoo.parts.likelihoods.heavy import Laplace, StudentT
    from vaezoo.parts.likelihoods.levels import Categorical, DiscretizedLogistic, OneHot, Ordinal
    from vaezoo.parts.likelihoods.mixtures import GaussianMixture, Handwriting
    from vaezoo.parts.likelihoods.positive import Gamma, LogNormal
    from vaezoo.parts.likelihoods.real import AnalyticNormal, Gaussian, Sigma, share_at_floor
    from vaezoo.parts.likelihoods.shares import Beta, ContinuousBernoulli

__all__ = [
    "AnalyticNormal",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gamma",
    "Gaussian",
    "GaussianMixture",
    "Handwriting",
    "Laplace",
    "LogNormal",
    "Multinomial",
    "NegativeBinomial",
    "OneHot",
    "Ordinal",
    "Poisson",
    "Sigma",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "share_at_floor",
]

__getattr__, __dir__ = lazy_names(__name__)
