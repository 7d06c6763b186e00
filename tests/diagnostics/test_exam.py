"""Exact draws of data that the model made know what a mixture missed."""

import math

import pytest
import torch

from vaezoo import RequestError
from vaezoo.diagnostics.checking import check_posteriors
from vaezoo.diagnostics.exam import Exam, examine, with_exam
from vaezoo.inference.scouts import ScoutSettings
from vaezoo.testing.pairs import LinearPair, SquaresPair

X = torch.zeros(4, 4)
ALL = torch.ones(32, dtype=torch.bool)


def missing(number: int) -> Exam:
    """Return an exam of 32 data, so many of which were missed."""
    return Exam(torch.where(torch.arange(32) < number, 20.0, 0.0), ALL, 4000)


def test_a_mixture_that_covers_passes() -> None:
    # An exact draw outweighs 4,000 others with probability below 1 in 1,000.
    exam = examine(LinearPair(scale=1 / 3), (X,), 16)
    assert exam.num_missed == 0
    assert exam.passed


def test_exact_draws_outweigh_what_misses_a_mode() -> None:
    # Scouts from the guide see one of two modes, and so half of the exact draws, less those of
    # modes that touch; fewer than 5 of 32 happen in less than 1 of 10,000 cases.
    blind = ScoutSettings(from_prior=0, from_guide=32, around_guide=0)
    exam = examine(SquaresPair(), (torch.zeros(4, 12),), 32, num_samples=1000, scouting=blind)
    assert int((exam.excess > math.log(1000)).sum()) >= 5


def test_scouts_from_the_prior_see_both() -> None:
    exam = examine(SquaresPair(), (torch.zeros(4, 12),), 32, num_samples=1000)
    assert exam.num_judged >= 24
    assert exam.num_missed == 0


@pytest.mark.parametrize(("number", "passed"), [(0, True), (2, True), (3, False)])
def test_two_of_32_may_be_chance(number: int, *, passed: bool) -> None:
    assert missing(number).passed is passed


def test_bound_is_that_of_clopper_and_pearson() -> None:
    assert missing(0).most_missed == pytest.approx(1 - 0.05 ** (1 / 32))
    assert missing(32).most_missed == 1


def test_what_is_not_judged_does_not_count() -> None:
    exam = Exam(torch.full((32,), 20.0), ~ALL, 4000)
    assert exam.passed
    assert "none of 32" in exam.explain()


def test_no_verdict_outlives_a_failed_exam() -> None:
    check = check_posteriors(LinearPair(), (X,), num_samples=1000, split_gap=False)
    assert with_exam(check, missing(0)).verdicts == ["trusted"] * 4
    assert with_exam(check, missing(9)).verdicts == ["not trusted"] * 4
    assert "data that the model made" in with_exam(check, missing(9)).explain(0)


def test_an_exam_takes_data() -> None:
    with pytest.raises(RequestError, match="1 datum or more"):
        examine(LinearPair(), (X,), 0)
