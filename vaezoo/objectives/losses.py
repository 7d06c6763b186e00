"""Named losses: which parameters follow which of them, and what an objective owns beside the pair.

An objective may train networks of its own against the pair, as a critic does. It returns a loss for
each, ``{"pair": ..., "critic": ...}``, and each is differentiated by the parameters of its own
group only: those of the module of that name.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from vaezoo.errors import RequestError, nearest

__all__ = ["PAIR", "Losses", "groups_of", "named_losses", "networks_of", "together", "untrained"]

PAIR = "pair"

Losses = Tensor | Mapping[str, Tensor]
Groups = dict[str, list[nn.Parameter]]


def named_losses(losses: Losses) -> dict[str, Tensor]:
    """Return losses by the name of their group; a single one is that of the pair.

    Raises
    ------
    RequestError
        When none is the pair's, or one is no scalar, or depends on nothing that can be trained.

    Examples
    --------
    >>> named_losses(torch.tensor(1.5))
    {'pair': tensor(1.5000)}
    """
    named = {PAIR: losses} if isinstance(losses, Tensor) else dict(losses)
    if PAIR not in named:
        raise RequestError(
            f"the objective gives no loss 'pair', only {_listed(named)}; name the pair's loss so"
        )
    for name, loss in named.items():
        if not isinstance(loss, Tensor) or loss.dim():
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise RequestError(
                f"the loss '{name}' of the objective is no scalar tensor ({shape}); "
                "average it over the rows that count"
            )
    return named


def networks_of(objective: object, pair: nn.Module) -> nn.Module:
    """Return what an objective owns: itself if it is a module, else one of what it has.

    Parameters
    ----------
    objective
        A module, or any object with modules and parameters as attributes.
    pair
        What it is prepared for.

    Raises
    ------
    RequestError
        When the pair is a part of it.

    Examples
    --------
    >>> from vaezoo.objectives import ELBO
    >>> list(networks_of(ELBO(), nn.Linear(1, 1)).parameters())
    []
    """
    if isinstance(objective, nn.Module):
        own = objective
    else:
        own = nn.Module()
        for name, value in vars(objective).items():
            if isinstance(value, nn.Module | nn.Parameter):
                setattr(own, name, value)
    of_pair = {id(parameter) for parameter in pair.parameters()}
    for name, parameter in own.named_parameters():
        if id(parameter) in of_pair:
            raise RequestError(
                f"the objective keeps a part of the pair ('{name}') as its own; "
                "take it from the pair that `prepare` and `loss` are given"
            )
    return own


def together(pair: nn.Module, networks: nn.Module) -> nn.Module:
    """Return a module of a pair and of what an objective owns; the pair itself where that is none.

    Examples
    --------
    >>> pair = nn.Linear(2, 3)
    >>> together(pair, nn.Module()) is pair
    True
    >>> len(list(together(pair, nn.ModuleDict({"critic": nn.Linear(3, 1)})).parameters()))
    4
    """
    is_empty = type(networks) is nn.Module and not networks.state_dict()
    return pair if is_empty else nn.ModuleDict({PAIR: pair, "objective": networks})


def groups_of(names: Iterable[str], pair: nn.Module, networks: nn.Module) -> Groups:
    """Return the parameters that follow each loss: those of the pair, or of a module by its name.

    Parameters
    ----------
    names
        Of the losses.
    pair
        Its own group are its parameters but those of its modules that have a loss by name.
    networks
        What the objective owns.

    Raises
    ------
    RequestError
        When no module has the name of a loss, or two groups share a parameter.

    Examples
    --------
    >>> pair, networks = nn.Linear(2, 3), nn.ModuleDict({"critic": nn.Linear(3, 1)})
    >>> {name: len(group) for name, group in groups_of(["pair", "critic"], pair, networks).items()}
    {'pair': 2, 'critic': 2}
    """
    others = [name for name in names if name != PAIR]
    groups: Groups = {name: _group(name, pair, networks) for name in others}
    taken: dict[int, str] = {}
    for name, parameters in groups.items():
        for parameter in parameters:
            other = taken.setdefault(id(parameter), name)
            if other != name:
                raise RequestError(
                    f"the losses '{other}' and '{name}' share parameters; each needs its own module"
                )
    of_pair = [p for p in pair.parameters() if p.requires_grad and id(p) not in taken]
    return {PAIR: of_pair, **groups}


def _group(name: str, pair: nn.Module, networks: nn.Module) -> list[nn.Parameter]:
    parts = {**_parts(pair), **_parts(networks)}
    if name not in parts:
        raise RequestError(
            f"the objective gives a loss '{name}', and neither it nor the pair has a module of "
            f"that name; {nearest(name, [PAIR, *parts])}"
        )
    part = parts[name]
    own = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
    trained = [parameter for parameter in own if parameter.requires_grad]
    if not trained:
        raise RequestError(f"the loss '{name}' has nothing to train: '{name}' has no parameters")
    return trained


def _parts(owner: nn.Module) -> dict[str, nn.Module | nn.Parameter]:
    own = dict(owner.named_parameters(recurse=False))
    return {**own, **dict(owner.named_children())}


def untrained(networks: nn.Module, groups: Mapping[str, Iterable[Tensor]]) -> list[str]:
    """Return which parts of an objective have parameters that no loss trains.

    Examples
    --------
    >>> untrained(nn.ModuleDict({"critic": nn.Linear(3, 1)}), {"pair": []})
    ['critic']
    """
    trained = {id(parameter) for group in groups.values() for parameter in group}
    free = [n for n, p in networks.named_parameters() if p.requires_grad and id(p) not in trained]
    return list(dict.fromkeys(name.partition(".")[0] for name in free))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "an empty mapping"
