"""What chains learn in warm-up: a frame in which latents are white, and a step size."""

import math

import pytest
import torch
from torch import Tensor

from vaezoo.inference.adaptation import Frame, StepSize


def correlated(num_draws: int = 4000) -> Tensor:
    """Draws ``(S, 2, 2)`` of two data: correlated ones, and wide ones far from zero."""
    noise = torch.randn(num_draws, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    factor = torch.tensor([[[1.0, 0.0], [1.8, 0.3]], [[50.0, 0.0], [0.0, 5.0]]]).double()
    loc = torch.tensor([[0.0, 1.0], [100.0, -100.0]]).double()
    return loc + torch.einsum("blm,sbm->sbl", factor, noise)


@pytest.mark.parametrize("dense", [True, False])
def test_frame_leads_there_and_back(dense: bool) -> None:
    scale = torch.ones(2, 2).double()
    frame = Frame(torch.zeros(2, 2).double(), torch.diag_embed(scale) if dense else scale)
    u = correlated()
    for each in (frame, frame.refit(u)):
        torch.testing.assert_close(each.outside(each.inside(u)), u)


def test_refit_makes_latents_white() -> None:
    u = correlated()
    eye = torch.eye(2).double()
    w = Frame(torch.zeros(2, 2).double(), eye.expand(2, 2, 2)).refit(u).inside(u)
    torch.testing.assert_close(w.mean(0), torch.zeros(2, 2).double(), rtol=0, atol=1e-9)
    for datum in range(2):
        torch.testing.assert_close(torch.cov(w[:, datum].T), eye, rtol=0, atol=0.01)


def test_what_is_not_positive_definite_keeps_its_factor() -> None:
    u = correlated()
    u[:, 1] = math.nan
    eye = torch.eye(2).double()
    frame = Frame(torch.zeros(2, 2).double(), 3 * eye.expand(2, 2, 2)).refit(u)
    assert torch.equal(frame.factor[1], 3 * eye)
    assert frame.factor[0].isfinite().all()
    assert not torch.equal(frame.factor[0], 3 * eye)


def test_step_sizes_settle_where_the_acceptance_is_as_wanted() -> None:
    curvature = torch.tensor([1.0, 4.0])  # acceptance exp(-curvature step)
    steps = StepSize(torch.ones(2), target=0.8)
    for _ in range(2000):
        steps.update((-curvature * steps.current).exp())
    torch.testing.assert_close(steps.averaged, -math.log(0.8) / curvature, rtol=0.02, atol=0)


def test_step_sizes_begin_again() -> None:
    steps = StepSize(torch.ones(1), target=0.8)
    steps.update(torch.zeros(1))
    assert float(steps.current) < 1
    steps.restart(torch.tensor([0.5]))
    assert float(steps.current) == float(steps.averaged) == 0.5
