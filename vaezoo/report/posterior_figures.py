"""The figures of the posterior of each datum: k-hat, gap, moments, and the guide at its worst."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.inference.importance import largest_good_k
from vaezoo.plots.paper import new_figure
from vaezoo.report.canvas import (
    CHECKED,
    COLOURS,
    GREY,
    GUIDE,
    LIGHT,
    Figure,
    add_legend,
    by_verdict,
)
from vaezoo.report.captions import captioned
from vaezoo.report.findings import Report
from vaezoo.trees.coordinates import variable_of

__all__ = ["posterior_figures"]


def posterior_figures(report: Report) -> Iterator[Figure]:
    """Yield the figures of data without time that there is something to show in."""
    check, graded = report.posteriors, report.posteriors or report.guide
    if graded:
        yield _k_hat(graded.k_hat, check, largest_good_k(report.plan.num_samples))
    if check:
        yield _gap(check)
        yield _moments(check)
    if check and "q" in report.trees:
        worst = _find_worst(check, report.trees["q"])
        yield _pair_of(worst)
        yield _scouts_of(worst)


def _k_hat(k_hat: Tensor, check: PosteriorCheck | None, limit: float) -> Figure:
    picture, axis = new_figure()
    height = k_hat.clamp(max=2).numpy()
    place = np.arange(len(height))
    if check is None:
        axis.plot(place, height, ".", color=GUIDE)
    else:
        for name, chosen in by_verdict(check.verdict):
            axis.plot(place[chosen], height[chosen], ".", color=COLOURS[name], label=name)
    for threshold in (limit, 1.0):
        axis.axhline(threshold, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="datum", ylabel="k-hat", ylim=(min(-0.1, height.min()), 2.05))
    add_legend(axis)
    return captioned("khat", picture, {"limit": limit})


def _gap(check: PosteriorCheck) -> Figure:
    picture, axis = new_figure()
    order = check.gap.argsort(descending=True)
    place = np.arange(len(order))
    gap = check.gap[order].numpy()
    if check.approximation_gap is not None and check.amortisation_gap is not None:
        approximation = check.approximation_gap[order].clamp(min=0).numpy()
        axis.bar(place, approximation, 1.0, color=GUIDE, label="approximation: form of q")
        rest = np.clip(gap - approximation, 0, None)
        axis.bar(place, rest, 1.0, approximation, color=LIGHT, label="amortisation: encoder")
    else:
        axis.bar(place, gap, 1.0, color=GUIDE)
    axis.set(xlabel="data, the largest gap first", ylabel="log p(x) - ELBO, nats")
    add_legend(axis)
    return captioned("gap", picture)


def _moments(check: PosteriorCheck) -> Figure:
    picture, axis = new_figure()
    shift, ratio = check.mean_shift.numpy(), check.sd_ratio.numpy()
    for name, chosen in by_verdict(check.verdict):
        colour = COLOURS[name]
        axis.plot(shift[chosen].clip(1e-3), ratio[chosen], ".", color=colour, label=name)
    for height in (0.8, 1.0, 1.25):
        axis.axhline(height, color=GREY, linestyle="-" if height == 1 else "--", linewidth=0.8)
    axis.axvline(0.25, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xscale="log", yscale="log", xlabel="shift of the mean, in sd", ylabel="sd of q / sd")
    axis.set_yticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    axis.set_xticks([0.03, 0.1, 0.25, 1, 4], ["0.03", "0.1", "0.25", "1", "4"])
    axis.minorticks_off()
    add_legend(axis)
    return captioned("moments", picture)


@dataclass(frozen=True)
class _Worst:
    """A datum, draws of its guide ``(S, L)``, checked draws ``(R, L)``, and where scouts ended.

    These are ``(N, L)``, each in a mode, ``(N,)``.
    """

    datum: int
    q: Tensor
    checked: Tensor
    scouts: Tensor
    mode: Tensor

    @property
    def latents(self) -> list[int]:
        """The two latents that differ most between guide and checked posterior."""
        spread_q, spread = (z.std(0).clamp(min=1e-9) for z in (self.q, self.checked))
        shift = (self.q.mean(0) - self.checked.mean(0)).abs() / spread
        return (shift + (spread_q / spread).log().abs()).argsort(descending=True)[:2].tolist()


def _find_worst(check: PosteriorCheck, tree: xr.DataTree) -> _Worst:
    """Return the datum with the largest shift that is not hopeless."""
    worst = int(torch.where(check.verdict < 2, check.mean_shift, -1.0).argmax())
    names, posterior = list(check.draws), tree["posterior"].to_dataset().isel(datum=worst)
    of_q = [torch.from_numpy(posterior[variable_of(name)].values.copy()) for name in names]
    checked, scouts = (
        torch.cat([z[n][:, worst].cpu().reshape(len(z[n]), -1) for n in names], -1)
        for z in (check.draws, check.scouts)
    )
    return _Worst(
        worst,
        torch.cat([z.reshape(*z.shape[:2], -1) for z in of_q], -1).flatten(0, 1),
        checked,
        scouts,
        check.mode[:, worst],
    )


def _pair_of(worst: _Worst) -> Figure:
    picture, axis = new_figure()
    plot = _plot_densities if worst.q.shape[1] == 1 else _plot_two_latents
    plot(axis, worst)
    add_legend(axis)
    return captioned("pair_worst", picture, {"worst": worst.datum})


def _plot_densities(axis: Any, worst: _Worst) -> None:
    for z, colour, name in ((worst.q, GUIDE, "guide"), (worst.checked, CHECKED, "checked")):
        axis.hist(z[:, 0].numpy(), 60, density=True, alpha=0.5, color=colour, label=name)
    axis.set(xlabel="latent 0", ylabel="density")


def _plot_two_latents(axis: Any, worst: _Worst) -> None:
    first, second = worst.latents
    for z, colour, name in ((worst.q, GUIDE, "guide"), (worst.checked, CHECKED, "checked")):
        x, y = z[:, first].numpy(), z[:, second].numpy()
        axis.plot(x, y, ".", markersize=2.5, alpha=0.5, color=colour, label=name)
    axis.set(xlabel=f"latent {first}", ylabel=f"latent {second}")


def _scouts_of(worst: _Worst) -> Figure:
    picture, axis = new_figure()
    first, second = (*worst.latents, worst.latents[0])[:2]
    is_line = worst.q.shape[1] == 1
    for mode in worst.mode.unique().tolist():
        ends = worst.scouts[worst.mode == mode].numpy()
        height = np.arange(len(ends)) if is_line else ends[:, second]
        name, colour = (f"mode {mode + 1}", None) if mode >= 0 else ("in no mode", GREY)
        axis.plot(ends[:, first], height, ".", color=colour, label=name)
    axis.set(xlabel=f"latent {first}", ylabel="scout" if is_line else f"latent {second}")
    add_legend(axis)
    values = {"worst": worst.datum, "number": len(worst.scouts)}
    return captioned("scouts_worst", picture, values)
