"""What values mean follows from the likelihood and the kind of data, not from the storage."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist

from vaezoo import RequestError, build_model, get_model
from vaezoo.data import choose_transform, from_arrays
from vaezoo.testing.pairs import LinearPair

GREY = np.random.default_rng(0).integers(0, 256, (60, 4, 3)).astype(np.uint8)
REAL = np.random.default_rng(1).normal(3.0, 2.0, (60, 5)).astype(np.float32)


def bernoulli_pair(shape: tuple[int, ...]) -> torch.nn.Module:
    return build_model(get_model("vae-bernoulli"), {"hidden": [4], "z_dim": 2}, shape)


def gaussian_pair(shape: tuple[int, ...]) -> torch.nn.Module:
    return build_model(get_model("vae-gaussian"), {"hidden": [4], "z_dim": 2}, shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_how_counts_are_stored_does_not_matter(dtype: Any) -> None:
    counts = np.random.default_rng(0).poisson(150, (40, 3)).clip(0, 255)
    pair = gaussian_pair((3,))
    uint8, other = (
        choose_transform(pair, from_arrays(counts.astype(t))) for t in (np.uint8, dtype)
    )
    assert uint8.scale == other.scale == 1.0
    assert np.allclose(uint8.mean, other.mean)


def test_whole_numbers_are_grey_levels_for_a_bernoulli() -> None:
    flat = GREY.reshape(len(GREY), -1).astype(np.int32)
    transform = choose_transform(bernoulli_pair(flat.shape[1:]), from_arrays(flat))
    assert (transform.scale, transform.binarize) == (255.0, "dynamic")


def test_grey_levels_of_an_unknown_scale_are_asked_for() -> None:
    levels = np.random.default_rng(0).integers(0, 17, (30, 8, 8))
    with pytest.raises(RequestError, match="`scale=16` if they are grey levels"):
        choose_transform(bernoulli_pair((8, 8)), from_arrays(levels))


def test_what_is_far_from_standard_is_standardised() -> None:
    far = REAL * [1, 1, 1, 1, 9e4]
    assert choose_transform(gaussian_pair((5,)), from_arrays(far)).std.max() > 1e4


def test_what_is_near_standard_is_left_alone() -> None:
    near = np.random.default_rng(0).normal(0.5, 1.5, (60, 5))
    assert choose_transform(gaussian_pair((5,)), from_arrays(near)).mean is None


def test_nothing_is_standardised_where_that_is_forbidden() -> None:
    transform = choose_transform(gaussian_pair((5,)), from_arrays(REAL * 1e4), standardize=False)
    assert transform.mean is None


def test_what_is_0_or_1_stays_beside_what_is_standardised() -> None:
    mixed = np.column_stack([REAL[:, 0] * 1e4, REAL[:, 1] > 3])
    transform = choose_transform(gaussian_pair((2,)), from_arrays(mixed))
    assert (transform.mean[1], transform.std[1]) == (0.0, 1.0)


def test_a_pair_of_somebody_keeps_its_units() -> None:
    pair = LinearPair()
    assert choose_transform(pair, from_arrays(REAL[:, :4] * 1e4)).mean is None


class OneSite(torch.nn.Module):
    """Observes x by a distribution without parameters."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self.make = make

    def model(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", self.make(len(x)).mask(z.sum() < 1e9), obs=x)

    def guide(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))


SHARES = np.random.default_rng(0).dirichlet(np.ones(3), 30)
BOUNDARIES: dict[str, tuple[Callable[[int], Any], Any, Any]] = {
    "beta": (lambda n: dist.Beta(torch.full((n, 3), 2.0), 2.0).to_event(1), SHARES, 0.0),
    "gamma": (lambda n: dist.Gamma(torch.full((n, 3), 2.0), 1.0).to_event(1), SHARES, 0.0),
    "log-normal": (lambda n: dist.LogNormal(torch.zeros(n, 3), 1.0).to_event(1), SHARES, 0.0),
    "dirichlet": (lambda n: dist.Dirichlet(torch.full((n, 3), 2.0)), SHARES, (0.0, 0.5, 0.5)),
    "sum": (lambda n: dist.Dirichlet(torch.full((n, 3), 2.0)), SHARES, (0.2, 0.5, 0.5)),
    "one hot": (
        lambda n: dist.OneHotCategorical(torch.ones(n, 3)),
        np.eye(3)[np.arange(30) % 3],
        (1, 1, 0),
    ),
    "total": (
        lambda n: dist.Multinomial(9, torch.ones(n, 3)),
        np.full((30, 3), 3.0),
        (4.0, 4.0, 4.0),
    ),
    "whole": (lambda n: dist.Poisson(torch.ones(n, 3)).to_event(1), np.full((30, 3), 2.0), 0.5),
}


@pytest.mark.parametrize(("make", "x", "wrong"), BOUNDARIES.values(), ids=BOUNDARIES)
def test_values_on_a_boundary_are_counted_before_training(
    make: Callable[[int], Any], x: Any, wrong: Any
) -> None:
    pair = OneSite(make)
    assert choose_transform(pair, from_arrays(x)).scale == 1.0
    x = np.array(x)
    x[[4, 7]] = wrong
    with pytest.raises(RequestError, match=r"does not explain 'x' in 2 rows, the first in row 4"):
        choose_transform(pair, from_arrays(x))


def test_an_exponential_has_a_density_at_0() -> None:
    pair = OneSite(lambda n: dist.Exponential(torch.ones(n, 3)).to_event(1))
    assert choose_transform(pair, from_arrays(np.zeros((20, 3)))).scale == 1.0
