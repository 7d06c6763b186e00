"""Sequence pairs, written as one time step.

    p(x, z)  = prod_t p(z_t | h_t) p(x_t | z_t, h_t)
    q(z | x) = prod_t q(z_t | e_t, h_t)
    h_{t+1}  = f(x_t, z_t, h_t)

The author writes the four conditionals. From them come the model and the guide with a site per
step, below, and the form that is trained, :class:`vaezoo.sequences.paths.PathPair`, with one site
per path.
"""

from collections.abc import Callable
from typing import ClassVar

import pyro
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

__all__ = ["SequencePair"]


class SequencePair(nn.Module):
    """A model and a guide of sequences, described by the conditionals of one step.

    A subclass defines ``prior``, ``posterior``, ``likelihood`` and ``transition``, each as a method
    or as a module; all rows of a batch, and all steps, go through them side by side, so that they
    see rows only, ``(N, ...)``. It sets ``hidden``, the width of h, or defines :meth:`initial`.

    ==============================  =======================  ====================================
    conditional                     is                       shapes
    ==============================  =======================  ====================================
    ``prior(h)``                    p(z_t | h_t)             h ``(N, H)``, event ``(z_dim,)``
    ``posterior(e, h)``             q(z_t | e_t, h_t)        e ``(N, E)``, event ``(z_dim,)``
    ``likelihood(z, h)``            p(x_t | z_t, h_t)        event ``x_shape``
    ``transition(f, z, h)``         h_{t+1}                  f ``(N, F)`` the features of x_t
    ==============================  =======================  ====================================

    A model without latents sets ``has_latents = False``, needs neither prior nor posterior, and is
    handed latents of no width, ``(N, 0)``.
    """

    has_latents: ClassVar[bool] = True

    hidden: int
    prior: Callable[[Tensor], TorchDistribution]
    posterior: Callable[[Tensor, Tensor], TorchDistribution]
    likelihood: Callable[[Tensor, Tensor], TorchDistribution]
    transition: Callable[[Tensor, Tensor, Tensor], Tensor]

    def initial(self, x: Tensor) -> Tensor:
        """Return h_0 ``(B, H)`` for sequences ``x (B, T, *x_shape)``; zeros."""
        return x.new_zeros(len(x), self.hidden)

    def embed(self, x: Tensor) -> Tensor:
        """Return features ``(N, F)`` of frames ``x (N, *x_shape)``; the frames, flat."""
        return x.flatten(1)

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """Return what the guide sees of ``x (B, T, *x_shape)`` at each step, ``(B, T, E)``.

        By default the features of that frame. What stands behind ``length (B,)`` is padding, and
        must not matter.
        """
        return self.embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def model(self, x: Tensor, length: Tensor) -> None:
        """prod_t p(z_t | h_t) p(x_t | z_t, h_t) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        h = self.initial(x)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z_t = pyro.sample(f"z_{t}", self.prior(h)) if self.has_latents else h[:, :0]
                    # The value that comes back is x[:, t], or the model's own draw in prediction.
                    x_t = pyro.sample(f"x_{t}", self.likelihood(z_t, h), obs=x[:, t])
                h = self.transition(self.embed(x_t), z_t, h)

    def guide(self, x: Tensor, length: Tensor) -> None:
        """prod_t q(z_t | e_t, h_t) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        if not self.has_latents:
            return
        h, e = self.initial(x), self.encode(x, length)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z_t = pyro.sample(f"z_{t}", self.posterior(e[:, t], h))
                h = self.transition(self.embed(x[:, t]), z_t, h)
