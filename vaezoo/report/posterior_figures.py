"""The figures of the posterior of each datum: k-hat, gaps, moments, and the guide at its worst."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.checking import VERDICTS
from vaezoo.inference.importance import largest_good_k
from vaezoo.plots.paper import new_figure
from vaezoo.report.canvas import CHECKED, COLOURS, GREY, GUIDE, Figure, add_legend
from vaezoo.report.findings import Report

__all__ = ["posterior_figures"]


def posterior_figures(report: Report) -> Iterator[Figure]:
    """Yield the figures of data without time that there is something to show in."""
    for plot in (_k_hat, _gap, _moments, _pair_of_worst, _trace_of_worst):
        figure = plot(report)
        if figure is not None:
            yield figure


def _k_hat(report: Report) -> Figure | None:
    source = report.posteriors or report.guide
    if source is None:
        return None
    picture, axis = new_figure()
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
    add_legend(axis)
    return Figure(
        "khat",
        "Can the guide be repaired by its own weights?",
        f"Each dot is a datum. Below the lower line ({limit:.1f}) averages over weighted draws of "
        "the guide are stable; above 1 they are noise. A low dot is no proof: weights do not see "
        "what the guide never visits, and dots that are low and not green are such data.",
        picture,
    )


def _by_verdict(report: Report, number: int) -> Iterator[tuple[str, Array]]:
    if report.posteriors is None:
        yield "", np.ones(number, dtype=bool)
        return
    places = report.posteriors.verdict.numpy()
    for i, name in enumerate(VERDICTS):
        if (places == i).any():
            yield name, places == i


def _gap(report: Report) -> Figure | None:
    check = report.posteriors
    if check is None:
        return None
    picture, axis = new_figure()
    order = check.gap.argsort(descending=True)
    place = np.arange(len(order))
    gap = check.gap[order].numpy()
    if check.approximation_gap is not None and check.amortisation_gap is not None:
        approximation = check.approximation_gap[order].clamp(min=0).numpy()
        axis.bar(place, approximation, 1.0, color=GUIDE, label="approximation: form of q")
        rest = np.clip(gap - approximation, 0, None)
        axis.bar(place, rest, 1.0, approximation, color="#9cc3e6", label="amortisation: encoder")
    else:
        axis.bar(place, gap, 1.0, color=GUIDE)
    axis.set(xlabel="data, the largest gap first", ylabel="log p(x) - ELBO, nats")
    add_legend(axis)
    return Figure(
        "gap",
        "Where does the ELBO lose nats?",
        "Each bar is a datum: what its ELBO falls short of log p(x). Dark is what no encoder could "
        "win with this form of q; light is what a better encoder would. Few high bars are odd "
        "data; bars of one height are a guide that is too simple everywhere.",
        picture,
    )


def _moments(report: Report) -> Figure | None:
    check = report.posteriors
    if check is None:
        return None
    picture, axis = new_figure()
    for verdict, chosen in _by_verdict(report, len(check.verdict)):
        axis.plot(
            check.mean_shift.numpy()[chosen].clip(1e-3),
            check.sd_ratio.numpy()[chosen],
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
    add_legend(axis)
    return Figure(
        "moments",
        "Is the guide shifted, too narrow or too wide?",
        "Each dot is the worst latent of a datum, against the checked posterior. To the right of "
        "the dashed line the guide is in the wrong place; below 0.8 it is too narrow "
        "(overconfident), above 1.25 too wide.",
        picture,
    )


def _worst(report: Report) -> tuple[int, Tensor, Tensor, Tensor] | None:
    """Return the datum with the largest shift that is not hopeless; draws of q, chains, checked."""
    check = report.posteriors
    if check is None or "q" not in report.trees:
        return None
    usable = torch.where(check.verdict < 2, check.mean_shift, -1.0)
    worst = int(usable.argmax())
    names = list(check.draws)
    posterior = report.trees["q"]["posterior"].to_dataset()
    of_q = [torch.from_numpy(posterior[n].isel(datum=worst).values.copy()) for n in names]
    chains = [check.chains[n][:, :, worst].cpu() for n in names]
    checked = [check.draws[n][:, worst].cpu() for n in names]
    q = torch.cat([z.flatten(2) for z in of_q], -1).flatten(0, 1)
    runs = torch.cat([z.flatten(2) for z in chains], -1)
    return worst, q, runs, torch.cat([z.flatten(1) for z in checked], -1)


def _two_worst_latents(q: Tensor, checked: Tensor) -> list[int]:
    shift = (q.mean(0) - checked.mean(0)).abs() / checked.std(0).clamp(min=1e-9)
    spread = (q.std(0).clamp(min=1e-9) / checked.std(0).clamp(min=1e-9)).log().abs()
    return (shift + spread).argsort(descending=True)[:2].tolist()


def _pair_of_worst(report: Report) -> Figure | None:
    draws = _worst(report)
    if draws is None:
        return None
    worst, q, _, checked = draws
    chosen = _two_worst_latents(q, checked)
    picture, axis = new_figure()
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
    add_legend(axis)
    return Figure(
        "pair_worst",
        f"The guide at its worst: datum {worst}",
        "Draws of the guide and of the checked posterior of the datum whose mean the guide misses "
        "most, in the two latents that differ most. Green where there is no blue is what the guide "
        "missed: a second mode, a bend, a tail.",
        picture,
    )


def _trace_of_worst(report: Report) -> Figure | None:
    draws = _worst(report)
    if draws is None:
        return None
    worst, q, runs, checked = draws
    latent = _two_worst_latents(q, checked)[0]
    picture, axis = new_figure()
    for chain in runs:
        axis.plot(chain[:, latent].numpy(), linewidth=0.8)
    low, high = (float(checked[:, latent].quantile(level)) for level in (0.05, 0.95))
    axis.axhspan(low, high, color=CHECKED, alpha=0.15, linewidth=0, label="90 %, checked")
    axis.set(xlabel="draw", ylabel=f"latent {latent}")
    add_legend(axis)
    return Figure(
        "trace_worst",
        f"Short chains of datum {worst}",
        "Four HMC chains, each in a colour, in the latent that differs most. Chains that mix are "
        "four fuzzy lines on top of each other; chains that stay on different levels are modes "
        "that lie apart, which the mixture then weighs.",
        picture,
    )
