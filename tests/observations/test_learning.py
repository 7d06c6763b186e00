"""When a pair is said to have learned nothing."""

import pytest
import torch
from torch import Tensor

from vaezoo.observations.floors import independent_elements
from vaezoo.observations.learning import unlearned
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.testing.pairs import LinearPair

WEIGHT = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, 3.0]], dtype=torch.float64)


def rows(pair: LinearPair) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    z, noise = torch.randn(400, 2, generator=draw), torch.randn(400, 4, generator=draw)
    return (
        z.double() @ pair.linear.weight.T + pair.linear.bias + pair.linear.sigma * noise
    ).float()


def judged(**broken: float) -> tuple[float, float | None, float | None]:
    """Return the ELBO, the floor, and what is said of it."""
    pair = LinearPair(WEIGHT, **broken)
    batches = [(rows(pair),)]
    elbo = float(elbo_terms(pair, batches[0]).elbo.mean())
    floor = independent_elements(pair, batches, batches)
    return elbo, floor, unlearned(pair, batches, batches, elbo)


def test_a_pair_above_the_floor_has_learned_something() -> None:
    elbo, floor, said = judged()
    assert floor is not None
    assert elbo > floor + 1
    assert said is None


def test_a_guide_that_is_too_wide_is_no_alarm_where_the_weights_make_up_for_it() -> None:
    """As that of IWAE may be: its ELBO is low, its bound is not."""
    elbo, floor, said = judged(scale=4.0)
    assert floor is not None
    assert elbo < floor
    assert said is None


def test_a_guide_that_looks_elsewhere_is_one() -> None:
    _, floor, said = judged(shift=40.0)
    assert said == pytest.approx(floor)
