"""bf16: products of networks in bfloat16, everything around them in float32."""

from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn import functional

from vaezoo.engine import precision
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.precision import check_precision, networks_in
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RequestError
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import sample_sites, trace_pair
from vaezoo.registry import get_model

CPU = torch.device("cpu")
Plain: Any = get_model(str(Path(__file__).parent / "pairs" / "plain.py"))

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(3, 5), (2, 3)),
    "bilinear": (nn.Bilinear(3, 3, 5), (2, 3)),
    "conv1d": (nn.Conv1d(3, 5, 2), (2, 3, 4)),
    "conv2d": (nn.Conv2d(3, 5, 2), (2, 3, 4, 4)),
    "conv3d": (nn.Conv3d(3, 5, 2), (2, 3, 4, 4, 4)),
    "conv-transpose1d": (nn.ConvTranspose1d(3, 5, 2), (2, 3, 4)),
    "conv-transpose2d": (nn.ConvTranspose2d(3, 5, 2), (2, 3, 4, 4)),
    "conv-transpose3d": (nn.ConvTranspose3d(3, 5, 2), (2, 3, 4, 4, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_layers_multiply_in_bfloat16_and_give_float32(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    args = (x, x) if isinstance(layer, nn.Bilinear) else (x,)
    expected = layer(*args)
    with networks_in("bf16", CPU):
        y = layer(*args)
    assert y.dtype is torch.float32
    assert not torch.equal(y, expected)
    torch.testing.assert_close(y, expected, rtol=0.03, atol=0.03)


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_gradients_are_float32(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    with networks_in("bf16", CPU):
        layer(*[x] * (2 if isinstance(layer, nn.Bilinear) else 1)).sum().backward()
    for tensor in (x, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.dtype is torch.float32
    layer.zero_grad()


def test_products_are_those_of_rounded_factors() -> None:
    """bfloat16 keeps 8 bits: the factors are rounded, and then the sum."""
    layer, x = nn.Linear(4, 3, bias=False), torch.randn(2, 4)
    with networks_in("bf16", CPU):
        y = layer(x)
    expected = (x.bfloat16() @ layer.weight.bfloat16().T).float()
    assert torch.equal(y, expected)


def test_everything_else_is_computed_in_float32() -> None:
    x = torch.randn(5, 4)
    expected = [x.exp(), x @ x.T, functional.softmax(x, -1), functional.layer_norm(x, (4,))]
    with networks_in("bf16", CPU):
        values = [x.exp(), x @ x.T, functional.softmax(x, -1), functional.layer_norm(x, (4,))]
    assert all(map(torch.equal, values, expected))


@pytest.fixture
def quick_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that multiplies in bfloat16."""
    monkeypatch.setattr(precision, "_multiplies_in_bf16", lambda device: True)


@pytest.mark.usefixtures("quick_bf16")
@pytest.mark.parametrize(("num_rows", "is_rounded"), [(1, False), (100, True)])
def test_auto_goes_by_the_size_of_the_product(num_rows: int, is_rounded: bool) -> None:
    layer, x = nn.Linear(500, 500), torch.randn(num_rows, 500)  # 0.5 and 50 million operations
    expected = layer(x)
    with networks_in("auto", CPU):
        assert torch.equal(layer(x), expected) is not is_rounded


@pytest.mark.parametrize(
    ("layer", "x", "operations"),
    [
        (nn.Linear(3, 5), torch.zeros(2, 7, 3), 2 * 14 * 15),
        (nn.Bilinear(3, 4, 5), torch.zeros(2, 3), 2 * 2 * 60),
        (nn.Conv2d(4, 6, 3, groups=2), torch.zeros(2, 4, 8, 8), 2 * 2 * 64 * 6 * 2 * 9),
        (nn.Conv2d(4, 6, 3, stride=2), torch.zeros(2, 4, 8, 8), 2 * 2 * 16 * 6 * 4 * 9),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), torch.zeros(2, 4, 8, 8), 2 * 2 * 64 * 4 * 6 * 9),
    ],
)
def test_operations_are_counted(
    layer: nn.Module, x: Tensor, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    count = precision._operations

    def noted(*args: Any) -> float:
        counts.append(count(*args))
        return counts[-1]

    monkeypatch.setattr(precision, "_operations", noted)
    with networks_in("bf16", CPU):
        layer(*([x, torch.zeros(2, 4)] if isinstance(layer, nn.Bilinear) else [x]))
    assert counts == [operations]


def test_auto_is_float32_where_bfloat16_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_multiplies_in_bf16", lambda device: False)
    assert precision.precision_on("auto", CPU) == "float32"
    layer, x = nn.Linear(500, 500), torch.randn(100, 500)
    expected = layer(x)
    with networks_in("auto", CPU):
        assert torch.equal(layer(x), expected)


def test_float32_changes_nothing() -> None:
    layer, x = nn.Linear(3, 5), torch.randn(2, 3)
    expected = layer(x)
    with networks_in("float32", CPU):
        assert torch.equal(layer(x), expected)


def test_nothing_is_left_behind() -> None:
    layer, x = nn.Linear(3, 5), torch.randn(2, 3)
    expected = layer(x)
    with networks_in("bf16", CPU):
        layer(x)
    assert torch.equal(layer(x), expected)
    assert not torch.is_autocast_enabled("cpu")


def test_log_densities_are_float32() -> None:
    pair = VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(4,))
    with networks_in("bf16", CPU):
        trace = trace_pair(pair, (torch.bernoulli(torch.rand(7, 6)),))
        sites = {**sample_sites(trace.model), **sample_sites(trace.guide)}
        assert {log_density(site).dtype for site in sites.values()} == {torch.float32}
    assert {site["value"].dtype for site in sites.values()} == {torch.float32}


# Steps


def trained(tier: str, chosen: str, number: int = 30) -> tuple[list[float], nn.Module, Engine]:
    torch.manual_seed(0)
    pair = VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(8,))
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
    options: dict[str, Any] = {"engine": tier, "precision": chosen}
    objective = ELBO()
    batches = [torch.bernoulli(torch.rand(16, 6)) for _ in range(number)]
    objective.prepare(pair, (batches[0],))
    step = Engine(pair, objective, optimizer, **options)
    torch.manual_seed(1)
    return [float(step((x,))) for x in batches], pair, step


def test_losses_are_near_those_of_float32() -> None:
    """bfloat16 has a relative error of 2^-9 in every product; the loss is a sum of many."""
    (low, _, _), (high, _, _) = trained("eager", "bf16"), trained("eager", "float32")
    assert low != high
    torch.testing.assert_close(torch.tensor(low), torch.tensor(high), rtol=0.01, atol=0.0)


def test_the_graph_goes_the_way_of_the_eager_engine_bit_by_bit() -> None:
    (graph, ours, step), (eager, theirs, _) = trained("graph", "bf16"), trained("eager", "bf16")
    assert step.calls_by_tier == {"graph": 30}
    assert graph == eager
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_parameters_and_moments_stay_in_float32() -> None:
    _, pair, step = trained("graph", "bf16", 2)
    tensors = [*pair.parameters(), *step.optimizer.state_dict().values()]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_gradients_of_the_objective_are_near_those_of_float32() -> None:
    """Each has the direction of the other: a cosine above 0.99."""
    pair = VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(8,))
    batch = (torch.bernoulli(torch.rand(64, 6)),)
    directions = []
    for chosen in ("bf16", "float32"):
        options: dict[str, Any] = {"precision": chosen}
        optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
        torch.manual_seed(3)
        _, gradients = Engine(pair, ELBO(), optimizer, **options).evaluate(batch)
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        directions.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert float(functional.cosine_similarity(directions[0], directions[1], dim=0)) > 0.99


class Recurs(Plain):
    """A network whose products are no layers of the list."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 2)

    def encode(self, x: Tensor) -> Tensor:
        return self.cell(x)


def test_what_is_no_layer_of_the_list_runs_in_float32_in_every_tier() -> None:
    for tier in ("eager", "graph"):
        pair = Recurs()
        options: dict[str, Any] = {"engine": tier, "precision": "bf16"}
        optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
        loss = Engine(pair, ELBO(), optimizer, **options)((torch.randn(8, 4),))
        assert bool(torch.isfinite(loss))


class Huge(Plain):
    """A log-density that bfloat16 would round by a whole nat."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0.0 * self.decode(z), 1e-2).to_event(1), obs=x)


def test_large_log_densities_keep_their_digits() -> None:
    pair, x = Huge(), torch.randn(8, 4)
    losses = []
    for chosen in ("bf16", "float32"):
        options: dict[str, Any] = {"precision": chosen}
        optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
        torch.manual_seed(3)
        losses.append(float(Engine(pair, ELBO(), optimizer, **options).evaluate((x,))[0]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# Refusals


def test_auto_is_refused_nowhere() -> None:
    check_precision("auto", torch.device("mps"))


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_float32_is_for_every_device(device: str) -> None:
    check_precision("float32", torch.device(device))


def test_bf16_is_for_the_cpu() -> None:
    check_precision("bf16", CPU)


def test_a_device_without_bfloat16_is_refused() -> None:
    expected = "this mps device has no bfloat16; use `precision='float32'`"
    with pytest.raises(RequestError, match=expected):
        check_precision("bf16", torch.device("mps"))


def test_a_gpu_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with pytest.raises(RequestError, match="this cuda device has no bfloat16"):
        check_precision("bf16", torch.device("cuda"))
