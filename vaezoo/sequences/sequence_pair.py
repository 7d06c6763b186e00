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
from vaezoo.pairs.particles import probing
from vaezoo.sequences.inputs import TAKES, by_frame, further_arguments
from vaezoo.sequences.joint import Joint, Layout

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

    A step with several latents returns a mapping from their names to distributions as ``prior`` and
    ``posterior``, and ``z`` is the mapping of their values in ``likelihood`` and ``transition``. A
    function in the mapping takes values of the step that stand before it, by their names:
    ``{"w": p(w_t | h_t), "z": lambda w: p(z_t | w, h_t)}``. A step that observes more than x
    returns ``{"x": ..., "y": ...}`` as ``likelihood``; y is then a further argument.

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
    prior: Callable[..., Any]  # a distribution, or several by name
    posterior: Callable[..., Any]
    likelihood: Callable[..., Any]
    transition: Callable[..., Tensor]

    # Where named latents stand in a row; None of a single one; not known before the first step.
    latent_layout: Layout | Literal["unknown"] | None = "unknown"

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
                    z_t = rollout.draw("prior", sample=partial(_sample_step, t))
                    x_t = rollout.observe(z_t, x[:, t], partial(_sample_step, t))
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
                    z_t = rollout.draw("posterior", e[:, t], sample=partial(_sample_step, t))
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


def _sample_step(t: int, name: str, fn: TorchDistribution, obs: Tensor | None = None) -> Tensor:
    value: Tensor = pyro.sample(f"{name}_{t}", fn, obs=obs)
    return value


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
            fn = self.pair.prior(self.h, *self._further("prior"))
        elif e is None:
            raise TypeError("the posterior of a step needs what the guide sees of its frame")
        else:
            fn = self.pair.posterior(e, self.h, *self._further("posterior"))
        layout = self.layout()
        if isinstance(fn, Mapping) != (layout is not None):
            forms = ("a mapping from names to distributions", "one distribution")
            prior, posterior = forms if layout else reversed(forms)
            raise RequestError(
                f"the prior of a step of {type(self.pair).__name__} gives {prior}, and its "
                f"posterior {posterior}: give both the same"
            )
        if isinstance(fn, Mapping):
            return Joint(fn, self.h.shape[:-1], layout, self._over_rows)
        return self._over_rows(fn)

    def layout(self) -> Layout | None:
        """Return where named latents stand in z_t ``(N, L)``; None for a pair with a single one.

        It is the prior's, and of the pair: it is found once, from a draw that leaves no trace.
        """
        if self.pair.latent_layout == "unknown":
            fn: Any = None
            with probing(self.pair, self.h.device):
                if self.pair.has_latents:
                    fn = self.pair.prior(self.h, *self._further("prior"))
                joint = Joint(fn, self.h.shape[:-1]) if isinstance(fn, Mapping) else None
            self.pair.latent_layout = joint and joint.layout
        return self.pair.latent_layout

    def draw(
        self,
        side: Side,
        e: Tensor | None = None,
        *,
        sample: Callable[[str, TorchDistribution], Tensor] = lambda _, fn: torch.as_tensor(
            fn.sample()
        ),
    ) -> Tensor:
        """Return z_t ``(N, z_dim)``, as ``sample(name, distribution)`` draws it.

        Several latents are one row, ``(N, L)``, that :meth:`latent` takes apart; without latents
        it is ``(N, 0)``.
        """
        if not self.pair.has_latents:
            return self.h[:, :0]
        fn = self.latent(side, e)
        return fn.draw(sample) if isinstance(fn, Joint) else sample("z", fn)

    def likelihoods(self, z: Tensor) -> dict[str, TorchDistribution]:
        """Return p(x_t | z_t, h_t), one for each row, and those of what else is observed."""
        fn = self.pair.likelihood(self._by_name(z), self.h, *self._further("likelihood"))
        if not isinstance(fn, Mapping):
            return {"x": self._over_rows(fn)}
        if "x" not in fn or not set(fn) <= {"x", *self.pair.inputs}:
            raise RequestError(
                f"the likelihood of a step of {type(self.pair).__name__} observes "
                f"{', '.join(fn)}: it has to observe x, and may observe further arguments of the "
                f"conditionals, which are {', '.join(self.pair.inputs) or 'none'}; name them, "
                f"`inputs = {tuple(name for name in fn if name != 'x')}`"
            )
        return {name: self._over_rows(part) for name, part in fn.items()}

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """Return p(x_t | z_t, h_t) of a pair that observes x alone."""
        fns = self.likelihoods(z)
        if len(fns) > 1:
            raise RequestError(
                f"a step of {type(self.pair).__name__} observes {', '.join(fns)}, and here it may "
                "observe x alone"
            )
        return fns["x"]

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """Return log p of x_t ``(N, *x_shape)``, and of what else is observed, ``(N,)``."""
        terms = [
            fn.log_prob(x if name == "x" else self.inputs[name])
            for name, fn in self.likelihoods(z).items()
        ]
        return sum(terms[1:], terms[0])

    def observe(self, z: Tensor, x: Tensor, sample: Callable[..., Tensor]) -> Tensor:
        """Return x_t as ``sample(name, distribution, x_t)`` gives it: the data, or a draw.

        What else is observed is what the next state sees.
        """
        values = {
            name: sample(name, fn, x if name == "x" else self.inputs[name])
            for name, fn in self.likelihoods(z).items()
        }
        x_t = values.pop("x")
        self.inputs = {**self.inputs, **values}
        return x_t

    def advance(self, z: Tensor, features: Tensor, running: Tensor | None = None) -> None:
        """Go to h_{t+1}, with z_t and ``features (N, F)`` of x_t; rows not ``running`` stay."""
        further = self._further("transition")
        after = self.pair.transition(features, self._by_name(z), self.h, *further)
        self.h = after if running is None else after.where(aligned(running, after), self.h)

    def generate(self) -> tuple[TorchDistribution, Tensor]:
        """Take a step of the model by itself: return p(x_t | z_t, h_t), and x_t as it was drawn."""
        fns, x = self.generate_all()
        return fns["x"], x

    def generate_all(self) -> tuple[dict[str, TorchDistribution], Tensor]:
        """Take a step of the model by itself: return p of all that is observed, and x_t."""
        z = self.draw("prior")
        fns = self.likelihoods(z)
        values = {name: fn.sample() for name, fn in fns.items()}
        x = values.pop("x")
        self.inputs = {**self.inputs, **values}
        self.advance(z, self.pair.embed(x))
        return fns, x

    def _by_name(self, z: Tensor) -> Any:
        """Return z_t as the conditionals take it: by the names of latents, where they have some."""
        layout = self.layout()
        return z if layout is None else layout.unpack(z)

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
    if isinstance(pair, SequencePair):
        return pair
    raise RequestError(
        f"{what} needs a sequence pair, written as one step (vaezoo.SequencePair, as vrnn), and "
        f"{type(pair).__name__} is none"
    )
