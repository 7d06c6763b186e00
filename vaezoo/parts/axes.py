"""The swappable parts of a pair: p(x | z), p(z), q(z | x) and the objective.

A pair says that a part may be swapped by taking it as an argument of its constructor::

    def __init__(self, *, x_shape: tuple[int, ...], likelihood: Likelihood = Bernoulli) -> None:
        ...
        self.decoder = likelihood(Decoder(z_dim, [200], x_shape))

and uses what it gets. The settings ``likelihood``, ``prior`` and ``posterior`` then select
another one by name. A part is any callable that returns an ``nn.Module`` which returns a
distribution; a new one takes a class with ``@LIKELIHOODS.register("name")``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from torch import nn

from vaezoo.errors import RequestError, nearest
from vaezoo.parts.networks import DecoderNet, EncoderNet

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Axis",
    "Likelihood",
    "Part",
    "Posterior",
    "Prior",
]

Class = TypeVar("Class", bound=type)


@dataclass(frozen=True)
class Part:
    """One choice on an axis: a registered class and the options it is built with."""

    axis: str
    name: str
    cls: type
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any) -> nn.Module:
        module: nn.Module = self.cls(*args, **self.options)
        return module


@dataclass(frozen=True)
class Axis:
    """The choices there are for one part of a pair, by name."""

    name: str
    choices: dict[str, type] = field(default_factory=dict, compare=False)

    def register(self, name: str) -> Callable[[Class], Class]:
        """Add a class under a name; another class under the same name is an error."""

        def add(cls: Class) -> Class:
            taken = self.choices.get(name)
            if taken is not None and taken.__qualname__ != cls.__qualname__:
                owner = f"{taken.__module__}:{taken.__qualname__}"
                raise RequestError(f"the {self.name} '{name}' belongs to {owner} already")
            self.choices[name] = cls
            return cls

        return add

    def __getitem__(self, name: str) -> type:
        if name not in self.choices:
            raise RequestError(f"no {self.name} '{name}'; {nearest(name, self.choices)}")
        return self.choices[name]

    def name_of(self, part: object) -> str:
        """Return the name under which a class was registered."""
        for name, cls in self.choices.items():
            if cls is part:
                return name
        label = getattr(part, "__qualname__", part)
        raise RequestError(
            f"{label} has no name; put @{self.name.upper()}S.register('...') above its class"
        )


LIKELIHOODS = Axis("likelihood")
PRIORS = Axis("prior")
POSTERIORS = Axis("posterior")

Likelihood = Annotated[Callable[[DecoderNet], nn.Module], LIKELIHOODS]
Prior = Annotated[Callable[[int], nn.Module], PRIORS]
Posterior = Annotated[Callable[[EncoderNet, int], nn.Module], POSTERIORS]
