"""Shares, in [0, 1]: grey levels as they are, rates, fractions."""

from pydantic import PositiveFloat
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaezoo.distributions.unit import ContinuousBernoulli as ContinuousBernoulliDistribution
from vaezoo.parts.axes import LIKELIHOODS
from vaezoo.parts.networks import DecoderNet

__all__ = ["Beta", "ContinuousBernoulli"]


@LIKELIHOODS.register("continuous-bernoulli")
class ContinuousBernoulli(nn.Module):
    """p(x | z) = exp(h x) / C(h) on [0, 1]: a density of grey levels, which a Bernoulli is not.

    Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845: without C, binary cross-entropy on values
    between 0 and 1 is the log of no density.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> fn = ContinuousBernoulli(Decoder(2, [32], (8, 8)))(torch.zeros(5, 2))
    >>> fn.batch_shape, fn.event_shape
    (torch.Size([5]), torch.Size([8, 8]))
    """

    def __init__(self, net: DecoderNet) -> None:
        super().__init__()
        self.net = net
        self.logits = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        elements = ContinuousBernoulliDistribution(self.logits(self.net(*inputs)))
        return dist.Independent(elements, len(self.net.x_shape))


@LIKELIHOODS.register("beta")
class Beta(nn.Module):
    """p(x | z) = Beta(x; a(h), b(h)): shares strictly between 0 and 1, each with its own spread.

    Parameters
    ----------
    net
        The decoder.
    floor
        Smallest a and b.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> Beta(Decoder(2, [32], (4,)))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    def __init__(self, net: DecoderNet, *, floor: PositiveFloat = 0.01) -> None:
        super().__init__()
        self.net = net
        self.floor = floor
        self.above = net.head()
        self.below = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        a, b = (self.floor + softplus(head(h)) for head in (self.above, self.below))
        return dist.Beta(a, b).to_event(len(self.net.x_shape))
