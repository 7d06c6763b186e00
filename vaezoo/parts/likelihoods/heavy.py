"""Real data with outliers: tails that are heavier than those of a Gaussian."""

import math
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.parts.axes import LIKELIHOODS
from vaezoo.parts.likelihoods.links import LocScaleHead
from vaezoo.parts.networks import DecoderNet

__all__ = ["Laplace", "StudentT"]


@LIKELIHOODS.register("laplace")
class Laplace(nn.Module):
    """p(x | z) = Laplace(x; mu(h), b(h)): absolute error, with a scale of its own for each element.

    Parameters
    ----------
    net
        The decoder.
    floor
        Smallest scale b, in units of the (transformed) data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> Laplace(Decoder(2, [32], (4,)))(torch.zeros(5, 2)).event_shape
    torch.Size([4])
    """

    def __init__(self, net: DecoderNet, *, floor: NonNegativeFloat = 0.01) -> None:
        super().__init__()
        self.net = net
        self.head = LocScaleHead(net.head, floor)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(self.net(*inputs))
        return dist.Laplace(loc, scale).to_event(len(self.net.x_shape))


@LIKELIHOODS.register("student-t")
class StudentT(nn.Module):
    """p(x | z) = StudentT(x; df, mu(h), sigma(h)): real data with outliers.

    Parameters
    ----------
    net
        The decoder.
    df
        Degrees of freedom of all elements: a number, or ``learned``, above 1, so that there is a
        mean. It starts at 5.
    floor
        Smallest sigma, in units of the (transformed) data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> likelihood = StudentT(Decoder(2, [32], (4,)))
    >>> likelihood(torch.zeros(5, 2)).base_dist.df[0, 0]
    tensor(5., grad_fn=<SelectBackward0>)
    """

    fixed: Tensor

    def __init__(
        self,
        net: DecoderNet,
        *,
        df: PositiveFloat | Literal["learned"] = "learned",
        floor: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        self.net = net
        self.head = LocScaleHead(net.head, floor)
        self.is_learned = df == "learned"
        if self.is_learned:
            self.log_df = nn.Parameter(torch.tensor(math.log(4.0)))
        else:
            self.register_buffer("fixed", torch.tensor(float(df)))

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(self.net(*inputs))
        df = 1 + self.log_df.exp() if self.is_learned else self.fixed
        return dist.StudentT(df, loc, scale).to_event(len(self.net.x_shape))
