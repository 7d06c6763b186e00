"""Are verdicts right? A small campaign on pairs of which log p(x) is known.

The whole one is ``benchmarks/verdicts.py``, on whose 3,000 posteriors the rates below rest.
"""

import math

import pytest
import torch
from torch import Tensor

from vaezoo.diagnostics.checking import PosteriorCheck, check_posteriors
from vaezoo.testing.pairs import CORRELATED, LinearPair, SquaresPair

NUM_DATA = 12


def far_modes(size: int) -> Tensor:
    x = torch.randn(NUM_DATA, size, generator=torch.Generator().manual_seed(size))
    x[:, 0] = torch.linspace(1.0, 4.0, NUM_DATA)
    return x


def checked(size: int) -> PosteriorCheck:
    return check_posteriors(SquaresPair(), (far_modes(size),), split_gap=False)


@pytest.mark.parametrize("size", [2, 10, 30])
def test_a_missed_mode_is_never_trusted(size: int) -> None:
    """Of 1,000 such data none was; failure rate below 1e-2."""
    check, missed = checked(size), math.log(2)
    truth = SquaresPair().log_evidence(far_modes(size))
    assert float((truth - check.iwae).min()) > 0.9 * missed  # the guide is wrong each time
    assert check.counts["trusted"] == 0


@pytest.mark.parametrize("size", [2, 10, 30])
def test_repaired_draws_are_right(size: int) -> None:
    """Errors of 0.03 nats and 0.05 of a weight; failure rate below 1e-3."""
    check = checked(size)
    repaired = check.verdict == 1
    assert int(repaired.sum()) >= NUM_DATA - 2
    error = check.log_evidence - SquaresPair().log_evidence(far_modes(size))
    assert float(error[repaired].abs().max()) < 0.2
    right = (check.draws["z"][..., 0] > 0).double().mean(0)[repaired]
    torch.testing.assert_close(right, torch.full_like(right, 0.5), atol=0.15, rtol=0)


def test_exact_guides_are_trusted() -> None:
    """Of 700 exact guides one was not; failure rate below 1e-2."""
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    check = check_posteriors(LinearPair(), (x,), split_gap=False)
    assert check.counts["trusted"] >= 39


@pytest.mark.parametrize("broken", [{"scale": 0.5}, {"scale": 2.0}, {"shift": 1.0}])
def test_wrong_guides_are_repaired(broken: dict[str, float]) -> None:
    """Errors of 0.02 nats; failure rate below 1e-3."""
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    pair = LinearPair(CORRELATED, **broken)
    check = check_posteriors(pair, (x,), split_gap=False)
    assert check.counts["trusted"] == 0
    repaired = check.verdict == 1
    error = check.log_evidence - pair.log_evidence(x)
    assert float(error[repaired].abs().max()) < 0.2
