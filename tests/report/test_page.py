"""The page of a report: words whose numbers are those of its tables, on any screen."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from vaezoo import analyse
from vaezoo.data import SPLITS, Data
from vaezoo.data.transform import Transform
from vaezoo.report import Report, per_datum
from vaezoo.report.meanings import CHECKS, meaning
from vaezoo.report.page import page
from vaezoo.report.tables import medians
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.testing.pairs import LinearPair

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)


@cache
def analysed(shift: float = 0.0, level: str = "standard") -> Report:
    """What is said of a linear pair; not to be changed."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    data = Data("made", {"x": x}, dict.fromkeys(SPLITS, np.arange(12)))
    pair = LinearPair(WEIGHT, shift=shift)
    run = Run(pair, "pair", {}, DataSettings(name="x"), Training(), Transform(), {"x": (3,)})
    return analyse(run, data, level=level)


def test_page_says_what_was_analysed_and_how_to_open_it() -> None:
    report = analysed()
    content = page(report)
    subject = (
        f"12 of 12 test data of made, level standard, seed 0. Weights of {report.scope.weights}."
    )
    assert subject in content
    assert f"Analysed {report.scope.date}" in content
    assert "open_tree(&quot;checked.nc&quot;)" in content


def test_every_check_says_what_it_is_of() -> None:
    report = analysed()
    assert report.graded is not None
    assert CHECKS["data"].keys() == report.graded.grades.keys()


def test_medians_are_those_of_the_table() -> None:
    report = analysed(shift=1.5)
    table = per_datum(report)
    off = abs(table["log_evidence"] - table["iwae"])
    for name, values in (("mean_shift", table["mean_shift"]), ("log_evidence", off)):
        assert np.sort(values)[5] == pytest.approx(medians(report)[name])


def test_meaning_has_the_numbers_of_the_report() -> None:
    assert meaning(analysed()) == ("good", "Draws of the guide can be used for 12 of 12 data.")
    report = analysed(shift=1.5)
    badge, text = meaning(report)
    assert badge == "fair"
    assert f"off for 12 of 12 data, at the median by {medians(report)['mean_shift']:.2f} sd" in text
    assert report.posteriors is not None
    bad = torch.full_like(report.posteriors.verdict, 2)
    poor = replace(report, posteriors=replace(report.posteriors, verdict=bad))
    assert meaning(poor)[1].startswith("12 of 12 posteriors cannot be trusted")


def test_draws_of_the_guide_alone_cannot_vouch_for_it() -> None:
    badge, text = meaning(analysed(level="quick"))
    assert badge == "not contradicted"
    assert "do not see" in text
