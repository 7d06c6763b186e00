"""Objectives of single codes: exact norms, what is spoiled, and that each changes the gradient."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

import vaezoo
from vaezoo.config import build_model
from vaezoo.errors import RequestError
from vaezoo.objectives import ELBO, Context, Objective, make_objective
from vaezoo.objectives.losses import named_losses
from vaezoo.objectives.penalties.slopes import squared_slope
from vaezoo.registry import get_model

LINEAR = {"z_dim": 2, "likelihood": {"name": "gaussian", "sigma": "fixed:1"}}


@pytest.fixture
def pair() -> nn.Module:
    """z = V x + c, x ~ N(W z + b, I), without noise in z."""
    torch.manual_seed(1)
    return build_model(get_model("ae-linear"), LINEAR, (6,)).double()


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(8, 6, dtype=torch.float64)


def loss_of(
    objective: Objective, pair: nn.Module, x: Tensor, context: Context | None = None
) -> Tensor:
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    return named_losses(objective.loss(pair, (x,), context or Context()))["pair"]


def penalty_of(name: str, pair: nn.Module, x: Tensor, **options: float | str) -> float:
    loss = loss_of(make_objective(name, options=options), pair, x)
    return float((loss - loss_of(ELBO(), pair, x)).detach())


def weights(pair: nn.Module) -> tuple[Tensor, Tensor]:
    """V and W."""
    named = dict(pair.named_parameters())
    return named["encoder.loc.weight"].detach(), named["decoder.loc.0.weight"].detach()


def test_an_autoencoder_minimises_half_the_squared_error(pair: nn.Module, x: Tensor) -> None:
    (v, w), named = weights(pair), dict(pair.named_parameters())
    made = (x @ v.T + named["encoder.loc.bias"]) @ w.T + named["decoder.loc.0.bias"]
    expected = (x - made).square().sum(1).mean() / 2 + 3 * math.log(2 * math.pi)
    torch.testing.assert_close(loss_of(ELBO(), pair, x), expected)


def test_sparse_codes_pay_for_their_size(pair: nn.Module, x: Tensor) -> None:
    z = x @ weights(pair)[0].T + dict(pair.named_parameters())["encoder.loc.bias"]
    expected = 0.7 * float(z.abs().sum(1).mean().detach())
    assert penalty_of("sparse", pair, x, l1=0.7) == pytest.approx(expected)


def test_a_slope_is_estimated_without_bias(x: Tensor) -> None:
    """Failure rate below 1e-6: the mean of 4,000 directions within 6 standard errors."""
    v = torch.randn(3, 6, dtype=torch.float64)
    rows = x[:1].repeat(4000, 1).requires_grad_()
    estimates = squared_slope(rows @ v.T, rows).detach()
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert abs(float(estimates.mean()) - float(v.square().sum())) < 6 * error


def test_contraction_pays_for_the_slope_of_the_encoder(pair: nn.Module, x: Tensor) -> None:
    """Failure rate below 1e-6: the mean of 4,000 directions within 6 standard errors."""
    rows = x[:1].repeat(4000, 1)
    expected = float(weights(pair)[0].square().sum())
    spread = 2 * expected / math.sqrt(len(rows))  # |v^T J|^2 of signs v: sd below twice its mean
    assert abs(penalty_of("contractive", pair, rows, weight=1.0) - expected) < 6 * spread


def test_a_regularised_autoencoder_pays_for_its_decoder(pair: nn.Module, x: Tensor) -> None:
    named = dict(pair.named_parameters())
    decoder = sum(float(p.detach().square().sum()) for n, p in named.items() if "decoder" in n)
    assert penalty_of("rae", pair, x, weight=0.3, code=0.0) == pytest.approx(0.3 * decoder)


def test_its_gradient_form_pays_for_the_slope_of_the_decoder(pair: nn.Module, x: Tensor) -> None:
    """Failure rate below 1e-6: the mean of 4,000 directions within 6 standard errors."""
    rows = x[:1].repeat(4000, 1)
    expected = float(weights(pair)[1].square().sum())
    spread = 2 * expected / math.sqrt(len(rows))
    penalty = penalty_of("rae", pair, rows, form="gradient", weight=1.0, code=0.0)
    assert abs(penalty - expected) < 6 * spread


@pytest.mark.parametrize("corrupt", ["gaussian:0.5", "mask:0.4"])
def test_the_guide_reads_spoiled_data_and_the_model_explains_clean_ones(
    pair: nn.Module, x: Tensor, corrupt: str
) -> None:
    loss = loss_of(make_objective("denoising", options={"corrupt": corrupt}), pair, x)
    torch.manual_seed(3)
    kind, _, amount = corrupt.partition(":")
    noise = torch.rand_like(x) if kind == "mask" else torch.randn_like(x)
    spoiled = x * (noise >= 0.4) if kind == "mask" else x + float(amount) * noise
    (v, w), named = weights(pair), dict(pair.named_parameters())
    made = (spoiled @ v.T + named["encoder.loc.bias"]) @ w.T + named["decoder.loc.0.bias"]
    expected = (x - made).square().sum(1).mean() / 2 + 3 * math.log(2 * math.pi)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("corrupt", ["gaussian", "mask:1.5", "salt:0.1", "gaussian:-1"])
def test_unknown_ways_to_spoil_are_refused(corrupt: str) -> None:
    training = {"steps": 1, "objective": {"name": "denoising", "corrupt": corrupt}}
    with pytest.raises(RequestError, match="expected gaussian:SD"):
        vaezoo.fit("ae", training=training)


def test_the_critic_tells_codes_from_draws_and_the_pair_is_paid_for_its_mistakes(
    pair: nn.Module, x: Tensor
) -> None:
    objective = make_objective("adversarial", options={"weight": 0.5})
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    losses = objective.loss(pair, (x,))
    assert isinstance(losses, Mapping)
    torch.manual_seed(3)
    z = x @ weights(pair)[0].T + dict(pair.named_parameters())["encoder.loc.bias"]
    critic = objective.critic  # type: ignore[attr-defined]
    of_code, of_draw = critic(z), critic(torch.randn_like(z))
    by_hand = -logsigmoid(-of_code).mean() - logsigmoid(of_draw).mean()
    torch.testing.assert_close(losses["critic"], by_hand)
    plain = loss_of(ELBO(), pair, x)
    torch.testing.assert_close(losses["pair"], plain - 0.5 * logsigmoid(of_code).mean())


def test_only_the_largest_codes_are_kept(x: Tensor) -> None:
    pair = build_model(
        get_model("ae"), {"z_dim": 5, "posterior": {"name": "delta", "keep": 2}}, (6,)
    )
    z = pair.encoder(x.float()).mean
    assert (z != 0).sum(1).tolist() == [2] * 8


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sparse", {}),
        ("contractive", {}),
        ("rae", {"weight": 0.1}),
        ("denoising", {}),
        ("adversarial", {}),
    ],
)
def test_each_changes_the_gradient(
    pair: nn.Module, x: Tensor, name: str, options: dict[str, float]
) -> None:
    parameters = list(pair.parameters())
    plain = torch.autograd.grad(loss_of(ELBO(), pair, x), parameters)
    other = torch.autograd.grad(loss_of(make_objective(name, options=options), pair, x), parameters)
    assert any(not torch.allclose(a, b) for a, b in zip(plain, other, strict=True))
