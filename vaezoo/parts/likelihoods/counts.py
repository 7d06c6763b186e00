"""Counts 0, 1, 2, ...: of n, without end, more spread than a Poisson, of a known total."""

from typing import Annotated, Literal

import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.distributions.totals import Binomial as BinomialOfTotal
from vaezoo.distributions.totals import MultinomialOfTotals
from vaezoo.parts.axes import LIKELIHOODS, FromData
from vaezoo.parts.likelihoods.links import compressed, positive
from vaezoo.parts.networks import DecoderNet

__all__ = [
    "Binomial",
    "Dispersion",
    "Multinomial",
    "NegativeBinomial",
    "Poisson",
    "ZeroInflatedNegativeBinomial",
    "negative_binomial",
]

Dispersion = Literal["per-dim", "per-pixel"]
_LARGEST_LOG = 8.0  # of a dispersion: beyond, a negative binomial is a Poisson to all digits


@LIKELIHOODS.register("binomial")
class Binomial(nn.Module):
    """p(x | z) = Binomial(x; total, sigmoid(h)): so many of ``total``.

    Parameters
    ----------
    net
        The decoder.
    total
        The largest count; by default that of the data, and 1 without data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> Binomial(Decoder(2, [32], (4,)), total=16)(torch.zeros(5, 2)).support
    IndependentConstraint(IntegerInterval(lower_bound=0, upper_bound=16), 1)
    """

    def __init__(
        self,
        net: DecoderNet,
        *,
        total: Annotated[PositiveInt | None, FromData("largest")] = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.total = total or 1
        self.logits = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        logits = self.logits(self.net(*inputs))
        return dist.Independent(BinomialOfTotal(self.total, logits), len(self.net.x_shape))


@LIKELIHOODS.register("poisson")
class Poisson(nn.Module):
    """p(x | z) = Poisson(x; exp(h)): counts whose variance is their mean.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> Poisson(Decoder(2, [32], (4,)))(torch.zeros(5, 2)).event_shape
    torch.Size([4])
    """

    def __init__(self, net: DecoderNet) -> None:
        super().__init__()
        self.net = net
        self.log_rate = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        rate = positive(self.log_rate(self.net(*inputs)))
        return dist.Poisson(rate).to_event(len(self.net.x_shape))


def negative_binomial(log_mean: Tensor, log_dispersion: Tensor) -> dist.TorchDistribution:
    """Return NB(mean, r) of variance mean + mean^2 / r.

    Examples
    --------
    >>> fn = negative_binomial(torch.tensor(2.0).log(), torch.tensor(4.0).log())
    >>> fn.mean, fn.variance
    (tensor(2.), tensor(3.))
    """
    log_mean, log_r = compressed(log_mean), compressed(log_dispersion, _LARGEST_LOG)
    return dist.NegativeBinomial(log_r.exp(), logits=log_mean - log_r)


class _Dispersed(nn.Module):
    """Log-mean and log-dispersion of counts, of the features of a decoder."""

    def __init__(self, net: DecoderNet, dispersion: Dispersion) -> None:
        super().__init__()
        self.log_mean = net.head()
        self.per_pixel = net.head() if dispersion == "per-pixel" else None
        if dispersion == "per-dim":
            self.log_r = nn.Parameter(torch.zeros(net.x_shape))

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        log_r = self.log_r if self.per_pixel is None else self.per_pixel(h)
        return negative_binomial(self.log_mean(h), log_r)


@LIKELIHOODS.register("negative-binomial")
class NegativeBinomial(nn.Module):
    """p(x | z) = NB(x; mean exp(h), r), of variance mean + mean^2 / r: counts that scatter.

    Parameters
    ----------
    net
        The decoder.
    dispersion
        r: ``per-dim``, one learned number per element, or ``per-pixel``, of z, too.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> NegativeBinomial(Decoder(2, [32], (4,)))(torch.zeros(5, 2)).event_shape
    torch.Size([4])
    """

    def __init__(self, net: DecoderNet, *, dispersion: Dispersion = "per-dim") -> None:
        super().__init__()
        self.net = net
        self.elements = _Dispersed(net, dispersion)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        return self.elements(self.net(*inputs)).to_event(len(self.net.x_shape))


@LIKELIHOODS.register("zinb")
class ZeroInflatedNegativeBinomial(nn.Module):
    """p(x | z) = g(h) [x = 0] + (1 - g(h)) NB(x; exp(h), r): counts with zeros of a second kind.

    Lopez et al. 2018, *Deep generative modeling for single-cell transcriptomics*.

    Parameters
    ----------
    net
        The decoder.
    dispersion
        r: ``per-dim``, one learned number per element, or ``per-pixel``, of z, too.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> fn = ZeroInflatedNegativeBinomial(Decoder(2, [32], (4,)))(torch.zeros(5, 2))
    >>> fn.event_shape
    torch.Size([4])
    """

    def __init__(self, net: DecoderNet, *, dispersion: Dispersion = "per-dim") -> None:
        super().__init__()
        self.net = net
        self.elements = _Dispersed(net, dispersion)
        self.gate = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        elements = self.elements(h)
        inflated = dist.ZeroInflatedDistribution(elements, gate_logits=compressed(self.gate(h)))
        return inflated.to_event(len(self.net.x_shape))


@LIKELIHOODS.register("multinomial")
class Multinomial(nn.Module):
    """p(x | z, N) = Multinomial(x; N, softmax(h)) of the counts of a row, N their own total.

    Only the shares are explained: the total is taken as it is (Srivastava & Sutton 2017,
    arXiv:1703.01488, for words of documents).

    Parameters
    ----------
    net
        The decoder.
    total
        Of draws and of means; by default the mean total of the data, and 1 without data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> Multinomial(Decoder(2, [32], (8, 8)), total=10)(torch.zeros(5, 2)).event_shape
    torch.Size([8, 8])
    """

    def __init__(
        self,
        net: DecoderNet,
        *,
        total: Annotated[PositiveInt | None, FromData("mean_total")] = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.total = total or 1
        self.logits = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        logits = self.logits(self.net(*inputs))
        return MultinomialOfTotals(logits, self.total, len(self.net.x_shape))
