"""The whole path of a sequence as one site: what is trained.

A pair with a site per step costs Python's time for every site. Here the latents of all steps are
one site ``z`` of event shape ``(T, z_dim)`` and the frames one site ``x``: only what depends on the
past runs in a loop; prior, likelihood and their densities are computed for all steps at once, and
model and guide share the states that the guide's draw went through.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, kl_divergence, register_kl

from vaezoo.distributions.families import elements_of_both
from vaezoo.pairs.divergences import kl_in_closed_form
from vaezoo.sequences.carry import HandedOn
from vaezoo.sequences.inputs import by_frame
from vaezoo.sequences.joint import Joint
from vaezoo.sequences.sequence_pair import Rollout, SequencePair, Side
from vaezoo.sequences.unrolled import Families, Family, Recurrence, Unrolled, by_rows, loop

__all__ = ["Frames", "PathPair", "training_form"]


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


class Walk:
    """The one path through the steps of one side, on which the paths of all latents lie.

    Parameters
    ----------
    begin
        Makes an :class:`Unrolled` without a path.
    side
        Whose conditionals are walked along.
    latent
        The latents of one step.
    size
        T and B.
    device
        Where they are.
    unrolled
        Sequences on a path, for the very values that it has.
    """

    def __init__(
        self,
        begin: Callable[[], Unrolled],
        side: Side,
        latent: TorchDistribution,
        size: torch.Size,
        device: torch.device,
        unrolled: Unrolled | None = None,
    ) -> None:
        self.begin = begin
        self.side: Side = side
        self.unrolled = unrolled
        fns = {"z": latent}
        self.family: Family | Families
        if isinstance(latent, Joint):
            fns = latent.of_some_values(device)
            self.family = Families(latent.layout, fns)
        else:
            self.family = Family(latent)
        self.paths = {name: Path(self, name, fn, size) for name, fn in fns.items()}
        self.values: dict[str, Tensor] = {}  # of the latents that sites have by now
        self._to_hand_out: set[str] = set()

    def draw(self, name: str) -> Tensor:
        """Return the path of a latent; that of the others is the same draw."""
        if name not in self._to_hand_out:
            if others := sorted(set(self.values) - {name}):
                raise NotImplementedError(f"path '{name}' is drawn with '{others[0]}', or not")
            self.unrolled = self.begin().draw(self.side, self.family)
            self._to_hand_out = set(self.paths)
        self._to_hand_out.remove(name)
        return self.walked().values[name]

    def through(self, values: Mapping[str, Tensor]) -> Unrolled:
        """Return the sequences on some paths, of other latents on those that sites have."""
        walked = {} if self.unrolled is None else self.unrolled.values
        values = {name: {**walked, **self.values, **values}[name] for name in self.paths}
        # By identity, not by value: the states belong to these tensors, and so do their gradients.
        if self.unrolled is None or any(walked[name] is not v for name, v in values.items()):
            self.unrolled = self.begin().through(values)
        return self.unrolled

    def walked(self) -> Unrolled:
        """Return the sequences on the path that was drawn.

        Raises
        ------
        NotImplementedError
            When none was: pyro then estimates a KL divergence from the densities.
        """
        if self.unrolled is None:
            raise NotImplementedError("no path was drawn")
        return self.unrolled


class Path(_AlongTime):
    """prod_t of the conditionals of a latent, batch shape ``(B,)``, event shape ``(T, *event)``.

    Parameters
    ----------
    walk
        Through all latents of the steps.
    name
        Which of them.
    latent
        A distribution of one step.
    size
        T and B.
    """

    def __init__(self, walk: Walk, name: str, latent: TorchDistribution, size: torch.Size) -> None:
        self.walk = walk
        self.name = name
        self.has_rsample = latent.has_rsample
        super().__init__(latent, size)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if len(sample_shape):
            raise NotImplementedError("a path is drawn once; repeat the sequences")
        return self.walk.draw(self.name)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        if len(self.walk.paths) > 1:  # of the same draw others may have gradients
            return self.rsample(sample_shape).detach()
        with torch.no_grad():
            return self.rsample(sample_shape)

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the mean of a path is known for its first step only")

    def log_prob(self, value: Tensor) -> Tensor:
        unrolled = self.walk.through({self.name: value})
        return unrolled.sum_over_steps(self.steps(unrolled).log_prob(by_rows(value)))

    def steps(self, unrolled: Unrolled) -> TorchDistribution:
        """Return the conditionals of all steps of sequences on a path."""
        return unrolled.steps(self.walk.side, self.name)

    def kl_per_latent(self, prior: "Path") -> Tensor | None:
        """Return KL(q_t || p_t) per element, summed along the path that was drawn, ``(B, *event)``.

        None where the conditionals do not factorise, or have no closed form.
        """
        walked = self.walk.walked()
        both = elements_of_both(prior.steps(walked), self.steps(walked))
        if both is None:
            return None
        p, q = both
        try:
            return walked.sum_over_steps(kl_divergence(q, p))
        except NotImplementedError:
            return None


@register_kl(Path, Path)  # type: ignore[untyped-decorator]
def _kl_of_paths(q: Path, p: Path) -> Tensor:
    """sum_t KL(q_t || p_t) on the path that was drawn from q, ``(B,)``.

    The KL divergence of two paths is the mean of this over paths: each step is exact given the one
    that was drawn before it, so that only the states are random. It has less noise than
    log q(z) - log p(z), and a gradient through the states.
    """
    walked = q.walk.walked()
    return walked.sum_over_steps(kl_in_closed_form(q.steps(walked), p.steps(walked)))


class Frames(_AlongTime):
    """prod_t p(x_t | z_t, h_t) on a path, batch shape ``(B,)``, event shape ``(T, *x_shape)``.

    Parameters
    ----------
    path
        The sequences on a path.
    steps
        p(x_t | z_t, h_t) of all steps, or that of another value that is observed.
    """

    def __init__(self, path: Unrolled, steps: TorchDistribution) -> None:
        self.path = path
        self.steps = steps
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

    Attributes
    ----------
    carry
        In training on windows of sequences, hands the state on from one to the next.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> from vaezoo.pairs.sites import trace_pair
    >>> pair = PathPair(VRNN(x_shape=(2,), hidden=8, z_dim=4))
    >>> trace = trace_pair(pair, (torch.zeros(5, 7, 2), torch.full((5,), 7)))
    >>> {name: q["value"].shape for name, (p, q) in trace.latents.items()}
    {'z': torch.Size([5, 7, 4])}
    """

    def __init__(self, pair: SequencePair, recurrence: Recurrence = loop) -> None:
        super().__init__()
        self.pair = pair
        self.recurrence = recurrence
        self.carry: HandedOn | None = None
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
        walk = self._walk("posterior", x, length, inputs)
        with pyro.plate("data", len(x)):
            for name, path in walk.paths.items():
                walk.values[name] = pyro.sample(name, path)
        self._from_guide = walk.unrolled

    def model(self, x: Tensor, length: Tensor, *inputs: Tensor) -> None:
        """p(x, z) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        from_guide, self._from_guide = self._from_guide, None
        with pyro.plate("data", len(x)):
            if not self.pair.has_latents:
                nothing = {"z": x.new_empty(*x.shape[:2], 0)}
                unrolled = self._begin(x, length, inputs).through(nothing)
            else:
                # Left over from a guide that was run without its model, it is of another batch.
                if from_guide and not (from_guide.x is x and from_guide.length is length):
                    from_guide = None
                walk = self._walk("prior", x, length, inputs, from_guide)
                for name, path in walk.paths.items():
                    walk.values[name] = pyro.sample(name, path)
                unrolled = walk.through(walk.values)
            observed = {"x": x, **by_frame(unrolled.inputs, x.shape[1])}
            for name, steps in unrolled.likelihoods().items():
                pyro.sample(name, Frames(unrolled, steps), obs=observed[name])

    def _begin(self, x: Tensor, length: Tensor, inputs: Sequence[Tensor]) -> Unrolled:
        named = self.pair.name_inputs(inputs)
        carry = self.carry if self.training else None
        return Unrolled(self.pair, x, length, self.recurrence, named, carry)

    def _walk(
        self,
        side: Side,
        x: Tensor,
        length: Tensor,
        inputs: Sequence[Tensor],
        unrolled: Unrolled | None = None,
    ) -> Walk:
        size = torch.Size((x.shape[1], len(x)))
        latent = self._latent(side, x, length, inputs)
        return Walk(lambda: self._begin(x, length, inputs), side, latent, size, x.device, unrolled)

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


def training_form(pair: nn.Module, recurrence: Recurrence = loop) -> nn.Module:
    """Return the pair that is trained and measured: of a sequence pair, that with whole paths.

    Examples
    --------
    >>> from vaezoo.models.vae_linear import VAELinear
    >>> from vaezoo.models.vrnn import VRNN
    >>> [type(training_form(cls(x_shape=(2,)))).__name__ for cls in (VRNN, VAELinear)]
    ['PathPair', 'VAELinear']
    """
    return PathPair(pair, recurrence) if isinstance(pair, SequencePair) else pair
