"""Posteriors of a step: the form with one path has the ELBO of the form with a site per step."""

import pytest
import torch
from torch import Tensor, nn

from vaezoo.config import build_model
from vaezoo.models.dmm import DMM
from vaezoo.objectives import ELBO
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.parts import POSTERIORS
from vaezoo.sequences import training_form

PROPER = [name for name in POSTERIORS.choices if name != "delta"]
CLOSED = ("diagonal", "mean-only", "noise-only", "full-rank", "low-rank")


@pytest.fixture
def args() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 5, 3, generator=generator), torch.tensor([5, 3, 4, 1])


def pair(posterior: str) -> nn.Module:
    torch.manual_seed(0)
    settings = {"posterior": posterior, "z_dim": 2, "hidden": 6, "likelihood": "gaussian"}
    return build_model(DMM, settings, (3,))


@pytest.mark.parametrize("posterior", PROPER)
def test_gradients_of_a_path_are_finite(posterior: str, args: tuple[Tensor, Tensor]) -> None:
    form = training_form(pair(posterior))
    ELBO().loss(form, args).backward()
    gradients = {name: weight.grad for name, weight in form.named_parameters()}
    reached = {name: grad for name, grad in gradients.items() if grad is not None}
    assert all(bool(grad.isfinite().all()) for grad in reached.values())
    if posterior != "noise-only":  # which reads nothing
        assert reached.keys() == gradients.keys()


@pytest.mark.parametrize("posterior", PROPER)
def test_both_forms_have_one_elbo(posterior: str, args: tuple[Tensor, Tensor]) -> None:
    """Means of 400 draws, within six standard errors: failure rate below 1e-6."""
    steps = pair(posterior)
    repeated = tuple(arg.repeat_interleave(400, 0) for arg in args)
    with torch.no_grad():
        elbos = [elbo_terms(form, repeated).elbo for form in (steps, training_form(steps))]
    one, other = (elbo.unflatten(0, (4, 400)) for elbo in elbos)
    error = ((one.var(1) + other.var(1)) / 400).sqrt()
    assert bool(((one.mean(1) - other.mean(1)).abs() < 6 * error).all())


@pytest.mark.parametrize("posterior", CLOSED)
def test_steps_with_a_closed_form_keep_it(posterior: str, args: tuple[Tensor, Tensor]) -> None:
    """The KL of a sequence of one step is no draw."""
    form, one = training_form(pair(posterior)), (args[0], torch.ones(4, dtype=torch.int64))
    with torch.no_grad():
        first, second = (elbo_terms(form, one).kl_total for _ in range(2))
    torch.testing.assert_close(first, second)
