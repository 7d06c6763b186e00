"""Roles of arguments, by what the sites of a model observe."""

import json
from collections.abc import Callable

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.observations.roles import (
    Observation,
    Roles,
    by_argument,
    describe_arguments,
    roles_of,
)
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args

torch.manual_seed(0)
X = torch.randn(7, 4)
Select = Callable[[Tensor], Tensor]


class Observer(nn.Module):
    """Observes what a function makes of x, under some name."""

    def __init__(self, select: Select, site: str = "x") -> None:
        super().__init__()
        self.select, self.site = select, site

    def model(self, x: Tensor, c: Tensor) -> None:
        value = self.select(x)
        with pyro.plate("data", len(x)):
            fn = dist.Normal(torch.zeros_like(value), 1.0).to_event(value.dim() - 1)
            pyro.sample(self.site, fn, obs=value)

    def guide(self, x: Tensor, c: Tensor) -> None:
        pass


SELECTIONS: dict[str, tuple[Select, list[int] | None]] = {
    "all": (lambda x: x, None),
    "view": (lambda x: x[:, 1:3], [1, 2]),
    "reversed": (lambda x: x[:, [3, 1]], [3, 1]),
    "copied": (lambda x: x.double().float(), None),
    "transposed": (lambda x: x.reshape(-1, 2, 2).transpose(1, 2), [0, 2, 1, 3]),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_site_observes_what_it_takes_of_an_argument(name: str) -> None:
    select, elements = SELECTIONS[name]
    args = (X, torch.arange(7))
    with probing(Observer(select), X.device):
        roles = roles_of(Observer(select, "vae/x"), args)
    taken = roles.observed["vae/x"]
    assert taken is not None
    places = None if taken.elements is None else taken.elements.tolist()
    assert (taken.argument, places) == ("x", elements)
    assert (roles.data, roles.conditions) == (("x",), ("c",))
    back = by_argument(roles, {"vae/x": select(X)}, {"x": torch.zeros_like(X)})["x"]
    columns = range(4) if elements is None else elements
    torch.testing.assert_close(back[:, columns], X[:, columns])
    again = Roles.from_dict(json.loads(json.dumps(roles.to_dict())), ("x", "c"))
    assert again.to_dict() == roles.to_dict()


def test_what_is_filled_where_it_is_missing_is_the_same_argument() -> None:
    x = X.clone()
    x[0, 2] = torch.nan
    with probing(Observer(torch.nan_to_num), x.device):
        roles = roles_of(Observer(torch.nan_to_num), (x, torch.arange(7)))
    assert roles.data == ("x",)


def test_what_is_computed_is_no_argument() -> None:
    pair = Observer(lambda x: x.exp())
    with probing(pair, X.device):
        roles = roles_of(pair, (X, torch.arange(7)))
    assert roles.observed == {"x": None}
    assert roles.conditions == ("x", "c")


class Steps(nn.Module):
    """Observes a frame at each step, and a control that is a condition."""

    def model(self, x: Tensor, length: Tensor, u: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                pyro.sample(f"x_{t}", dist.Normal(u[:, t], 1.0).to_event(1), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor, u: Tensor) -> None:
        pass


def test_frames_of_a_sequence_are_one_argument() -> None:
    args: Args = (torch.randn(3, 5, 2), torch.tensor([5, 2, 3]), torch.randn(3, 5, 2))
    with probing(Steps(), args[0].device):
        roles = roles_of(Steps(), args)
    taken = roles.observed["x"]
    assert taken is not None
    assert (taken.argument, taken.elements) == ("x", None)
    assert roles.conditions == ("u",)


def test_categories_do_not_make_the_reals_beside_them_whole() -> None:
    sites = {"kind": torch.ones(2, 1, dtype=torch.long), "real": torch.full((2, 1), 0.5)}
    taken = {name: Observation("x", torch.tensor([i])) for i, name in enumerate(sites)}
    x = by_argument(Roles(taken, ()), sites, {"x": torch.zeros(2, 2)})["x"]
    assert x[0].tolist() == [1.0, 0.5]


def test_arguments_are_described_by_what_takes_them() -> None:
    """Of a table in parts, a computed site, frames, a condition, and an array that is left out."""
    observed = {"r": Observation("x", torch.tensor([0])), "b": Observation("x", torch.tensor([1]))}
    names = ["x", "length", "u"]
    shapes = {"x": (9, 5, 2), "length": (9,), "u": (9, 5), "label": (9,)}
    arrays = {name: torch.zeros(shape).numpy() for name, shape in shapes.items()}
    roles = Roles.of({**observed, "s": None}, names)
    assert describe_arguments(roles, arrays, names, {"x": "abcdefgh"}).split("; ") == [
        "x observed by r, b (5x2 float32: a, b, c, d, e, f, ...)",
        "length: frames of each row",
        "u condition (5 float32)",
        "site s observes what is computed",
        "label not used",
    ]


def test_columns_that_are_alike_in_all_rows_are_told_apart() -> None:
    """A copy is known by its values, and those of rare categories are zero in the first rows."""
    x = torch.cat([X[:, :1], torch.zeros(7, 3)], 1)
    pair = Observer(lambda x: x[:, [3, 2]], site="rare")
    with probing(pair, x.device):
        taken = roles_of(pair, (x, torch.zeros(7))).observed["rare"]
    assert taken is not None
    assert taken.elements is not None
    assert taken.elements.tolist() == [3, 2]
