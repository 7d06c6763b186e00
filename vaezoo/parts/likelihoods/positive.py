"""Positive data: durations, prices, intensities."""

from pydantic import NonNegativeFloat, PositiveFloat
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.distributions.positive import LogNormal as LogNormalDistribution
from vaezoo.parts.axes import LIKELIHOODS
from vaezoo.parts.likelihoods.links import LocScaleHead, positive
from vaezoo.parts.networks import DecoderNet

__all__ = ["Gamma", "LogNormal"]


@LIKELIHOODS.register("gamma")
class Gamma(nn.Module):
    """p(x | z) = Gamma(x; a(h), a(h) / mu(h)), of mean mu: positive, the deviation grows with mu.

    Parameters
    ----------
    net
        The decoder.
    floor
        Smallest concentration a.

    Examples
    --------
    >>> import torch
    >>> from vaezoo.parts.networks import Decoder
    >>> Gamma(Decoder(2, [32], (4,)))(torch.zeros(5, 2)).event_shape
    torch.Size([4])
    """

    def __init__(self, net: DecoderNet, *, floor: PositiveFloat = 0.01) -> None:
        super().__init__()
        self.net = net
        self.floor = floor
        self.log_mean = net.head()
        self.log_concentration = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        concentration = self.floor + positive(self.log_concentration(h))
        rate = concentration / positive(self.log_mean(h))
        return dist.Gamma(concentration, rate).to_event(len(self.net.x_shape))


@LIKELIHOODS.register("log-normal")
class LogNormal(nn.Module):
    """log x = N(mu(h), sigma(h)^2): positive, the logarithm Gaussian.

    Parameters
    ----------
    net
        The decoder.
    floor
        Smallest sigma, of the logarithm.

    Examples
    --------
    >>> import torch
    >>> from vaezoo.parts.networks import Decoder
    >>> LogNormal(Decoder(2, [32], (4,)))(torch.zeros(5, 2)).event_shape
    torch.Size([4])
    """

    def __init__(self, net: DecoderNet, *, floor: NonNegativeFloat = 0.01) -> None:
        super().__init__()
        self.net = net
        self.head = LocScaleHead(net.head, floor)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(self.net(*inputs))
        return dist.Independent(LogNormalDistribution(loc, scale), len(self.net.x_shape))
