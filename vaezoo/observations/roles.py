"""The roles of the arguments of a pair, by their use: what a site observes is data.

An argument that some site of the model takes as ``obs=``, as it is or in part, is *observed*. All
others are *conditions*, apart from ``length`` and ``mask``, which say what there is of the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.pairs.sites import Args, PairTrace, argument_names, step_of, takes_lengths, trace_pair

__all__ = ["SHAPES", "Observation", "Roles", "by_argument", "describe_arguments", "roles_of"]

SHAPES = ("length", "mask")
MEANINGS = {"length": "length: frames of each row", "mask": "mask: which entries are there"}
MOST_NAMES = 6


@dataclass(frozen=True)
class Observation:
    """What an observed site takes: an argument, and which of its elements.

    Attributes
    ----------
    argument
        Its name.
    elements
        Places in a datum of the argument, flat, in the order of the elements of the site; of
        sequences, in a frame. None where the site takes all of them as they come.
    """

    argument: str
    elements: Tensor | None = None


@dataclass(frozen=True)
class Roles:
    """The roles of the arguments of a pair.

    Attributes
    ----------
    observed
        What each observed site takes, the steps of a sequence as one site; None where it was
        computed, so that none of its values are those of an argument.
    conditions
        Names of the arguments that no site observes.
    """

    observed: Mapping[str, Observation | None]
    conditions: tuple[str, ...]

    @classmethod
    def of(cls, observed: Mapping[str, Observation | None], names: Sequence[str]) -> "Roles":
        """Return the roles of all arguments by what is observed."""
        data = cls(observed, ()).data
        return cls(observed, tuple(name for name in names if name not in (*data, *SHAPES)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], names: Sequence[str]) -> "Roles":
        """Return roles that :meth:`to_dict` wrote."""
        observed = {
            site: taken and Observation(taken[0], taken[1] and torch.tensor(taken[1]))
            for site, taken in values.items()
        }
        return cls.of(observed, names)

    def to_dict(self) -> dict[str, Any]:
        """Return what each site takes as plain values: argument and elements."""
        return {
            site: taken
            and [taken.argument, None if taken.elements is None else taken.elements.tolist()]
            for site, taken in self.observed.items()
        }

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the arguments that are observed."""
        names = [taken.argument for taken in self.observed.values() if taken is not None]
        return tuple(dict.fromkeys(names))


def roles_of(pair: nn.Module, args: Args, trace: PairTrace | None = None) -> Roles:
    """Return the roles of the arguments of a pair, from running it on a batch, or its trace.

    Use it inside :func:`vaezoo.pairs.particles.probing`, on real rows: a copy, as ``x.float()`` or
    ``x.nan_to_num()``, is recognised by its values.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LabelledPair
    >>> roles = roles_of(LabelledPair(), (torch.randn(3), torch.tensor([0, 1, 1])))
    >>> roles.data, roles.conditions
    (('x',), ('c',))
    """
    observed = _observations(pair, args, trace or trace_pair(pair, args))
    taken = [each for each in observed.values() if each]
    if any(_has_alike(args[argument_names(pair).index(t.argument)], t) for t in taken):
        observed = {**observed, **_of_marked(pair, args, observed)}
    return Roles.of(observed, argument_names(pair))


def _observations(pair: nn.Module, args: Args, trace: PairTrace) -> dict[str, Observation | None]:
    observed: dict[str, Observation | None] = {}
    for name, site in trace.observed.items():
        step = step_of(name) if takes_lengths(pair) else None
        base = step[0] if step else name
        if observed.get(base) is None:
            observed[base] = _observation(pair, base, site["value"], args)
    return observed


def _has_alike(arg: Tensor, taken: Observation) -> bool:
    """Return whether elements that a site takes are the same in all rows as others."""
    if taken.elements is None or not arg.is_floating_point():
        return False
    columns = arg.reshape(len(arg), -1).nan_to_num()
    return len(columns.unique(dim=1).T) < columns.shape[1]


def _of_marked(
    pair: nn.Module, args: Args, observed: Mapping[str, Observation | None]
) -> dict[str, Observation | None]:
    """Return what sites take of data of which no two elements are alike; nothing if that fails."""
    data = Roles.of(observed, argument_names(pair)).data
    marked = tuple(
        torch.linspace(0, 1, arg.numel(), dtype=arg.dtype, device=arg.device).reshape(arg.shape)
        if name in data and arg.is_floating_point()
        else arg
        for name, arg in zip(argument_names(pair), args, strict=True)
    )
    try:
        again = _observations(pair, marked, trace_pair(pair, marked))
    except Exception:  # whatever a pair does with values that are none of its data
        return {}
    return {site: taken for site, taken in again.items() if taken is not None}


def _observation(pair: nn.Module, name: str, value: Tensor, args: Args) -> Observation | None:
    names = argument_names(pair)
    order = sorted(range(len(names)), key=lambda place: (names[place] != name, place))
    for places in (_places_in_memory, _places_of_values):
        for index in order:
            arg = args[index]
            elements = places(arg, value) if names[index] not in SHAPES else None
            if elements is not None:
                return Observation(names[index], _in_a_frame(pair, args, arg, elements))
    return None


