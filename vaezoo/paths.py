"""The whole path of a sequence as one site: what is trained.

A pair with a site per step costs Python's time for every site. Here the latents of all steps are
one site ``z`` of event shape ``(T, z_dim)`` and the frames one site ``x``: only what depends on the
past runs in a loop; prior, likelihood and their densities are computed for all steps at once, and
model and guide share the states that the guide's draw went through.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Independent, constraints, kl_divergence, register_kl

from vaezoo.lengths import frame_mask
from vaezoo.sequence import SequencePair

__all__ = ["Frames", "Path", "PathPair", "Unrolled", "training_form"]

Side = Literal["prior", "posterior"]


class Unrolled:
    """Sequences on a path z, and the states that it leads through.

    Rows are ordered by step, ``(T * B, ...)``, so that a step is a slice.

    Parameters
    ----------
    pair
        The pair.
    x
        Sequences ``(B, T, *x_shape)``.
    length
        Their lengths, ``(B,)``.
    recurrence
        Runs the loop; :func:`loop` by default.
    """

    def __init__(
        self, pair: SequencePair, x: Tensor, length: Tensor, recurrence: "Recurrence | None" = None
    ) -> None:
        self.pair = pair
        self.x = x
        self.length = length
        self.recurrence = recurrence or loop
        self.size = torch.Size((x.shape[1], x.shape[0]))
        self.mask = frame_mask(length, x.shape[1])
        self.features = pair.embed(x.transpose(0, 1).flatten(0, 1))
        self.z = self.h = x.new_empty(0)
        self._encoded: Tensor | None = None
        self._drawn_from: tuple[Side, TorchDistribution] | None = None

    @property
    def encoded(self) -> Tensor:
        """What the guide sees of each frame, ``(T * B, E)``."""
        if self._encoded is None:
            if type(self.pair).encode is SequencePair.encode:
                self._encoded = self.features
            else:
                e = self.pair.encode(self.x, self.length)
                self._encoded = e.transpose(0, 1).flatten(0, 1)
        return self._encoded

    def draw(self, side: Side, family: "Family") -> "Unrolled":
        """Draw a path from the guide, or from the prior given the frames before each step.

        ``family`` is that of a latent on this side.
        """
        given = self.encoded if side == "posterior" else self.features[:, :0]
        inputs = [self._by_step(given), self._by_step(self.features)]
        _, (z, h, *parameters) = self.recurrence(
            DrawStep(self.pair, side, family), inputs, self.pair.initial(self.x)
        )
        self.z, self.h = z.transpose(0, 1), h.flatten(0, 1)
        if parameters:
            flat = [value.flatten(0, 1) for value in parameters]
            self._drawn_from = (side, family.rebuild(flat))
        return self

    def through(self, z: Tensor) -> "Unrolled":
        """Take the path ``z (B, T, z_dim)``, and no other."""
        inputs = [z.transpose(0, 1), self._by_step(self.features)]
        _, (h,) = self.recurrence(FollowStep(self.pair), inputs, self.pair.initial(self.x))
        self.z, self.h = z, h.flatten(0, 1)
        return self

    def steps(self, side: Side) -> TorchDistribution:
        """Return the conditionals of all steps, batch shape ``(T * B,)``."""
        if self._drawn_from and self._drawn_from[0] == side:
            return self._drawn_from[1]
        return self._rows(conditional(self.pair, side)(self.encoded, self.h))

    def likelihood(self) -> TorchDistribution:
        """Return p(x_t | z_t, h_t) of all steps, batch shape ``(T * B,)``."""
        z = self.z.transpose(0, 1).flatten(0, 1)
        return self._rows(self.pair.likelihood(z, self.h))

    def sum_over_steps(self, values: Tensor) -> Tensor:
        """Return the sum over the frames of each sequence of ``(T * B, ...)``, ``(B, ...)``."""
        by_sequence = self._by_step(values).transpose(0, 1)
        mask = self.mask.reshape(*self.mask.shape, *[1] * (values.dim() - 1))
        return torch.where(mask, by_sequence, 0.0).sum(1)

    def _by_step(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, self.size)

    def _rows(self, fn: TorchDistribution) -> TorchDistribution:
        """Give every row a distribution of its own where all have one."""
        rows = torch.Size((self.size.numel(),))
        return fn if fn.batch_shape == rows else fn.expand(rows)


def conditional(pair: SequencePair, side: Side) -> Callable[[Tensor, Tensor], TorchDistribution]:
    """Return the distribution of a latent on one side as a function of e and h."""
    return pair.posterior if side == "posterior" else lambda e, h: pair.prior(h)


class Family:
    """The family of a distribution, and how it is put together from its parameters."""

    def __init__(self, fn: Any) -> None:
        self.num_reinterpreted = 0
        while isinstance(fn, Independent):
            self.num_reinterpreted += fn.reinterpreted_batch_ndims
            fn = fn.base_dist
        self.cls = type(fn)
        self.names = tuple(name for name in fn.arg_constraints if name in vars(fn))

    def parameters(self, fn: Any) -> list[Tensor]:
        """Return the parameters of a distribution; none of a family that is not made of them."""
        while isinstance(fn, Independent):
            fn = fn.base_dist
        return [getattr(fn, name) for name in self.names]

    def rebuild(self, parameters: list[Tensor]) -> TorchDistribution:
        """Return the distribution that has some parameters."""
        fn = self.cls(**dict(zip(self.names, parameters, strict=True)))
        return fn.to_event(self.num_reinterpreted)


class DrawStep:
    """One step of drawing a path: ``(h, e_t, f_t)`` to ``(h', z_t, h, parameters of z_t)``."""

    def __init__(self, pair: SequencePair, side: Side, family: Family) -> None:
        self.pair = pair
        self.kind: str = side
        self.family = family
        self.conditional = conditional(pair, side)

    def __call__(self, h: Tensor, e: Tensor, f: Tensor) -> tuple[Tensor, ...]:
        fn = self.conditional(e, h)
        fn = fn if fn.batch_shape == h.shape[:1] else fn.expand(h.shape[:1])
        z = fn.rsample() if fn.has_rsample else fn.sample()
        return self.pair.transition(f, z, h), z, h, *self.family.parameters(fn)


class FollowStep:
    """One step along a given path: ``(h, z_t, f_t)`` to ``(h', h)``."""

    def __init__(self, pair: SequencePair) -> None:
        self.pair = pair
        self.kind = "given"

    def __call__(self, h: Tensor, z: Tensor, f: Tensor) -> tuple[Tensor, ...]:
        return self.pair.transition(f, z, h), h


Step = DrawStep | FollowStep
Recurrence = Callable[[Step, Sequence[Tensor], Tensor], tuple[Tensor, list[Tensor]]]


def loop(step: Step, inputs: Sequence[Tensor], h: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run a step along time.

    Parameters
    ----------
    step
        From the state ``(B, H)`` and the inputs of a step to the next state and outputs.
    inputs
        Of all steps, each ``(T, B, ...)``.
    h
        The first state.

    Returns
    -------
    tuple
        The last state, and the outputs of all steps, each ``(T, B, ...)``.
    """
    outputs = []
    for values in zip(*[tensor.unbind(0) for tensor in inputs], strict=True):
        h, *out = step(h, *values)
        outputs.append(out)
    return h, [torch.stack(values) for values in zip(*outputs, strict=True)]


class Path(TorchDistribution):
    """prod_t of the conditionals of one side, batch shape ``(B,)``, event shape ``(T, z_dim)``.

    Parameters
    ----------
    begin
        Makes an :class:`Unrolled` without a path.
    side
        Whose conditionals they are.
    latent
        A distribution of one step.
    size
        T and B.
    known
        Sequences on a path, for that very value of z.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(
        self,
        begin: Callable[[], Unrolled],
        side: Side,
        latent: TorchDistribution,
        size: torch.Size,
        known: Unrolled | None = None,
    ) -> None:
        self.begin = begin
        self.side: Side = side
        self.known = known
        self.latent = latent
        self.has_rsample = latent.has_rsample
        event = torch.Size((size[0], *latent.event_shape))
        super().__init__(size[1:], event, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(self.latent.support, 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Path":
        if torch.Size(batch_shape) != self.batch_shape:
            raise NotImplementedError("a path belongs to the sequences that it was made for")
        return self

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if len(sample_shape):
            raise NotImplementedError("a path is drawn once; repeat the sequences")
        self.known = self.begin().draw(self.side, Family(self.latent))
        return self.known.z

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the mean of a path is known for its first step only")

    def at(self, z: Tensor) -> Unrolled:
        """Return the sequences on a path."""
        if self.known is None or self.known.z is not z:
            self.known = self.begin().through(z)
        return self.known

    def log_prob(self, value: Tensor) -> Tensor:
        path = self.at(value)
        return path.sum_over_steps(path.steps(self.side).log_prob(by_rows(value)))

    def kl_per_latent(self, prior: "Path") -> Tensor | None:
        """Return KL(q_t || p_t) per element, summed along the path that was drawn, ``(B, *event)``.

        None where the conditionals do not factorise.
        """
        q, p = (self._drawn().steps(side) for side in (self.side, prior.side))
        while isinstance(q, Independent) and isinstance(p, Independent):
            q, p = q.base_dist, p.base_dist
        if q.event_shape or p.event_shape:
            return None
        return self._drawn().sum_over_steps(kl_divergence(q, p))

    def _drawn(self) -> Unrolled:
        if self.known is None:
            raise NotImplementedError("no path was drawn")
        return self.known


@register_kl(Path, Path)  # type: ignore[untyped-decorator]
def _kl_of_paths(q: Path, p: Path) -> Tensor:
    """sum_t KL(q_t || p_t) on the path that was drawn from q, ``(B,)``."""
    path = q._drawn()
    return path.sum_over_steps(kl_divergence(path.steps(q.side), path.steps(p.side)))


class Frames(TorchDistribution):
    """prod_t p(x_t | z_t, h_t) on a path, batch shape ``(B,)``, event shape ``(T, *x_shape)``.

    Parameters
    ----------
    path
        The sequences on a path.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, path: Unrolled) -> None:
        self.path = path
        self.steps = path.likelihood()
        event = torch.Size((path.size[0], *self.steps.event_shape))
        super().__init__(path.size[1:], event, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(self.steps.support, 1)

    @property
    def base_dist(self) -> Any:
        return self.steps.base_dist

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Frames":
        if torch.Size(batch_shape) != self.batch_shape:
            raise NotImplementedError("a path belongs to the sequences that it was made for")
        return self

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._by_sequence(self.steps.sample(sample_shape))

    @property
    def mean(self) -> Tensor:
        return self._by_sequence(self.steps.mean)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.path.sum_over_steps(self.steps.log_prob(by_rows(value)))

    def _by_sequence(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, self.path.size).transpose(0, 1)


def by_rows(sequences: Tensor) -> Tensor:
    """Return ``(B, T, ...)`` as rows ordered by step, ``(T * B, ...)``."""
    return sequences.transpose(0, 1).flatten(0, 1)


class PathPair(nn.Module):
    """A sequence pair with one site ``z (B, T, z_dim)`` and one site ``x (B, T, *x_shape)``.

    Its densities are those of the pair with a site per step, and its parameters are the same
    tensors. Prediction is the other one's: here x is what the states were computed from.

    Parameters
    ----------
    pair
        The pair, described by one step.
    recurrence
        Runs the loop over time.
    """

    def __init__(self, pair: SequencePair, recurrence: Recurrence = loop) -> None:
        super().__init__()
        self.pair = pair
        self.recurrence = recurrence
        self._drawn: Unrolled | None = None

    def guide(self, x: Tensor, length: Tensor) -> None:
        """q(z | x) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        if not self.pair.has_latents:
            return
        path = self._path("posterior", x, length)
        with pyro.plate("data", len(x)):
            pyro.sample("z", path)
        self._drawn = path.known

    def model(self, x: Tensor, length: Tensor) -> None:
        """p(x, z) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        drawn, self._drawn = self._drawn, None
        with pyro.plate("data", len(x)):
            if not self.pair.has_latents:
                known = self._begin(x, length).through(x.new_empty(*x.shape[:2], 0))
            else:
                is_same = drawn is not None and drawn.x is x and drawn.length is length
                path = self._path("prior", x, length, drawn if is_same else None)
                known = path.at(pyro.sample("z", path))
            pyro.sample("x", Frames(known), obs=x)

    def _begin(self, x: Tensor, length: Tensor) -> Unrolled:
        return Unrolled(self.pair, x, length, self.recurrence)

    def _path(self, side: Side, x: Tensor, length: Tensor, known: Unrolled | None = None) -> Path:
        size = torch.Size((x.shape[1], len(x)))
        latent = self._latent(side, x, length)
        return Path(lambda: self._begin(x, length), side, latent, size, known)

    @torch.no_grad()
    def _latent(self, side: Side, x: Tensor, length: Tensor) -> TorchDistribution:
        """Return the distribution of the first step of one sequence."""
        first = Unrolled(self.pair, x[:1, :1], length[:1].clamp(max=1))
        given = first.encoded if side == "posterior" else first.features
        return conditional(self.pair, side)(given, self.pair.initial(first.x))


def training_form(pair: nn.Module) -> nn.Module:
    """Return the pair that is trained and measured: of a sequence pair, that with whole paths."""
    return PathPair(pair) if isinstance(pair, SequencePair) else pair
