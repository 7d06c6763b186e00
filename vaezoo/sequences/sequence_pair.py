"""Sequence pairs, written as one time step.

    p(x, z)  = prod_t p(z_t | h_t) p(x_t | z_t, h_t)
    q(z | x) = prod_t q(z_t | e_t, h_t)
    h_{t+1}  = f(x_t, z_t, h_t)

The author writes the four conditionals. :class:`Rollout` takes them through time, and everything
that runs a pair goes through it: the model and the guide with a site per step, below; the form that
is trained, :class:`vaezoo.sequences.paths.PathPair`, with one site per path; particle filters,
forecasts and imputation.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Literal

import pyro
import torch
from pyro import poutine
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.pairs.lengths import aligned

__all__ = ["Rollout", "SequencePair", "Side", "as_sequence_pair", "by_frame"]

Side = Literal["prior", "posterior"]

# How many arguments each conditional takes before those that a pair adds.
TAKES = {"prior": 1, "posterior": 2, "likelihood": 2, "transition": 3, "encode": 2, "initial": 1}


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

    What a conditional takes beyond these are further arguments of the pair, by their names: with
    ``prior(h, u)`` data have actions u ``(B, T, U)`` beside x, and the prior sees those of its
    step, ``(N, U)``. What has no frames, as a label ``(B, C)``, is that of each step. ``encode``
    and ``initial`` may take them as well, and get them whole. A pair whose conditionals are modules
    lists their names: ``inputs = ("u",)``.

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
    inputs: ClassVar[tuple[str, ...]] = ()

    hidden: int
    prior: Callable[..., TorchDistribution]
    posterior: Callable[..., TorchDistribution]
    likelihood: Callable[..., TorchDistribution]
    transition: Callable[..., Tensor]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "inputs" not in vars(cls):
            methods = {n: vars(cls)[n] for n in TAKES if inspect.isfunction(vars(cls).get(n))}
            names = (further_arguments(fn, TAKES[n] + 1) for n, fn in methods.items())
            cls.inputs = tuple(dict.fromkeys([*cls.inputs, *chain(*names)]))

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

    def model(self, x: Tensor, length: Tensor, *inputs: Tensor) -> None:
        """prod_t p(z_t | h_t) p(x_t | z_t, h_t) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        named = self.name_inputs(inputs)
        rollout, steps = Rollout(self, self.first_state(x, named)), by_frame(named, x.shape[1])
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                rollout.inputs = {name: value[:, t] for name, value in steps.items()}
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z_t = rollout.draw("prior", sample=partial(pyro.sample, f"z_{t}"))
                    # The value that comes back is x[:, t], or the model's own draw in prediction.
                    x_t = pyro.sample(f"x_{t}", rollout.likelihood(z_t), obs=x[:, t])
                rollout.advance(z_t, self.embed(x_t))

    def guide(self, x: Tensor, length: Tensor, *inputs: Tensor) -> None:
        """prod_t q(z_t | e_t, h_t) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        if not self.has_latents:
            return
        named = self.name_inputs(inputs)
        rollout, steps = Rollout(self, self.first_state(x, named)), by_frame(named, x.shape[1])
        e = self.encode_sequence(x, length, named)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                rollout.inputs = {name: value[:, t] for name, value in steps.items()}
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    sample = partial(pyro.sample, f"z_{t}")
                    z_t = rollout.draw("posterior", e[:, t], sample=sample)
                rollout.advance(z_t, self.embed(x[:, t]))

    def name_inputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the further arguments by their names.

        Raises
        ------
        RequestError
            When there are fewer or more than the conditionals take.
        """
        if len(inputs) != len(self.inputs):
            names = "".join(f", {name}" for name in self.inputs)
            raise RequestError(
                f"the conditionals of {type(self).__name__} take ({', '.join(self.inputs)}), and "
                f"{len(inputs)} arguments came after length: a model and a guide of its own hand "
                "all of them on, "
                f"`super().model(x, length{names})`"
            )
        return dict(zip(self.inputs, inputs, strict=True))

    def first_state(self, x: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return :meth:`initial`, of what it takes."""
        further = further_arguments(self.initial, 1) if inputs else ()
        return self.initial(x, *[inputs[name] for name in further])

    def encode_sequence(self, x: Tensor, length: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return :meth:`encode`, of what it takes."""
        further = further_arguments(self.encode, 2) if inputs else ()
        return self.encode(x, length, *[inputs[name] for name in further])


def further_arguments(part: Callable[..., Any], number: int) -> tuple[str, ...]:
    """Return the names of the arguments of a conditional that come after so many.

    Examples
    --------
    >>> further_arguments(lambda h, u: h + u, 1)
    ('u',)
    """
    fn = part.forward if isinstance(part, nn.Module) else part
    parameters = list(inspect.signature(fn).parameters.values())[number:]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in kinds and p.default is p.empty)


