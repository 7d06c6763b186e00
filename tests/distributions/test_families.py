"""Families of distributions are seen through whatever wraps them."""

from typing import Any

import pytest
import torch
from pyro import distributions as dist
from pyro.distributions import transforms
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaezoo import RequestError
from vaezoo.distributions.families import (
    elements_of,
    elements_of_both,
    factorises,
    family,
    is_boolean,
    is_discrete,
    is_point,
    point_of,
    support_of,
)

NORMAL = dist.Normal(torch.zeros(3, 2), 1.0)
JOINT = dist.MultivariateNormal(torch.zeros(3, 2), torch.eye(2))
MIXTURE = dist.MixtureSameFamily(
    dist.Categorical(torch.ones(3, 5)), dist.Normal(torch.zeros(3, 5, 2), 1.0).to_event(1)
)
WRAPPED = {
    "event": NORMAL.to_event(2),
    "twice": NORMAL.to_event(1).to_event(1),
    "mask": NORMAL.to_event(1).mask(torch.tensor(False)),
    "expanded": dist.Normal(0.0, 1.0).expand_by([3, 2]).to_event(1),
}


@pytest.mark.parametrize("fn", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_family_keeps_its_name(fn: Any) -> None:
    assert family(fn) == "Normal"
    assert factorises(fn)
    assert not is_point(fn)


@pytest.mark.parametrize("fn", [JOINT, MIXTURE])
def test_a_joint_distribution_does_not_factorise(fn: Any) -> None:
    assert not factorises(fn)
    assert elements_of_both(fn, NORMAL.to_event(1)) is None


def test_elements_have_no_event() -> None:
    elements = elements_of(NORMAL.to_event(1))
    assert (elements.batch_shape, elements.event_shape) == ((3, 2), ())
    both = elements_of_both(NORMAL.to_event(1), NORMAL.to_event(1))
    assert both is not None
    assert [fn.event_shape for fn in both] == [(), ()]


def test_supports_are_those_of_an_element() -> None:
    assert support_of(NORMAL.to_event(2)) is constraints.real
    assert is_boolean(dist.Bernoulli(torch.full((3, 2), 0.5)).to_event(1))
    assert not is_boolean(dist.Poisson(torch.ones(3)))


def test_what_has_no_support_is_not_discrete() -> None:
    assert is_discrete(dist.Categorical(torch.ones(3)))
    assert not is_discrete(Distribution(validate_args=False))


LOGISTIC = dist.TransformedDistribution(NORMAL, [transforms.SigmoidTransform()])
POINTS = {
    "mean": (dist.Gamma(torch.full((3,), 2.0), 4.0), "mean", torch.full((3,), 0.5)),
    "mode, as the mean is nan": (dist.Categorical(torch.eye(3)), "mode", torch.arange(3)),
    "mode, as there is no mean": (dist.Cauchy(torch.ones(3), 1.0), "mode", torch.ones(3)),
    "mode, as one mean is infinite": (
        dist.Pareto(torch.ones(2), torch.tensor([0.5, 2.0])),
        "mode",
        torch.ones(2),
    ),
}


@pytest.mark.parametrize(("fn", "kind", "value"), POINTS.values(), ids=POINTS)
def test_a_point_is_the_mean_or_the_mode(fn: Any, kind: str, value: Tensor) -> None:
    point, taken = point_of(fn)
    assert (point.tolist(), taken) == (value.tolist(), kind)


@pytest.mark.parametrize(
    "fn", [LOGISTIC, dist.RelaxedOneHotCategorical(torch.tensor(1.0), logits=torch.zeros(3, 4))]
)
def test_what_has_neither_is_drawn_with_the_seed(fn: Any) -> None:
    values = []
    for _ in range(2):
        torch.manual_seed(3)
        value, kind = point_of(fn)
        assert kind == "draw"
        values.append(value)
    assert torch.equal(*values)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(RequestError, match="a ImproperUniform cannot be drawn from"):
        point_of(dist.ImproperUniform(constraints.real, (3,), ()))
