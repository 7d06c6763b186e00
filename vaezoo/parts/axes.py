"""The swappable parts of a pair: p(x | z), p(z), q(z | x) and the objective.

A pair says that a part may be swapped by taking it as an argument of its constructor::

    def __init__(self, *, x_shape: tuple[int, ...], likelihood: Likelihood = Bernoulli) -> None:
        ...
        self.decoder = likelihood(Decoder(z_dim, [200], x_shape))

and uses what it gets. The settings ``likelihood``, ``prior`` and ``posterior`` then select
another one by name. A part is any callable that returns an ``nn.Module`` which returns a
distribution; a new one takes a class with ``@LIKELIHOODS.register("name")``. A prior may ask for
more than the number of latents: pairs of the zoo build it last, and offer q(z | x) and p(x | z) to
one that takes them, ``prior(z_dim, self.encoder, self.decoder)``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Annotated, Any, TypeVar

from torch import nn

from vaezoo.errors import RequestError, nearest
from vaezoo.parts.networks import DecoderNet, EncoderNet
from vaezoo.registry import owner_of

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Axis",
    "FromData",
    "Likelihood",
    "Part",
    "Posterior",
    "Prior",
]

Class = TypeVar("Class", bound=type)


@dataclass(frozen=True)
class FromData:
    """Marks a setting that is read off the data where it is None, as the number of their levels.

    It goes with the type: ``num_levels: Annotated[PositiveInt | None, FromData("num_levels")]``.

    Attributes
    ----------
    fact
        What is read: a name of :data:`vaezoo.data.facts.FACTS`.
    """

    fact: str


@dataclass(frozen=True)
class Part:
    """One choice on an axis: a registered class and the options it is built with.

    It is called with all that a pair offers, of which the class takes as many as it has arguments
    for: a prior of one's own may take the number of latents alone.
    """

    axis: str
    name: str
    cls: type
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any) -> nn.Module:
        taken = args[: _most_places(self.cls)]
        module: nn.Module = self.cls(*taken, **self.options)
        return module


def _most_places(cls: type) -> int | None:
    """Return how many arguments a constructor takes by their place, None for any number."""
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


@dataclass(frozen=True)
class Axis:
    """The choices there are for one part of a pair, by name.

    What a user's file registers belongs to that file: two files may each have a ``mine``.

    Attributes
    ----------
    name
        What is chosen, as ``likelihood``.
    imported
        Those of every pair whose file has been imported, by name.
    own
        Those of the pairs of one file, by the file's name among modules.
    package
        Whose files register choices: imported once one is asked for that is not there, or all are.
    """

    name: str
    imported: dict[str, type] = field(default_factory=dict, compare=False)
    own: dict[str, dict[str, type]] = field(default_factory=dict, compare=False)
    package: str = ""

    def register(self, name: str) -> Callable[[Class], Class]:
        """Add a class under a name; another class under the same name is an error.

        A class of a user's file may take the name of a choice that every pair has; it then comes
        first for the pairs of that file.
        """

        def add(cls: Class) -> Class:
            file = owner_of(cls.__module__)
            if not file and not cls.__module__.startswith(f"{self.package}."):
                import_files(self.package)  # a name of theirs is taken
            choices = self.own.setdefault(file, {}) if file else self.imported
            taken = choices.get(name)
            if taken is not None and taken.__qualname__ != cls.__qualname__:
                owner = f"{taken.__module__}:{taken.__qualname__}"
                raise RequestError(f"the {self.name} '{name}' belongs to {owner} already")
            choices[name] = cls
            return cls

        return add

    @property
    def choices(self) -> dict[str, type]:
        """The choices of every pair, by name."""
        return self.choices_for(None)

    def choices_for(self, owner: type | None) -> dict[str, type]:
        """Return the choices that a pair has by name: those of its own file, and of every pair."""
        import_files(self.package)
        return self._imported_for(owner)

    def _imported_for(self, owner: type | None) -> dict[str, type]:
        own = self.own.get(owner_of(owner.__module__), {}) if owner else {}
        # In one order, whichever was imported first.
        choices = sorted(self.imported.items(), key=lambda choice: choice[1].__module__)
        return own | {name: cls for name, cls in choices if name not in own}

    def find(self, name: str, owner: type | None = None) -> type:
        """Return the choice of a name, for a pair of some class.

        Raises
        ------
        RequestError
            When there is none.

        Examples
        --------
        >>> from vaezoo.parts import LIKELIHOODS
        >>> LIKELIHOODS.find("bernoulli").__name__
        'Bernoulli'
        """
        choices = self._imported_for(owner)
        if name not in choices:
            choices = self.choices_for(owner)
        if name not in choices:
            raise RequestError(f"no {self.name} '{name}'; {nearest(name, choices)}")
        return choices[name]

    def name_of(self, part: object, owner: type | None = None) -> str:
        """Return the name under which a pair of some class finds a class.

        Raises
        ------
        RequestError
            When it has none, or the file of the pair has another class of that name.
        """
        label = getattr(part, "__qualname__", part)
        for choices in (self._imported_for(owner), self.imported):
            name = next((name for name, cls in choices.items() if cls is part), None)
            if name and self.find(name, owner) is part:
                return name
            if name:
                raise RequestError(
                    f"{label} is the {self.name} '{name}' of every pair, and this file registers "
                    "another under that name; give yours another"
                )
        raise RequestError(
            f"{label} has no name; put @{self.name.upper()}S.register('...') above its class"
        )


@cache
def import_files(package: str) -> None:
    """Import every file of a package, and of those in it."""
    for file in walk_packages(import_module(package).__path__, f"{package}.") if package else ():
        import_module(file.name)


LIKELIHOODS = Axis("likelihood", package="vaezoo.parts")
PRIORS = Axis("prior", package="vaezoo.parts")
POSTERIORS = Axis("posterior", package="vaezoo.parts")

Likelihood = Annotated[Callable[[DecoderNet], nn.Module], LIKELIHOODS]
Prior = Annotated[Callable[..., nn.Module], PRIORS]
Posterior = Annotated[Callable[[EncoderNet, int], nn.Module], POSTERIORS]
