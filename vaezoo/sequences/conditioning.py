"""The next frames of sequences of any pair, by conditioning on those that are there.

The guide is run on the beginnings alone. The model is then run on more frames: what it visited
before has the values that it had, and what is new is drawn,

    z_{1:T} ~ q(z_{1:T} | x_{1:T}),   z_{>T}, x_{>T} ~ p(z_{>T}, x_{>T} | z_{1:T}, x_{1:T}).

Sites with the number of their step (``z_3``) are new or not by their name. A site of a whole path
is longer than before: its first frames are held, and the others are drawn given them, which is
exact where the frames of the site are independent, for a multivariate normal over time, and for
Pyro's hidden Markov models of normal states. A site whose shape does not change, as a latent of the
whole sequence, is held. All other cases are refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Tensor, nn

from vaezoo.distributions.families import is_boolean, point_of
from vaezoo.errors import RequestError
from vaezoo.observations.roles import SHAPES, Roles, by_argument
from vaezoo.pairs.sites import (
    Args,
    argument_names,
    model_of,
    repeat_rows,
    sample_sites,
    site_values,
    step_of,
    trace_pair,
)
from vaezoo.sequences.frames import lengthened

__all__ = ["Continuation", "along_time", "continue_by_conditioning", "with_room"]


@dataclass(frozen=True)
class Continuation:
    """Frames that come after beginnings, by the argument that they continue.

    Attributes
    ----------
    draws
        ``(B, S, steps, ...)`` each.
    points
        The mean of each frame given its latents, or what stands for it, of the same shapes.
    binary
        Arguments that are bits, so that their means are probabilities.
    """

    draws: dict[str, Tensor]
    points: dict[str, Tensor]
    binary: frozenset[str]


def along_time(pair: nn.Module, args: Args) -> list[str]:
    """Return the names of the arguments that have a value for each frame of x.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> pair = VRNN(x_shape=(2,), hidden=8, z_dim=4)
    >>> along_time(pair, (torch.zeros(3, 5, 2), torch.full((3,), 5)))
    ['x']
    """
    arguments = dict(zip(argument_names(pair), args, strict=True))
    frames = arguments["x"].shape[1:2]
    return [n for n, arg in arguments.items() if n != "length" and arg.shape[1:2] == frames]


@torch.no_grad()
def continue_by_conditioning(
    pair: nn.Module,
    args: Args,
    roles: Roles,
    prefix: int,
    steps: int,
    num_samples: int,
    *,
    conditions: Mapping[str, Tensor] | None = None,
) -> Continuation:
    """Continue sequences after a number of frames, the same of each.

    Parameters
    ----------
    pair
        Any pair that takes ``x`` and ``length``.
    args
        Sequences, and all else, ``(B, ...)``.
    roles
        What the sites observe.
    prefix
        Frames that are given.
    steps
        Frames to add.
    num_samples
        Continuations S of each, with latents of the beginning of their own.
    conditions
        Conditions ``(B, T, ...)`` of all ``prefix + steps`` frames, where those of ``args`` end.

    Raises
    ------
    RequestError
        When the model has no way to go on: a site of a path that cannot be conditioned, a latent
        that the guide does not draw, a condition with too few frames.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> from vaezoo.observations.roles import roles_of
    >>> pair = VRNN(x_shape=(2,), hidden=8, z_dim=4)
    >>> args = (torch.rand(3, 5, 2).round(), torch.full((3,), 5))
    >>> continued = continue_by_conditioning(pair, args, roles_of(pair, args), 5, 2, 10)
    >>> continued.draws["x"].shape
    torch.Size([3, 10, 2, 2])
    """
    names = argument_names(pair)
    repeated = dict(zip(names, repeat_rows(args, num_samples), strict=True))
    for name, value in (conditions or {}).items():
        repeated[name] = value.repeat_interleave(num_samples, 0)
    frames = _Frames(repeated, along_time(pair, args), roles)
    past = _past(pair, frames.until(prefix, prefix))
    last = prefix + steps
    more = frames.until(prefix, last)
    extended = _extend(pair, more, past)
    if _hears(pair, frames, extended, more, last):
        parts = []
        for number in range(prefix, last):
            more = frames.until(number, number + 1)
            extended = _extend(pair, more, past)
            new = frames.by_argument(pair, extended.values, more)
            frames.replace(new)
            parts.append((new, frames.by_argument(pair, extended.points, more)))
            past = {name: site["value"] for name, site in sample_sites(extended.trace).items()}
        draws, points = (
            {n: torch.cat([part[i][n][:, -1:] for part in parts], 1) for n in parts[0][i]}
            for i in (0, 1)
        )
    else:
        draws, points = (
            {n: value[:, prefix:] for n, value in frames.by_argument(pair, values, more).items()}
            for values in (extended.values, extended.points)
        )
    size = (len(args[0]), num_samples)
    return Continuation(
        {name: value.unflatten(0, size) for name, value in draws.items()},
        {name: value.unflatten(0, size) for name, value in points.items()},
        frames.binary(pair, extended.is_binary),
    )


def with_room(
    pair: nn.Module,
    args: Args,
    roles: Roles,
    prefix: int,
    steps: int,
    conditions: Mapping[str, Tensor] | None = None,
) -> Args:
    """Return the arguments of sequences of ``prefix + steps`` frames, data of the last to be drawn.

    Parameters are those of :func:`continue_by_conditioning`.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> from vaezoo.observations.roles import roles_of
    >>> pair = VRNN(x_shape=(2,), hidden=8, z_dim=4)
    >>> args = (torch.rand(3, 5, 2).round(), torch.full((3,), 5))
    >>> x, length = with_room(pair, args, roles_of(pair, args), 4, 2)
    >>> x.shape, length
    (torch.Size([3, 6, 2]), tensor([6, 6, 6]))
    """
    arguments = {**dict(zip(argument_names(pair), args, strict=True)), **(conditions or {})}
    return _Frames(arguments, along_time(pair, args), roles).until(prefix, prefix + steps)


class _Frames:
    """The arguments of sequences, cut or lengthened to a number of frames."""

    def __init__(
        self, arguments: Mapping[str, Tensor], in_time: Sequence[str], roles: Roles
    ) -> None:
        self.arguments = dict(arguments)
        self.in_time = in_time
        self.roles = roles

    def until(self, known: int, number: int) -> Args:
        """Return the arguments with so many frames, of which the first are those that there are."""
        cut = {name: self._cut(name, known, number) for name in self.in_time}
        length = torch.full_like(self.arguments["length"], number)
        return tuple({**self.arguments, "length": length, **cut}.values())

    def _cut(self, name: str, known: int, number: int) -> Tensor:
        value = self.arguments[name]
        if name not in (*self.roles.data, *SHAPES):
            if value.shape[1] < number:
                raise RequestError(
                    f"condition '{name}' has {value.shape[1]} frames, and {number} are needed: "
                    f"forecast less, or give it for all frames, `given={{'{name}': ...}}`"
                )
            return value[:, :number]
        first = value[:, :known]
        # Behind them a mask says that all is there; data are any values that the sites can explain.
        after = torch.ones_like(first[:, :1]) if name in SHAPES else first[:, -1:]
        return torch.cat([first, after.expand(-1, number - known, *after.shape[2:])], 1)

    def by_argument(
        self, pair: nn.Module, sites: Mapping[str, Tensor], args: Args
    ) -> dict[str, Tensor]:
        """Return values of observed sites by the arguments in time that they are."""
        arguments = dict(zip(argument_names(pair), args, strict=True))
        for site, taken in self.roles.observed.items():
            if taken is None:
                raise RequestError(
                    f"what site '{site}' observes is none of {', '.join(arguments)}: nothing says "
                    "what its next frames are; observe an argument as it is"
                )
        values = by_argument(self.roles, site_values(pair, sites), arguments)
        return {name: value for name, value in values.items() if name in self.in_time}

    def binary(self, pair: nn.Module, are_bits: Mapping[str, bool]) -> frozenset[str]:
        """Return the arguments whose sites all are bits."""
        bases = {(step_of(name) or (name,))[0]: bits for name, bits in are_bits.items()}
        names = {taken.argument for taken in self.roles.observed.values() if taken}
        return frozenset(
            name
            for name in names
            if all(
                bases[site]
                for site, taken in self.roles.observed.items()
                if taken and taken.argument == name
            )
        )

    def replace(self, drawn: Mapping[str, Tensor]) -> None:
        """Take frames that were drawn for those that there are."""
        self.arguments.update(drawn)


@dataclass(frozen=True)
class _Extended:
    """A run of the model on more frames: values and points of its observed sites."""

    trace: Trace
    values: dict[str, Tensor]
    points: dict[str, Tensor]
    is_binary: dict[str, bool]


def _past(pair: nn.Module, args: Args) -> dict[str, Tensor]:
    """Return the values of all sites of a beginning, latents as the guide draws them."""
    trace = trace_pair(pair, args)
    sites = sample_sites(trace.model)
    for name, site in sites.items():
        if not site["is_observed"] and name not in trace.guide.nodes:
            raise RequestError(
                f"a continuation holds what the guide finds in the beginning, and the guide draws "
                f"no site '{name}'; draw it in the guide, too"
            )
    return {name: site["value"] for name, site in sites.items()}


def _extend(pair: nn.Module, args: Args, past: Mapping[str, Tensor]) -> _Extended:
    with _Continue(past) as continued:
        trace = poutine.trace(model_of(pair)).get_trace(*args)
    observed = {
        name: site for name, site in sample_sites(trace).items() if name in continued.points
    }
    return _Extended(
        trace,
        {name: site["value"] for name, site in observed.items()},
        continued.points,
        {name: is_boolean(site["fn"]) for name, site in observed.items()},
    )


def _hears(pair: nn.Module, frames: _Frames, extended: _Extended, args: Args, number: int) -> bool:
    """Return whether the model looks at frames of its arguments to make others.

    Its sites then have other distributions when what was drawn is in the arguments.
    """
    names = argument_names(pair)
    new = frames.by_argument(pair, extended.values, args)
    arguments = {**dict(zip(names, args, strict=True)), **new}
    values = {name: site["value"] for name, site in sample_sites(extended.trace).items()}
    with _Continue(values):
        again = poutine.trace(model_of(pair)).get_trace(*arguments.values())
    sites, before = sample_sites(again), sample_sites(extended.trace)
    for name, site in sites.items():
        ours, theirs = (s["fn"].log_prob(s["value"]) for s in (site, before[name]))
        if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True):
            return True
    return False


class _Continue(Messenger):
    """Give sites the values that they had on fewer frames, and draw the rest given them."""

    def __init__(self, past: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.past = past
        self.points: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) or site_is_factor(msg) or msg["infer"].get("_deterministic"):
            return
        name, fn, past = msg["name"], msg["fn"], self.past.get(msg["name"])
        was_observed = msg["is_observed"]
        shape = msg["value"].shape if was_observed else fn.shape()
        if past is None:
            value = fn.rsample() if fn.has_rsample else fn.sample()
            point = point_of(fn)[0] if was_observed else value
        elif past.shape == shape:
            value = point = past
        else:
            value, point = lengthened(name, fn, past, torch.Size(shape))
        if was_observed:
            msg["infer"] = {**msg["infer"], "was_observed": True}
            self.points[name] = point.expand(value.shape)
        msg["is_observed"] = False
        msg["value"], msg["done"] = value, True
