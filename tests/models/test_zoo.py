"""Every model of the zoo through the same life."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import vaezoo
from vaezoo import draw_posterior, encode, evaluate, fit, get_model, list_models, sample, to_arviz
from vaezoo.config import build_model
from vaezoo.data import Data, load_data
from vaezoo.data.contract import probe
from vaezoo.errors import RequestError
from vaezoo.objectives import ELBO
from vaezoo.pairs.accounting import elbo_terms, log_weights
from vaezoo.pairs.sites import is_autoencoder, takes_lengths, trace_pair
from vaezoo.predict.continuation import usual_steps
from vaezoo.predict.points import point_notes
from vaezoo.registry import entry_of
from vaezoo.runs import Run
from vaezoo.runtime.arviz import import_arviz
from vaezoo.testing import made_up_batch

BOTTOM_UP = ("iwae-2l",)  # the guide draws the lower latent first, and the model the upper one


@pytest.fixture(scope="module", params=list_models())
def run(request: pytest.FixtureRequest) -> Run:
    return fit(request.param, DATA.get(request.param, lambda: None)(), training={"epochs": 1})


def few_labels() -> Data:
    """Digits whose label only one row of twenty of the training has: others have a latent class."""
    digits = load_data("digits")
    label = np.full(len(digits.x), -1)
    some = digits.rows("train")[::20]
    label[some] = digits.arrays["label"][some]
    return replace(digits, name="few labels", arrays={"x": digits.x, "label": label})


DATA = {"ssvae": few_labels}  # what is no default


@pytest.fixture
def with_latents(run: Run) -> Run:
    if not getattr(run.pair, "has_latents", True):
        pytest.skip("the pair has no latents")
    return run


@pytest.fixture
def with_density(run: Run) -> Run:
    """What is asked of densities of latents has no answer for an autoencoder."""
    if is_autoencoder(trace_pair(run.pair, batch(run))):
        pytest.skip("the pair has no density of its latents")
    return run


@pytest.fixture
def with_weights(with_density: Run) -> Run:
    """A datum has importance weights of its own, unless all data share a latent."""
    if trace_pair(with_density.pair, batch(with_density)).global_latents:
        pytest.skip("all data share a latent of the pair")
    return with_density


@pytest.fixture
def with_draws(with_latents: Run, with_density: Run) -> Run:
    return with_density


@pytest.fixture
def with_points(run: Run) -> Run:
    """A posterior with neither mean nor mode is shown by a draw."""
    if any("neither mean nor mode" in note for note in point_notes(run, ("z",))):
        pytest.skip("the pair's codes are draws")
    return run


def batch(run: Run, num_rows: int = 12) -> tuple[torch.Tensor, ...]:
    return next(run.batches().fixed("test", limit=num_rows))


def test_elbo_is_a_finite_number_for_each_datum(run: Run) -> None:
    elbo = elbo_terms(run.pair, batch(run)).elbo
    assert elbo.shape == (12,)
    assert bool(torch.isfinite(elbo).all())


def test_a_batch_of_one_equals_a_batch_of_many(with_points: Run) -> None:
    """Means of the posterior and of the likelihood, row by row."""
    run, args = with_points, batch(with_points)
    whole = samples_of(run, args)
    if not torch.equal(whole, samples_of(run, args)):
        pytest.skip("it has no mean, and what it predicts is drawn")
    rows = [samples_of(run, tuple(arg[i : i + 1] for arg in args)) for i in range(12)]
    torch.testing.assert_close(whole, torch.cat(rows))


def samples_of(run: Run, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
    from vaezoo.observations.predictions import reconstruct

    sites = reconstruct(run.pair, args, z="mean", x="mean").values()
    return torch.cat([value.flatten(1).to(torch.float32) for value in sites], 1)


def test_log_weights_average_to_the_elbo(with_weights: Run) -> None:
    """Failure rate below 1e-6: means of 2,000 and 100 draws agree within 6 standard errors."""
    pair, args = with_weights.pair, batch(with_weights, 3)
    weights = log_weights(pair, args, 2000)
    terms = torch.stack([elbo_terms(pair, args).elbo.detach() for _ in range(100)])
    error = (weights.var(0) / 2000 + terms.var(0) / 100).sqrt()
    assert bool(((weights.mean(0) - terms.mean(0)).abs() < 6 * error + 1e-3).all())


def test_samples_have_the_shape_of_the_data(with_density: Run) -> None:
    shape = with_density.shapes["x"]
    if takes_lengths(with_density.pair):
        shape = (usual_steps(with_density), *shape[1:])
    assert sample(with_density, 5).shape == (5, *shape)


def test_samples_are_in_units_of_the_data(with_density: Run) -> None:
    run = with_density
    values = sample(run, 20, x="sample")
    if run.transform.binarize == "dynamic":
        assert set(values.flatten().tolist()) <= {0.0, 16.0}


def test_reconstructions_are_not_the_data(run: Run) -> None:
    """The trap of a predictive that returns what it was conditioned on."""
    data, made = vaezoo.reconstruct(run, limit=10, x="sample")
    assert data.shape == made.shape
    assert (data != made).any()


def test_codes_are_the_means_of_the_guide(with_latents: Run, with_points: Run) -> None:
    codes = encode(with_latents, limit=7)
    again = encode(with_latents, limit=7, seed=1)
    shared = trace_pair(with_latents.pair, batch(with_latents)).global_latents
    for name in codes:
        assert name in shared or codes[name].shape[0] == 7
        assert (codes[name] == again[name]).all()


def test_draws_of_the_guide_are_not_its_means(with_draws: Run, with_points: Run) -> None:
    codes, draws = encode(with_draws, limit=7), encode(with_draws, limit=7, z="sample")
    for name in codes.keys() - {"label"}:
        assert (draws[name] != codes[name]).any()


def test_bounds_are_ordered(with_weights: Run) -> None:
    result = evaluate(with_weights, iwae=(1, 50))
    low, high = result.iwae
    assert low.value < high.value + 3 * low.standard_error


def test_posterior_is_a_tree_that_arviz_reads(with_draws: Run) -> None:
    run = with_draws
    tree = draw_posterior(run, limit=3, num_samples=40)
    assert isinstance(tree, xr.DataTree)
    posterior = tree["posterior"].to_dataset()
    name = next(name for name in posterior if "datum" in posterior[name].dims)
    sizes = posterior[name].sizes
    assert (sizes["chain"], sizes["draw"], sizes["datum"]) == (4, 10, 3)
    summary = import_arviz().summary(to_arviz(tree), var_names=[name])
    assert len(summary) * 4 * 10 == math.prod(sizes.values())


def test_weights_of_the_posterior_are_those_of_its_draws(with_draws: Run) -> None:
    tree = draw_posterior(with_draws, limit=3, num_samples=8)
    stats = tree["sample_stats"].to_dataset()
    difference = stats["lp"] - stats["log_q"] - stats["log_weight"]
    assert abs(float(difference.max())) < 1e-3


def test_every_parameter_belongs_to_the_module(run: Run) -> None:
    names = set(dict(run.pair.named_parameters()))
    assert names
    assert probe(run.pair, run.batches().data).same_order != (run.name in BOTTOM_UP)


@pytest.mark.parametrize("name", list_models())
def test_gradients_reach_every_parameter(name: str) -> None:
    x_shape = (6,) if entry_of(get_model(name)).data == "sequences" else (6, 6)
    pair = build_model(get_model(name), {}, x_shape)
    ELBO().loss(pair, made_up_batch(pair, x_shape)).backward()
    for parameter_name, parameter in pair.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool(torch.isfinite(parameter.grad).all()), parameter_name


def test_nothing_is_drawn_or_encoded_without_latents() -> None:
    run = fit("rnn", training={"epochs": 1})
    with pytest.raises(RequestError, match="latents"):
        encode(run, limit=3)
    with pytest.raises(RequestError, match="latents"):
        draw_posterior(run, limit=3, num_samples=8)


def test_evaluation_tells_how_far_it_is(with_weights: Run) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(
        with_weights, iwae=(1,), limit=30, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (30, 30)
