"""Levels 0, 1, ..., K - 1: grey levels, ratings, categories."""

from typing import Annotated

import torch
from pydantic import PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaezoo.distributions.levels import DiscretizedLogistic as DiscretizedLogisticDistribution
from vaezoo.distributions.levels import LevelMixture, Levels, ordinal_logits
from vaezoo.errors import RequestError
from vaezoo.parts.axes import LIKELIHOODS, FromData
from vaezoo.parts.networks import DecoderNet

__all__ = ["Categorical", "DiscretizedLogistic", "NumLevels", "OneHot", "Ordinal"]

NumLevels = Annotated[PositiveInt | None, FromData("num_levels")]
_BYTES = 256  # levels without data to count them in


@LIKELIHOODS.register("categorical")
class Categorical(nn.Module):
    """p(x | z) = Cat(x; softmax(h)): each of K levels has its own probability, in any form.

    Parameters
    ----------
    net
        The decoder.
    num_levels
        K; by default the largest value of the data plus 1, and 256 without data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> fn = Categorical(Decoder(2, [32], (8, 8)), num_levels=17)(torch.zeros(5, 2))
    >>> fn.event_shape, fn.mean.shape
    (torch.Size([8, 8]), torch.Size([5, 8, 8]))
    """

    def __init__(self, net: DecoderNet, *, num_levels: NumLevels = None) -> None:
        super().__init__()
        self.net = net
        self.logits = net.head(per_element=num_levels or _BYTES)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        levels = Levels(self.logits(self.net(*inputs)))
        return dist.Independent(levels, len(self.net.x_shape))


@LIKELIHOODS.register("ordinal")
class Ordinal(nn.Module):
    """p(x <= k | z) = sigmoid(c_k - h): levels in an order, of one number h per element.

    The cuts c_k rise, and are learned for each element (McCullagh 1980, proportional odds).

    Parameters
    ----------
    net
        The decoder.
    num_levels
        K, two or more; by default the largest value of the data plus 1, and 256 without data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> fn = Ordinal(Decoder(2, [32], (4,)), num_levels=5)(torch.zeros(3, 2))
    >>> fn.log_prob(torch.zeros(3, 4)).shape
    torch.Size([3])
    """

    def __init__(self, net: DecoderNet, *, num_levels: NumLevels = None) -> None:
        super().__init__()
        number = max(2, num_levels or _BYTES)
        self.net = net
        self.location = net.head()
        self.first = nn.Parameter(torch.full((*net.x_shape, 1), -(number**0.5) / 2))
        # softplus(0.54) = 1; cuts one apart would be further apart than a network reaches.
        self.apart = nn.Parameter(torch.full((*net.x_shape, number - 2), _inverse(number**-0.5)))

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        steps = torch.cat([self.first, 1e-4 + softplus(self.apart)], -1)
        logits = ordinal_logits(self.location(self.net(*inputs)), steps.cumsum(-1))
        return dist.Independent(Levels(logits), len(self.net.x_shape))


def _inverse(value: float) -> float:
    """Return the number whose softplus is a value."""
    return float(torch.tensor(value).expm1().log())


@LIKELIHOODS.register("discretized-logistic")
class DiscretizedLogistic(nn.Module):
    """p(x | z) of logistics that are rounded to K levels, for which levels near others are alike.

    Salimans et al. 2017, arXiv:1701.05517, eq. 2, without the autoregression: given z the elements
    are independent. One component by default (Kingma et al. 2016, arXiv:1606.04934).

    Parameters
    ----------
    net
        The decoder.
    num_components
        Of the mixture of each element.
    num_levels
        K; by default the largest value of the data plus 1, and 256 without data.
    floor
        Smallest scale, in levels.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> fn = DiscretizedLogistic(Decoder(2, [32], (8, 8)), num_components=3)(torch.zeros(5, 2))
    >>> fn.event_shape, fn.mean.shape
    (torch.Size([8, 8]), torch.Size([5, 8, 8]))
    """

    def __init__(
        self,
        net: DecoderNet,
        *,
        num_components: PositiveInt = 1,
        num_levels: NumLevels = None,
        floor: PositiveFloat = 0.02,
    ) -> None:
        super().__init__()
        self.net = net
        self.num_levels = num_levels or _BYTES
        self.num_components = num_components
        self.floor = floor
        self.layer = net.head(per_element=2 if num_components == 1 else 3 * num_components)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        outputs, event_dim = self.layer(self.net(*inputs)), len(self.net.x_shape)
        if self.num_components == 1:
            return self._logistics(*outputs.unbind(-1)).to_event(event_dim)
        logits, loc, log_scale = outputs.chunk(3, -1)
        components = self._logistics(loc, log_scale)
        return LevelMixture(dist.Categorical(logits=logits), components).to_event(event_dim)

    def _logistics(self, loc: Tensor, log_scale: Tensor) -> dist.TorchDistribution:
        """Return logistics; 0, 0 are the middle of the levels, and a quarter of their range."""
        half = (self.num_levels - 1) / 2
        scale = self.floor + half / 2 * softplus(log_scale + 0.54)
        return DiscretizedLogisticDistribution(half * (1 + loc), scale, self.num_levels)


@LIKELIHOODS.register("one-hot")
class OneHot(nn.Module):
    """p(x | z) = Cat(x; softmax(h)) of data that are one-hot along their last axis.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> fn = OneHot(Decoder(2, [32], (6, 3)))(torch.zeros(5, 2))
    >>> fn.batch_shape, fn.event_shape
    (torch.Size([5]), torch.Size([6, 3]))
    """

    def __init__(self, net: DecoderNet) -> None:
        super().__init__()
        if net.x_shape[-1] < 2:
            raise RequestError(
                f"the likelihood 'one-hot' needs two categories or more along the last axis, not "
                f"{net.x_shape}; use `likelihood='categorical'` for their numbers"
            )
        self.net = net
        self.logits = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        logits = self.logits(self.net(*inputs))
        return dist.OneHotCategorical(logits=logits, validate_args=False).to_event(
            len(self.net.x_shape) - 1
        )
