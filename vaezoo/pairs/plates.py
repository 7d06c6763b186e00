"""The plates of a site: which of them numbers the data, and what its log-density is one number of.

A pair has one *data plate*. It is the outermost plate of the sites that the model observes, the
plate of particles left out. A site inside it is *local*, and has one log-density for each datum;
plates inside the data plate number elements of a datum, over which log-densities are summed. A site
outside it is *global*: it has one log-density for the whole data set.
"""

from collections.abc import Iterable
from typing import Any

import torch
from pyro.distributions import Independent, MaskedDistribution
from pyro.distributions.util import is_identically_zero, scale_and_mask
from torch import Tensor

from vaezoo.distributions.families import is_improper

__all__ = [
    "PARTICLES",
    "author_scale",
    "counted_data",
    "data_frame",
    "in_data_plate",
    "is_scaled",
    "log_density",
    "num_densities",
    "outermost_frame",
    "reduce_to_data",
    "score_function",
    "sum_over_plates",
    "total_log_density",
    "weigh",
    "weigh_elements",
]

PARTICLES = "_particles"  # the name of the plate of particles, which no author gives to one

Frame = Any


def _frames(site: Any) -> list[Frame]:
    """Return the plates of a site from the outermost on, without that of particles."""
    return [f for f in site["cond_indep_stack"] if f.vectorized and f.name != PARTICLES]


def outermost_frame(site: Any) -> Frame | None:
    """Return the outermost plate of a site, None outside of any."""
    return next(iter(_frames(site)), None)


def data_frame(observed: Iterable[Any]) -> Frame | None:
    """Return the data plate, of the sites that the model observes; None if they are in no plate.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> data_frame(trace_pair(LinearPair(), (torch.zeros(3, 4),)).observed.values()).name
    'data'
    """
    frames = (outermost_frame(site) for site in observed)
    return next((frame for frame in frames if frame is not None), None)


def in_data_plate(site: Any, data: Frame | None, *, of_guide: bool = False) -> bool:
    """Return whether a site of the model is local: in the data plate, which its name tells.

    Its size would not: a plate of K elements may meet a batch of K data. A guide calls its plates
    as it likes; what it has beside the latents is judged by the size. Without a data plate every
    site counts as local.
    """
    own = outermost_frame(site)
    if data is None or own is None:
        return data is None
    return bool(own.name == data.name or (of_guide and own.size == data.size))


def author_scale(site: Any) -> float | Tensor:
    """Return the scale that the author gives a site, by ``poutine.scale`` or a plate of elements.

    The N / B of a data plate that takes the batch for a subsample is divided out: what is per datum
    is per datum.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with pyro.poutine.trace() as traced, pyro.plate("data", 100, subsample=torch.arange(4)):
    ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
    >>> traced.trace.nodes["z"]["scale"], author_scale(traced.trace.nodes["z"])
    (25.0, 1.0)
    """
    frame = outermost_frame(site)
    scale: float | Tensor = site["scale"]
    if frame is None or frame.full_size in (None, frame.size):
        return scale
    return scale / (frame.full_size / frame.size)


def is_scaled(site: Any) -> bool:
    """Return whether the author scales a site."""
    return bool((torch.as_tensor(author_scale(site)) != 1).any())


def num_densities(site: Any) -> torch.Size:
    """Return the shape of the log-density of a site: ``(B,)`` of a local one, ``()`` of a global.

    Without a plate the batch shape is the author's, whatever it means.
    """
    return reduce_to_data(torch.empty(site["fn"].batch_shape, device="meta"), site).shape


def weigh(
    values: Tensor, site: Any, weight: float | Tensor = 1.0, rows: Tensor | None = None
) -> Tensor:
    """Scale and mask terms of a site in its batch shape, and make them one for each datum.

    Parameters
    ----------
    values
        In the batch shape of the site, in nats.
    site
        Its mask and the scale of its author count.
    weight
        A factor more, as beta.
    rows
        Which rows of the data plate count, ``(B,)``, boolean.
    """
    own = author_scale(site)
    scale = own if isinstance(weight, float) and weight == 1.0 else own * weight
    weighed = scale_and_mask(values, scale=scale, mask=_mask(site, rows))
    return reduce_to_data(torch.as_tensor(weighed), site)


