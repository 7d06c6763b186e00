"""Two modalities: the product of experts is the exact posterior where that is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vaezoo
from vaezoo import fit
from vaezoo.config import build_model
from vaezoo.models.mvae import MVAE, MoPoE, product_of_experts
from vaezoo.pairs.sites import run_guide

NOISE = 0.5
X = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))


def _linear() -> tuple[Tensor, Tensor]:
    """Return weights of two modalities, of 5 and 4 elements, with orthogonal columns."""
    torch.manual_seed(1)
    first, second = (torch.linalg.qr(torch.randn(n, 2)).Q for n in (5, 4))
    return first * torch.tensor([2.0, 0.5]), second * torch.tensor([0.3, 1.5])


def _expert(weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """p(x_m | z) as a density of z: N(z; (W'W)^-1 W'x, noise^2 (W'W)^-1), W'W diagonal."""
    squares = weight.square().sum(0)
    return x @ weight / squares, (NOISE / squares.sqrt()).expand(len(x), -1)


@pytest.mark.parametrize("is_in", [(1, 1), (1, 0), (0, 1)])
def test_product_of_linear_experts_is_the_exact_posterior(is_in: tuple[int, int]) -> None:
    weights, values = _linear(), X.split((5, 4), 1)
    experts = [_expert(*each) for each in zip(weights, values, strict=True)]
    loc, scale = (torch.stack(some, 1) for some in zip(*experts, strict=True))
    ours = product_of_experts(loc, scale, torch.tensor(is_in).expand(6, 2))
    weight = torch.cat([w for w, there in zip(weights, is_in, strict=True) if there])
    x = torch.cat([v for v, there in zip(values, is_in, strict=True) if there], 1)
    exact = torch.eye(2) + weight.T @ weight / NOISE**2
    torch.testing.assert_close(torch.diag_embed(ours[1] ** -2), exact.expand(6, 2, 2))
    torch.testing.assert_close(ours[0], torch.linalg.solve(exact, (x @ weight).T / NOISE**2).T)


def _guide(cls: type[Any], present: Tensor) -> Any:
    torch.manual_seed(0)
    pair = build_model(cls, {"z_dim": 3, "hidden": [8], "split": 5}, (9,))
    mask = present.expand(6, 9)
    return run_guide(pair, (X * mask, mask)).nodes["z"]["fn"]


NOTHING = torch.zeros(9, dtype=torch.bool)
FIRST = torch.arange(9) < 5


@pytest.mark.parametrize("cls", [MVAE, MoPoE])
def test_without_data_the_guide_is_the_prior(cls: type[Any]) -> None:
    q = _guide(cls, NOTHING)
    torch.testing.assert_close(q.mean, torch.zeros(6, 3))
    torch.testing.assert_close(q.variance, torch.ones(6, 3))


def test_one_modality_gives_the_same_guide_in_both() -> None:
    """Of a row with one modality the mixture has one component, its product."""
    product, mixture = _guide(MVAE, FIRST), _guide(MoPoE, FIRST)
    z = torch.randn(6, 3)
    torch.testing.assert_close(mixture.log_prob(z), product.log_prob(z))


def test_mixture_has_the_mean_of_its_subsets() -> None:
    """Sutter et al. 2021, arXiv:2105.02470: a third each of the first, the second, and both."""
    each = [_guide(MVAE, there).mean for there in (FIRST, ~FIRST, ~NOTHING)]
    torch.testing.assert_close(_guide(MoPoE, ~NOTHING).mean, torch.stack(each).mean(0))


def test_a_label_is_drawn_given_its_row_and_a_row_given_its_label() -> None:
    """Of two classes that are far apart; by chance each mean would be a half."""
    label = np.arange(60) % 2
    x = np.concatenate([np.repeat(label[:, None], 6, 1), np.eye(2)[label]], 1).astype(np.float32)
    config = {"hidden": [8], "z_dim": 2, "num_labels": 2}
    training = {"steps": 150, "lr": 0.03, "kl_warmup": 75, "engine": "eager"}
    run = fit("mvae", x, config=config, training=training)
    either = np.array([[0.0] * 6 + [np.nan] * 2, [np.nan] * 6 + [0.0, 1.0]], np.float32)
    filled = vaezoo.impute(run, either, num_samples=60, burn_in=5).mean
    assert filled[0, 6] > 0.6
    assert filled[1, :6].mean() > 0.6


def test_a_label_and_a_split_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="both say where"):
        build_model(MVAE, {"split": 3, "num_labels": 2}, (9,))


def test_a_split_leaves_both_modalities_something() -> None:
    with pytest.raises(ValueError, match="split=9"):
        build_model(MVAE, {"split": 9}, (9,))


def test_one_modality_is_imputed_given_the_other() -> None:
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    x[::4, 2:] = np.nan
    config = {"hidden": [8], "z_dim": 2, "likelihood": "gaussian"}
    run = fit("mopoe", x, config=config, training={"steps": 2})
    filled = vaezoo.impute(run, x[:8], num_samples=4, burn_in=2)
    assert np.isfinite(filled.mean).all()
    np.testing.assert_array_equal(filled.mean[1], x[1])


def test_its_run_folder_is_read_again(tmp_path: Path) -> None:
    """``split`` is None by default, which a file of TOML does not hold."""
    run = vaezoo.fit("mvae", training={"steps": 2}, out=tmp_path / "run")
    again = vaezoo.load_run(tmp_path / "run")
    assert again.pair.split == run.pair.split == 32
