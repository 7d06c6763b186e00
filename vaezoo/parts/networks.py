"""Networks that pairs are built from: encoders, decoders and Gaussian heads.

A network maps its inputs to features, and its ``head()`` makes a new layer from these features, so
that a likelihood or a posterior can ask for as many layers as it has parameters. Several inputs
stand side by side: the network of p(x | z, h) is called with ``(z, h)``.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError

__all__ = [
    "Activation",
    "Decoder",
    "DecoderNet",
    "Encoder",
    "EncoderNet",
    "GaussianHead",
    "Net",
    "sigma_of",
]

Activation = Literal["tanh", "relu", "elu", "softplus", "silu"]
Net = Literal["mlp", "conv"]


class EncoderNet(Protocol):
    """What a posterior is built from: a module as :class:`Encoder`."""

    x_shape: tuple[int, ...]

    def __call__(self, *inputs: Tensor) -> Tensor: ...
    def head(self, num_outputs: int) -> nn.Module: ...


class DecoderNet(Protocol):
    """What a likelihood is built from: a module as :class:`Decoder`."""

    x_shape: tuple[int, ...]

    def __call__(self, *inputs: Tensor) -> Tensor: ...
    def head(
        self, num_outputs: int | None = None, *, per_element: int | None = None
    ) -> nn.Module: ...


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "silu": nn.SiLU,
}
_CHANNELS = 32


def mlp(sizes: Sequence[int], activation: Activation) -> nn.Sequential:
    """Return linear layers of the given sizes, each followed by the activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def _side_by_side(inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1)


class Encoder(nn.Module):
    """Features h ``(B, H)`` of a datum x ``(B, *x_shape)``.

    Parameters
    ----------
    x_shape
        Shape of one datum. For ``net="conv"`` an image, ``(H, W)`` or ``(C, H, W)``.
    hidden
        Widths of the fully connected layers; the last is the number of features. Without layers
        the features are the datum itself, flat.
    activation
        After each layer.
    net
        ``"mlp"``, or ``"conv"``: before the fully connected layers, convolutions of 32 channels,
        4 x 4 and stride 2, until the image is at most 7 pixels wide (Burgess et al. 2018).

    Examples
    --------
    >>> encoder = Encoder((8, 8), [32])
    >>> encoder(torch.zeros(5, 8, 8)).shape
    torch.Size([5, 32])
    >>> encoder.head(2)
    Linear(in_features=32, out_features=2, bias=True)
    """

    def __init__(
        self,
        x_shape: Sequence[int],
        hidden: Sequence[int] = (),
        *,
        activation: Activation = "relu",
        net: Net = "mlp",
    ) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        if net == "conv":
            image = _image_shape(x_shape)
            sizes = _pyramid(image)
            self.stem = _convolutions(image, len(sizes) - 1, activation)
            width = _CHANNELS * math.prod(sizes[-1])
        else:
            self.stem = nn.Sequential()
            width = math.prod(x_shape)
        self.body = mlp([width, *hidden], activation)
        self.num_features = hidden[-1] if hidden else width

    def forward(self, *inputs: Tensor) -> Tensor:
        x = _side_by_side(inputs)
        batch_shape = x.shape[: x.dim() - len(self.x_shape)]
        h = self.body(self.stem(x.reshape(-1, math.prod(self.x_shape))))
        return torch.as_tensor(h.reshape(*batch_shape, -1))

    def head(self, num_outputs: int) -> nn.Module:
        """Return a new linear layer from the features to ``(B, num_outputs)``."""
        return nn.Linear(self.num_features, num_outputs)


class Decoder(nn.Module):
    """Features of a latent z ``(B, z_dim)``, from which heads reach ``(B, *x_shape)``.

    The mirror image of :class:`Encoder`: ``hidden`` goes from z towards x, whose shape comes last.

    Examples
    --------
    >>> decoder = Decoder(2, [32], (8, 8))
    >>> decoder.head()(decoder(torch.zeros(5, 2))).shape
    torch.Size([5, 8, 8])
    >>> decoder.head(per_element=3)(decoder(torch.zeros(5, 2))).shape
    torch.Size([5, 8, 8, 3])
    """

    def __init__(
        self,
        z_dim: int,
        hidden: Sequence[int],
        x_shape: Sequence[int],
        *,
        activation: Activation = "relu",
        net: Net = "mlp",
    ) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        self.net = net
        widths = [z_dim, *hidden]
        if net == "conv":
            self.sizes = _pyramid(_image_shape(x_shape))
            self.body = _transposed(widths, self.sizes, activation)
        else:
            self.body = mlp(widths, activation)
        self.num_features = widths[-1]

    def forward(self, *inputs: Tensor) -> Tensor:
        z = _side_by_side(inputs)
        if self.net == "mlp":
            return torch.as_tensor(self.body(z))
        h = self.body(z.reshape(-1, z.shape[-1]))
        return torch.as_tensor(h.reshape(*z.shape[:-1], *h.shape[1:]))

    def head(self, num_outputs: int | None = None, *, per_element: int | None = None) -> nn.Module:
        """Return a new layer from the features to one parameter per element of x.

        With ``num_outputs`` it is a linear layer to so many parameters, ``(B, num_outputs)``; with
        ``per_element`` each element has so many, ``(B, *x_shape, per_element)``.
        """
        if num_outputs is not None:
            return self._flat_head(num_outputs)
        shape = self.x_shape if per_element is None else (*self.x_shape, per_element)
        if self.net == "mlp":
            flat = nn.Linear(self.num_features, math.prod(shape))
            return nn.Sequential(flat, nn.Unflatten(-1, shape))
        channels = _image_shape(self.x_shape)[0] * (per_element or 1)
        return _ImageHead(_upsample(channels, self.sizes[0]), self.x_shape, per_element)

    def _flat_head(self, num_outputs: int) -> nn.Module:
        if self.net == "mlp":
            return nn.Linear(self.num_features, num_outputs)
        width = _CHANNELS * math.prod(self.sizes[1])
        return nn.Sequential(nn.Flatten(-3), nn.Linear(width, num_outputs))


