"""What a first call creates: lazy layers, Pyro's guides, parameters of PyroModules."""

from collections.abc import Callable

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from torch import Tensor, nn

import vaezoo
from vaezoo import RequestError
from vaezoo.pairs.materialise import materialise
from vaezoo.pairs.sites import trace_pair
from vaezoo.testing import check_pair


class GlobalMean(nn.Module):
    """One mean of all data, and a guide made by Pyro for it."""

    def __init__(self, guide: Callable[..., nn.Module] = AutoNormal) -> None:
        super().__init__()
        self.guide = guide(poutine.block(self.model, expose=["mu"]))

    def model(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mu, 1.0).expand([1]).to_event(1), obs=x)


class LocalGuide(nn.Module):
    """A guide made by Pyro, with parameters for each datum of the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.guide = AutoNormal(self.model)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class Both(LocalGuide):
    """A global mean guided by Pyro, beside an encoder."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.of_mu = AutoNormal(poutine.block(self.model, expose=["mu"]))
        self.enc = nn.LazyLinear(1)

    def model(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mu.unsqueeze(-1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:  # type: ignore[override]
        self.of_mu(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.enc(x), 1.0).to_event(1))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    def model(self, x: Tensor) -> None: ...

    def guide(self, x: Tensor) -> None: ...


X = torch.randn(200, 1, generator=torch.Generator().manual_seed(0)) + 3


@pytest.mark.parametrize("pair", [GlobalMean(), GlobalMean(AutoDiagonalNormal), Both()])
def test_a_guide_of_pyro_has_its_parameters_before_training(pair: nn.Module) -> None:
    materialise(pair, (X[:2],))
    names = set(dict(pair.named_parameters()))
    trace = trace_pair(pair, (X,))
    assert names
    assert names == set(dict(pair.named_parameters()))
    assert "mu" in trace.guide.nodes


def test_nothing_of_a_pair_is_left_in_the_global_store() -> None:
    pyro.clear_param_store()
    pair = Both()
    materialise(pair, (X[:2],))
    trace_pair(pair, (X,))
    assert list(pyro.get_param_store()) == []


def test_what_others_left_in_the_global_store_is_not_taken() -> None:
    pair = Both()
    materialise(pair, (X[:2],))
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    with pyro.get_param_store().scope(), torch.no_grad():
        pyro.param("AutoNormal.locs.mu", torch.tensor(99.0))
        assert float(trace_pair(pair, (X,)).guide.nodes["mu_unconstrained"]["fn"].mean) < 50
    assert all(torch.equal(value, before[name]) for name, value in pair.state_dict().items())


def test_generators_and_modes_stay_as_they_were() -> None:
    pair, state = Both(), torch.get_rng_state()
    materialise(pair.train(), (X[:2],))
    assert pair.training
    assert torch.equal(torch.get_rng_state(), state)


def check(pair: nn.Module) -> None:
    check_pair(pair, (X[:4],))


def train(pair: nn.Module) -> None:
    vaezoo.fit(pair, X.numpy(), training={"epochs": 1})


@pytest.mark.parametrize("use", [check, train])
def test_guides_of_a_datum_must_be_amortised(use: Callable[[nn.Module], None]) -> None:
    with pytest.raises(RequestError, match="guides of a datum must be amortised: AutoNormal"):
        use(LocalGuide())


@pytest.mark.parametrize("use", [check, train])
def test_complex_parameters_are_refused(use: Callable[[nn.Module], None]) -> None:
    with pytest.raises(RequestError, match="parameter 'phase' is complex"):
        use(Complex())


def test_a_pair_without_a_guide_is_refused() -> None:
    class NoGuide(nn.Module):
        def model(self, x: Tensor) -> None: ...

    with pytest.raises(RequestError, match="NoGuide has no `guide`"):
        vaezoo.fit(NoGuide(), X.numpy(), training={"epochs": 1})
