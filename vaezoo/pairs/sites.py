"""What can be known of any model/guide pair: its arguments, and the sites that it visits.

Nothing here knows a model. A pair is its model and its guide, and everything is read off the sample
sites that they visit.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.nn import PyroModule
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Tensor, nn

from vaezoo.distributions.families import is_point
from vaezoo.options import PointValue, require_choice
from vaezoo.pairs.handlers import require_pyro, take_point
from vaezoo.pairs.plates import data_frame, in_data_plate

__all__ = [
    "Args",
    "PairTrace",
    "Site",
    "StochasticFunction",
    "argument_names",
    "density_sites",
    "guide_of",
    "is_autoencoder",
    "is_auxiliary",
    "lengths_of",
    "model_of",
    "repeat_rows",
    "run_guide",
    "sample_sites",
    "site_values",
    "step_of",
    "takes_lengths",
    "trace_pair",
]

Args = tuple[Tensor, ...]
Site = Any
StochasticFunction = Callable[..., Any]  # a model or a guide, in Pyro's word


def argument_names(pair: nn.Module | type[nn.Module]) -> tuple[str, ...]:
    """Return the names of the tensors that model and guide take, as ``("x", "length")``.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LabelledPair
    >>> argument_names(LabelledPair)
    ('x', 'c')

    An argument ``*inputs`` stands for those that the attribute of that name lists.
    """
    names: list[str] = []
    for name, parameter in inspect.signature(cast(Any, pair).model).parameters.items():
        several = parameter.kind is parameter.VAR_POSITIONAL
        names.extend(getattr(pair, name, ()) if several else [name])
    return tuple(name for name in names if name != "self")


def takes_lengths(pair: nn.Module | type[nn.Module]) -> bool:
    """Whether a pair is one of sequences: whether it takes their lengths, as ``length``.

    Examples
    --------
    >>> import vaezoo
    >>> takes_lengths(vaezoo.get_model("vrnn")), takes_lengths(vaezoo.get_model("vae-linear"))
    (True, False)
    """
    return "length" in argument_names(pair)


def lengths_of(pair: nn.Module, args: Args) -> Tensor | None:
    """Return the lengths in a batch of a pair, ``(B,)``; None where data have no time.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> lengths_of(LinearPair(), (torch.zeros(3, 4),)) is None
    True
    """
    return args[argument_names(pair).index("length")] if takes_lengths(pair) else None


def model_of(pair: nn.Module | type[nn.Module]) -> StochasticFunction:
    """Return the model of a pair."""
    return _with_own_store(pair, cast(StochasticFunction, cast(Any, pair).model))


def guide_of(pair: nn.Module) -> StochasticFunction:
    """Return the guide of a pair: a method, or a module."""
    return _with_own_store(pair, cast(StochasticFunction, pair.guide))


def _with_own_store(
    pair: nn.Module | type[nn.Module], fn: StochasticFunction
) -> StochasticFunction:
    """Keep the parameters of PyroModules out of the global store, where two pairs would meet."""
    modules = pair.modules() if isinstance(pair, nn.Module) else ()
    contexts = [module._pyro_context for module in modules if isinstance(module, PyroModule)]
    if not contexts:
        return fn

    def run(*args: Any) -> Any:
        with pyro.settings.context(module_local_params=True):
            for context in contexts:  # made while parameters were global
                vars(context).setdefault("param_state", {"params": {}, "constraints": {}})
            return fn(*args)

    run.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True)
class PairTrace:
    """One run of the guide and of the model replayed against it."""

    model: Trace
    guide: Trace

    @property
    def latents(self) -> dict[str, tuple[Site, Site]]:
        """Model and guide site of every latent, in the order of the model."""
        sites = sample_sites(self.model)
        return {
            name: (site, self.guide.nodes[name])
            for name, site in sites.items()
            if not site["is_observed"] and name in self.guide.nodes
        }

    @property
    def local_latents(self) -> dict[str, tuple[Site, Site]]:
        """Those latents of which each datum has its own."""
        data = self.data_plate
        both = self.latents.items()
        return {name: sides for name, sides in both if in_data_plate(sides[0], data)}

    @property
    def global_latents(self) -> dict[str, tuple[Site, Site]]:
        """Those latents of which the data set has one."""
        local = self.local_latents
        return {name: sides for name, sides in self.latents.items() if name not in local}

    @property
    def observed(self) -> dict[str, Site]:
        """Observed sites of the model, those that hold data."""
        sites = sample_sites(self.model)
        return {name: site for name, site in sites.items() if site["is_observed"]}

    @property
    def factors(self) -> dict[str, Site]:
        """What ``pyro.factor`` adds to log p in the model."""
        return _factors(self.model)

    @property
    def penalties(self) -> dict[str, Site]:
        """What ``pyro.factor`` adds to log q in the guide."""
        return _factors(self.guide)

    @property
    def bases(self) -> dict[str, Site]:
        """The draws of one of Pyro's guides, each by the name of a latent that it is carried to.

        They have the density of the latents, whose own sites hold the change of variables.
        """
        return _bases(self.model, self.guide)

    @property
    def data_plate(self) -> Any:
        """The plate that numbers the data; None when the model observes outside of any."""
        return data_frame(self.observed.values())

    @property
    def same_order(self) -> bool:
        """Whether the latents come in one order, so that KL terms have their closed form."""
        guide = [name for name in sample_sites(self.guide) if name in self.model.nodes]
        return list(self.latents) == guide


def _factors(trace: Trace) -> dict[str, Site]:
    return {name: site for name, site in density_sites(trace).items() if site_is_factor(site)}


def _bases(model: Trace, guide: Trace) -> dict[str, Site]:
    """Pair the sites that Pyro's AutoGuides draw with latents, by the names that they give them."""
    sites = sample_sites(guide)
    points = [name for name, site in sites.items() if name in model.nodes and is_point(site["fn"])]
    bases = {}
    for name, site in sites.items():
        if name in model.nodes or not is_auxiliary(site):
            continue
        if name.removesuffix("_unconstrained") in points:
            bases[name.removesuffix("_unconstrained")] = site
        elif re.fullmatch("_.*_latent", name) and points:
            bases[points[0]] = site
    return bases