def _in_a_frame(pair: nn.Module, args: Args, arg: Tensor, elements: Tensor) -> Tensor | None:
    """Return places in a frame for those in a datum, of an argument that has frames."""
    size = arg[0].numel()
    if takes_lengths(pair) and arg.shape[1:2] == args[0].shape[1:2]:
        size = arg[0, 0].numel()
        elements = elements[elements // size == elements[0] // size] % size
    return None if torch.equal(elements, torch.arange(size)) else elements


def _places_in_memory(arg: Tensor, value: Tensor) -> Tensor | None:
    """Return the elements of an argument that a view of it shows, ``(numel of a datum,)``."""
    same = arg.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()
    if not same or not arg.is_contiguous() or arg.dtype != value.dtype or not arg.numel():
        return None
    index = torch.arange(arg.untyped_storage().nbytes() // arg.element_size())
    offset = int(arg.storage_offset())
    shown = index.as_strided(value.shape, value.stride(), value.storage_offset()) - offset
    rows = shown.reshape(len(value), -1)
    size = arg.numel() // len(arg)
    starts = size * torch.arange(len(value)).unsqueeze(-1)
    places = rows - starts
    return places[0] if len(value) == len(arg) and bool((places == places[0]).all()) else None


def _places_of_values(arg: Tensor, value: Tensor) -> Tensor | None:
    """Return the elements of an argument whose values in all rows are those of a site."""
    if len(arg) != len(value) or not arg.numel():
        return None
    ours, theirs = value.reshape(len(value), -1).double(), arg.reshape(len(arg), -1).double()
    if ours.shape == theirs.shape and _same(ours, theirs).all():
        return torch.arange(theirs.shape[1])
    places: list[int] = []
    for column in ours.T:
        same = _same(column.unsqueeze(-1), theirs).all(0) & ~theirs.isnan().all(0)
        left = [place for place in same.nonzero().flatten().tolist() if place not in places]
        if not left:
            return None
        places.append(left[0])
    return torch.tensor(places)


def _same(values: Tensor, arg: Tensor) -> Tensor:
    """Return where values are those of an argument; what is missing there may be filled."""
    return (values == arg) | arg.isnan()


def by_argument(
    roles: Roles, sites: Mapping[str, Tensor], like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return values of observed sites as the arguments that they stand for.

    Parameters
    ----------
    roles
        Of a pair.
    sites
        Values by site, the steps of a sequence as one; those of other sites are left out.
    like
        The arguments, of as many rows. What no site observes stays as it is in them.

    Examples
    --------
    >>> roles = Roles({"y": Observation("x", torch.tensor([1]))}, ())
    >>> by_argument(roles, {"y": torch.ones(2, 1)}, {"x": torch.zeros(2, 3)})["x"][0]
    tensor([0., 1., 0.])
    """
    arguments: dict[str, Tensor] = {}
    for site, taken in roles.observed.items():
        if taken is None or site not in sites:
            continue
        arg, value = like[taken.argument], sites[site]
        if taken.elements is None:
            arguments[taken.argument] = value.reshape(arg.shape)
            continue
        size = len(taken.elements)
        # Columns of one table: whichever site comes first, categories do not make its reals whole.
        before = arguments.get(taken.argument, arg.clone())
        whole = before.to(torch.promote_types(before.dtype, value.dtype))
        lead = value.numel() // size
        flat = whole.reshape(lead, -1)
        flat[:, taken.elements.to(flat.device)] = value.reshape(lead, size).to(flat.dtype)
        arguments[taken.argument] = flat.reshape(arg.shape)
    return arguments


def describe_arguments(
    roles: Roles,
    arrays: Mapping[str, Any],
    names: Sequence[str],
    columns: Mapping[str, Sequence[str]],
) -> str:
    """Return what becomes of each argument of a pair, in one line.

    Parameters
    ----------
    roles
        Of the pair.
    arrays
        The data by name, ``(N, ...)`` each.
    names
        The arguments, in order.
    columns
        What the elements of some of them are called.

    Examples
    --------
    >>> arrays = {"x": torch.zeros(9, 4).numpy(), "c": torch.zeros(9, 2).numpy(), "label": []}
    >>> roles = Roles.of({"x": Observation("x")}, ["x", "c"])
    >>> describe_arguments(roles, arrays, ["x", "c"], {"c": ["age", "income"]})
    'x observed (4 float32); c condition (2 float32: age, income); label not used'
    """
    parts = [
        MEANINGS.get(name)
        or f"{name} {_role(roles, name)} ({_size(arrays[name], columns.get(name))})"
        for name in names
    ]
    computed = [site for site, taken in roles.observed.items() if taken is None]
    parts += [f"site {site} observes what is computed" for site in computed]
    if "label" in arrays and "label" not in names:
        parts.append("label not used")
    return "; ".join(parts)


def _role(roles: Roles, name: str) -> str:
    sites = [site for site, taken in roles.observed.items() if taken and taken.argument == name]
    if not sites:
        return "condition"
    return "observed" if sites == [name] else f"observed by {_some(sites)}"


def _size(array: Any, columns: Sequence[str] | None) -> str:
    size = "x".join(map(str, array.shape[1:]))
    kind = f"{size} {array.dtype}".strip()
    return f"{kind}: {_some(columns)}" if columns else kind


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
