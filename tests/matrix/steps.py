"""Small sequence pairs that are described by one step: further inputs, and several sites in it."""

import math
from typing import Any

from pyro.distributions import TorchDistribution
from torch import Tensor

from vaezoo import SequencePair, parts


class SteeredStep(SequencePair):
    """Controls u ``(B, T, U)``; the state is z of the frame before."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden, size = 2, math.prod(x_shape)
        self.p_z = parts.DiagonalNormal(parts.Encoder((2 + 2,), [8]), 2)
        self.q_z = parts.DiagonalNormal(parts.Encoder((size + 2 + 2,), [8]), 2)
        self.p_x = parts.Gaussian(parts.Decoder(2, [8], x_shape))

    def prior(self, h: Tensor, u: Tensor) -> TorchDistribution:
        return self.p_z(h, u)

    def posterior(self, e: Tensor, h: Tensor, u: Tensor) -> TorchDistribution:
        return self.q_z(e, h, u)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        return self.p_x(z)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return z


class TwoPerStepFast(SequencePair):
    """w_t | w_{t-1} and z_t | w_t; x_t and y_t | z_t."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden, size = 2, math.prod(x_shape)
        self.p_w = parts.DiagonalNormal(parts.Encoder((2,), [8]), 2)
        self.p_z = parts.DiagonalNormal(parts.Encoder((2,), [8]), 3)
        self.q_w = parts.DiagonalNormal(parts.Encoder((size + 2,), [8]), 2)
        self.q_z = parts.DiagonalNormal(parts.Encoder((size + 2,), [8]), 3)
        self.p_x = parts.Gaussian(parts.Decoder(3, [8], x_shape))
        self.p_y = parts.Gaussian(parts.Decoder(3, [8], (2,)))

    def prior(self, h: Tensor) -> dict[str, Any]:
        return {"w": self.p_w(h), "z": lambda w: self.p_z(w)}

    def posterior(self, e: Tensor, h: Tensor) -> dict[str, Any]:
        return {"w": self.q_w(e, h), "z": lambda w: self.q_z(e, w)}

    def likelihood(self, z: dict[str, Tensor], h: Tensor) -> dict[str, Any]:
        return {"x": self.p_x(z["z"]), "y": self.p_y(z["z"])}

    def transition(self, f: Tensor, z: dict[str, Tensor], h: Tensor, y: Tensor) -> Tensor:
        return z["w"]