def _convolutions(
    image: tuple[int, int, int], num_halvings: int, activation: Activation
) -> nn.Sequential:
    """Return layers from flat images to flat features, each of which halves height and width."""
    layers: list[nn.Module] = [nn.Unflatten(1, image)]
    for inputs, outputs in pairwise([image[0], *[_CHANNELS] * num_halvings]):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Flatten())


def _transposed(
    widths: Sequence[int], sizes: Sequence[tuple[int, int]], activation: Activation
) -> nn.Sequential:
    """Return layers from latents to features of half the size of the data, ``sizes[1]``."""
    deepest = _CHANNELS * math.prod(sizes[-1])
    layers: list[nn.Module] = [
        mlp([*widths, deepest], activation),
        nn.Unflatten(1, (_CHANNELS, *sizes[-1])),
    ]
    for target in sizes[-2:0:-1]:
        layers += [_upsample(_CHANNELS, target), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


class _ImageHead(nn.Module):
    """The last transposed convolution, with any leading batch dimensions kept."""

    def __init__(
        self, layer: nn.Module, x_shape: tuple[int, ...], per_element: int | None = None
    ) -> None:
        super().__init__()
        self.layer = layer
        self.x_shape = x_shape
        self.per_element = per_element

    def forward(self, h: Tensor) -> Tensor:
        batch_shape = h.shape[:-3]
        x = self.layer(h.reshape(-1, *h.shape[-3:]))
        if self.per_element is None:
            return torch.as_tensor(x.reshape(*batch_shape, *self.x_shape))
        x = x.reshape(*batch_shape, self.per_element, *self.x_shape)
        return torch.as_tensor(x.movedim(len(batch_shape), -1))


def _image_shape(x_shape: Sequence[int]) -> tuple[int, int, int]:
    if len(x_shape) not in (2, 3):
        raise RequestError(
            f"net 'conv' needs images, (H, W) or (C, H, W), but one datum is {tuple(x_shape)}; "
            "use `net='mlp'`"
        )
    channels, height, width = (1, *x_shape) if len(x_shape) == 2 else x_shape
    return channels, height, width


def _pyramid(image: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Sizes of the image from the data down to at most 7 pixels wide, at least one halving."""
    sizes = [image[1:]]
    while (max(sizes[-1]) > 7 or len(sizes) == 1) and min(sizes[-1]) >= 2:
        height, width = sizes[-1]
        sizes.append((height // 2, width // 2))
    if len(sizes) == 1:
        raise RequestError(f"net 'conv' needs images of 2 x 2 or more, got {image[1:]}")
    return sizes


def _upsample(channels: int, target: tuple[int, int]) -> nn.ConvTranspose2d:
    odd = (target[0] % 2, target[1] % 2)
    return nn.ConvTranspose2d(_CHANNELS, channels, 4, 2, 1, output_padding=odd)


class GaussianHead(nn.Module):
    """Mean and standard deviation of a Gaussian, two separate heads of one set of features.

    ``loc = W4 h + b4`` and ``log sigma^2 = W5 h + b5`` as in Kingma & Welling 2014
    (arXiv:1312.6114, App. C.2), with ``sigma^2 = floor^2 + exp(log sigma^2)``, so that sigma is
    never below the floor and its gradient never vanishes.

    Parameters
    ----------
    head
        Makes one layer from features to the shape of the Gaussian.
    floor
        Smallest standard deviation, in units of the data.
    """

    def __init__(self, head: Callable[[], nn.Module], floor: float = 0.0) -> None:
        super().__init__()
        self.loc = head()
        self.log_var = head()
        self.floor = floor

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.loc(h), sigma_of(self.log_var(h), self.floor)


def sigma_of(log_var: Tensor, floor: float) -> Tensor:
    """Return the standard deviation of a log-variance, ``sqrt(floor^2 + exp(log_var))``."""
    if floor == 0.0:
        return torch.exp(0.5 * log_var)
    return torch.sqrt(log_var.exp() + floor**2)
