"""The figures of what the model makes: calibration, latents in use, replicated data."""

from collections.abc import Iterator

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.calibration import LEVELS, Calibration, Ranks
from vaezoo.diagnostics.collapse import Collapse
from vaezoo.diagnostics.predictive import PredictiveCheck
from vaezoo.diagnostics.uniformity import ecdf_band
from vaezoo.plots.paper import new_figure
from vaezoo.report.canvas import CHECKED, COLOURS, GREY, GUIDE, Figure, add_legend
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
    points, lower, upper = ecdf_band(len(calibration.guide.pit), 0.99)
    axis.fill_between(points, lower - points, upper - points, color="0.85", label="99 % band")
    grades = calibration.guide.grades
    worst = sorted(calibration.guide.names, key=lambda name: calibration.guide.p_values[name])
    for name in worst[:MOST_CURVES]:
        label = name if grades[name] != "good" and name in worst[:6] else None
        axis.plot(*_difference(calibration.guide, name), linewidth=0.9, label=label)
    axis.set(xlabel="rank of the truth among draws, 0 ... 1", ylabel="ECDF minus uniform")
    add_legend(axis)
    return Figure(
        "sbc_ecdf",
        "Is the guide calibrated on data that the model made?",
        "A line for each latent, and for densities. Inside the band is calibrated. First above and "
        "then below zero (an S): overconfident, the truth is too often in the tails. The S upside "
        "down: too wide. A bow to one side: draws lie to one side of the truth.",
        picture,
    )


def _difference(ranks: Ranks, name: str) -> tuple[Array, Array]:
    pit = np.sort(ranks.of(name).cpu().numpy())
    points = np.linspace(0, 1, 200)
    return points, np.searchsorted(pit, points, side="right") / len(pit) - points


def _coverage(calibration: Calibration) -> Figure:
    picture, axis = new_figure()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    sides = [("guide", GUIDE, calibration.guide)]
    if calibration.repaired is not None:
        sides.append(("repaired by its weights", CHECKED, calibration.repaired))
    for name, colour, ranks in sides:
        held = np.array([ranks.coverage[level] for level in LEVELS])
        error = 2 * np.sqrt(held * (1 - held) / len(ranks.pit))
        axis.errorbar(LEVELS, held, error, marker="o", color=colour, capsize=3, label=name)
    axis.set(xlabel="probability of a region", ylabel="share that holds the truth")
    add_legend(axis)
    return Figure(
        "coverage",
        "Do regions hold what they say?",
        "How often the region of highest density that should hold the truth with 50, 80, 90 or 95 "
        "% does, on data that the model made; bars are two standard errors. Below the line: "
        "overconfident. The second line shows what weighing the draws repairs.",
        picture,
    )


def _latents(collapse: Collapse) -> Figure:
    picture, axis = new_figure()
    values = sorted(collapse.kl_per_element.values(), reverse=True)
    axis.bar(range(len(values)), values, width=0.8, color=GUIDE)
    axis.axhline(0.01, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="element of the latents, by KL", ylabel="KL, nats")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return Figure(
        "latents",
        "Which latents carry something?",
        "KL of posterior to prior, averaged over the data, for each element. A bar below the "
        "dashed line (0.01 nats) has collapsed: it carries nothing, and the decoder ignores it.",
        picture,
    )


def _replicated(name: str, check: PredictiveCheck) -> Figure:
    picture, (left, right) = new_figure(1, 2)
    if check.reliability is not None:
        curve = check.reliability
        left.fill_between(curve.probability, curve.lower, curve.upper, color="0.85")
        left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        left.plot(curve.probability, curve.frequency, color=GUIDE)
        left.set(xlabel=f"probability of {name} = 1", ylabel="frequency", title="reliability")
        shape = "Inside the band, what is said to have a probability happens as often."
    else:
        assert check.pit is not None
        points, lower, upper = ecdf_band(len(check.pit), 0.99)
        left.fill_between(points, lower - points, upper - points, color="0.85")
        pit = np.sort(check.pit.cpu().numpy())
        left.plot(points, np.searchsorted(pit, points) / len(pit) - points, color=GUIDE)
        left.set(xlabel=f"PIT of {name}", ylabel="ECDF minus uniform", title="PIT")
        shape = "Inside the band the noise of the likelihood is right; an S is a sigma too small."
    names = list(check.statistics)
    for place, statistic in enumerate(check.statistics.values()):
        replicated = statistic.replicated.cpu().numpy()
        spread = replicated.std() or 1.0
        width = np.clip((replicated - statistic.observed) / spread, -8, 8)
        right.plot(width, np.full(len(width), place), "|", color=GREY, alpha=0.4)
        right.plot(
            0, place, "o", color=GUIDE if statistic.grade != "bad" else COLOURS["not trusted"]
        )
    right.set_yticks(range(len(names)), names)
    right.set(xlabel="replicated minus data, in sd", title="statistics", xlim=(-8.5, 8.5))
    return Figure(
        f"ppc_{name}",
        "Do replicated data look like the data?",
        f"Left: {shape} Right: statistics of replicated data (ticks) around that of the data "
        "(dot); a red dot with all ticks on one side is something that the model does not make.",
        picture,
    )
