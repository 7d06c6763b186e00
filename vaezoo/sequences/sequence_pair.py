"""Sequence pairs, written as one time step.

    p(x, z)  = prod_t p(z_t | h_t) p(x_t | z_t, h_t)
    q(z | x) = prod_t q(z_t | e_t, h_t)
    h_{t+1}  = f(x_t, z_t, h_t)

The author writes the four conditionals. :class:`Rollout` takes them through time, and everything
that runs a pair goes through it: the model and the guide with a site per step, below; the form that
is trained, :class:`vaezoo.sequences.paths.PathPair`, with one site per path; particle filters,
forecasts and imputation.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import pyro
import torch
from pyro import poutine
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.pairs.lengths import aligned

__all__ = ["Rollout", "SequencePair", "Side", "as_sequence_pair"]

Side = Literal["prior", "posterior"]


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

    Examples
    --------
    A random walk that is seen through noise, with a guide that shrinks each frame:

    >>> class Walk(SequencePair):
    ...     hidden = 1
    ...
    ...     def prior(self, h):  # p(z_t | z_{t-1}), as h is z_{t-1}
    ...         return Normal(h, 1.0).to_event(1)
    ...
    ...     def posterior(self, e, h):
    ...         return Normal(0.5 * (e + h), 0.7).to_event(1)
    ...
    ...     def likelihood(self, z, h):
    ...         return Normal(z, 1.0).to_event(1)
    ...
    ...     def transition(self, f, z, h):
    ...         return z
    >>> from vaezoo.testing import check_pair
    >>> check_pair(Walk(), (torch.randn(4, 3, 1), torch.tensor([3, 1, 2, 3]))).ok
    True
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
        rollout = Rollout(self, self.initial(x))
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z_t = rollout.draw("prior", sample=partial(pyro.sample, f"z_{t}"))
                    # The value that comes back is x[:, t], or the model's own draw in prediction.
                    x_t = pyro.sample(f"x_{t}", rollout.likelihood(z_t), obs=x[:, t])
                rollout.advance(z_t, self.embed(x_t))

    def guide(self, x: Tensor, length: Tensor) -> None:
        """prod_t q(z_t | e_t, h_t) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        if not self.has_latents:
            return
        rollout, e = Rollout(self, self.initial(x)), self.encode(x, length)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    sample = partial(pyro.sample, f"z_{t}")
                    z_t = rollout.draw("posterior", e[:, t], sample=sample)
                rollout.advance(z_t, self.embed(x[:, t]))


class Rollout:
    """Sequences that go through the steps of a pair, side by side.

    A step is: z_t from one of :meth:`latent`, x_t from :meth:`likelihood`, and :meth:`advance` with
    what the next state sees of both. Who rolls out decides which values they take.

    Attributes
    ----------
    pair
        The pair.
    h
        The state of each row before the next step, ``(N, H)``.

    Examples
    --------
    Three frames that the model makes by itself:

    >>> from vaezoo.models.vrnn import VRNN
    >>> pair = VRNN(x_shape=(2,), hidden=8, z_dim=4)
    >>> rollout = Rollout(pair, pair.initial(torch.zeros(5, 0, 2)))
    >>> torch.stack([rollout.generate()[1] for _ in range(3)], 1).shape
    torch.Size([5, 3, 2])
    """

    def __init__(self, pair: SequencePair, h: Tensor) -> None:
        self.pair = pair
        self.h = h

    def latent(self, side: Side, e: Tensor | None = None) -> TorchDistribution:
        """Return p(z_t | h_t), or q(z_t | e_t, h_t) of ``e (N, E)``, one for each row.

        Without latents it is the one distribution of no element, of density one.
        """
        if not self.pair.has_latents:
            return Normal(self.h[:, :0], 1.0).to_event(1)
        if side == "prior":
            return self._over_rows(self.pair.prior(self.h))
        if e is None:
            raise TypeError("the posterior of a step needs what the guide sees of its frame")
        return self._over_rows(self.pair.posterior(e, self.h))

    def draw(
        self,
        side: Side,
        e: Tensor | None = None,
        *,
        sample: Callable[[TorchDistribution], Tensor] = lambda fn: torch.as_tensor(fn.sample()),
    ) -> Tensor:
        """Return z_t ``(N, z_dim)``, as ``sample`` draws it; without latents ``(N, 0)``."""
        return sample(self.latent(side, e)) if self.pair.has_latents else self.h[:, :0]

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """Return p(x_t | z_t, h_t), one for each row."""
        return self._over_rows(self.pair.likelihood(z, self.h))

    def advance(self, z: Tensor, features: Tensor, running: Tensor | None = None) -> None:
        """Go to h_{t+1}, with z_t and ``features (N, F)`` of x_t; rows not ``running`` stay."""
        after = self.pair.transition(features, z, self.h)
        self.h = after if running is None else after.where(aligned(running, after), self.h)

    def generate(self) -> tuple[TorchDistribution, Tensor]:
        """Take a step of the model by itself: return p(x_t | z_t, h_t), and x_t as it was drawn."""
        z = self.draw("prior")
        fn = self.likelihood(z)
        x = fn.sample()
        self.advance(z, self.pair.embed(x))
        return fn, x

    def _over_rows(self, fn: TorchDistribution) -> TorchDistribution:
        """Give each row a distribution of its own where all have one.

        A batch that does not fit stays as it is: pyro's plates refuse it in words that name the
        site.
        """
        rows, batch = self.h.shape[:-1], fn.batch_shape
        sizes = zip(reversed(batch), reversed(rows), strict=False)
        fits = len(batch) <= len(rows) and all(size in (1, number) for size, number in sizes)
        return fn.expand(rows) if fits and batch != rows else fn


def as_sequence_pair(pair: nn.Module, what: str) -> SequencePair:
    """Return a pair that is described by one step, and refuse any other.

    Parameters
    ----------
    pair
        Any pair.
    what
        What needs it, as it begins the message: ``"a forecast"``.

    Raises
    ------
    RequestError
        When the pair is no :class:`SequencePair`.

    Examples
    --------
    >>> as_sequence_pair(nn.Linear(2, 2), "a forecast")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vaezoo.errors.RequestError: a forecast needs a sequence pair, ...and Linear is none
    """
    if isinstance(pair, SequencePair):
        return pair
    raise RequestError(
        f"{what} needs a sequence pair, written as one step (vaezoo.SequencePair, as vrnn), and "
        f"{type(pair).__name__} is none"
    )
