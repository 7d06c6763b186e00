"""Missing entries: any pair as one of the entries of its data that are there.

An entry that is nan is missing. The pair is handed values in its place, and the likelihood counts
the entries that are there: a handler changes the distribution of each observed site into that of
those entries (Nazabal et al. 2020, arXiv:1807.03653, eq. 3; Mattei & Frellsen 2019,
arXiv:1812.02633). Nothing of a pair is changed, and a pair that handles nan itself is left alone.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Tensor, nn

from vaezoo.distributions.entries import fill_missing, observed_entries
from vaezoo.distributions.families import elements_of, family
from vaezoo.errors import RequestError
from vaezoo.observations.roles import Observation, roles_of
from vaezoo.pairs.accounting import log_weight
from vaezoo.pairs.particles import probing
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    argument_names,
    density_sites,
    guide_of,
    model_of,
    run_guide,
    step_of,
    takes_lengths,
    trace_pair,
)

__all__ = [
    "IncompletePair",
    "filled",
    "missing_arguments",
    "observe_entries",
    "refuse_missing_conditions",
    "what_is_wrong",
    "with_missing",
]

WITHOUT = "is not finite where entries are missing (nan)"


def filled(x: Tensor) -> Tensor:
    """Return a tensor with zeros where it is nan.

    Examples
    --------
    >>> filled(torch.tensor([1.0, torch.nan]))
    tensor([1., 0.])
    """
    return torch.where(x.isnan(), 0.0, x) if x.is_floating_point() else x


def missing_arguments(pair: nn.Module, args: Args) -> tuple[str, ...]:
    """Return the names of the arguments that have missing entries.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> missing_arguments(LinearPair(), (torch.full((3, 4), torch.nan),))
    ('x',)
    """
    names = zip(argument_names(pair), args, strict=True)
    return tuple(name for name, arg in names if bool(arg.isnan().any()))


class observe_entries(Messenger):  # noqa: N801
    """Give observed sites the density of the entries that are there, and fill the others.

    Parameters
    ----------
    present_at
        Returns which entries of a value are there, by the name of its site; None for all.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> x = torch.tensor([2.0, torch.nan])
    >>> with observe_entries(lambda name, value: ~value.isnan()):
    ...     pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)
    tensor([2., 0.])
    """

    def __init__(self, present_at: Callable[[str, Tensor], Tensor | None]) -> None:
        super().__init__()
        self.present_at = present_at

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] or not _is_data(msg):
            return
        present = self.present_at(msg["name"], msg["value"])
        if present is not None:
            fn, value = msg["fn"], msg["value"]
            msg["fn"] = observed_entries(fn, present)
            msg["value"] = fill_missing(fn, value, present)


def _is_data(site: Any) -> bool:
    deterministic = (site["infer"] or {}).get("_deterministic")
    return not (site_is_subsample(site) or site_is_factor(site) or deterministic)


@dataclass(frozen=True)
class Handling:
    """Who is handed nan, and who zeros in its place.

    Attributes
    ----------
    model_sees_nan, guide_sees_nan
        Whether a side is handed nan.
    left_alone
        Observed sites whose own density counts what is there.
    """

    model_sees_nan: bool
    guide_sees_nan: bool
    left_alone: frozenset[str] = frozenset()


class IncompletePair(nn.Module):
    """A pair of data with missing entries, with the parameters of another.

    Parameters
    ----------
    pair
        The pair.
    observed
        What each observed site takes.
    handling
        Who is handed nan.
    """

    def __init__(
        self, pair: nn.Module, observed: Mapping[str, Observation | None], handling: Handling
    ) -> None:
        super().__init__()
        self.pair = pair
        self.handling = handling
        self.names = argument_names(pair)
        self.arguments: dict[str, str | None] = {}
        for site, taken in observed.items():
            self.arguments[site] = taken.argument if taken else None
            if taken and taken.elements is not None:
                # A tensor that a captured step uses has to belong to a module.
                self.register_buffer(_buffer_of(site), taken.elements, persistent=False)
        model = partial(self._run_model)
        model.__signature__ = inspect.signature(model_of(pair))  # type: ignore[attr-defined]
        self.model = model
        self.train(pair.training)

    def _run_model(self, *args: Tensor) -> Any:
        given = args if self.handling.model_sees_nan else tuple(map(filled, args))
        with observe_entries(partial(self._present_at, args)):
            return model_of(self.pair)(*given)

    def guide(self, *args: Tensor) -> Any:
        """Run the guide of the pair."""
        given = args if self.handling.guide_sees_nan else tuple(map(filled, args))
        return guide_of(self.pair)(*given)

    def _present_at(self, args: Args, name: str, value: Tensor) -> Tensor | None:
        """Return which entries of an observed value are there; None for a site left alone."""
        if name in self.handling.left_alone:
            return None
        step = step_of(name) if takes_lengths(self.pair) else None
        site = step[0] if step else name
        argument = self.arguments.get(site)
        if argument is None:
            return ~value.isnan() if value.is_floating_point() else None
        x = args[self.names.index(argument)]
        if not x.is_floating_point():
            return None
        present = ~(x[:, step[1]] if step else x).isnan()
        places = getattr(self, _buffer_of(site), None)
        if places is not None:
            frames = value.numel() // (len(x) * len(places))
            present = present.reshape(len(x), frames, -1).index_select(-1, places)
        return present.reshape(value.shape)


def _buffer_of(site: str) -> str:
    return f"places of {site}".replace(".", " ")


def with_missing(pair: nn.Module, args: Args) -> nn.Module:
    """Return a pair whose likelihood counts the entries of its data that are there.

    Parameters
    ----------
    pair
        Any pair.
    args
        Rows of its data, ``(B, ...)``, some with missing entries: the pair is tried on them, to
        learn which of its sides can be handed nan.

    Returns
    -------
    nn.Module
        With the same parameters: the pair itself where nothing is missing.

    Raises
    ------
    RequestError
        When a condition has missing entries, or a likelihood cannot do without some of them.

    Examples
    --------
    >>> from vaezoo.pairs.accounting import log_weights
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.tensor([[1.0, 2.0, torch.nan, torch.nan]])
    >>> log_weights(with_missing(LinearPair(), (x,)), (x,), 3).isfinite()
    tensor([[True],
            [True],
            [True]])
    """
    missing = missing_arguments(pair, args)
    if not missing:
        return pair
    device = args[0].device
    with probing(pair, device, seed=0):
        roles = roles_of(pair, tuple(map(filled, args)))
    refuse_missing_conditions(roles.conditions, missing)
    reason = ""
    for handling in _handlings(pair, args):
        candidate = IncompletePair(pair, roles.observed, handling).to(device)
        reason = what_is_wrong(candidate, args)
        if not reason:
            return candidate
    raise RequestError(reason)


def refuse_missing_conditions(conditions: tuple[str, ...], missing: tuple[str, ...]) -> None:
    """Refuse what is missing of an argument that no site explains."""
    for name in missing:
        if name in conditions:
            raise RequestError(
                f"'{name}' has missing entries (nan), and no site of the model observes it, so "
                "that nothing says what they may be; fill them, or leave these rows out"
            )


def _handlings(pair: nn.Module, args: Args) -> Iterator[Handling]:
    """Yield who may be handed nan, whoever handles it itself first."""
    left_alone = _left_alone(pair, args)
    for model_sees, guide_sees in product((True, False), repeat=2):
        yield Handling(model_sees, guide_sees, left_alone if model_sees else frozenset())


def _left_alone(pair: nn.Module, args: Args) -> frozenset[str]:
    """Return the sites with a density of their own over several elements that is finite on nan."""
    try:
        with probing(pair, args[0].device, seed=0):
            guide = run_guide(pair, tuple(map(filled, args)))
            model = poutine.trace(poutine.replay(model_of(pair), trace=guide)).get_trace(*args)
            observed = PairTrace(model, guide).observed.items()
            return frozenset(name for name, site in observed if _counts_what_is_there(site))
    except Exception:  # whatever a pair does with nan
        return frozenset()


def _counts_what_is_there(site: Site) -> bool:
    elements = elements_of(site["fn"])
    is_own = not type(elements).__module__.startswith(("torch.", "pyro."))
    if not (elements.event_shape and is_own):
        return False
    return bool(site["fn"].log_prob(site["value"]).isfinite().all())


def what_is_wrong(pair: nn.Module, args: Args) -> str:
    """Return what keeps a pair from being trained on rows with missing entries, or nothing.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> what_is_wrong(LinearPair(), (torch.full((3, 4), torch.nan),))
    "site 'z' of the guide is not finite where entries are missing (nan)"
    """
    parameters = [parameter for parameter in pair.parameters() if parameter.requires_grad]
    name_of_class = type(getattr(pair, "pair", pair)).__name__
    try:
        with probing(pair, args[0].device, seed=0), torch.enable_grad():
            trace = trace_pair(pair, args)
            for side, nodes in (("guide", trace.guide), ("model", trace.model)):
                for name, site in density_sites(nodes).items():
                    if not bool(log_density(site).isfinite().all()):
                        return _words(side, name, site)
            total = log_weight(trace).sum()
            if not total.requires_grad:
                return ""
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
            if all(bool(g.isfinite().all()) for g in gradients if g is not None):
                return ""
            return f"the gradient of {name_of_class} {WITHOUT}"
    except Exception as error:  # whatever a pair does with nan
        return f"{name_of_class} {WITHOUT}: {type(error).__name__}: {error}"


def _words(side: str, name: str, site: Site) -> str:
    elements = elements_of(site["fn"])
    joint = getattr(elements, "base_dist", elements)
    if side == "model" and site["is_observed"] and joint.event_shape:
        return (
            f"some entries of what site '{name}' observes are missing (nan), and its elements are "
            f"not independent ({family(joint)}): use a likelihood whose elements are, or one whose "
            "log_prob leaves out what is nan, or fill them"
        )
    return f"site '{name}' of the {side} {WITHOUT}"
