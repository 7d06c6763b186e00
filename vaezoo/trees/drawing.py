"""Draws of posterior and prior, made in pieces of some data each."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.data.padding import is_frame
from vaezoo.errors import RequestError
from vaezoo.pairs.accounting import log_density, total_log_density
from vaezoo.pairs.pieces import rows_at_once
from vaezoo.pairs.predictions import prior_predictive
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    repeat_rows,
    run_guide,
    sample_sites,
    site_values,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.sequences.paths import training_form
from vaezoo.trees.coordinates import WITHOUT_DATA, Labels

__all__ = ["DEFAULT_GROUPS", "GROUPS", "Draws"]

DEFAULT_GROUPS = (
    "posterior",
    "sample_stats",
    "log_likelihood",
    "log_prior",
    "guide",
    "observed_data",
    "constant_data",
)
GROUPS = (*DEFAULT_GROUPS, "prior", "prior_predictive", "posterior_predictive")
NUM_CHAINS = 4
MOST_GIB = 2.0
_PIECE = 2**26  # bytes of x that a piece would have at most, if all draws had one
_WITHOUT_DRAWS = {"prior", "prior_predictive", "observed_data", "constant_data"}

Groups = dict[str, dict[str, Array]]


@dataclass(frozen=True)
class Draws:
    """Draws that are still to be made; see :func:`vaezoo.trees.posterior.plan_draws`.

    Attributes
    ----------
    run
        The run.
    batches
        The data.
    split, limit
        Which rows.
    num_samples
        Draws for each datum.
    seed
        Seed of all draws.
    groups
        Names of the groups.
    """

    run: Run
    batches: Batches
    split: str
    limit: int | None
    num_samples: int
    seed: int
    groups: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """How many data there are."""
        return self.batches.size(self.split, self.limit)

    def estimate_size(self) -> int:
        """Return the bytes of the tree: that of one datum with four draws, scaled."""
        scale = {"datum": self.num_rows, "draw": self.num_samples // NUM_CHAINS}
        small = self._piece(0, 1, NUM_CHAINS)
        return sum(
            variable.nbytes * math.prod(scale.get(str(dim), 1) for dim in variable.dims)
            for node in small.children.values()
            for variable in node.variables.values()
        )

    def check_size(self, max_gib: float = MOST_GIB) -> None:
        """Refuse what is larger than some GiB.

        Raises
        ------
        RequestError
            With the size, and what makes it smaller.
        """
        gib = self.estimate_size() / 2**30
        if gib > max_gib:
            raise RequestError(
                f"{self.num_samples} draws for each of {self.num_rows} rows are {gib:.3g} GiB, "
                f"more than {max_gib:g}; take fewer rows (-n), draws or groups, "
                "or raise `max_gib`"
            )

    def pieces(self) -> Iterator[xr.DataTree]:
        """Yield the tree in pieces of some rows each; what has no rows is in the first."""
        every = self._rows_of_a_piece
        for start in range(0, self.num_rows, every):
            yield self._piece(start, min(start + every, self.num_rows), self.num_samples)

    @torch.no_grad()
    def _piece(self, start: int, stop: int, num_samples: int) -> xr.DataTree:
        args = self._args(start, stop)
        found: Groups = {}
        if not _WITHOUT_DRAWS.issuperset(self.groups):
            found = self._draw(args, start, num_samples)
        if start == 0 and not WITHOUT_DATA.isdisjoint(self.groups):
            found |= self._draw_prior(num_samples)
        found["guide"] = self._guide(args, found)
        found |= self._known(args, start, stop)
        held = [name for name in self.groups if start == 0 or name not in WITHOUT_DATA]
        length = self._length(start, stop) if self._is_sequence else None
        tree = xr.DataTree.from_dict(
            {name: self.labels.dataset(name, found[name], start, length) for name in held}
        )
        tree.attrs.update(self._attributes())
        return tree

    # What the pair is like

    @cached_property
    def example(self) -> PairTrace:
        """One datum through the pair, of sequences with a site per step."""
        with torch.no_grad(), seeded(self.seed, self.run.device):
            return trace_pair(self.run.pair, self._args(0, 1))

    @cached_property
    def latents(self) -> dict[str, tuple[int, ...]]:
        """Names of the latents and their shapes, of sequences without time."""
        return {
            _base(name, self._is_sequence): tuple(q["value"].shape[1:])
            for name, (_, q) in self.example.latents.items()
        }

    @cached_property
    def _with_time(self) -> frozenset[str]:
        """Names of what has a value per frame: sites with steps, and arrays."""
        if not self._is_sequence:
            return frozenset()
        steps = {_base(name, True) for name in sample_sites(self.example.model) if step_of(name)}
        return frozenset({"mask"} | steps | self._arrays_with_time)

    @cached_property
    def _arrays_with_time(self) -> set[str]:
        arrays = self.batches.data.arrays
        frames = arrays["x"].shape[1:2]
        return {name for name in self.batches.names if arrays[name].shape[1:2] == frames}

    @cached_property
    def labels(self) -> Labels:
        """Names of the dimensions of the groups."""
        columns = tuple(self.run.info.get("columns") or ())
        frames = self._longest if self._is_sequence else 0
        return Labels(self.latents, self._with_time, columns, frames)

    @cached_property
    def _is_sequence(self) -> bool:
        return takes_lengths(self.run.pair)

    @cached_property
    def _longest(self) -> int:
        """Frames of the longest of all rows."""
        return int(self._length(0, self.num_rows).max())

    def _length(self, start: int, stop: int) -> Array:
        return self.batches.data.arrays["length"][self._rows(start, stop)]

    def _rows(self, start: int, stop: int) -> Array:
        return self.batches.data.rows(self.split)[start:stop]

    @cached_property
    def _rows_at_once(self) -> int:
        frames = self._longest if self._is_sequence else 1
        return rows_at_once(num_frames=frames)

    @cached_property
    def _rows_of_a_piece(self) -> int:
        """The same for all groups, so that they share their draws."""
        frames = self._longest if self._is_sequence else 1
        size = 4 * self.num_samples * frames * math.prod(self.batches.data.x_shape)
        return max(1, min(500, self._rows_at_once // NUM_CHAINS, _PIECE // size))

    def _args(self, start: int, stop: int) -> Args:
        """Return some rows, of sequences as many frames as the longest of them has."""
        return self.batches.whole(self.split, positions=torch.arange(start, stop))

    # Draws

    def _draw(self, args: Args, start: int, num_samples: int) -> Groups:
        """Draw in parts that go through the pair at once; arrays ``(chain, draw, datum, ...)``."""
        per_chain, rows = num_samples // NUM_CHAINS, len(args[0])
        step = max(1, self._rows_at_once // (rows * NUM_CHAINS))
        parts = []
        for first in range(0, per_chain, step):
            draws = min(step, per_chain - first)
            found = self._draw_once(repeat_rows(args, NUM_CHAINS * draws), start, first)
            parts.append(
                {
                    group: {name: _by_draw(value, rows, draws) for name, value in values.items()}
                    for group, values in found.items()
                }
            )
        return _concatenated(parts, 1)

    def _draw_once(self, args: Args, *place: int) -> dict[str, dict[str, Tensor]]:
        pair = training_form(self.run.pair)
        with seeded(_seed(self.seed, 0, *place), self.run.device):
            trace = trace_pair(pair, args)
        log_likelihood = self._densities(trace.observed)
        log_prior = self._densities({name: p for name, (p, _) in trace.latents.items()})
        lp = torch.stack([*log_likelihood.values(), *log_prior.values()]).sum(0)
        log_q = total_log_density(sample_sites(trace.guide).values())
        latents = {name: q["value"] for name, (_, q) in trace.latents.items()}
        found = {
            "posterior": site_values(pair, latents),
            "sample_stats": {"lp": lp, "log_q": log_q, "log_weight": lp - log_q},
            "log_likelihood": log_likelihood,
            "log_prior": log_prior,
        }
        if "posterior_predictive" in self.groups:
            with seeded(_seed(self.seed, 1, *place), self.run.device):
                drawn = {name: site["fn"].sample() for name, site in trace.observed.items()}
            found["posterior_predictive"] = self._in_data_units(site_values(pair, drawn))
        return found

    def _densities(self, sites: Mapping[str, Site]) -> dict[str, Tensor]:
        """Log-densities by site ``(B,)``, those of the steps of a sequence summed."""
        summed: dict[str, Tensor] = {}
        for name, site in sites.items():
            base, value = _base(name, self._is_sequence), log_density(site)
            summed[base] = summed[base] + value if base in summed else value
        return summed

    def _draw_prior(self, num_samples: int) -> Groups:
        """Draw from the model alone; arrays ``(chain, draw, ...)``."""
        parts = []
        for first in range(0, num_samples, self._rows_at_once):
            count = min(self._rows_at_once, num_samples - first)
            with seeded(_seed(self.seed, 2, first), self.run.device):
                args = self._placeholder(count)
                sites = prior_predictive(self.run.pair, tuple(args.values()))
            given = {name: arg for name, arg in args.items() if name not in ("x", "length")}
            latents = {name: sites.pop(name) for name in self.latents}
            made = {**given, **self._in_data_units(sites)}
            parts.append(_arrays({"prior": latents, "prior_predictive": made}))
        size = (NUM_CHAINS, num_samples // NUM_CHAINS)
        return {
            group: {name: value.reshape(*size, *value.shape[1:]) for name, value in values.items()}
            for group, values in _concatenated(parts, 0).items()
        }

    def _placeholder(self, count: int) -> dict[str, Tensor]:
        """Arguments for drawing from the model; all sequences as long as the longest."""
        args = dict(zip(self.batches.names, self.run.placeholder(count), strict=True))
        if self._is_sequence:
            x = args["x"]
            args["x"] = x.new_zeros(count, self._longest, *x.shape[2:])
            args["length"] = torch.full_like(args["length"], self._longest)
        return args

    def _in_data_units(self, sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
        invert = self.run.transform.invert
        return {name: invert(value) if name == "x" else value for name, value in sites.items()}

    # What is known without draws

    def _guide(self, args: Args, found: Groups) -> dict[str, Array]:
        if "guide" not in self.groups:
            return {}
        elbo = found["sample_stats"]["log_weight"].mean((0, 1))
        return {**_moments(self.run, args), "elbo": elbo}

    def _known(self, args: Args, start: int, stop: int) -> Groups:
        """Return what comes with the data: what the model observes, and all else."""
        named = dict(zip(self.batches.names, args, strict=True))
        observed = {_base(name, self._is_sequence) for name in self.example.observed} | {"x"}
        values = _arrays({"": self._in_data_units(named)})[""]
        rows, arrays = self._rows(start, stop), self.batches.data.arrays
        constant = {name: array[rows] for name, array in arrays.items() if array.ndim == 1}
        constant = {
            name: value for name, value in {**constant, **values}.items() if name not in observed
        }
        if self._is_sequence:
            constant["mask"] = is_frame(constant["length"], self._longest)
        transform = self.run.transform
        if transform.mean is not None and transform.std is not None:
            constant |= {"x_mean": transform.mean, "x_std": transform.std}
        return {
            "observed_data": {name: values[name] for name in values if name in observed},
            "constant_data": {"row": rows, **constant},
        }

    def _attributes(self) -> dict[str, Any]:
        run, transform = self.run, self.run.transform.to_dict()
        plain = {name: transform[name] for name in ("scale", "binarize")}
        return {
            "name": run.name,
            "inference_library": "pyro-ppl",
            "inference_library_version": version("pyro-ppl"),
            "vaezoo_version": version("vaezoo"),
            "approximation": "guide",
            "r_hat_is_meaningful": 0,
            "seed": self.seed,
            "data": self.batches.data.name,
            "data_checksum": self.batches.data.checksum,
            "split": self.split,
            "units": "x as in the data; the pair sees it after the transform: divided by scale, "
            "minus x_mean, divided by x_std (where there are any), binarised",
            "transform": json.dumps(plain),
        }


def _base(name: str, is_sequence: bool) -> str:
    step = step_of(name) if is_sequence else None
    return step[0] if step else name


def _seed(*numbers: int) -> int:
    """Return a seed for each place of each kind of draw."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _moments(run: Run, args: Args) -> dict[str, Array]:
    """Mean and deviation of each latent of the guide; of sequences along the path of means."""
    try:
        sites = sample_sites(run_guide(run.pair, args, z="mean"))
    except RequestError:  # no closed-form mean
        return {}
    means = {name: site["value"] for name, site in sites.items()}
    try:
        deviations = {name: site["fn"].variance.sqrt() for name, site in sites.items()}
    except NotImplementedError:
        deviations = {}
    kinds = {"mean": means, "sd": deviations}
    return {
        f"{name}_{kind}": value.cpu().numpy()
        for kind, values in kinds.items()
        for name, value in site_values(run.pair, values).items()
        if not value.isnan().all()  # as torch says of a category
    }


def _by_draw(value: Tensor, rows: int, draws: int) -> Array:
    split = value.reshape(rows, NUM_CHAINS, draws, *value.shape[1:])
    return split.permute(1, 2, 0, *range(3, split.dim())).cpu().numpy()


def _arrays(groups: Mapping[str, Mapping[str, Tensor]]) -> Groups:
    return {
        group: {name: value.cpu().numpy() for name, value in values.items()}
        for group, values in groups.items()
    }


def _concatenated(parts: Sequence[Groups], axis: int) -> Groups:
    return {
        group: {name: np.concatenate([part[group][name] for part in parts], axis) for name in names}
        for group, names in parts[0].items()
    }