def counted_data(site: Any) -> Tensor | None:
    """Return which data the log-density of a site counts for, ``(B,)``; None if nothing masks it.

    A mask of the site is looked at, and that of its distribution: of a masked event, whether any
    element counts.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with pyro.poutine.trace() as traced, pyro.plate("data", 2):
    ...     fn = dist.Normal(torch.zeros(2, 3), 1.0).mask(torch.tensor([[True], [False]]))
    ...     z = pyro.sample("z", fn.to_event(1))
    >>> counted_data(traced.trace.nodes["z"])
    tensor([ True, False])
    """
    masks = [] if site["mask"] is None else [torch.as_tensor(site["mask"])]
    fn, num_event = site["fn"], 0
    while isinstance(fn, (Independent, MaskedDistribution)):
        if isinstance(fn, Independent):
            num_event += fn.reinterpreted_batch_ndims
        else:
            mask = torch.as_tensor(fn._mask).expand(fn.batch_shape)
            masks.append(mask.any(tuple(range(-num_event, 0))) if num_event else mask)
        fn = fn.base_dist
    if not masks:
        return None
    counted = torch.stack(torch.broadcast_tensors(*masks)).all(0)
    return reduce_to_data(counted.float(), site) > 0


def score_function(site: Any, rows: Tensor | None = None) -> Tensor | None:
    """Return log q of a draw as what its score function comes from, ``(B,)``; None if it has none.

    It is that of a latent without a path derivative, masked, and never scaled.
    """
    try:
        score = site["fn"].score_parts(site["value"]).score_function
    except (KeyError, NotImplementedError):  # of a flow that knows the density of its last draw
        if site["fn"].has_rsample:
            return None
        raise
    if is_identically_zero(score):
        return None
    return reduce_to_data(torch.as_tensor(scale_and_mask(score, mask=_mask(site, rows))), site)


def _mask(site: Any, rows: Tensor | None) -> Any:
    if rows is None:
        return site["mask"]
    frame = outermost_frame(site)
    kept = rows if frame is None else rows.reshape(-1, *[1] * (-1 - frame.dim))
    return kept if site["mask"] is None else kept & site["mask"]


def reduce_to_data(values: Tensor, site: Any) -> Tensor:
    """Sum terms of a site over the plates inside its outermost one: ``(B,)``, or ``(S, B)``.

    Dimensions that no plate declares stay, unless they have one element.
    """
    frames = _frames(site)
    inner = {frame.dim for frame in frames[1:]}
    kept = {frame.dim for frame in site["cond_indep_stack"] if frame.vectorized} - inner
    for dim in range(-values.dim(), 0):
        if dim in inner:
            values = values.sum(dim, keepdim=True)
    extra = [d for d in range(-values.dim(), 0) if d not in kept and values.shape[d] == 1]
    return values.squeeze(tuple(extra)) if extra and kept else values


def log_density(
    site: Any,
    value: Tensor | None = None,
    *,
    weight: float | Tensor = 1.0,
    rows: Tensor | None = None,
) -> Tensor:
    """Return the log-density of a site, one number for each datum ``(B,)``, in nats.

    It is masked, scaled as its author says (``poutine.scale``), and summed over the event and over
    plates inside the data plate. That of a global site is one number. With particles in a plate it
    is ``(S, B)``.

    Parameters
    ----------
    site
        Of a trace.
    value
        Another value than that of the trace.
    weight
        A factor, as the beta of an objective; what is measured has none.
    rows
        Which rows count, ``(B,)``, boolean.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> log_density(trace.observed["x"]).shape
    torch.Size([3])
    """
    value = site["value"] if value is None else value
    log_prob = site["fn"].log_prob(value)
    if is_improper(site["fn"]):  # pyro has its zeros on the CPU, wherever the values are
        log_prob = value.new_zeros(log_prob.shape)
    return weigh(log_prob, site, weight, rows)


def total_log_density(
    sites: Iterable[Any], *, weight: float | Tensor = 1.0, rows: Tensor | None = None
) -> Tensor:
    """Return the sum of the log-densities of some sites, at least one, ``(B,)``.

    The weight is that of latents only.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> total_log_density(trace.observed.values()).shape
    torch.Size([3])
    """
    parts = [
        log_density(site, weight=1.0 if site["is_observed"] else weight, rows=rows)
        for site in sites
    ]
    return torch.stack(parts).sum(0)


def sum_over_plates(values: Tensor, site: Any) -> Tensor:
    """Sum terms of a global site, which may have plates of its own: ``()``, or ``(S,)``."""
    stack = site["cond_indep_stack"]
    dims = values.dim() - any(frame.vectorized and frame.name == PARTICLES for frame in stack)
    return values.sum(tuple(range(-dims, 0))) if dims else values


def weigh_elements(
    values: Tensor, site: Any, event_dim: int, rows: Tensor | None = None
) -> Tensor | None:
    """Scale and mask terms of the elements of a site, ``(B, *event)``.

    None in a plate inside the data plate, whose elements are not those of the event.
    """
    if len(_frames(site)) > 1:
        return None
    mask = _mask(site, rows)
    if isinstance(mask, Tensor):
        mask = mask.reshape(*mask.shape, *[1] * event_dim)
    scale = author_scale(site)
    if isinstance(scale, Tensor):
        scale = scale.reshape(*scale.shape, *[1] * event_dim)
    return torch.as_tensor(scale_and_mask(values, scale=scale, mask=mask))
