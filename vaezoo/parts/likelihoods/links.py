"""From the reals of a network to the parameters of a distribution, finite wherever it wanders."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["LocScaleHead", "compressed", "positive"]

_LIMIT = 15.0


def compressed(h: Tensor, limit: float = _LIMIT) -> Tensor:
    """Return h up to a limit, beyond it a logarithm: monotone, with a slope that never vanishes.

    Examples
    --------
    >>> compressed(torch.tensor([-2.0, 15.0, 1e6]))
    tensor([-2.0000, 15.0000, 28.8155])
    """
    beyond = (h.abs() - limit).clamp(min=0)
    return h.clamp(-limit, limit) + h.sign() * torch.log1p(beyond)


def positive(h: Tensor) -> Tensor:
    """Return exp(h), beyond ``exp(15)`` a straight line: it neither overflows nor reaches 0.

    Examples
    --------
    >>> positive(torch.tensor([0.0, 1e6])).isfinite().all(), positive(torch.tensor(-1e6)) > 0
    (tensor(True), tensor(True))
    """
    return compressed(h).exp()


class LocScaleHead(nn.Module):
    """Location and scale of a density, two separate heads of one set of features.

    Parameters
    ----------
    head
        Makes one layer from features to the shape of the data.
    floor
        Smallest scale, in units of the data.

    Examples
    --------
    >>> loc, scale = LocScaleHead(lambda: nn.Linear(2, 3), 0.1)(torch.full((1, 2), 1e9))
    >>> bool(scale.isfinite().all()), bool((scale >= 0.1).all())
    (True, True)
    """

    def __init__(self, head: Callable[[], nn.Module], floor: float) -> None:
        super().__init__()
        self.loc = head()
        self.log_scale = head()
        self.floor = floor

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.loc(h), self.floor + positive(self.log_scale(h))