def is_auxiliary(site: Site) -> bool:
    """Return whether a guide says of a site of its own that the model has none of that name.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with pyro.poutine.trace() as traced:
    ...     a = pyro.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
    >>> is_auxiliary(traced.trace.nodes["a"])
    True
    """
    return bool((site["infer"] or {}).get("is_auxiliary"))


def is_autoencoder(trace: PairTrace) -> bool:
    """Return whether the guide gives each latent one value: a pair without a density of them.

    It has a reconstruction, and no ELBO. The sites that one of Pyro's guides makes of its draws are
    no such values.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair, PointGuide
    >>> x = torch.zeros(3, 4)
    >>> [is_autoencoder(trace_pair(pair, (x,))) for pair in (LinearPair(), PointGuide())]
    [False, True]
    """
    latents = trace.latents.values()
    return bool(latents) and not trace.bases and all(is_point(q["fn"]) for _, q in latents)


def density_sites(trace: Trace) -> dict[str, Site]:
    """Return what has a log-density in a trace: its random variables and its factors.

    Plates and what ``pyro.deterministic`` records are left out. What ``pyro.sample(name, obs=...,
    obs_mask=...)`` observes has that name, and not the one that Pyro gives to a part of it.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with poutine.trace() as traced:
    ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
    ...     pyro.factor("penalty", -z.abs())
    ...     twice = pyro.deterministic("twice", 2 * z)
    >>> list(density_sites(traced.trace)), list(sample_sites(traced.trace))
    (['z', 'penalty'], ['z'])
    """
    sites = {n: s for n, s in trace.nodes.items() if s["type"] == "sample"}
    recorded = {n for n, s in sites.items() if (s["infer"] or {}).get("_deterministic")}
    return {
        whole if (whole := name.removesuffix("_observed")) in recorded else name: site
        for name, site in sites.items()
        if name not in recorded and not site_is_subsample(site)
    }


def sample_sites(trace: Trace) -> dict[str, Site]:
    """Return the random variables of a trace, without plates, factors and recorded values.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> list(sample_sites(trace.model)), list(sample_sites(trace.guide))
    (['z', 'x'], ['z'])
    """
    return {n: site for n, site in density_sites(trace).items() if not site_is_factor(site)}


def trace_pair(pair: nn.Module, args: Args, *, z: PointValue = "sample") -> PairTrace:
    """Run the guide, then the model on the latents that it drew (or on their means).

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> list(trace.latents), list(trace.observed)
    (['z'], ['x'])
    """
    guide = run_guide(pair, args, z=z)
    replayed: StochasticFunction = poutine.replay(model_of(pair), trace=guide)
    with require_pyro():
        return PairTrace(poutine.trace(replayed).get_trace(*args), guide)


def run_guide(pair: nn.Module, args: Args, *, z: PointValue = "sample") -> Trace:
    """Return a trace of the guide, its latents drawn or set to their means.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> run_guide(pair, (x,), z="mean").nodes["z"]["value"].shape
    torch.Size([3, 2])
    """
    require_choice("z", z, PointValue)
    guide = guide_of(pair)
    if z == "mean":
        guide = take_point()(guide)
    with require_pyro():
        return poutine.trace(guide).get_trace(*args)


def step_of(name: str) -> tuple[str, int] | None:
    """Return ``("z", 3)`` for the site ``z_3`` of a sequence, None for a site without a step.

    Examples
    --------
    >>> step_of("z_3"), step_of("z")
    (('z', 3), None)
    """
    match = re.fullmatch(r"(.+)_(\d+)", name)
    return (match[1], int(match[2])) if match else None


def site_values(pair: nn.Module, sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return values by site, the steps of a sequence pair joined.

    Its sites ``x_0, x_1, ...`` of ``(B, D)`` become ``x`` of ``(B, T, D)``.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> sites = {"x_0": torch.zeros(3, 2), "x_1": torch.ones(3, 2)}
    >>> site_values(VRNN(x_shape=(2,), hidden=8, z_dim=4), sites)["x"].shape
    torch.Size([3, 2, 2])
    """
    if not takes_lengths(pair):
        return dict(sites)
    steps: dict[str, dict[int, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, value in sites.items():
        step = step_of(name)
        if step:
            steps.setdefault(step[0], {})[step[1]] = value
        else:
            whole[name] = value
    joined = {n: torch.stack([values[t] for t in sorted(values)], 1) for n, values in steps.items()}
    return {**whole, **joined}


def repeat_rows(args: Args, times: int) -> Args:
    """Repeat every datum: row ``b`` becomes the rows ``b * times ... (b + 1) * times - 1``.

    Examples
    --------
    >>> repeat_rows((torch.tensor([1, 2]),), 2)
    (tensor([1, 1, 2, 2]),)
    """
    return tuple(arg.repeat_interleave(times, dim=0) for arg in args)
