"""The figures of the posterior of each datum: k-hat, gap, moments, and the guide at its worst."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.collapse import element_names
from vaezoo.inference.importance import largest_good_k
from vaezoo.plots.paper import new_figure
from vaezoo.report.canvas import (
    CHECKED,
    COLOURS,
    GREY,
    GUIDE,
    LIGHT,
    MODES,
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
        yield _moments(check, report.trees.get("q"))
    if check and "q" in report.trees:
        worst = _find_worst(check, report.trees["q"])
        yield from _datum_of(worst, report)
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
    axis.xaxis.get_major_locator().set_params(integer=True)
    add_legend(axis)
    return captioned("khat", picture, {"limit": limit, "low": _of_low_dots(check, limit)})


def _of_low_dots(check: PosteriorCheck | None, limit: float) -> str:
    """Say what is wrong with the guide of data whose k-hat is low, by what was found of them."""
    if check is None:
        return "They were not looked at otherwise."
    low = (check.k_hat <= limit) & (check.verdict > 0)
    missed = int((low & (check.grades["log_evidence"] > 0)).sum())
    number = int(low.sum())
    if not number:
        return "Here all low dots are trusted." if (check.k_hat <= limit).any() else ""
    return (
        f"Here {number} low dots are not trusted as they are: for {missed} of them the guide "
        f"misses part of the posterior, for {number - missed} it is shifted, or of another width "
        "or shape."
    )


def _gap(check: PosteriorCheck) -> Figure:
    picture, axis = new_figure()
    order = check.gap.argsort(descending=True)
    place = np.arange(len(order))
    gap = check.gap[order].numpy()
    is_split = check.approximation_gap is not None
    if check.approximation_gap is not None:
        approximation = check.approximation_gap[order].clamp(min=0).numpy()
        axis.bar(place, approximation, 1.0, color=GUIDE, label="approximation: form of q")
        rest = np.clip(gap - approximation, 0, None)
        axis.bar(place, rest, 1.0, approximation, color=LIGHT, label="amortisation: encoder")
    else:
        axis.bar(place, gap, 1.0, color=GUIDE)
    axis.set(xlabel="data, the largest gap first", ylabel="log p(x) - ELBO, nats")
    add_legend(axis)
    return captioned("gap" if is_split else "gap_whole", picture, name="gap")


def _moments(check: PosteriorCheck, tree: xr.DataTree | None) -> Figure:
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
    return captioned("moments", picture, {"marginal": _of_all_latents(check, tree)})


def _of_all_latents(check: PosteriorCheck, tree: xr.DataTree | None) -> str:
    """Say how far the mean is off over all latents, beside the worst of each datum."""
    if tree is None:
        return ""
    q, checked = _draws_of_guide(check, tree), _flat(check.draws)
    shift = (q.mean(0) - checked.mean(0)).abs() / checked.std(0).clamp(min=1e-9)
    return (
        f"At the median the worst latent is off by {float(check.mean_shift.median()):.2f} sd; over "
        f"all {shift.shape[-1]} latents the mean is off by {float(shift.median()):.2f} sd."
    )


def _flat(values: Mapping[str, Tensor]) -> Tensor:
    """``(R, B, *event)`` by site to ``(R, B, L)``."""
    return torch.cat([z.cpu().reshape(*z.shape[:2], -1) for z in values.values()], -1)


def _draws_of_guide(check: PosteriorCheck, tree: xr.DataTree) -> Tensor:
    """Return draws of the guide ``(S, B, L)``, with sites in the order of the check."""
    posterior = tree["posterior"].to_dataset()
    draws = {n: torch.from_numpy(posterior[variable_of(n)].values.copy()) for n in check.draws}
    return _flat({name: z.flatten(0, 1) for name, z in draws.items()})


@dataclass(frozen=True)
class _Worst:
    """A datum, draws of its guide ``(S, L)``, checked draws ``(R, L)``, and where scouts ended.

    These are ``(N, L)``, each in a mode, ``(N,)``; names are those of the latents.
    """

    datum: int
    names: tuple[str, ...]
    q: Tensor
    checked: Tensor
    scouts: Tensor
    mode: Tensor

    @property
    def shift(self) -> Tensor:
        """How far the mean of the guide is off, in sd, ``(L,)``."""
        return (self.q.mean(0) - self.checked.mean(0)) / self.checked.std(0).clamp(min=1e-9)

    @property
    def ratio(self) -> Tensor:
        """The sd of the guide over that of the posterior, ``(L,)``."""
        return self.q.std(0).clamp(min=1e-9) / self.checked.std(0).clamp(min=1e-9)

    @property
    def latents(self) -> list[int]:
        """The two latents that differ most between guide and checked posterior."""
        differ = self.shift.abs() + self.ratio.log().abs()
        return differ.argsort(descending=True)[:2].tolist()

    def explain(self) -> str:
        """Say how the guide differs in these."""
        each = [
            f"in {self.names[i]} the guide is {float(self.shift[i]):+.2f} sd off and "
            f"{float(self.ratio[i]):.2f} times as wide"
            for i in self.latents
        ]
        text = "; ".join(each)
        return f"{text[0].upper()}{text[1:]}."


def _find_worst(check: PosteriorCheck, tree: xr.DataTree) -> _Worst:
    """Return the datum with the largest shift that is not hopeless, if all are not."""
    hopeful = check.verdict < 2
    shift = torch.where(hopeful, check.mean_shift, -1.0) if hopeful.any() else check.mean_shift
    worst = int(shift.argmax())
    names = [n for site, z in check.draws.items() for n in element_names(site, z.shape[2:])]
    return _Worst(
        worst,
        tuple(names),
        _draws_of_guide(check, tree)[:, worst],
        _flat(check.draws)[:, worst],
        _flat(check.scouts)[:, worst],
        check.mode[:, worst],
    )


def _datum_of(worst: _Worst, report: Report) -> Iterator[Figure]:
    """Yield a picture of the datum, beside what its checked posterior makes of it."""
    tree = report.trees["checked"]
    if "posterior_predictive" not in tree.children:
        return
    observed = tree["observed_data"].to_dataset().isel(datum=worst.datum)
    replicated = tree["posterior_predictive"].to_dataset().isel(datum=worst.datum)
    names = [str(name) for name in replicated.data_vars if name in observed]
    if not names:
        return
    name = "x" if "x" in names else names[0]
    x, draws = observed[name], replicated[name].stack(sample=("chain", "draw"))
    picture, axis = new_figure()
    if x.ndim in (2, 3):
        axis.remove()
        beside = "Right: the mean of data that its checked posterior makes."
        _plot_images(picture, x.values, draws.mean("sample").transpose(*x.dims).values)
    else:
        beside = "Dots are the datum, bars 90 % of the data that its checked posterior makes."
        low, high = (draws.quantile(level, "sample").values.ravel() for level in (0.05, 0.95))
        place = np.arange(len(low))
        axis.vlines(place, low, high, color=CHECKED, linewidth=3, alpha=0.4)
        axis.plot(place, x.values.ravel(), ".", color="black")
        axis.set(xlabel="element", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
    row = int(tree["constant_data"].to_dataset()["row"].values[worst.datum])
    values = {"worst": worst.datum, "beside": beside, "row": f"Row {row} of {report.scope.data}."}
    yield captioned("datum_worst", picture, values)


def _plot_images(picture: Any, left: Array, right: Array) -> None:
    """Plot two images, ``(H, W)`` or ``(C, H, W)``, in grey levels of the first."""
    low, high = float(np.nanmin(left)), float(np.nanmax(left))
    for axis, x in zip(picture.subplots(1, 2), (left, right), strict=True):
        if x.ndim == 3:
            x = np.moveaxis(x, 0, -1) if len(x) == 3 else x[0]
        level = np.clip((x - low) / max(high - low, 1e-9), 0, 1)
        axis.imshow(level, cmap="gray", vmin=0, vmax=1)
        axis.set_axis_off()


def _pair_of(worst: _Worst) -> Figure:
    picture, axis = new_figure()
    plot = _plot_densities if worst.q.shape[1] == 1 else _plot_two_latents
    plot(axis, worst)
    add_legend(axis)
    return captioned("pair_worst", picture, {"worst": worst.datum, "differs": worst.explain()})


def _plot_densities(axis: Any, worst: _Worst) -> None:
    for z, colour, name in ((worst.q, GUIDE, "guide"), (worst.checked, CHECKED, "checked")):
        axis.hist(z[:, 0].numpy(), 60, density=True, alpha=0.5, color=colour, label=name)
    axis.set(xlabel=worst.names[0], ylabel="density")


def _plot_two_latents(axis: Any, worst: _Worst) -> None:
    first, second = worst.latents
    for z, colour, name in ((worst.q, GUIDE, "guide"), (worst.checked, CHECKED, "checked")):
        x, y = z[:, first].numpy(), z[:, second].numpy()
        axis.plot(x, y, ".", markersize=2.5, alpha=0.5, color=colour, label=name)
    axis.set(xlabel=worst.names[first], ylabel=worst.names[second])


def _scouts_of(worst: _Worst) -> Figure:
    picture, axis = new_figure()
    first, second = (*worst.latents, worst.latents[0])[:2]
    is_line = worst.q.shape[1] == 1
    for mode in worst.mode.unique().tolist():
        ends = worst.scouts[worst.mode == mode].numpy()
        height = np.arange(len(ends)) if is_line else ends[:, second]
        colour = MODES[mode % len(MODES)] if mode >= 0 else GREY
        name = f"mode {mode + 1}" if mode >= 0 else "in no mode"
        axis.plot(ends[:, first], height, ".", color=colour, label=name)
    axis.set(xlabel=worst.names[first], ylabel="scout" if is_line else worst.names[second])
    add_legend(axis)
    number = len(worst.mode[worst.mode >= 0].unique())
    modes = "all that arrived are in one mode" if number == 1 else f"they are in {number} modes"
    values = {"worst": worst.datum, "number": len(worst.scouts), "modes": modes}
    return captioned("scouts_worst", picture, values)
