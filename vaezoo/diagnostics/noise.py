"""How wide the decoder is: sigma of each element of x, and whether data lie as far as it says."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.diagnostics.uniformity import uniform_p_value
from vaezoo.distributions.columns import ByColumn
from vaezoo.distributions.families import family, unwrapped
from vaezoo.distributions.sigma import Scaled, is_present, scaled
from vaezoo.errors import RequestError
from vaezoo.pairs.lengths import aligned, fill_padding
from vaezoo.pairs.pieces import MOST_ROWS, split_rows
from vaezoo.pairs.sites import (
    Args,
    Site,
    argument_names,
    site_values,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.predict.latents.codes import rows_of
from vaezoo.predict.observed import observed_values
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded

__all__ = ["LEVELS", "Coverage", "NoiseScale", "noise_scale"]

LEVELS = (0.5, 0.8, 0.95)
MOST_VALUES = 10_000  # of the PIT, whose test needs a table of as many columns
RARE = 0.05
NUM_EXAMPLES = 8


@dataclass(frozen=True)
class Coverage:
    """How many entries lie in central intervals of p(x | z) that should hold a share of them.

    Attributes
    ----------
    level
        The share that the intervals should hold.
    share
        What they hold, of all entries.
    low, high
        Where 95 of 100 shares lie if the decoder is right and the guide exact: entries are then
        independent given z.
    by_element
        What the intervals of each element hold, ``(*x_shape)``.
    too_few, too_many
        Number of elements that hold fewer, or more, than chance explains: below 5 % for any one of
        all elements (Bonferroni).
    """

    level: float
    share: float
    low: float
    high: float
    by_element: Array
    too_few: int
    too_many: int

    @property
    def verdict(self) -> str:
        """``too narrow`` where intervals hold too few, ``too wide``, or ``as it should be``."""
        if self.low <= self.share <= self.high:
            return "as it should be"
        return "too narrow" if self.share < self.low else "too wide"


@dataclass(frozen=True)
class NoiseScale:
    """The decoder's sigma, and the data beside it, in units of the data.

    Attributes
    ----------
    family
        Of p(x | z), as ``Normal``.
    sigma
        Standard deviation of each element, root mean square over data, ``(*x_shape)``; of sequences
        ``(T, *x_shape)``. What has no finite one has its scale (a Student t of two degrees or
        fewer), and a column that is no real number has nan.
    low, high
        5 % and 95 % of sigma over the data: equal to sigma where it is no function of z.
    residual
        Root mean square of x less the mean of p(x | z), ``(*x_shape)``.
    spread
        Standard deviation of x itself over the data, ``(*x_shape)``.
    ratio, ratio_error
        Root mean square of (x - mean) / sigma over all entries, 1 where sigma is right and above
        where it is too small, with its standard error over data.
    ratio_by_element
        The same of each element, ``(*x_shape)``.
    coverage
        Of central intervals of 50, 80 and 95 %.
    pit
        Distribution functions of p(x | z) at the data, of up to 10,000 entries at random, ``(M,)``:
        uniform where the decoder is right.
    p_value
        How often uniform numbers are as uneven.
    examples, means, sigmas
        The first data, ``(M, *x_shape)``, with mean and sigma of p(x | z) at a draw of z.
    num_rows
        Data that were looked at.
    """

    family: str
    sigma: Array
    low: Array
    high: Array
    residual: Array
    spread: Array
    ratio: float
    ratio_error: float
    ratio_by_element: Array
    coverage: tuple[Coverage, ...]
    pit: Array
    examples: Array
    means: Array
    sigmas: Array
    num_rows: int

    @cached_property
    def p_value(self) -> float:
        return uniform_p_value(torch.as_tensor(self.pit))

    @property
    def depends_on_z(self) -> bool:
        """Whether sigma is another one for other data."""
        return bool((self.high > self.low * (1 + 1e-4)).any())


def noise_scale(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 1_000,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> NoiseScale:
    """Return the decoder's sigma, element by element, and whether data lie as far as it says.

    z is drawn from q(z | x) of the very data that are looked at. If the model is right and the
    guide exact, then x and z are a draw of p(x, z), and the distribution functions of p(x | z) at x
    are uniform and independent (Rosenblatt 1952).

    Parameters
    ----------
    run
        A trained run, or its folder.
    data, split, limit
        By default the first 1,000 test rows of the run's data.
    given
        Other conditions than those of the data, by name.
    seed
        Seed of the draws of z.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        Where p(x | z) has no sigma of its own, as a Bernoulli, or its elements are not independent.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-linear", training={"steps": 5})
    >>> noise = vaezoo.noise_scale(run, limit=50)
    >>> noise.family, noise.sigma.shape, [round(c.level, 2) for c in noise.coverage]
    ('Normal', (8, 8), [0.5, 0.8, 0.95])
    """
    run, batches = rows_of(
        as_run(run), data, split=split, limit=limit, given=given, data_dir=data_dir
    )
    families: dict[str, str] = {}
    parts: list[Scaled] = []
    with torch.no_grad(), seeded(seed, run.device):
        for args in split_rows(tuple(batches.whole(split, limit=limit)), MOST_ROWS):
            parts.append(_entries(run, args, families))
        entries = Scaled(*(torch.cat(each) for each in zip(*parts, strict=True)))
        there = entries.pit[~entries.pit.isnan()]
        pit = there[torch.randperm(len(there))[:MOST_VALUES].to(there.device)]
    arrays = _Arrays(*(each.cpu().numpy() for each in entries))
    return _summary(next(iter(families.values())), arrays, pit.cpu().numpy())


class _Arrays(NamedTuple):
    """What :class:`vaezoo.distributions.sigma.Scaled` has, on the CPU."""

    x: Array
    mean: Array
    sigma: Array
    pit: Array


def _entries(run: Run, args: Args, families: dict[str, str]) -> Scaled:
    """Return the entries of x of some rows, or of the first other argument that has a sigma.

    The families of the likelihoods that have one are noted by site.
    """
    named = dict(zip(argument_names(run.pair), args, strict=True))
    sides: dict[str, Scaled] = {}
    without: dict[str, str] = {}
    for name, site in trace_pair(run.pair, args, z="sample").observed.items():
        step = step_of(name) if takes_lengths(run.pair) else None
        of_site, fault = _sides_of(site)
        if of_site is None:
            without.setdefault(step[0] if step else name, fault)
        else:
            families.setdefault(step[0] if step else name, _family(site["fn"]))
            sides[name] = of_site
    if not sides:
        raise RequestError(_refusal(run, without))
    empty = tuple(torch.full_like(arg, torch.nan, dtype=torch.float32) for arg in args)
    by_argument = [
        observed_values(run, site_values(run.pair, dict(zip(sides, each, strict=True))), empty)
        for each in zip(*sides.values(), strict=True)
    ]
    argument = "x" if "x" in by_argument[0] else next(iter(by_argument[0]))
    entries = Scaled(*(values[argument] for values in by_argument))
    if argument == "x":
        entries = _in_units(run, entries)
    length = named.get("length")
    if length is None or entries.x.shape[1:2] != named["x"].shape[1:2]:
        return entries
    return Scaled(*(fill_padding(each, length, torch.nan) for each in entries))


def _in_units(run: Run, entries: Scaled) -> Scaled:
    """Undo the transform of x: of a deviation its shift is left out."""
    zero = run.transform.invert(torch.zeros_like(entries.sigma))
    x, mean = (run.transform.invert(side).float() for side in (entries.x, entries.mean))
    sigma = (run.transform.invert(entries.sigma) - zero).float()
    return Scaled(x, mean, sigma, entries.pit)


def _sides_of(site: Site) -> tuple[Scaled | None, str]:
    """Return value, mean, scale and distribution function of a site, or else why there are none."""
    value = site["value"].float()
    sides, fault = scaled(site["fn"], value)
    if sides is None:
        return None, fault
    there = is_present(site["fn"], value) & ~sides.pit.isnan()
    mask = site["mask"]
    if isinstance(mask, Tensor):
        there = there & aligned(mask.expand(value.shape[: mask.dim()]), value)
    return Scaled(*(torch.where(there, side, torch.nan) for side in sides)), ""


def _family(fn: Any) -> str:
    plain = unwrapped(fn)
    if isinstance(plain, ByColumn):
        return " and ".join(dict.fromkeys(family(of) for _, of in plain.groups.values()))
    return family(fn)


def _refusal(run: Run, without: Mapping[str, str]) -> str:
    if not without:
        return f"{run.name} observes nothing, so it has no sigma"
    site, fault = next(iter(without.items()))
    return (
        f"p({site} | z) of {run.name}: {fault}; train with "
        "`likelihood='gaussian'` for one, or check this likelihood with `vaezoo analyse`"
    )


def _summary(name: str, entries: _Arrays, pit: Array) -> NoiseScale:
    residual = entries.x - entries.mean
    with warnings.catch_warnings():  # of an element that no datum has
        warnings.simplefilter("ignore", RuntimeWarning)
        squares = (residual / entries.sigma) ** 2
        low, high = np.nanquantile(entries.sigma, (0.05, 0.95), axis=0)
        of_rows = np.nanmean(squares.reshape(len(squares), -1), 1)
        mean_square = float(np.nanmean(squares))
        ratio = mean_square**0.5
        error = float(np.nanstd(of_rows)) / (2 * ratio * len(of_rows) ** 0.5)
        some = slice(0, NUM_EXAMPLES)
        return NoiseScale(
            family=name,
            sigma=np.sqrt(np.nanmean(entries.sigma**2, 0)),
            low=low,
            high=high,
            residual=np.sqrt(np.nanmean(residual**2, 0)),
            spread=np.nanstd(entries.x, 0),
            ratio=ratio,
            ratio_error=error,
            ratio_by_element=np.sqrt(np.nanmean(squares, 0)),
            coverage=tuple(_coverage(entries.pit, level) for level in LEVELS),
            pit=pit,
            examples=entries.x[some],
            means=entries.mean[some],
            sigmas=entries.sigma[some],
            num_rows=len(residual),
        )


def _coverage(pit: Array, level: float) -> Coverage:
    there = ~np.isnan(pit)
    held = there & (np.abs(pit - 0.5) <= level / 2)
    number, inside = there.sum(0), held.sum(0)
    elements = max(1, int((number > 0).sum()))
    low, high = binom.ppf((0.025, 0.975), number.sum(), level) / max(1, number.sum())
    few = binom.cdf(inside, number, level) < RARE / 2 / elements
    many = binom.sf(inside - 1, number, level) < RARE / 2 / elements
    return Coverage(
        level=level,
        share=float(inside.sum() / max(1, number.sum())),
        low=float(low),
        high=float(high),
        by_element=np.where(number > 0, inside / np.maximum(number, 1), np.nan),
        too_few=int((few & (number > 0)).sum()),
        too_many=int((many & (number > 0)).sum()),
    )
