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
from vaezoo.report.canvas import CHECKED, GREY, GUIDE, LIGHT, MODEL, Figure, add_legend
from vaezoo.report.captions import captioned
from vaezoo.report.findings import Report
from vaezoo.report.words import blamed
from vaezoo.training.alarms import COLLAPSED_KL

__all__ = ["model_figures"]

MOST_CURVES, MOST_LABELS = 16, 12
STYLES = ("-", "--", ":", "-.")


def model_figures(report: Report) -> Iterator[Figure]:
    """Yield the figures of the checks that were done."""
    if report.calibration:
        yield _sbc(report.calibration)
        yield _coverage(report.calibration)
    if report.collapse:
        yield _latents(report.collapse)
    for name, check in (report.predictive or {}).items():
        yield from _replicated(name, check)


def _sbc(calibration: Calibration) -> Figure:
    picture, axis = new_figure()
    _plot_band(axis, len(calibration.guide.pit), label="99 % band")
    ranks, points = calibration.guide, np.linspace(0, 1, 200)
    named = blamed(ranks)
    others = sorted(set(ranks.names) - set(named), key=lambda name: ranks.p_values[name])
    for name in others[: MOST_CURVES - len(named)]:
        axis.plot(*_difference(ranks.of(name), points), linewidth=0.7, color=LIGHT)
    for name, style in zip(named, STYLES, strict=False):
        line = {"color": GUIDE, "linestyle": style, "label": name}
        axis.plot(*_difference(ranks.of(name), points), linewidth=1.2, **line)
    axis.set(xlabel="rank of the truth among draws, 0 ... 1", ylabel="ECDF minus uniform")
    add_legend(axis)
    words = [f"{name} {ranks.words[name]}" if name in ranks.words else name for name in named]
    text = f"Dark are those that are least so: {', '.join(words)}." if named else ""
    return captioned("sbc_ecdf", picture, {"named": text or "Here all are."})


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
    repair = " Purple: what weighing the draws repairs." if calibration.repaired else ""
    return captioned("coverage", picture, {"repair": repair})


def _latents(collapse: Collapse) -> Figure:
    picture, axis = new_figure()
    values = sorted(collapse.kl_per_element.items(), key=lambda item: -item[1])
    height = [kl for _, kl in values]
    colours = [GREY if name in collapse.collapsed else GUIDE for name, _ in values]
    axis.bar(range(len(values)), height, width=0.8, color=colours)
    axis.axhline(COLLAPSED_KL, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="element of the latents, by KL", ylabel="KL, nats")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if len(values) <= MOST_LABELS:
        axis.set_xticks(range(len(values)), [name for name, _ in values], rotation=45)
    number = f"Here: {len(collapse.collapsed) or 'none'} of {len(values)}."
    return captioned("latents", picture, {"number": number})


def _replicated(name: str, check: PredictiveCheck) -> Iterator[Figure]:
    picture, axis = new_figure()
    if check.reliability is not None:
        _plot_reliability(axis, name, check.reliability)
    else:
        assert check.pit is not None
        _plot_pit(axis, name, check.pit)
    caption = "ppc_real" if check.reliability is None else "ppc_binary"
    yield captioned(caption, picture, {"site": name}, name=f"ppc_{name}")
    picture, axis = new_figure()
    _plot_statistics(axis, check.statistics)
    bad = [of for of, statistic in check.statistics.items() if statistic.grade == "bad"]
    text = f"Here: {', '.join(bad)}." if bad else "Here there is none."
    yield captioned("statistics", picture, {"site": name, "bad": text}, name=f"statistics_{name}")


def _plot_reliability(axis: Any, name: str, curve: Reliability) -> None:
    axis.fill_between(curve.probability, curve.lower, curve.upper, color="0.85")
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axis.plot(curve.probability, curve.frequency, color=MODEL)
    axis.set(xlabel=f"probability of {name} = 1", ylabel="frequency")


def _plot_pit(axis: Any, name: str, pit: Tensor) -> None:
    axis.plot(*_difference(pit, _plot_band(axis, len(pit))), color=MODEL)
    axis.set(xlabel=f"PIT of {name}", ylabel="ECDF minus uniform")


def _plot_statistics(axis: Any, statistics: Mapping[str, StatisticCheck]) -> None:
    for place, statistic in enumerate(statistics.values()):
        replicated = statistic.replicated.cpu().numpy()
        spread = replicated.std() or 1.0
        distance = np.clip((replicated - statistic.observed) / spread, -8, 8)
        marker = {"marker": "o"} if statistic.grade != "bad" else {"marker": "X", "markersize": 9}
        axis.plot(distance, np.full(len(distance), place), "|", color=GREY, alpha=0.4)
        axis.plot(0, place, color="black", **marker)
    axis.set_yticks(range(len(statistics)), list(statistics))
    axis.set(xlabel="replicated minus data, in sd", xlim=(-8.5, 8.5))
