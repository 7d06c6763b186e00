"""Every likelihood with every prior, posterior and objective: it trains, or says why not.

What is swapped meets what else is swapped two by two in the suite, and all four axes at once in
cells that are drawn from some 25,000: with the seed that VAEZOO_MATRIX_SEED names, or 0. All of
them are marked slow.
"""

import inspect
import itertools
import os
import random
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.config import build_model
from vaezoo.models.vae import VAE
from vaezoo.objectives.base import OBJECTIVES, make_objective
from vaezoo.parts import LIKELIHOODS, POSTERIORS, PRIORS

AXES = {
    "likelihood": tuple(LIKELIHOODS.choices),
    "prior": tuple(PRIORS.choices),
    "posterior": tuple(POSTERIORS.choices),
    "objective": tuple(OBJECTIVES.choices),
}
DEFAULTS = {
    "likelihood": "bernoulli",
    "prior": "standard",
    "posterior": "diagonal",
    "objective": "elbo",
}
FEW = {"vamp": {"num_components": 4}, "mog": {"num_components": 3}}
SIZES = {"z_dim": 2, "hidden": [4]}
WORKS, REFUSED = "works", "refused"
SEED = int(os.environ.get("VAEZOO_MATRIX_SEED", "0"))
SHARES, CELLS_OF_A_SHARE = 8, 100


def cells(first: str, second: str) -> Iterator[dict[str, str]]:
    for one, other in itertools.product(AXES[first], AXES[second]):
        yield {**DEFAULTS, first: one, second: other}


@cache
def some_data(likelihood: str) -> Tensor:
    """Return six rows that a likelihood draws itself, so that they lie in its support."""
    torch.manual_seed(0)
    pair = build_model(VAE, {**SIZES, "likelihood": likelihood}, (3,))
    x: Tensor = pair.decoder(torch.randn(6, 2)).sample()
    return x


def options_of(objective: str) -> dict[str, int]:
    """Return what an objective that takes several draws needs beside its name."""
    takes = inspect.signature(OBJECTIVES.find(objective)).parameters
    return {"num_particles": 4} if "num_particles" in takes and objective != "elbo" else {}


def go_through(cell: dict[str, str]) -> str:
    """Train by one step, and say whether it worked or was refused; fail where it did neither."""
    torch.manual_seed(0)
    try:
        pair, total = one_step(cell)
    except RequestError as error:
        refusal = str(error)
    else:
        assert bool(total.isfinite()), cell
        assert has_finite_gradients(pair), cell
        return WORKS
    assert len(refusal.splitlines()) == 1, cell
    assert ";" in refusal, f"{cell}: nothing says what to do: {refusal}"
    return REFUSED


def one_step(cell: dict[str, str]) -> tuple[nn.Module, Tensor]:
    """Return a pair with its gradients, and the loss that they are of."""
    prior = {"name": cell["prior"], **FEW.get(cell["prior"], {})}
    parts = {"likelihood": cell["likelihood"], "prior": prior, "posterior": cell["posterior"]}
    args = (some_data(cell["likelihood"]),)
    pair = build_model(VAE, {**SIZES, **parts}, (3,))
    objective = make_objective(cell["objective"], **options_of(cell["objective"]))
    objective.prepare(pair, args)
    losses = objective.loss(pair, args)
    total = losses if isinstance(losses, Tensor) else torch.stack(list(losses.values())).sum()
    total.backward()
    return pair, total


def has_finite_gradients(pair: nn.Module) -> bool:
    gradients = [weight.grad for weight in pair.parameters() if weight.grad is not None]
    return bool(gradients) and all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(AXES, 2)))
def test_two_axes_meet(first: str, second: str) -> None:
    assert WORKS in {go_through(cell) for cell in cells(first, second)}


def some_cells(share: int) -> Iterator[dict[str, str]]:
    draw = random.Random(f"{SEED}, {share}")
    for _ in range(CELLS_OF_A_SHARE):
        yield {axis: draw.choice(names) for axis, names in AXES.items()}


@pytest.mark.parametrize("share", range(SHARES))
def test_cells_that_are_drawn_from_all_axes(share: int) -> None:
    for cell in some_cells(share):
        go_through(cell)


@pytest.mark.parametrize("prior", [name for name in AXES["prior"] if name != "flat"])
@pytest.mark.parametrize("posterior", [name for name in AXES["posterior"] if name != "delta"])
def test_what_is_refused_of_a_prior_and_a_posterior(prior: str, posterior: str) -> None:
    without_meaning = prior == "vamp" and posterior in ("noise-only", "iaf", "flow")
    expected = REFUSED if without_meaning else WORKS
    assert go_through({**DEFAULTS, "prior": prior, "posterior": posterior}) == expected


def test_an_autoencoder_is_the_one_pair_without_densities() -> None:
    cells = itertools.product(AXES["prior"], AXES["posterior"])
    works = {
        (prior, posterior)
        for prior, posterior in cells
        if "flat" in prior or "delta" in posterior
        if go_through({**DEFAULTS, "prior": prior, "posterior": posterior}) == WORKS
    }
    assert works == {("flat", "delta")}


@pytest.mark.slow
@pytest.mark.parametrize("objective", AXES["objective"])
def test_all_axes_meet(objective: str) -> None:
    for values in itertools.product(*(AXES[name] for name in list(AXES)[:3])):
        go_through({**dict(zip(AXES, values, strict=False)), "objective": objective})
