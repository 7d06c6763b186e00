"""The benchmark of the engine: all who take part compute the same, and are counted right."""

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch._inductor import config as inductor_config

from vaezoo.data import from_arrays
from vaezoo.runtime.threads import count_flops

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is not here")


@pytest.fixture(scope="module")
def engine() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("engine")


@pytest.fixture
def by_hand(engine: ModuleType) -> ModuleType:
    return importlib.import_module("_hand_written")


@pytest.fixture
def nets(engine: ModuleType) -> dict[str, Any]:
    """Small nets of each sort."""
    architecture = engine.Architecture
    return {
        "elbo": architecture("", (6,), (5, 4), 3, 4),
        "conv": architecture("", (1, 28, 28), (8,), 3, 4, activation="relu", net="conv"),
        "iwae": architecture("", (6,), (5, 4), 3, 4, num_draws=7),
    }


def rows_for(net: Any) -> torch.Tensor:
    return torch.bernoulli(torch.full((16, *net.x_shape), 0.3))


@pytest.mark.parametrize("name", ["elbo", "conv", "iwae"])
def test_loss_by_hand_is_that_of_the_zoo(
    name: str, engine: ModuleType, nets: dict[str, Any]
) -> None:
    x, networks = rows_for(nets[name]), engine.Networks(nets[name])
    pair = importlib.import_module("_nets").make_pair(nets[name], networks)
    objective = nets[name].objective()
    objective.prepare(pair, (x[:2],))
    gradients = []
    for loss, module in ((networks, networks), (lambda x: objective.loss(pair, (x,)), pair)):
        torch.manual_seed(1)
        value = loss(x)
        gradients.append([value, *torch.autograd.grad(value, list(module.parameters()))])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["elbo", "conv", "iwae"])
def test_steps_without_a_compiler_run(name: str, engine: ModuleType, nets: dict[str, Any]) -> None:
    net = nets[name]
    chosen = [candidate for candidate in engine.on_cpu(net) if not candidate.compiles]
    clock = engine.Clock(torch.device("cpu"), budget=60)
    measured = engine.measure(net, chosen, clock, rounds=1, num_rows=16)
    names = {candidate.name for candidate in chosen}
    assert set(measured.seconds) == names | {engine.PRODUCTS, engine.ADAM}
    assert all(seconds > 0 for seconds in measured.seconds.values())
    assert {name: len(seconds) for name, seconds in measured.first.items()} == dict.fromkeys(
        names, 1
    )


def test_flops_are_those_of_the_products(engine: ModuleType, nets: dict[str, Any]) -> None:
    """Two for each weight and row forward, four backward; nothing flows back into the data."""
    net = nets["elbo"]
    weights = [6 * 5, 5 * 4, 4 * 3, 4 * 3, 3 * 4, 4 * 5, 5 * 6]
    networks, x = engine.Networks(net), rows_for(net)[:4]
    expected = 2 * 4 * (3 * sum(weights) - weights[0])
    assert count_flops(lambda: engine._gradients(networks, x)) == expected
    assert count_flops(engine._floor(networks, x)[engine.PRODUCTS]) == expected


@pytest.mark.parametrize("way", ["with_optimizer", "with_kernel"])
def test_adam_by_hand_is_adam(
    way: str, engine: ModuleType, by_hand: ModuleType, nets: dict[str, Any]
) -> None:
    networks, rows = engine.Networks(nets["elbo"]), rows_for(nets["elbo"])
    expected = [value.detach().clone().requires_grad_() for value in networks.parameters()]
    feed, adam = engine.Feed(rows, len(rows)), torch.optim.Adam(expected)
    step = getattr(by_hand, way)(networks, networks, feed)
    names = [name for name, _ in networks.named_parameters()]
    for seed in range(3):
        torch.manual_seed(seed)
        values = dict(zip(names, expected, strict=True))
        adam.zero_grad()
        torch.func.functional_call(networks, values, (rows[feed_order(feed)],)).backward()
        adam.step()
        torch.manual_seed(seed)
        step()
    torch.testing.assert_close(list(networks.parameters()), expected, rtol=1e-5, atol=1e-6)


def feed_order(feed: Any) -> torch.Tensor:
    """Return the rows of the next batch; there is only one."""
    return next(feed.positions)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, while it compiles
def test_all_steps_run(engine: ModuleType, nets: dict[str, Any]) -> None:
    chosen = engine.on_cpu(nets["elbo"])
    clock = engine.Clock(torch.device("cpu"), budget=300)
    measured = engine.measure(nets["elbo"], chosen, clock, rounds=1, num_rows=16)
    twice = {name for name, seconds in measured.first.items() if len(seconds) == 2}
    assert twice == {candidate.name for candidate in chosen if candidate.compiles}
    assert len(engine.rows_on_cpu("a", measured)) == 1 + len(chosen) + 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["joint", "whole"])
def test_compiled_steps_by_hand_train_as_the_eager_one(
    way: str, engine: ModuleType, by_hand: ModuleType, nets: dict[str, Any]
) -> None:
    rows = rows_for(nets["elbo"])
    trained = []
    torch.compiler.reset()
    for make in (lambda *own: by_hand.with_kernel(own[0], *own), getattr(by_hand, way)):
        torch.manual_seed(0)
        networks = engine.Networks(nets["elbo"])
        with inductor_config.patch(fallback_random=True):
            step = make(networks, engine.Feed(rows, len(rows)))
            for seed in range(3):
                torch.manual_seed(seed)
                step()
        trained.append(list(networks.parameters()))
    torch.testing.assert_close(*trained, rtol=1e-4, atol=1e-6)


def test_a_turn_gives_seconds_of_one_step_of_a_block(engine: ModuleType) -> None:
    clock = engine.Clock(torch.device("cpu"), budget=60)
    clock.steps_at_once, calls = 50, []
    began = time.perf_counter()
    seconds = clock.turn(lambda: float(calls.append(1) or 0))
    assert len(calls) == clock.steps_before + 50 * clock.times_a_turn
    assert len(seconds) == clock.times_a_turn
    assert 50 * sum(seconds) < time.perf_counter() - began


def test_targets_stand_beside_figures(engine: ModuleType) -> None:
    tables = importlib.import_module("_tables")
    assert tables.at_most(0.9, 0.95) == "0.90 (target ≤ 0.95)"
    assert tables.at_most(0.96, 0.95) == "0.96 (target ≤ 0.95, missed)"
    assert tables.at_least(1.5, 1.7) == "1.50 (target ≥ 1.7, missed)"
    assert tables.at_least(1.5, 0.0) == "1.50"


def test_longer_trainings_are_computed_and_marked(engine: ModuleType) -> None:
    runs = importlib.import_module("_whole_runs")
    short = runs.Timeline(ends=[3.0], seconds=4.0, tier="graph")
    longer = runs.Timeline(ends=[3.0, 5.0, 7.0, 9.0, 11.0], seconds=12.0, tier="graph")
    _, row = engine.rows_of_runs({"graph": {1: short, 5: longer}})
    assert row == ("vaezoo, graph", "2.00", "4.0", "12.0", "≈ 42", "≈ 202")


def test_a_training_is_timed(engine: ModuleType) -> None:
    runs = importlib.import_module("_whole_runs")
    images = np.random.default_rng(0).integers(0, 2, (250, 28, 28), np.uint8)
    timeline = runs.train_vaezoo("eager", from_arrays(images), num_epochs=3)
    assert timeline.tier == "eager"
    assert len(timeline.trained) == 3
    assert sum(timeline.trained) < timeline.ends[-1] < timeline.seconds
