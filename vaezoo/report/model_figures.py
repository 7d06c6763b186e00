"""The figures of what the model makes: calibration, latents in use, replicated data."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.calibration import COVERAGE_LEVELS, Calibration
from vaezoo.diagnostics.collapse import Collapse
from vaezoo.diagnostics.predictive import PredictiveCheck, Reliability, StatisticCheck
from vaezoo.diagnostics.uniformity import ecdf_band
from vaezoo.plots.paper import new_figure
from vaezoo.report.canvas import CHECKED, COLOURS, GREY, GUIDE, Figure, add_legend
from vaezoo.report.captions import captioned
from vaezoo.report.findings import Report

__all__ = ["model_figures"]

MOST_CURVES = 16


def model_figures(report: Report) -> Iterator[Figure]:
    """Yield the figures of the checks that were done."""
    if report.calibration:
        yield _sbc(report.calibration)
        yield _coverage(report.calibration)
    if report.collapse:
        yield _latents(report.collapse)
    for name, check in (report.predictive or {}).items():
        yield _replicated(name, check)


def _sbc(calibration: Calibration) -> Figure:
    picture, axis = new_figure()
    _plot_band(axis, len(calibration.guide.pit), label="99 % band")
    grades = calibration.guide.grades
    worst = sorted(calibration.guide.names, key=lambda name: calibration.guide.p_values[name])
    for name in worst[:MOST_CURVES]:
        label = name if grades[name] != "good" and name in worst[:6] else None
        pit = calibration.guide.of(name)
        axis.plot(*_difference(pit, np.linspace(0, 1, 200)), linewidth=0.9, label=label)
    axis.set(xlabel="rank of the truth among draws, 0 ... 1", ylabel="ECDF minus uniform")
    add_legend(axis)
    return captioned("sbc_ecdf", picture)


def _plot_band(axis: Any, num_values: int, **style: str) -> Array:
    """Plot where 99 % of uniform values have their ECDF, and return its points."""
    points, lower, upper = ecdf_band(num_values, 0.99)
    axis.fill_between(points, lower - points, upper - points, color="0.85", **style)
    return points


def _difference(pit: Tensor, points: Array) -> tuple[Array, Array]:
    """Return points, and there the ECDF minus that of uniform values."""
    ordered = np.sort(pit.cpu().numpy())
    return points, np.searchsorted(ordered, points, side="right") / len(ordered) - points


def _coverage(calibration: Calibration) -> Figure:
    picture, axis = new_figure()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    sides = [("guide", GUIDE, calibration.guide)]
    if calibration.repaired is not None:
        sides.append(("repaired by importance weights", CHECKED, calibration.repaired))
    for name, colour, ranks in sides:
        held = np.array([ranks.coverage[level] for level in COVERAGE_LEVELS])
        error = 2 * np.sqrt(held * (1 - held) / len(ranks.pit))
        axis.errorbar(COVERAGE_LEVELS, held, error, marker="o", color=colour, capsize=3, label=name)
    axis.set(xlabel="probability of a region", ylabel="share that holds the truth")
    add_legend(axis)
    return captioned("coverage", picture)


def _latents(collapse: Collapse) -> Figure:
    picture, axis = new_figure()
    values = sorted(collapse.kl_per_element.values(), reverse=True)
    axis.bar(range(len(values)), values, width=0.8, color=GUIDE)
    axis.axhline(0.01, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="element of the latents, by KL", ylabel="KL, nats")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return captioned("latents", picture)


def _replicated(name: str, check: PredictiveCheck) -> Figure:
    picture, (left, right) = new_figure(1, 2)
    if check.reliability is not None:
        _plot_reliability(left, name, check.reliability)
    else:
        assert check.pit is not None
        _plot_pit(left, name, check.pit)
    _plot_statistics(right, check.statistics)
    caption = "ppc_real" if check.reliability is None else "ppc_binary"
    return captioned(caption, picture, name=f"ppc_{name}")


def _plot_reliability(axis: Any, name: str, curve: Reliability) -> None:
    axis.fill_between(curve.probability, curve.lower, curve.upper, color="0.85")
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axis.plot(curve.probability, curve.frequency, color=GUIDE)
    axis.set(xlabel=f"probability of {name} = 1", ylabel="frequency", title="reliability")


def _plot_pit(axis: Any, name: str, pit: Tensor) -> None:
    axis.plot(*_difference(pit, _plot_band(axis, len(pit))), color=GUIDE)
    axis.set(xlabel=f"PIT of {name}", ylabel="ECDF minus uniform", title="PIT")


def _plot_statistics(axis: Any, statistics: Mapping[str, StatisticCheck]) -> None:
    for place, statistic in enumerate(statistics.values()):
        replicated = statistic.replicated.cpu().numpy()
        spread = replicated.std() or 1.0
        distance = np.clip((replicated - statistic.observed) / spread, -8, 8)
        colour = GUIDE if statistic.grade != "bad" else COLOURS["not trusted"]
        axis.plot(distance, np.full(len(distance), place), "|", color=GREY, alpha=0.4)
        axis.plot(0, place, "o", color=colour)
    axis.set_yticks(range(len(statistics)), list(statistics))
    axis.set(xlabel="replicated minus data, in sd", title="statistics", xlim=(-8.5, 8.5))
