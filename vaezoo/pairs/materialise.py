"""Materialising a pair: what a first call creates is there before weights are loaded or trained.

Lazy layers take their sizes from the first batch, and Pyro's AutoGuides their sites from the first
run of the model. An optimiser, and a file of weights, need to know both.
"""

from typing import Any

import pyro
import torch
from pyro.infer.autoguide import AutoGuide
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from vaezoo.errors import RequestError
from vaezoo.pairs.plates import in_data_plate
from vaezoo.pairs.sites import Args, PairTrace, guide_of, trace_pair
from vaezoo.runtime.device import rng_state, set_rng_state
from vaezoo.runtime.isolation import isolated

__all__ = ["materialise"]


@torch.no_grad()
def materialise(pair: nn.Module, args: Args) -> None:
    """Give a pair all its parameters and buffers, each in memory of its own.

    A pair whose parameters are all there is not run.

    Parameters
    ----------
    pair
        As its constructor leaves it.
    args
        A small batch, tensors of ``(B, ...)``; only their shapes matter.

    Raises
    ------
    RequestError
        When a parameter is complex, or an AutoGuide has parameters for each datum.

    Examples
    --------
    >>> class Lazy(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = nn.LazyLinear(2)
    ...     def model(self, x):
    ...         with pyro.plate("data", len(x)):
    ...             loc = self.layer(x)
    ...             pyro.sample("x", pyro.distributions.Normal(loc, 1.0).to_event(1), obs=x)
    ...     def guide(self, x):
    ...         pass
    >>> pair = Lazy()
    >>> materialise(pair, (torch.zeros(3, 2),))
    >>> pair.layer.in_features
    2
    """
    if not callable(getattr(pair, "guide", None)):
        name = type(pair).__name__
        raise RequestError(f"{name} has no `guide`: a method, or a module as AutoNormal")
    if _is_unfinished(pair):
        trace = _first_run(pair, args)
        _refuse_guides_of_a_datum(pair, trace.data_plate)
    for name, parameter in pair.named_parameters():
        if parameter.is_complex():
            raise RequestError(
                f"parameter '{name}' is complex, and optimisers are of real ones; keep its real "
                "and imaginary part as a last dimension of 2, and use torch.view_as_complex"
            )
    for tensor in (*pair.parameters(), *pair.buffers()):
        if _meets_itself(tensor):
            tensor.data = tensor.data.contiguous()


def _first_run(pair: nn.Module, args: Args) -> PairTrace:
    """Run a pair in evaluation mode; modes and generators stay as they were."""
    modes = [(module, module.training) for module in pair.modules()]
    generators = rng_state(args[0].device)
    try:
        with isolated(), pyro.validation_enabled(False):
            return trace_pair(pair.eval(), args)
    finally:
        set_rng_state(generators, args[0].device)
        for module, mode in modes:
            module.training = mode


def _is_unfinished(pair: nn.Module) -> bool:
    """Whether a first call of the pair may create parameters."""
    return any(
        isinstance(module, PyroModule)
        or (isinstance(module, LazyModuleMixin) and module.has_uninitialized_params())
        for module in pair.modules()
    )


def _meets_itself(tensor: Tensor) -> bool:
    """Whether two elements of a tensor are one in memory, as in what ``expand`` returns."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return any(size > 1 and stride == 0 for size, stride in sizes)


def _refuse_guides_of_a_datum(pair: nn.Module, data: Any) -> None:
    """Refuse an AutoGuide that has parameters for each row of the batch that it first saw."""
    for guide in (module for module in pair.modules() if isinstance(module, AutoGuide)):
        prototype = getattr(guide, "prototype_trace", None)
        sites = prototype.iter_stochastic_nodes() if prototype is not None else ()
        for name, site in sites:
            if data is not None and in_data_plate(site, data):
                whole = "" if guide is not guide_of(pair) else ", as a method `guide`"
                raise RequestError(
                    f"guides of a datum must be amortised: {type(guide).__name__} would learn "
                    f"parameters of '{name}' for each row by itself; write its q({name} | x) with "
                    f"an encoder{whole}, and leave sites outside the data plate to "
                    f"{type(guide).__name__}(poutine.block(self.model, expose=[...]))"
                )
