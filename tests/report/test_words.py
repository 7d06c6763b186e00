"""The words of a report: over which data a number is, and by how much it may be off."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from vaezoo import analyse
from vaezoo.data import SPLITS, Data, from_sequences
from vaezoo.data.transform import Transform
from vaezoo.models.lgssm import LGSSM
from vaezoo.report import Report, to_dict, verdict
from vaezoo.report.words import average, blamed
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.testing.pairs import LinearPair

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)


def run_of(pair: nn.Module, **shapes: tuple[int, ...]) -> Run:
    return Run(pair, "pair", {}, DataSettings(name="x"), Training(), Transform(), shapes)


@cache
def analysed(shift: float = 0.0) -> Report:
    """What is said of a linear pair; not to be changed."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    data = Data("made", {"x": x}, dict.fromkeys(SPLITS, np.arange(12)))
    return analyse(run_of(LinearPair(WEIGHT, shift=shift), x=(3,)), data)


def words(report: Report) -> str:
    return " ".join(verdict(report).split())


def judging(report: Report, *places: int) -> Report:
    """The same with other verdicts, by place; those of all others are repaired."""
    check = report.posteriors
    assert check is not None
    given = torch.ones_like(check.verdict)
    given[: len(places)] = torch.tensor(places)
    return replace(report, posteriors=replace(check, verdict=given))


def test_error_of_a_mean_holds_the_spread_over_data() -> None:
    values = torch.tensor([1.0, 2.0, 4.0])
    mean, error = average(values, torch.full((3,), 1e-3))
    assert mean == pytest.approx(7 / 3)
    assert error == pytest.approx(float(values.double().std()) / math.sqrt(3))
    assert average(values[:1], torch.tensor([0.25]))[1] == 0.25


def test_log_evidence_leaves_out_what_is_not_trusted() -> None:
    report = judging(analysed(), 2, 2)
    assert report.posteriors is not None
    kept = report.posteriors.log_evidence[2:]
    error = float(kept.std()) / math.sqrt(len(kept))
    expected = f"checked {float(kept.mean()):.2f} +- {error:.2f} nats, mean of 10 data, without 2"
    assert expected in words(report)
    table = to_dict(report)["log_evidence"]
    assert table["mean"] == pytest.approx(float(kept.mean()))
    assert (table["num_data"], table["not_trusted"]) == (10, 2)


def test_nothing_is_said_of_log_evidence_where_nothing_is_trusted() -> None:
    report = judging(analysed(), *[2] * 12)
    assert "log p(x) is not known" in words(report)
    assert "mean" not in to_dict(report)["log_evidence"]


def test_a_gap_that_cannot_be_is_named() -> None:
    report = judging(analysed(), 1)
    assert report.posteriors is not None
    local = report.posteriors.log_evidence + 1.0
    better = replace(report, posteriors=replace(report.posteriors, local_elbo=local))
    assert "which is too low" in words(better)


def test_latents_in_use_are_those_that_have_not_collapsed() -> None:
    report = analysed()
    assert report.collapse is not None
    some = replace(report.collapse, kl_per_element={"z[0]": 1.0, "z[1]": 0.001})
    text = words(replace(report, collapse=some))
    assert "(1 in use)" in text
    assert "collapsed: z[1]" in text


def test_elements_that_have_one_kl_together_are_counted_by_their_means() -> None:
    report = analysed()
    assert report.collapse is not None
    joint = replace(report.collapse, kl_per_element={"z": 1.0}, active_units=2)
    assert "(2 in use)" in words(replace(report, collapse=joint))
    unknown = replace(joint, active_units=None)
    assert "in use" not in words(replace(report, collapse=unknown))


def test_the_gap_of_a_guide_of_another_form_is_not_split() -> None:
    report = judging(analysed(), 1)
    assert report.posteriors is not None
    other = replace(report, posteriors=replace(report.posteriors, local_elbo=None))
    assert "split for guides that are diagonal Gaussians only" in words(other)


def test_words_name_what_is_least_calibrated_first() -> None:
    report = analysed(shift=1.5)
    assert report.calibration is not None
    ranks = report.calibration.guide
    first = blamed(ranks)[0]
    assert ranks.p_values[first] == min(ranks.p_values.values())
    assert f"not calibrated: {first}" in words(report)


def test_sequences_have_an_error_too() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    walks = from_sequences([rng.normal(size=(n, 2)).astype(np.float32) for n in (5, 3, 4, 5)])
    data = Data("made", walks.arrays, dict.fromkeys(SPLITS, np.arange(4)))
    report = analyse(run_of(LGSSM(x_shape=(2,), z_dim=2), x=(5, 2), length=()), data)
    assert report.sequences is not None
    check = report.sequences
    good = replace(check, verdict=torch.zeros_like(check.verdict))
    assert " +- " in words(replace(report, sequences=good))
    bad = replace(check, verdict=torch.full_like(check.verdict, 2))
    assert " +- " not in words(replace(report, sequences=bad))
