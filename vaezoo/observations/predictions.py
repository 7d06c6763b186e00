"""What a pair says of data: drawn from the prior, reconstructed, encoded."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.distributions.families import PointKind, family, mode_of, point_of
from vaezoo.errors import RequestError
from vaezoo.options import PointValue, ShownValue, require_choice
from vaezoo.pairs.handlers import hold, require_draws
from vaezoo.pairs.sites import (
    Args,
    Site,
    model_of,
    run_guide,
    sample_sites,
    site_values,
    step_of,
    takes_lengths,
    trace_pair,
)

__all__ = [
    "encode",
    "only_x",
    "point_kinds",
    "prior_predictive",
    "prior_predictives",
    "reconstruct",
    "reconstructions",
]

T = TypeVar("T")
PointKinds = dict[str, tuple[PointKind, str]]


@torch.no_grad()
def prior_predictive(
    pair: nn.Module,
    args: Args,
    *,
    x: ShownValue = "sample",
    latents: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Draw latents from the prior and return all sites, observed ones as drawn, as means or modes.

    The values of ``args`` give shapes only: observed sites are unconditioned. What has no mean is
    shown by its mode, else by a draw (:func:`vaezoo.distributions.families.point_of`). Latents that
    are given, by site, are not drawn.

    Raises
    ------
    RequestError
        When a prior cannot be drawn from, as one that is flat.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> {name: value.shape for name, value in prior_predictive(pair, (x,)).items()}
    {'z': torch.Size([3, 2]), 'x': torch.Size([3, 4])}
    """
    return prior_predictives(pair, args, [x], latents=latents)[0]


@torch.no_grad()
def prior_predictives(
    pair: nn.Module,
    args: Args,
    shows: Sequence[ShownValue],
    *,
    latents: Mapping[str, Tensor] | None = None,
) -> list[dict[str, Tensor]]:
    """Draw as :func:`prior_predictive` does, and return several things that one draw shows.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> mean, drawn = prior_predictives(LinearPair(), (torch.zeros(3, 4),), ["mean", "sample"])
    >>> torch.equal(mean["z"], drawn["z"]), torch.equal(mean["x"], drawn["x"])
    (True, False)
    """
    for x in shows:
        require_choice("x", x, ShownValue)
    model = hold(latents or {})(poutine.uncondition(model_of(pair)))
    with require_draws():
        trace = poutine.trace(model).get_trace(*args)
    sites = sample_sites(trace)
    return [
        _of_pair(
            pair,
            {
                name: _shown(site["fn"], x, site["value"])
                if site["infer"].get("was_observed", False)
                else site["value"]
                for name, site in sites.items()
            },
        )
        for x in shows
    ]


def _shown(fn: Any, x: ShownValue, drawn: Tensor | None = None) -> Tensor:
    """Return what is shown of a distribution, as a draw one that is there already or a new one."""
    if x == "mean":
        return point_of(fn)[0]
    if x == "mode":
        return mode_of(fn)
    return torch.as_tensor(fn.sample() if drawn is None else drawn)


def _of_pair(pair: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return site_values(pair, {name: value.detach() for name, value in values.items()})


@torch.no_grad()
def reconstruct(
    pair: nn.Module, args: Args, *, z: PointValue = "mean", x: ShownValue = "mean"
) -> dict[str, Tensor]:
    """Return what the model makes of the latents that the guide finds in the data.

    The result is taken from the distribution of each observed site, never from the observation.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> torch.allclose(reconstruct(pair, (x,))["x"], x)  # 0 is the mean of the data
    True
    """
    return reconstructions(pair, args, [x], z=z)[0]


@torch.no_grad()
def reconstructions(
    pair: nn.Module, args: Args, shows: Sequence[ShownValue], *, z: PointValue = "mean"
) -> list[dict[str, Tensor]]:
    """Return several things that p(x | z) shows at the same latents, as :func:`reconstruct` does.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> mean, mode = reconstructions(LinearPair(), (torch.zeros(3, 4),), ["mean", "mode"])
    >>> torch.equal(mean["x"], mode["x"])  # of a Gaussian
    True
    """
    for x in shows:
        require_choice("x", x, ShownValue)
    trace = trace_pair(pair, args, z=z)
    return [
        _of_pair(pair, {name: _shown(site["fn"], x) for name, site in trace.observed.items()})
        for x in shows
    ]


@torch.no_grad()
def encode(pair: nn.Module, args: Args, *, z: PointValue = "mean") -> dict[str, Tensor]:
    """Return the latents that the guide finds in the data, drawn or as means.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> encode(pair, (x,))["z"].shape
    torch.Size([3, 2])
    """
    guide = run_guide(pair, args, z=z)
    values = {name: site["value"] for name, site in sample_sites(guide).items()}
    return site_values(pair, {name: value.detach() for name, value in values.items()})


@torch.no_grad()
def point_kinds(pair: nn.Module, args: Args) -> tuple[PointKinds, PointKinds]:
    """Return what stands for the mean of the latents of the guide, and of the observed sites.

    With the family of each distribution, for those who wonder why it is not the mean.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> point_kinds(LinearPair(), (torch.zeros(3, 4),))
    ({'z': ('mean', 'Normal')}, {'x': ('mean', 'Normal')})
    """
    trace = trace_pair(pair, args, z="mean")
    latents = {name: q for name, (_, q) in trace.latents.items()}
    return _kinds(pair, latents), _kinds(pair, trace.observed)


def _kinds(pair: nn.Module, sites: Mapping[str, Site]) -> PointKinds:
    kinds = {}
    for name, site in sites.items():
        step = step_of(name) if takes_lengths(pair) else None
        kinds[step[0] if step else name] = (point_of(site["fn"])[1], family(site["fn"]))
    return kinds


def only_x(sites: Mapping[str, T]) -> T:
    """Return what there is of site ``x``.

    Raises
    ------
    RequestError
        When there is no such site; its message names those that there are.

    Examples
    --------
    >>> only_x({"z": torch.zeros(2), "x": torch.ones(2)})
    tensor([1., 1.])
    """
    if "x" not in sites:
        raise RequestError(f"the model has no site 'x'; its sites: {', '.join(sites)}")
    return sites["x"]
