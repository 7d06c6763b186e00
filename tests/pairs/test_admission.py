"""What stands in the way of a posterior is found, named and refused."""

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError, fit
from vaezoo.pairs.admission import DENSITY, Finding, admit, examine
from vaezoo.pairs.sites import trace_pair
from vaezoo.testing.pairs import LinearPair, NoLatents, PointGuide, StatesPair

X = torch.zeros(3, 4)


class OneSided(LinearPair):
    """A model with a latent more, and a guide with two, one of which says that it means to."""

    def model(self, x: Tensor) -> None:
        super().model(x)
        with pyro.plate("more", len(x)):
            pyro.sample("u", dist.Normal(x.new_zeros(()), 1.0))

    def guide(self, x: Tensor) -> None:
        super().guide(x)
        with pyro.plate("more", len(x)):
            pyro.sample("v", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("w", dist.Normal(x.new_zeros(()), 1.0), infer={"is_auxiliary": True})


class Shared(LinearPair):
    """A guide that draws one more number for the whole batch, as the model does."""

    def model(self, x: Tensor) -> None:
        super().model(x)
        pyro.sample("s", dist.Normal(0.0, 1.0))

    def guide(self, x: Tensor) -> None:
        super().guide(x)
        pyro.sample("s", dist.Normal(0.0, 1.0))


class Peeking(LinearPair):
    """A guide that draws what the model observes."""

    def guide(self, x: Tensor) -> None:
        super().guide(x)
        with pyro.plate("more", len(x)):
            pyro.sample("x", dist.Normal(x, 1.0).to_event(1))


@pytest.mark.parametrize(
    ("pair", "x", "findings"),
    [
        (LinearPair(), X, []),
        (NoLatents(), X, [Finding("no latents")]),
        (PointGuide(), X, [Finding("point", "z")]),
        (StatesPair(), X[:, :1], [Finding("discrete", "k")]),
        (
            OneSided(),
            X,
            [
                Finding("model only", "u"),
                Finding("guide only", "v"),
                Finding("auxiliary", "w"),
                Finding("global", "u"),
            ],
        ),
        (Shared(), X, [Finding("global", "s"), Finding("shared", "s")]),
        (Peeking(), X, [Finding("observed", "x")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_wrong_is_found(pair: nn.Module, x: Tensor, findings: list[Finding]) -> None:
    assert examine(trace_pair(pair, (x,)), len(x)) == findings


def test_only_what_matters_is_refused() -> None:
    pair = OneSided()
    trace = trace_pair(pair, (X,))
    admit(pair, trace, "a tree", DENSITY)
    with pytest.raises(RequestError, match="the guide draws 'v', but the model has no"):
        admit(pair, trace, "HMC", ["guide only"])


def test_what_the_model_observes_is_no_latent_of_the_guide() -> None:
    pair = Peeking()
    with pytest.raises(RequestError, match="but the model observes 'x'; remove it from the"):
        admit(pair, trace_pair(pair, (X,)), "training", ["observed"])


@pytest.mark.parametrize(
    ("pair", "says"),
    [(OneSided(), "the guide has no site 'u'"), (Peeking(), "model observes 'x'")],
    ids=lambda value: type(value).__name__,
)
def test_training_refuses_unequal_latents_before_it_starts(pair: nn.Module, says: str) -> None:
    with pytest.raises(RequestError, match=rf"test_admission.py:\d+: .*{says}"):
        fit(pair, np.zeros((20, 4), np.float32), training={"steps": 1})
