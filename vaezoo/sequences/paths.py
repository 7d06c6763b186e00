"""The whole path of a sequence as one site: what is trained.

A pair with a site per step costs Python's time for every site. Here the latents of all steps are
one site ``z`` of event shape ``(T, z_dim)`` and the frames one site ``x``: only what depends on the
past runs in a loop; prior, likelihood and their densities are computed for all steps at once, and
model and guide share the states that the guide's draw went through.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, kl_divergence, register_kl

from vaezoo.distributions.families import elements_of_both
from vaezoo.errors import RequestError
from vaezoo.sequences.sequence_pair import Rollout, SequencePair, Side, by_frame
from vaezoo.sequences.unrolled import Family, Recurrence, Unrolled, by_rows, loop

__all__ = ["Frames", "Path", "PathPair", "training_form"]


class _AlongTime(TorchDistribution):
    """A distribution of whole sequences, batch shape ``(B,)``, event shape ``(T, *event)``.

    Parameters
    ----------
    conditional
        Of a step, or of many: has its event shape and its support.
    size
        T and B.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, conditional: TorchDistribution, size: torch.Size) -> None:
        self.conditional = conditional
        event = torch.Size((size[0], *conditional.event_shape))
        super().__init__(size[1:], event, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(self.conditional.support, 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        if torch.Size(batch_shape) != self.batch_shape:
            raise NotImplementedError("a path belongs to the sequences that it was made for")
        return self


class Path(_AlongTime):
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
    unrolled
        Sequences on a path, for that very value of z.
    """

    def __init__(
        self,
        begin: Callable[[], Unrolled],
        side: Side,
        latent: TorchDistribution,
        size: torch.Size,
        unrolled: Unrolled | None = None,
    ) -> None:
        self.begin = begin
        self.side: Side = side
        self.unrolled = unrolled
        self.has_rsample = latent.has_rsample
        super().__init__(latent, size)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if len(sample_shape):
            raise NotImplementedError("a path is drawn once; repeat the sequences")
        self.unrolled = self.begin().draw(self.side, Family(self.conditional))
        return self.unrolled.z

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the mean of a path is known for its first step only")

    def at(self, z: Tensor) -> Unrolled:
        """Return the sequences on a path."""
        # By identity, not by value: the states belong to this tensor, and so do their gradients.
        if self.unrolled is None or self.unrolled.z is not z:
            self.unrolled = self.begin().through(z)
        return self.unrolled

    def log_prob(self, value: Tensor) -> Tensor:
        path = self.at(value)
        return path.sum_over_steps(path.steps(self.side).log_prob(by_rows(value)))

    def kl_per_latent(self, prior: "Path") -> Tensor | None:
        """Return KL(q_t || p_t) per element, summed along the path that was drawn, ``(B, *event)``.

        None where the conditionals do not factorise.
        """
        q, p = (self.drawn_path().steps(side) for side in (self.side, prior.side))
        both = elements_of_both(p, q)
        if both is None:
            return None
        p, q = both
        return self.drawn_path().sum_over_steps(kl_divergence(q, p))

    def drawn_path(self) -> Unrolled:
        """Return the sequences on the path that was drawn.

        Raises
        ------
        NotImplementedError
            When none was: pyro then estimates a KL divergence from the densities.
        """
        if self.unrolled is None:
            raise NotImplementedError("no path was drawn")
        return self.unrolled


@register_kl(Path, Path)  # type: ignore[untyped-decorator]
def _kl_of_paths(q: Path, p: Path) -> Tensor:
    """sum_t KL(q_t || p_t) on the path that was drawn from q, ``(B,)``.

    The KL divergence of two paths is the mean of this over paths: each step is exact given the one
    that was drawn before it, so that only the states are random. It has less noise than
    log q(z) - log p(z), and a gradient through the states.
    """
    path = q.drawn_path()
    return path.sum_over_steps(kl_divergence(path.steps(q.side), path.steps(p.side)))


class Frames(_AlongTime):
    """prod_t p(x_t | z_t, h_t) on a path, batch shape ``(B,)``, event shape ``(T, *x_shape)``.

    Parameters
    ----------
    path
        The sequences on a path.
    """

    def __init__(self, path: Unrolled) -> None:
        self.path = path
        self.steps = path.likelihood()
        super().__init__(self.steps, path.size)

    @property
    def base_dist(self) -> Any:
        return self.steps.base_dist

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._by_sequence(self.steps.sample(sample_shape))

    @property
    def mean(self) -> Tensor:
        return self._by_sequence(self.steps.mean)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.path.sum_over_steps(self.steps.log_prob(by_rows(value)))

    def _by_sequence(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, self.path.size).transpose(0, 1)


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
    truncate
        Frames after which gradients are cut; 0 for never.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> from vaezoo.pairs.sites import trace_pair
    >>> pair = PathPair(VRNN(x_shape=(2,), hidden=8, z_dim=4))
    >>> trace = trace_pair(pair, (torch.zeros(5, 7, 2), torch.full((5,), 7)))
    >>> {name: q["value"].shape for name, (p, q) in trace.latents.items()}
    {'z': torch.Size([5, 7, 4])}
    """

    def __init__(
        self, pair: SequencePair, recurrence: Recurrence = loop, *, truncate: int = 0
    ) -> None:
        super().__init__()
        self.pair = pair
        self.recurrence = recurrence
        self.truncate = truncate
        # The guide's path waits here for the model: the states that it went through are those
        # that prior and likelihood need, and the loop over time is run once for both.
        self._from_guide: Unrolled | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the arguments after length: those that the conditionals take."""
        return self.pair.inputs

    def guide(self, x: Tensor, length: Tensor, *inputs: Tensor) -> None:
        """q(z | x) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        if not self.pair.has_latents:
            return
        path = self._path("posterior", x, length, inputs)
        with pyro.plate("data", len(x)):
            pyro.sample("z", path)
        self._from_guide = path.unrolled

    def model(self, x: Tensor, length: Tensor, *inputs: Tensor) -> None:
        """p(x, z) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        from_guide, self._from_guide = self._from_guide, None
        with pyro.plate("data", len(x)):
            if not self.pair.has_latents:
                unrolled = self._begin(x, length, inputs).through(x.new_empty(*x.shape[:2], 0))
            else:
                # Left over from a guide that was run without its model, it is of another batch.
                if from_guide and not (from_guide.x is x and from_guide.length is length):
                    from_guide = None
                path = self._path("prior", x, length, inputs, from_guide)
                unrolled = path.at(pyro.sample("z", path))
            pyro.sample("x", Frames(unrolled), obs=x)

    def _begin(self, x: Tensor, length: Tensor, inputs: Sequence[Tensor]) -> Unrolled:
        named = self.pair.name_inputs(inputs)
        return Unrolled(self.pair, x, length, self.recurrence, self.truncate, named)

    def _path(
        self,
        side: Side,
        x: Tensor,
        length: Tensor,
        inputs: Sequence[Tensor],
        unrolled: Unrolled | None = None,
    ) -> Path:
        size = torch.Size((x.shape[1], len(x)))
        latent = self._latent(side, x, length, inputs)
        return Path(lambda: self._begin(x, length, inputs), side, latent, size, unrolled)

    @torch.no_grad()
    def _latent(
        self, side: Side, x: Tensor, length: Tensor, inputs: Sequence[Tensor]
    ) -> TorchDistribution:
        """Return the distribution of the first step of one sequence.

        A path has to say its event shape and support before anything is drawn, and only the
        conditionals know those of a step.
        """
        named = self.pair.name_inputs(inputs)
        row = {n: v[:1, :1] for n, v in by_frame(named, x.shape[1]).items()}
        first = Unrolled(self.pair, x[:1, :1], length[:1].clamp(max=1), inputs=row)
        rollout = Rollout(self.pair, self.pair.first_state(first.x, row), first.rows)
        return rollout.latent(side, first.encoded if side == "posterior" else None)


def training_form(
    pair: nn.Module, recurrence: Recurrence = loop, *, truncate: int = 0
) -> nn.Module:
    """Return the pair that is trained and measured: of a sequence pair, that with whole paths.

    Raises
    ------
    RequestError
        When gradients are to be cut in time, and the pair has no steps.

    Examples
    --------
    >>> from vaezoo.models.vae_linear import VAELinear
    >>> from vaezoo.models.vrnn import VRNN
    >>> [type(training_form(cls(x_shape=(2,)))).__name__ for cls in (VRNN, VAELinear)]
    ['PathPair', 'VAELinear']
    """
    if isinstance(pair, SequencePair):
        return PathPair(pair, recurrence, truncate=truncate)
    if truncate:
        raise RequestError(
            f"`truncate` cuts gradients between the steps of a SequencePair, and "
            f"{type(pair).__name__} is none; drop it, or write the pair as one step"
        )
    return pair
