"""The figures of a report, each with a caption that says what its shape means."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.calibration import LEVELS
from vaezoo.diagnostics.checking import VERDICTS
from vaezoo.diagnostics.predictive import PredictiveCheck
from vaezoo.diagnostics.uniformity import ecdf_band
from vaezoo.inference.importance import largest_good_k
from vaezoo.plots.grids import new_figure

if TYPE_CHECKING:
    from vaezoo.diagnostics.calibration import Ranks
    from vaezoo.report.findings import Report

__all__ = ["Figure", "figures_of"]

COLOURS = {"trusted": "#2a7f62", "repaired": "#d99a1c", "not trusted": "#b3321b"}
GUIDE, CHECKED, GREY = "#1f5fa8", "#2a7f62", "0.6"
MOST_CURVES = 16


@dataclass(frozen=True)
class Figure:
    """A figure: its short name, title, caption, and the matplotlib figure."""

    name: str
    title: str
    caption: str
    drawn: Any


def figures_of(report: "Report") -> Iterator[Figure]:
    """Yield the figures that there is something to draw for."""
    from vaezoo.report.sequence_figures import sequence_figures

    if report.sequences:
        yield from sequence_figures(report.sequences)
    makers: tuple[Callable[[Report], Figure | None], ...] = (
        _k_hat,
        _gap,
        _moments,
        _pair_of_worst,
        _trace_of_worst,
        _sbc,
        _coverage,
        _latents,
    )
    for make in makers:
        made = make(report)
        if made is not None:
            yield made
    for name, check in (report.predictive or {}).items():
        yield _replicated(name, check)


def _k_hat(report: "Report") -> Figure | None:
    source = report.posteriors or report.guide
    if source is None:
        return None
    drawn, axis = new_figure()
    k_hat = source.k_hat.clamp(max=2).numpy()
    place = np.arange(len(k_hat))
    for verdict, chosen in _by_verdict(report, len(k_hat)):
        axis.plot(
            place[chosen], k_hat[chosen], ".", color=COLOURS.get(verdict, GUIDE), label=verdict
        )
    limit = largest_good_k(report.plan.num_samples)
    for height in (limit, 1.0):
        axis.axhline(height, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="datum", ylabel="k-hat", ylim=(min(-0.1, k_hat.min()), 2.05))
    _legend(axis)
    return Figure(
        "khat",
        "Can the guide be repaired by its own weights?",
        f"Each dot is a datum. Below the lower line ({limit:.1f}) averages over weighted draws of "
        "the guide are stable; above 1 they are noise. A low dot is no proof: weights do not see "
        "what the guide never visits, and dots that are low and not green are such data.",
        drawn,
    )


def _by_verdict(report: "Report", number: int) -> Iterator[tuple[str, Array]]:
    if report.posteriors is None:
        yield "", np.ones(number, dtype=bool)
        return
    places = report.posteriors.verdict.numpy()
    for i, name in enumerate(VERDICTS):
        if (places == i).any():
            yield name, places == i


def _gap(report: "Report") -> Figure | None:
    found = report.posteriors
    if found is None:
        return None
    drawn, axis = new_figure()
    order = found.gap.argsort(descending=True)
    place = np.arange(len(order))
    gap = found.gap[order].numpy()
    if found.approximation_gap is not None and found.amortisation_gap is not None:
        approximation = found.approximation_gap[order].clamp(min=0).numpy()
        axis.bar(place, approximation, 1.0, color=GUIDE, label="approximation: form of q")
        rest = np.clip(gap - approximation, 0, None)
        axis.bar(place, rest, 1.0, approximation, color="#9cc3e6", label="amortisation: encoder")
    else:
        axis.bar(place, gap, 1.0, color=GUIDE)
    axis.set(xlabel="data, the largest gap first", ylabel="log p(x) - ELBO, nats")
    _legend(axis)
    return Figure(
        "gap",
        "Where does the ELBO lose nats?",
        "Each bar is a datum: what its ELBO falls short of log p(x). Dark is what no encoder could "
        "win with this form of q; light is what a better encoder would. Few high bars are odd "
        "data; bars of one height are a guide that is too simple everywhere.",
        drawn,
    )


def _moments(report: "Report") -> Figure | None:
    found = report.posteriors
    if found is None:
        return None
    drawn, axis = new_figure()
    for verdict, chosen in _by_verdict(report, len(found.verdict)):
        axis.plot(
            found.mean_shift.numpy()[chosen].clip(1e-3),
            found.sd_ratio.numpy()[chosen],
            ".",
            color=COLOURS[verdict],
            label=verdict,
        )
    for height in (0.8, 1.0, 1.25):
        axis.axhline(height, color=GREY, linestyle="-" if height == 1 else "--", linewidth=0.8)
    axis.axvline(0.25, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xscale="log", yscale="log", xlabel="shift of the mean, in sd", ylabel="sd of q / sd")
    axis.set_yticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    axis.set_xticks([0.03, 0.1, 0.25, 1, 4], ["0.03", "0.1", "0.25", "1", "4"])
    axis.minorticks_off()
    _legend(axis)
    return Figure(
        "moments",
        "Is the guide shifted, too narrow or too wide?",
        "Each dot is the worst latent of a datum, against the checked posterior. To the right of "
        "the dashed line the guide is in the wrong place; below 0.8 it is too narrow "
        "(overconfident), above 1.25 too wide.",
        drawn,
    )


def _worst(report: "Report") -> tuple[int, Tensor, Tensor, Tensor] | None:
    """Return the datum with the largest shift that is not hopeless; draws of q, chains, checked."""
    found = report.posteriors
    if found is None or "q" not in report.trees:
        return None
    usable = torch.where(found.verdict < 2, found.mean_shift, -1.0)
    worst = int(usable.argmax())
    names = list(found.draws)
    posterior = report.trees["q"]["posterior"].to_dataset()
    of_q = [torch.from_numpy(posterior[n].isel(datum=worst).values.copy()) for n in names]
    chains = [found.chains[n][:, :, worst].cpu() for n in names]
    checked = [found.draws[n][:, worst].cpu() for n in names]
    q = torch.cat([z.flatten(2) for z in of_q], -1).flatten(0, 1)
    runs = torch.cat([z.flatten(2) for z in chains], -1)
    return worst, q, runs, torch.cat([z.flatten(1) for z in checked], -1)


def _two_worst_latents(q: Tensor, checked: Tensor) -> list[int]:
    shift = (q.mean(0) - checked.mean(0)).abs() / checked.std(0).clamp(min=1e-9)
    spread = (q.std(0).clamp(min=1e-9) / checked.std(0).clamp(min=1e-9)).log().abs()
    return (shift + spread).argsort(descending=True)[:2].tolist()


def _pair_of_worst(report: "Report") -> Figure | None:
    draws = _worst(report)
    if draws is None:
        return None
    worst, q, _, checked = draws
    chosen = _two_worst_latents(q, checked)
    drawn, axis = new_figure()
    if len(chosen) == 1:
        for z, colour, name in ((q, GUIDE, "guide"), (checked, CHECKED, "checked")):
            axis.hist(z[:, 0].numpy(), 60, density=True, alpha=0.5, color=colour, label=name)
        axis.set(xlabel="latent 0", ylabel="density")
    else:
        first, second = chosen
        for z, colour, name in ((q, GUIDE, "guide"), (checked, CHECKED, "checked")):
            x, y = z[:, first].numpy(), z[:, second].numpy()
            axis.plot(x, y, ".", markersize=2.5, alpha=0.5, color=colour, label=name)
        axis.set(xlabel=f"latent {first}", ylabel=f"latent {second}")
    _legend(axis)
    return Figure(
        "pair_worst",
        f"The guide at its worst: datum {worst}",
        "Draws of the guide and of the checked posterior of the datum whose mean the guide misses "
        "most, in the two latents that differ most. Green where there is no blue is what the guide "
        "missed: a second mode, a bend, a tail.",
        drawn,
    )


def _trace_of_worst(report: "Report") -> Figure | None:
    draws = _worst(report)
    if draws is None:
        return None
    worst, q, runs, checked = draws
    latent = _two_worst_latents(q, checked)[0]
    drawn, axis = new_figure()
    for chain in runs:
        axis.plot(chain[:, latent].numpy(), linewidth=0.8)
    low, high = (float(checked[:, latent].quantile(level)) for level in (0.05, 0.95))
    axis.axhspan(low, high, color=CHECKED, alpha=0.15, linewidth=0, label="90 %, checked")
    axis.set(xlabel="draw", ylabel=f"latent {latent}")
    _legend(axis)
    return Figure(
        "trace_worst",
        f"Short chains of datum {worst}",
        "Four HMC chains, each in a colour, in the latent that differs most. Chains that mix are "
        "four fuzzy lines on top of each other; chains that stay on different levels are modes "
        "that lie apart, which the mixture then weighs.",
        drawn,
    )


def _sbc(report: "Report") -> Figure | None:
    found = report.calibration
    if found is None:
        return None
    drawn, axis = new_figure()
    points, lower, upper = ecdf_band(len(found.guide.pit), 0.99)
    axis.fill_between(points, lower - points, upper - points, color="0.85", label="99 % band")
    grades = found.guide.grades
    worst = sorted(found.guide.names, key=lambda name: found.guide.p_values[name])
    for name in worst[:MOST_CURVES]:
        label = name if grades[name] != "good" and name in worst[:6] else None
        axis.plot(*_difference(found.guide, name), linewidth=0.9, label=label)
    axis.set(xlabel="rank of the truth among draws, 0 ... 1", ylabel="ECDF minus uniform")
    _legend(axis)
    return Figure(
        "sbc_ecdf",
        "Is the guide calibrated on data that the model made?",
        "A line for each latent, and for densities. Inside the band is calibrated. First above and "
        "then below zero (an S): overconfident, the truth is too often in the tails. The S upside "
        "down: too wide. A bow to one side: draws lie to one side of the truth.",
        drawn,
    )


def _difference(ranks: "Ranks", name: str) -> tuple[Array, Array]:
    pit = np.sort(ranks.of(name).cpu().numpy())
    points = np.linspace(0, 1, 200)
    return points, np.searchsorted(pit, points, side="right") / len(pit) - points


def _coverage(report: "Report") -> Figure | None:
    found = report.calibration
    if found is None:
        return None
    drawn, axis = new_figure()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    sides = [("guide", GUIDE, found.guide)]
    if found.repaired is not None:
        sides.append(("repaired by its weights", CHECKED, found.repaired))
    for name, colour, ranks in sides:
        held = np.array([ranks.coverage[level] for level in LEVELS])
        error = 2 * np.sqrt(held * (1 - held) / len(ranks.pit))
        axis.errorbar(LEVELS, held, error, marker="o", color=colour, capsize=3, label=name)
    axis.set(xlabel="probability of a region", ylabel="share that holds the truth")
    _legend(axis)
    return Figure(
        "coverage",
        "Do regions hold what they say?",
        "How often the region of highest density that should hold the truth with 50, 80, 90 or 95 "
        "% does, on data that the model made; bars are two standard errors. Below the line: "
        "overconfident. The second line shows what weighing the draws repairs.",
        drawn,
    )


def _latents(report: "Report") -> Figure | None:
    found = report.collapse
    if found is None:
        return None
    drawn, axis = new_figure()
    values = sorted(found.kl_per_element.values(), reverse=True)
    axis.bar(range(len(values)), values, width=0.8, color=GUIDE)
    axis.axhline(0.01, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="element of the latents, by KL", ylabel="KL, nats")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return Figure(
        "latents",
        "Which latents carry something?",
        "KL of posterior to prior, averaged over the data, for each element. A bar below the "
        "dashed line (0.01 nats) has collapsed: it carries nothing, and the decoder ignores it.",
        drawn,
    )


def _replicated(name: str, check: PredictiveCheck) -> Figure:
    drawn, (left, right) = new_figure(1, 2)
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
    labels = list(check.statistics)
    for place, found in enumerate(check.statistics.values()):
        replicated = found.replicated.cpu().numpy()
        spread = replicated.std() or 1.0
        width = np.clip((replicated - found.observed) / spread, -8, 8)
        right.plot(width, np.full(len(width), place), "|", color=GREY, alpha=0.4)
        right.plot(0, place, "o", color=GUIDE if found.grade != "bad" else COLOURS["not trusted"])
    right.set_yticks(range(len(labels)), labels)
    right.set(xlabel="replicated minus data, in sd", title="statistics", xlim=(-8.5, 8.5))
    return Figure(
        f"ppc_{name}",
        "Do replicated data look like the data?",
        f"Left: {shape} Right: statistics of replicated data (ticks) around that of the data "
        "(dot); a red dot with all ticks on one side is something that the model does not make.",
        drawn,
    )


def _legend(axis: Any) -> None:
    _, labels = axis.get_legend_handles_labels()
    if any(labels):
        axis.legend(frameon=False, fontsize=7, markerscale=2)
