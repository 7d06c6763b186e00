"""From Pyro to ArviZ: a model with a guide, or with the draws of an MCMC, as labelled arrays."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import Site
from vaezoo.runs.environment import describe_library
from vaezoo.runtime.arviz import to_arviz
from vaezoo.runtime.device import seeded
from vaezoo.trees.bridge.plates import Plates
from vaezoo.trees.bridge.sites import BoundModel, is_data, is_deterministic
from vaezoo.trees.bridge.sources import Source, source_of
from vaezoo.trees.constants import MEANING_OF_LOO
from vaezoo.trees.drawing import MOST_GIB
from vaezoo.trees.groups import NUM_CHAINS

__all__ = ["from_pyro"]

_Groups = dict[str, dict[str, Array]]


def from_pyro(
    model: Callable[..., Any],
    guide: Any,
    data: Any = (),
    *,
    num_samples: int = 1000,
    seed: int = 0,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    max_gib: float = MOST_GIB,
) -> Any:
    """Return what ArviZ works on, of any Pyro model with its guide or its MCMC.

    Nothing has to be of vaezoo: plain functions, modules and their methods, and autoguides are
    taken as they are, with the parameters that they have. Dimensions are named after plates.

    Parameters
    ----------
    model
        A Pyro model.
    guide
        Its guide, a :class:`pyro.infer.MCMC` that has run, or draws by site, arrays
        ``(chain, draw, ...)``.
    data
        What model and guide take: a tensor, a tuple of arguments, or a mapping of them by name.
    num_samples
        Draws of a guide, a multiple of 4; of an MCMC all are taken.
    seed
        Seed of all draws.
    dims, coords
        Names of the dimensions of a site or argument, and labels along a dimension, as ArviZ takes
        them, where those of the plates will not do.
    max_gib
        Refuse what would have more GiB.

    Returns
    -------
    xarray.DataTree or arviz.InferenceData
        What the installed ArviZ takes, with the groups

        - ``posterior``: latents and deterministic sites;
        - ``posterior_predictive``, and ``log_likelihood`` of each observed site, by row;
        - ``sample_stats``: ``lp`` = log p(x, z), of a guide also ``log_q`` and ``log_weight``, in
          nats, as Pyro scales them; of an MCMC ``diverging``;
        - ``prior`` and ``prior_predictive``, unless a prior cannot be drawn from;
        - ``observed_data``, and ``constant_data``, which are the other arguments.

        Discrete latents that guide or MCMC summed out are drawn given the others. Draws of a guide
        are independent; four chains are a convention, and R-hat says nothing of them.

    Raises
    ------
    RequestError
        When guide and model have other latents, or a number, ``dims`` or ``coords`` does not fit.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> from pyro.infer.autoguide import AutoNormal
    >>> def model(y):
    ...     mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    ...     with pyro.plate("school", len(y)):
    ...         theta = pyro.sample("theta", dist.Normal(mu, 1.0))
    ...         pyro.sample("y", dist.Normal(theta, 1.0), obs=y)
    >>> y = torch.tensor([1.0, 2.0, 4.0])
    >>> guide = AutoNormal(model)  # to be trained by pyro.infer.SVI
    >>> idata = vaezoo.from_pyro(model, guide, y, num_samples=40)
    >>> dict(idata["posterior"]["theta"].sizes)
    {'chain': 4, 'draw': 10, 'school': 3}
    >>> pyro.clear_param_store()  # where autoguides have their parameters
    """
    if num_samples < NUM_CHAINS or num_samples % NUM_CHAINS:
        raise RequestError(f"`num_samples` takes a multiple of {NUM_CHAINS}, not {num_samples}")
    args, kwargs = _arguments(data)
    bound = BoundModel(model, args, kwargs)
    with _evaluating(model, guide), seeded(seed, _device(args, kwargs)):
        source = source_of(guide, args, kwargs, (NUM_CHAINS, num_samples // NUM_CHAINS))
        sites = bound.sites(source.draw(0).latents)
        groups = {**_explained(bound, source, max_gib), **_drawn_from_prior(bound, source.shape)}
    tree = _tree(groups, source, sites, _constants(bound, sites), Plates(sites, dims, coords))
    tree.attrs = {**_attributes(source), "seed": seed}
    return to_arviz(tree)


def _arguments(data: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(data, Mapping):
        return (), data
    return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}


def _device(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.device:
    tensors = (arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor))
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


@contextmanager
def _evaluating(*functions: Any) -> Iterator[None]:
    """Switch modules, and those that a method is of, to evaluation, and back to what they were."""
    owners = [getattr(function, "__self__", function) for function in functions]
    modules = [m for owner in owners if isinstance(owner, nn.Module) for m in owner.modules()]
    modes = {module: module.training for module in modules}
    for module in modes:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _explained(bound: BoundModel, source: Source, max_gib: float) -> _Groups:
    """Return all draws of the latents, and what the model says of each."""
    draws = []
    for number in range(source.shape[0] * source.shape[1]):
        groups = bound.explain(source.draw(number))
        draws.append(_to_numpy(groups))
        if number == 0:
            _check_size(draws[0], source.shape, max_gib)
    return _stacked(draws, source.shape)


def _drawn_from_prior(bound: BoundModel, shape: tuple[int, int]) -> _Groups:
    """Return draws of the model alone; nothing where a prior can only be evaluated."""
    try:
        draws = [_to_numpy(bound.draw_prior()) for _ in range(shape[0] * shape[1])]
    except NotImplementedError as error:
        warnings.warn(f"no groups prior and prior_predictive: {error}", stacklevel=3)
        return {}
    return _stacked(draws, shape)


def _to_numpy(groups: Mapping[str, Mapping[str, Tensor]]) -> _Groups:
    return {
        group: {name: _to_array(value) for name, value in values.items()}
        for group, values in groups.items()
    }


def _to_array(value: Any) -> Array:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _check_size(draw: _Groups, shape: tuple[int, int], max_gib: float) -> None:
    size = sum(value.nbytes for values in draw.values() for value in values.values())
    gib = size * shape[0] * shape[1] / 2**30
    if gib > max_gib:
        raise RequestError(
            f"{shape[0]} x {shape[1]} draws are {gib:.3g} GiB, more than {max_gib:g}; take fewer "
            "(`num_samples`), less data, or raise `max_gib`"
        )


def _stacked(draws: Sequence[_Groups], shape: tuple[int, int]) -> _Groups:
    """``(chain, draw, ...)`` by group and site."""
    stacked: _Groups = {}
    for group, values in draws[0].items():
        for name in values:
            each = [draw[group][name] for draw in draws]
            if any(value.shape != each[0].shape for value in each):
                raise RequestError(f"draws of the site '{name}' differ in shape; labels need one")
            stacked.setdefault(group, {})[name] = np.stack(each).reshape(*shape, *each[0].shape)
    return stacked


def _constants(bound: BoundModel, sites: Mapping[str, Site]) -> dict[str, Array]:
    """Return the arguments of the model that are numbers and that no site observes."""
    model = bound.model.forward if isinstance(bound.model, nn.Module) else bound.model
    named = inspect.signature(model).bind(*bound.args, **bound.kwargs).arguments
    observed = [_to_array(site["value"]) for site in sites.values() if is_data(site)]
    constants = {}
    for name, value in named.items():
        if not isinstance(value, Tensor | np.ndarray | int | float):
            continue
        array = _to_array(value)
        if not any(np.array_equal(array, x) for x in observed):
            constants[name] = array
    return constants


def _tree(
    groups_of_sites: _Groups,
    source: Source,
    sites: Mapping[str, Site],
    constants: Mapping[str, Array],
    plates: Plates,
) -> xr.DataTree:
    batches = {n: len(s["fn"].batch_shape) for n, s in sites.items() if not is_deterministic(s)}
    groups = {}
    for group, values in groups_of_sites.items():
        named = {n: (plates.dims(n, v.shape[2:], batches.get(n)), v) for n, v in values.items()}
        groups[group] = plates.dataset(named)
    stats = {**groups_of_sites["sample_stats"], **source.stats}
    groups["sample_stats"] = plates.dataset({name: ((), value) for name, value in stats.items()})
    observed = {name: _to_array(site["value"]) for name, site in sites.items() if is_data(site)}
    of_data = {n: (plates.dims(n, x.shape, batches[n]), x) for n, x in observed.items()}
    groups["observed_data"] = plates.dataset(of_data, leading=())
    if constants:
        of_user = {n: (plates.of_argument(n, a.shape), a) for n, a in constants.items()}
        groups["constant_data"] = plates.dataset(of_user, leading=())
    groups = {name: group for name, group in groups.items() if group.data_vars}
    if "log_likelihood" in groups and _has_local_latents(sites):
        groups["log_likelihood"].attrs["loo"] = MEANING_OF_LOO
    return xr.DataTree.from_dict(groups)


def _has_local_latents(sites: Mapping[str, Site]) -> bool:
    """Whether a latent is inside of a plate that data are in, too."""
    data = [site for site in sites.values() if is_data(site)]
    latents = [site for site in sites.values() if not site["is_observed"]]
    of_data, of_latents = (
        {frame.name for site in kind for frame in site["cond_indep_stack"]}
        for kind in (data, latents)
    )
    return not of_data.isdisjoint(of_latents)


def _attributes(source: Source) -> dict[str, Any]:
    is_guide = source.approximation == "guide"
    return {
        **describe_library(),
        "approximation": source.approximation,
        "r_hat_is_meaningful": int(not is_guide),
    }
