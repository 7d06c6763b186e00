"""The leapfrog trajectory: it can be reversed, and its error is of second order."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vaezoo.inference.leapfrog import leapfrog, move, placed
from vaezoo.pairs.pieces import ROWS_OF_GRADIENT


@dataclass(frozen=True)
class Point:
    """A place in a standard Gaussian."""

    position: Tensor

    @property
    def log_density(self) -> Tensor:
        return -0.5 * self.position.square().sum(-1)

    @property
    def gradient(self) -> Tensor:
        return -self.position

    def where(self, accepted: Tensor, old: "Point") -> "Point":
        return Point(torch.where(accepted[..., None], self.position, old.position))


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def energy(point: Point, momentum: Tensor) -> Tensor:
    return 0.5 * momentum.square().sum(-1) - point.log_density


def test_trajectory_leads_back_when_the_momentum_is_turned() -> None:
    start, momentum = Point(draw(4, 3, 2)), draw(4, 3, 2).flip(0)
    step = torch.tensor([[0.1], [0.2], [0.3]]).double()
    end, last = leapfrog(Point, start, momentum, step, 7)
    back, first = leapfrog(Point, end, -last, step, 7)
    torch.testing.assert_close(back.position, start.position)
    torch.testing.assert_close(-first, momentum)


def test_error_of_the_energy_falls_with_the_square_of_the_step() -> None:
    start, momentum = Point(draw(1, 1, 8)), draw(1, 1, 8).flip(-1)
    errors = []
    for num_steps in (5, 50):
        step = torch.tensor([[1.0 / num_steps]]).double()
        end, last = leapfrog(Point, start, momentum, step, num_steps)
        errors.append(float((energy(end, last) - energy(start, momentum)).abs()))
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)


def test_moves_leave_the_distribution_as_it_is() -> None:
    torch.manual_seed(0)
    place = Point(torch.randn(20_000, 1, 1).double())
    for _ in range(5):
        place, moved = move(Point, place, torch.tensor([[1.5]]).double(), 3)
    assert float(moved.acceptance.mean()) < 0.95
    assert float(place.position.mean()) == pytest.approx(0.0, abs=5 / math.sqrt(20_000))
    assert float(place.position.var()) == pytest.approx(1.0, abs=5 * math.sqrt(2 / 20_000))


def test_energy_is_that_of_the_place_and_its_momentum() -> None:
    """Half of four squared standard normals, of position and momentum, is 2 on average.

    Five standard errors: fails once in 1.7 million runs.
    """
    torch.manual_seed(0)
    place = Point(torch.randn(20_000, 1, 2).double())
    _, moved = move(Point, place, torch.tensor([[1.0]]).double(), 3)
    assert float(moved.energy.mean()) == pytest.approx(2.0, abs=5 * math.sqrt(2 / 20_000))


def test_chain_stays_where_it_is_when_a_trajectory_diverges() -> None:
    place = Point(torch.ones(3, 1, 1).double())
    after, moved = move(Point, place, torch.tensor([[1e200]]).double(), 4)
    assert torch.equal(after.position, place.position)
    assert bool((moved.error > 1000).all())
    assert bool((moved.acceptance == 0).all())


def test_gradients_of_many_chains_are_those_of_each() -> None:
    """Some chains at a time, so that a cache holds what they need."""
    sizes = []

    def log_density(position: Tensor) -> Tensor:
        sizes.append(position.shape[:2].numel())
        return -0.25 * position.pow(4).sum(-1)

    position = draw(7, ROWS_OF_GRADIENT // 3, 2)
    place = placed(log_density, position)
    assert torch.equal(place.log_density, -0.25 * position.pow(4).sum(-1))
    torch.testing.assert_close(place.gradient, -position.pow(3))
    assert len(sizes) > 1
    assert max(sizes) <= ROWS_OF_GRADIENT
