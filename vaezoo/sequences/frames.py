"""One site for all frames of a sequence, frame by frame: what comes next, and its density.

A site of a whole path has a dimension that is time. Given its first frames the next are drawn, and
the density of a frame given those before it is known, where the frames of the site are independent,
for a multivariate normal over time, and for Pyro's hidden Markov models of normal states.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions import (
    LowRankMultivariateNormal,
    MaskedDistribution,
    MultivariateNormal,
)
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Independent

from vaezoo.distributions.families import family, point_of
from vaezoo.errors import RequestError
from vaezoo.pairs.plates import weigh

__all__ = ["JointPathError", "continue_paths", "density_of_frame", "lengthened", "time_of"]

KNOWN = "independent frames, multivariate normals and Pyro's GaussianHMM"


class JointPathError(RequestError):
    """A path whose next frames nobody knows how to draw given the first."""


def time_of(fewer: torch.Size, more: torch.Size) -> int | None:
    """Return the dimension that is longer with more frames; None where not one is.

    Examples
    --------
    >>> time_of(torch.Size([3, 2, 4]), torch.Size([3, 2, 5]))
    2
    """
    if len(fewer) != len(more):
        return None
    dims = [dim for dim in range(len(more)) if fewer[dim] != more[dim]]
    return dims[0] if len(dims) == 1 else None


class continue_paths(Messenger):  # noqa: N801
    """Give latents the values that they had, and draw the frames of a path that are new.

    Parameters
    ----------
    past
        Values by site, those of paths with as many frames as there were.
    times
        Which dimension is time, of each path.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with continue_paths({"z": torch.ones(3, 2)}, {"z": 1}):
    ...     pyro.sample("z", dist.Normal(torch.zeros(3, 4), 1.0).to_event(1)).shape
    torch.Size([3, 4])
    """

    def __init__(self, past: Mapping[str, Tensor], times: Mapping[str, int]) -> None:
        super().__init__()
        self.past, self.times = past, times

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        if name not in self.past or msg["is_observed"]:
            return
        value, time = self.past[name], self.times.get(name)
        if time is not None and value.shape[time] != fn.shape()[time]:
            value, _ = lengthened(name, fn, value, torch.Size(fn.shape()))
        msg["value"], msg["done"] = value, True


def lengthened(name: str, fn: Any, past: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Draw a path given its first frames; and its mean given them, or what stands for it.

    Parameters
    ----------
    name, fn
        The site, and its distribution with more frames.
    past
        The frames that there are.
    shape
        Of the whole path.

    Raises
    ------
    RequestError
        When no dimension is time, or (``JointPathError``) the distribution cannot be conditioned on
        first frames.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> walk = dist.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 1.0], [1.0, 1.01]]))
    >>> lengthened("z", walk, torch.ones(1), torch.Size([2]))[1]
    tensor([1., 1.])
    """
    dim = time_of(past.shape, shape)
    if dim is None:
        raise RequestError(
            f"site '{name}' has shape {tuple(past.shape)} of the beginning, and {tuple(shape)} "
            "with what comes: no dimension of it is the time"
        )
    start, time = past.shape[dim], dim - len(shape)
    base = _unwrapped(fn)
    if -time > len(base.event_shape):  # independent frames
        last = shape[dim] - start
        new, mean = (v.narrow(dim, start, last) for v in (fn.sample(), point_of(fn)[0]))
    elif (rest := _rest_given(base, past, time)) is not None:
        new = rest.sample()
        mean = rest.mean if _is_normal(rest) else new
    else:
        raise JointPathError(
            f"site '{name}' is one {family(fn)} over time, and vaezoo cannot draw its next frames "
            f"given the first: of one site for all frames this is known for {KNOWN}; give each "
            "frame a site of its own"
        )
    return torch.cat([past, new], dim), torch.cat([past, mean], dim)