def by_frame(inputs: Mapping[str, Tensor], num_frames: int) -> dict[str, Tensor]:
    """Return further arguments with a value for each frame, ``(B, T, ...)``.

    Examples
    --------
    >>> by_frame({"label": torch.zeros(3, 2)}, 5)["label"].shape
    torch.Size([3, 5, 2])
    """
    return {
        name: value
        if value.shape[1:2] == (num_frames,)
        else value.unsqueeze(1).expand(-1, num_frames, *value.shape[1:])
        for name, value in inputs.items()
    }


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
    inputs
        Further arguments of the conditionals of the next step by name, ``(N, ...)``.

    Examples
    --------
    Three frames that the model makes by itself:

    >>> from vaezoo.models.vrnn import VRNN
    >>> pair = VRNN(x_shape=(2,), hidden=8, z_dim=4)
    >>> rollout = Rollout(pair, pair.initial(torch.zeros(5, 0, 2)))
    >>> torch.stack([rollout.generate()[1] for _ in range(3)], 1).shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self, pair: SequencePair, h: Tensor, inputs: Mapping[str, Tensor] | None = None
    ) -> None:
        self.pair = pair
        self.h = h
        self.inputs = inputs or {}

    def latent(self, side: Side, e: Tensor | None = None) -> TorchDistribution:
        """Return p(z_t | h_t), or q(z_t | e_t, h_t) of ``e (N, E)``, one for each row.

        Without latents it is the one distribution of no element, of density one.
        """
        if not self.pair.has_latents:
            return Normal(self.h[:, :0], 1.0).to_event(1)
        if side == "prior":
            return self._over_rows(self.pair.prior(self.h, *self._further("prior")))
        if e is None:
            raise TypeError("the posterior of a step needs what the guide sees of its frame")
        return self._over_rows(self.pair.posterior(e, self.h, *self._further("posterior")))

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
        return self._over_rows(self.pair.likelihood(z, self.h, *self._further("likelihood")))

    def advance(self, z: Tensor, features: Tensor, running: Tensor | None = None) -> None:
        """Go to h_{t+1}, with z_t and ``features (N, F)`` of x_t; rows not ``running`` stay."""
        after = self.pair.transition(features, z, self.h, *self._further("transition"))
        self.h = after if running is None else after.where(aligned(running, after), self.h)

    def generate(self) -> tuple[TorchDistribution, Tensor]:
        """Take a step of the model by itself: return p(x_t | z_t, h_t), and x_t as it was drawn."""
        z = self.draw("prior")
        fn = self.likelihood(z)
        x = fn.sample()
        self.advance(z, self.pair.embed(x))
        return fn, x

    def _further(self, part: str) -> list[Tensor]:
        if not self.inputs:
            return []
        names = further_arguments(getattr(self.pair, part), TAKES[part])
        return [self.inputs[name] for name in names]

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
    if isinstance(pair, SequencePair) and pair.inputs:
        raise RequestError(
            f"{what} takes pairs of x and length alone so far, and the conditionals of "
            f"{type(pair).__name__} take {', '.join(pair.inputs)}"
        )
    if isinstance(pair, SequencePair):
        return pair
    raise RequestError(
        f"{what} needs a sequence pair, written as one step (vaezoo.SequencePair, as vrnn), and "
        f"{type(pair).__name__} is none"
    )
