"""Several named values of one step as one row: what a mapping of conditionals stands for.

A conditional of a step may be a mapping from names to distributions. A function in it takes values
that stand before it by their names, as in ``JointDistributionNamed`` of TensorFlow Probability
(Piponi et al. 2020, arXiv:2001.11819):

    {"w": p(w_t | h_t), "z": lambda w: p(z_t | w, h_t)}

All that runs a step hands on one tensor of latents, ``(N, L)``. Here is where that tensor is taken
apart for the author's conditionals, and put together again.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from vaezoo.errors import RequestError

__all__ = ["Joint", "Layout"]


@dataclass(frozen=True)
class Layout:
    """Where each value stands in a row.

    Attributes
    ----------
    shapes
        Event shape of each name, in their order.
    dtypes
        What its values are; a row holds all as numbers of its own dtype.

    Examples
    --------
    >>> values = {"w": torch.tensor([[1.0, 2.0]]), "s": torch.tensor([3])}
    >>> layout = Layout({"w": torch.Size([2]), "s": torch.Size()}, {"s": torch.int64})
    >>> layout.pack(values)
    tensor([[1., 2., 3.]])
    >>> layout.unpack(layout.pack(values))["s"]
    tensor([3])
    """

    shapes: Mapping[str, torch.Size]
    dtypes: Mapping[str, torch.dtype]

    @property
    def size(self) -> int:
        """How many numbers a row holds."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Join values ``(..., *event)`` to rows ``(..., L)``."""
        rows = []
        for name, shape in self.shapes.items():
            batch = values[name].shape[: values[name].dim() - len(shape)]
            rows.append(values[name].reshape(*batch, math.prod(shape)))
        joined: Tensor = torch.cat([row.to(_number(rows)) for row in rows], -1)
        return joined

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Take rows ``(..., L)`` apart."""
        parts = rows.split([math.prod(shape) for shape in self.shapes.values()], -1)
        values = {
            name: part.reshape(*rows.shape[:-1], *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        return {n: v.to(self.dtypes[n]) if n in self.dtypes else v for n, v in values.items()}


def _number(rows: list[Tensor]) -> torch.dtype:
    """Return the dtype of real numbers among some, or the default one."""
    return next((row.dtype for row in rows if row.is_floating_point()), torch.get_default_dtype())


class Joint(TorchDistribution):
    """The values of one step together: batch shape ``(N,)``, event shape ``(L,)``.

    Parameters
    ----------
    parts
        Distributions by name, or functions of the values before them that return one.
    rows
        Batch shape.
    layout
        Where each stands in a row; that of ``parts`` by default, which takes a draw.
    over_rows
        Gives each row a distribution of its own.

    Raises
    ------
    RequestError
        When a function takes a value that does not come before it, or the names are others than
        those of the layout.

    Examples
    --------
    >>> from pyro.distributions import Normal
    >>> parts = {"w": Normal(torch.zeros(3), 1.0), "z": lambda w: Normal(w + 10, 0.1)}
    >>> joint = Joint(parts, torch.Size([3]))
    >>> joint.sample().shape, joint.log_prob(torch.zeros(3, 2)).shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.real_vector
    has_rsample = True  # where its parts have one

    def __init__(
        self,
        parts: Mapping[str, Any],
        rows: torch.Size,
        layout: Layout | None = None,
        over_rows: Callable[[TorchDistribution], TorchDistribution] = lambda fn: fn,
    ) -> None:
        self.parts = parts
        self.over_rows = over_rows
        self._known: tuple[Tensor, dict[str, TorchDistribution]] | None = None
        self.layout = layout or self._own_layout()
        if set(self.layout.shapes) != set(parts):
            ours, theirs = (" and ".join(sorted(names)) for names in (parts, self.layout.shapes))
            raise RequestError(
                f"the posterior of a step draws {ours}, and its prior {theirs}: give both the same "
                "names"
            )
        super().__init__(rows, torch.Size([self.layout.size]), validate_args=False)

    def _own_layout(self) -> Layout:
        values, fns = self._follow(lambda name, fn: torch.as_tensor(fn.sample()))
        dtypes = {n: v.dtype for n, v in values.items() if not v.is_floating_point()}
        return Layout({name: fn.event_shape for name, fn in fns.items()}, dtypes)

    def _follow(
        self, value_of: Callable[[str, TorchDistribution], Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, TorchDistribution]]:
        """Return values and distributions in turn, each given the values before it."""
        values: dict[str, Tensor] = {}
        fns: dict[str, TorchDistribution] = {}
        for name, part in self.parts.items():
            fns[name] = self.over_rows(_made(name, part, values))
            values[name] = value_of(name, fns[name])
        return values, fns

    def draw(self, sample: Callable[[str, TorchDistribution], Tensor]) -> Tensor:
        """Return a row, each value as ``sample(name, distribution)`` draws it."""
        values, fns = self._follow(sample)
        row = self.layout.pack(values)
        self._known = (row, fns)
        return row

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if len(sample_shape):
            raise NotImplementedError("a step is drawn once; repeat its rows")
        return self.draw(lambda _, fn: fn.rsample() if fn.has_rsample else fn.sample())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def given(self, row: Tensor) -> dict[str, TorchDistribution]:
        """Return the conditional of each value given those before it in a row."""
        if self._known is None or self._known[0] is not row:
            values = self.layout.unpack(row)
            self._known = (row, self._follow(lambda name, _: values[name])[1])
        return self._known[1]

    @property
    def drawn(self) -> dict[str, TorchDistribution]:
        """Conditionals of what was drawn last."""
        assert self._known is not None
        return self._known[1]

    def of_some_values(self, device: torch.device) -> dict[str, TorchDistribution]:
        """Return conditionals for what no value changes: event shapes, supports, families."""
        return self.given(torch.zeros(*self.batch_shape, self.layout.size, device=device))

    def log_prob(self, value: Tensor) -> Tensor:
        values = self.layout.unpack(value)
        terms = [fn.log_prob(values[name]) for name, fn in self.given(value).items()]
        return torch.stack(terms).sum(0)


def _made(name: str, part: Any, values: Mapping[str, Tensor]) -> Any:
    """Return a distribution of a mapping, given the values before it."""
    if isinstance(part, torch.distributions.Distribution):
        return part
    if not callable(part):
        raise RequestError(f"'{name}' of a step is {type(part).__name__}, and no distribution")
    names = list(
        inspect.signature(part.forward if isinstance(part, nn.Module) else part).parameters
    )
    if absent := [other for other in names if other not in values]:
        raise RequestError(
            f"'{name}' of a step takes '{absent[0]}', and before it come "
            f"{', '.join(values) or 'no values'}: name values of this step, those it needs first"
        )
    return part(*[values[other] for other in names])