def density_of_frame(site: Any, dim: int, t: int) -> Tensor:
    """Return the log-density of a frame of a path given the frames before it, ``(B,)``, in nats.

    Parameters
    ----------
    site
        Of a trace; its mask, and the scale of its author, count.
    dim
        Of its value, which is time.
    t
        Which frame.

    Raises
    ------
    RequestError
        When the distribution of the path is joint, and of another kind than those that are known.

    Examples
    --------
    >>> from pyro import distributions as dist, poutine
    >>> import pyro
    >>> def model():
    ...     with pyro.plate("data", 3):
    ...         pyro.sample("z", dist.Normal(torch.zeros(3, 4), 1.0).to_event(1))
    >>> density_of_frame(poutine.trace(model).get_trace().nodes["z"], 1, 2).shape
    torch.Size([3])
    """
    fn, value = site["fn"], site["value"]
    time = dim - value.dim()
    if -time > len(fn.event_shape):  # a plate over time
        log_prob = fn.log_prob(value)
        steps = time + len(fn.event_shape)
        only = torch.arange(value.shape[dim], device=value.device) == t
        only = only.reshape(-1, *[1] * (-1 - steps))
        return weigh(torch.where(only, log_prob, 0.0), site)
    log_prob = _frame(fn, value, time, t)
    if log_prob is None:
        raise RequestError(
            f"site '{site['name']}' is one {family(fn)} over time, and the density of one of its "
            f"frames given those before is known for {KNOWN} only"
        )
    return weigh(log_prob, site)


def _unwrapped(fn: Any) -> Any:
    """Return the distribution under ``to_event`` and masks."""
    while isinstance(fn, Independent | MaskedDistribution):
        fn = fn.base_dist
    return fn


def _frame(fn: Any, value: Tensor, time: int, t: int) -> Tensor | None:
    """Return the log-density of a frame in the batch shape; None where it is not known.

    ``time`` is counted from behind, -1 for the last dimension of the value.
    """
    if isinstance(fn, MaskedDistribution):
        inner = _frame(fn.base_dist, value, time, t)
        return None if inner is None else torch.as_tensor(scale_and_mask(inner, mask=fn._mask))
    if not isinstance(fn, Independent):
        return _frame_of_joint(fn, value, time, t)
    base, others = fn.base_dist, fn.reinterpreted_batch_ndims
    if -time > len(base.event_shape):
        inner, others = base.log_prob(value).select(time + len(base.event_shape), t), others - 1
    else:
        inner = _frame(base, value, time, t)
    return inner if inner is None or not others else inner.sum(tuple(range(-others, 0)))


def _frame_of_joint(fn: Any, value: Tensor, time: int, t: int) -> Tensor | None:
    past, frame = value.narrow(time, 0, t), value.narrow(time, t, 1)
    if _is_normal(fn) and time == -1:
        mean, covariance = fn.mean[..., : t + 1], fn.covariance_matrix[..., : t + 1, : t + 1]
        rest = _rest_given(MultivariateNormal(mean, covariance), past, time)
        return torch.as_tensor(rest.log_prob(frame))
    if not (hasattr(fn, "prefix_condition") and time == -2):
        return None
    if t + 1 == value.shape[time]:
        return torch.as_tensor(_rest_given(fn, past, time).log_prob(frame))
    # All that comes from a frame on, less what comes behind it.
    from_here, behind = (
        _rest_given(fn, value.narrow(time, 0, start), time).log_prob(
            value.narrow(time, start, value.shape[time] - start)
        )
        for start in (t, t + 1)
    )
    return torch.as_tensor(from_here - behind)


def _is_normal(fn: Any) -> bool:
    return isinstance(fn, MultivariateNormal | LowRankMultivariateNormal)


def _rest_given(fn: Any, past: Tensor, time: int) -> Any:
    """Return the distribution of the frames after the first ones; None where it is not known."""
    is_known = _is_normal(fn) and time == -1
    is_known |= hasattr(fn, "prefix_condition") and time == -2
    if not is_known or not past.shape[time]:
        return fn if is_known else None
    return _normal_given(fn, past) if _is_normal(fn) else fn.prefix_condition(past)


def _normal_given(fn: Any, past: Tensor) -> MultivariateNormal:
    """p(z_{>T} | z_{1:T}) of a multivariate normal: Rasmussen & Williams 2006, eq. A.6."""
    start, covariance = past.shape[-1], fn.covariance_matrix
    first, cross = covariance[..., :start, :start], covariance[..., start:, :start]
    factor = torch.linalg.cholesky(first)
    weights = torch.cholesky_solve(cross.mT, factor).mT
    residual = (past - fn.mean[..., :start]).unsqueeze(-1)
    mean = fn.mean[..., start:] + (weights @ residual).squeeze(-1)
    rest = covariance[..., start:, start:] - weights @ cross.mT
    return MultivariateNormal(mean, (rest + rest.mT) / 2)
