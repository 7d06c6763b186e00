"""Binary data."""

from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.parts.axes import LIKELIHOODS
from vaezoo.parts.networks import DecoderNet

__all__ = ["Bernoulli"]


@LIKELIHOODS.register("bernoulli")
class Bernoulli(nn.Module):
    """p(x | z) = Bernoulli(sigmoid(W h + b)) of the features h of z: one logit per binary element.

    Kingma & Welling 2014, arXiv:1312.6114, App. C.1.

    Examples
    --------
    >>> import torch
    >>> from vaezoo.parts.networks import Decoder
    >>> likelihood = Bernoulli(Decoder(2, [32], (8, 8)))
    >>> likelihood(torch.zeros(5, 2)).event_shape
    torch.Size([8, 8])
    """

    def __init__(self, net: DecoderNet) -> None:
        super().__init__()
        self.net = net
        self.logits = net.head()

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        logits = self.logits(self.net(*inputs))
        return dist.Bernoulli(logits=logits).to_event(len(self.net.x_shape))
