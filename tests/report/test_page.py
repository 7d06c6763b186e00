"""The page of a report: words whose numbers are those of its tables, on any screen."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from vaezoo import analyse
from vaezoo.data import SPLITS, Data
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError
from vaezoo.inference.importance import largest_good_k
from vaezoo.report import Report, per_datum, save_report
from vaezoo.report.canvas import CHECKED, COLOURS, GREY, GUIDE, LIGHT, MODEL, MODES
from vaezoo.report.figures import figures_of
from vaezoo.report.meanings import CHECKS, meaning
from vaezoo.report.pages.of_analysis import describe, page_of, read_described
from vaezoo.report.tables import medians
from vaezoo.report.words import blamed
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
    content = page_of(describe(report))
    subject = (
        f"12 of 12 test data of made, level standard, seed 0. Weights of {report.scope.weights}."
    )
    assert subject in content
    assert f"Analysed {report.scope.date}" in content
    assert "open_tree(&quot;checked.nc&quot;)" in content


def test_page_is_read_back_from_its_folder(tmp_path: Path) -> None:
    report = replace(analysed(), trees={})
    save_report(report, tmp_path)
    assert read_described(tmp_path) == describe(report)
    assert read_described(tmp_path / "figures") is None


def test_damaged_page_is_refused(tmp_path: Path) -> None:
    save_report(replace(analysed(level="quick"), trees={}), tmp_path)
    figure = next((tmp_path / "figures").iterdir())
    figure.unlink()
    with pytest.raises(RequestError, match=figure.name):
        read_described(tmp_path)
    (tmp_path / "report.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RequestError, match="is damaged; analyse again"):
        read_described(tmp_path)


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
    assert report.posteriors is not None
    shift = float(report.posteriors.mean_shift.median())
    assert f"off for 12 of 12 data, at their median by {shift:.2f} sd" in text
    bad = torch.full_like(report.posteriors.verdict, 2)
    poor = replace(report, posteriors=replace(report.posteriors, verdict=bad))
    assert meaning(poor)[1].startswith("12 of 12 posteriors cannot be trusted")


def test_draws_of_the_guide_alone_cannot_vouch_for_it() -> None:
    badge, text = meaning(analysed(level="quick"))
    assert badge == "not contradicted"
    assert "do not see" in text


def test_captions_have_the_numbers_of_their_figures() -> None:
    report = analysed(shift=1.5)
    captions = {figure.name: figure.caption for figure in figures_of(report)}
    assert report.posteriors is not None
    missed = int((report.posteriors.grades["log_evidence"] > 0).sum())
    low = int((report.posteriors.k_hat <= largest_good_k(report.plan.num_samples)).sum())
    assert f"Here {low} low dots are not trusted as they are" in captions["khat"] or not low
    assert f"for {missed} of them the guide misses" in captions["khat"] or low < 12
    assert "Here: none of 2." in captions["latents"]
    shift = float(report.posteriors.mean_shift.median())
    assert f"the worst latent is off by {shift:.2f} sd" in captions["moments"]
    assert report.calibration is not None
    for name in blamed(report.calibration.guide):
        assert name in captions["sbc_ecdf"]


def test_datum_that_the_figures_are_about_is_shown_with_its_row() -> None:
    report = analysed(shift=1.5)
    figures = {figure.name: figure for figure in figures_of(report)}
    assert report.posteriors is not None
    worst = int(report.posteriors.mean_shift.argmax())
    assert figures["datum_worst"].title.startswith(f"Datum {worst},")
    assert figures["datum_worst"].caption.startswith(f"Row {worst} of made.")
    assert f"datum {worst}" in figures["pair_worst"].title


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1, 1), (1, 1, 1, 3)])
def test_data_of_any_shape_are_shown(shape: tuple[int, ...]) -> None:
    report = analysed()
    trees = dict(report.trees)
    trees["checked"] = trees["checked"].copy()
    for group in ("observed_data", "posterior_predictive"):
        x = trees["checked"][group]["x"]
        dims = [dim for dim in x.dims if dim != "element"]
        names = [f"x_dim_{i}" for i in range(len(shape))]
        values = x.transpose(*dims, "element").values
        values = values.reshape(*values.shape[:-1], *shape)
        trees["checked"][group] = xr.DataTree(xr.Dataset({"x": ([*dims, *names], values)}))
    assert "datum_worst" in {figure.name for figure in figures_of(replace(report, trees=trees))}


def test_no_colour_has_two_meanings() -> None:
    colours = [*COLOURS.values(), GUIDE, LIGHT, CHECKED, MODEL, GREY, *MODES]
    assert len(set(colours)) == len(colours)
