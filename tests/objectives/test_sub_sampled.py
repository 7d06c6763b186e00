"""Bounds of parts of a row: what they add up to, and what a guide learns from them."""

import pytest
import torch
from torch import Tensor

import vaezoo
from vaezoo.config import build_model
from vaezoo.errors import RequestError
from vaezoo.models.mvae import MVAE, product_of_experts
from vaezoo.objectives import Context, make_objective
from vaezoo.objectives.losses import named_losses
from vaezoo.observations.missing import with_missing
from vaezoo.pairs.accounting import elbo_terms

SPLIT, ROWS = 3, 8
X = torch.bernoulli(torch.full((ROWS, 5), 0.4), generator=torch.Generator().manual_seed(0))
FIRST = (torch.arange(5) < SPLIT).expand(ROWS, 5)
ALL = torch.ones(ROWS, 5, dtype=torch.bool)


@pytest.fixture
def pair() -> MVAE:
    """Its decoders do not hear of z, so that all draws have one bound, exactly."""
    torch.manual_seed(1)
    mvae: MVAE = build_model(MVAE, {"z_dim": 2, "hidden": [4], "split": SPLIT}, (5,))  # type: ignore[assignment]
    for name, weights in mvae.decoders.named_parameters():
        weights.data.mul_(name.endswith("bias"))
    return mvae


def bound(pair: MVAE, mask: Tensor) -> Tensor:
    """Return the ELBO of what there is in each row, ``(B,)``, by missing entries."""
    x = torch.where(mask, X, torch.nan)
    return elbo_terms(with_missing(pair, (x, mask)), (x, mask)).elbo


def loss_of(pair: MVAE, mask: Tensor, kept: Tensor | None = None, **options: object) -> Tensor:
    objective = make_objective("sub-sampled", options=options)
    objective.prepare(pair, (X, ALL))
    args = (torch.where(mask, X, 0.0), mask)
    return named_losses(objective.loss(pair, args, Context(mask=kept)))["pair"]


def test_the_loss_is_the_sum_of_three_bounds(pair: MVAE) -> None:
    bounds = bound(pair, ALL) + bound(pair, FIRST) + bound(pair, ~FIRST)
    torch.testing.assert_close(loss_of(pair, ALL), -bounds.mean())


def test_rows_that_do_not_count_do_not(pair: MVAE) -> None:
    bounds = bound(pair, ALL) + bound(pair, FIRST) + bound(pair, ~FIRST)
    kept = torch.arange(ROWS) < 3
    torch.testing.assert_close(loss_of(pair, ALL, kept), -bounds[:3].mean())


def test_a_row_with_one_modality_counts_once(pair: MVAE) -> None:
    incomplete = with_missing(pair, (torch.where(FIRST, X, torch.nan), FIRST))
    x = torch.where(FIRST, X, torch.nan)
    objective = make_objective("sub-sampled")
    objective.prepare(incomplete, (x, FIRST))
    loss = named_losses(objective.loss(incomplete, (x, FIRST)))["pair"]
    torch.testing.assert_close(loss, -bound(pair, FIRST).mean())


def test_random_sets_add_bounds_of_some_of_the_sites(pair: MVAE) -> None:
    """Of each row one of four: of neither, of one, of the other, and of both."""
    kept = torch.arange(ROWS) < 3
    with torch.no_grad():
        added = 3 * (loss_of(pair, ALL, kept) - loss_of(pair, ALL, kept, num_random=1))
        each = torch.stack([torch.zeros(ROWS), *(bound(pair, m) for m in (FIRST, ~FIRST, ALL))])
    sums = torch.cartesian_prod(*each.T[:3]).sum(-1)
    assert float((sums - added).abs().min()) < 1e-4


def _gap(objective: str, steps: int = 150) -> float:
    """Return how far the means of q(z | x_1) and of the exact p(z | x_1) are apart.

    With one latent and linear maps the exact posterior of what the decoder says is a product of
    two linear experts.
    """
    torch.manual_seed(0)
    x = torch.randn(100, 1) * torch.tensor([1.0, -0.7, 0.5, 0.3]) + 0.5 * torch.randn(100, 4)
    config = {"z_dim": 1, "hidden": [], "split": 2, "likelihood": "gaussian"}
    pair = build_model(MVAE, config, (4,))
    loss, args = make_objective(objective), (x, torch.ones(100, 4, dtype=torch.bool))
    loss.prepare(pair, args)
    optimizer = torch.optim.Adam(pair.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        named_losses(loss.loss(pair, args))["pair"].backward()
        optimizer.step()
    with torch.no_grad():
        opinions = pair.opinions(*args)[:2]
        loc, _ = product_of_experts(*opinions, torch.tensor([[1.0, 0.0]]).expand(100, 2))
        at_0, at_1 = (pair.decoders[0](torch.full((1, 1), z)) for z in (0.0, 1.0))
        slope, variance = at_1.mean - at_0.mean, at_0.variance
        exact = (x[:, :2] - at_0.mean) @ (slope / variance).T
        return float((loc - exact / (1 + (slope.square() / variance).sum())).abs().mean())


def test_an_expert_alone_learns_the_exact_posterior() -> None:
    """From rows that have both modalities; their bound alone does not tell it how sure it is."""
    assert _gap("sub-sampled") < 0.08
    assert _gap("elbo") > 0.16


def test_a_table_has_a_bound_of_each_kind_of_column() -> None:
    x = torch.cat([torch.randn(40, 2), (torch.randn(40, 2) > 0).float()], 1).numpy()
    training = {"steps": 3, "objective": {"name": "sub-sampled", "num_random": 2}}
    config = {"z_dim": 2, "hidden": [4]}
    run = vaezoo.fit("vae-tabular", x, config=config, training=training)
    assert torch.cat([p.flatten() for p in run.pair.parameters()]).isfinite().all()


@pytest.mark.parametrize(
    ("model", "words"), [("vae-linear", "two sites or more, as 'mvae'"), ("miwae", "two sites")]
)
def test_a_pair_of_one_site_is_refused(model: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        vaezoo.fit(model, training={"steps": 2, "objective": "sub-sampled"})


def test_what_data_share_is_refused() -> None:
    with pytest.raises(RequestError, match="'sub-sampled' needs one log-density for each datum"):
        vaezoo.fit("bayesian-decoder", training={"steps": 2, "objective": "sub-sampled"})
