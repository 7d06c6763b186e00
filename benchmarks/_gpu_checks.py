"""What has to hold on a device: the same numbers as elsewhere, and every model of the zoo runs."""

import math
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyro
import torch
from torch import Tensor

import vaezoo
from vaezoo import Run
from vaezoo.data.batches import Batches
from vaezoo.data.sets.sources import DEFAULT_SOURCES
from vaezoo.data.transform import Transform
from vaezoo.options import EngineName
from vaezoo.pairs.accounting import log_weight
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.sites import Args, argument_names, sample_sites, trace_pair
from vaezoo.registry import entries, get_model
from vaezoo.registry.catalogue import Entry

__all__ = ["Deadline", "Rows", "devices_agree", "resumed", "tiers_agree", "zoo"]

Rows = list[tuple[object, ...]]

ROUNDING = 1e-3  # of float32, by products that are summed in another order


@dataclass(frozen=True)
class Deadline:
    """Until when there is time.

    Attributes
    ----------
    at
        As ``time.monotonic()`` has it.
    """

    at: float

    @property
    def is_over(self) -> bool:
        """Whether it is past."""
        return time.monotonic() > self.at


def error_of(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Return the largest difference of tensors, in units of the norm of all of them."""
    unit = torch.stack([value.double().norm().cpu() for value in theirs]).norm()
    both = zip(ours, theirs, strict=True)
    return max(float((a.cpu().double() - b.cpu().double()).norm() / unit) for a, b in both)


def require(error: float, most: float, what: str) -> str:
    """Return a difference in words.

    Raises
    ------
    AssertionError
        When it is too large, or no number.
    """
    assert error <= most, f"{what}: {error:.2g} is more than {most:g}"
    return f"{error:.1g}"


def tiers_agree(names: Sequence[str], engines: Sequence[EngineName], device: str) -> Rows:
    """Return by how much tiers differ after some steps, short batches among them."""
    rows: Rows = [("model", "tier", "steps by tier", "weights differ by")]
    for name in names:
        runs = {engine: few_steps(name, engine, device) for engine in engines}
        first = next(iter(runs.values()))
        for engine, run in runs.items():
            assert list(run.info["steps_by_engine"]) == [engine], (name, engine, run.info)
            error = error_of(weights(run), weights(first))
            figure = require(error, ROUNDING, f"{name}, {engine}")
            rows.append((f"`{name}`", engine, run.info["steps_by_engine"], figure))
    return rows


def few_steps(name: str, engine: EngineName, device: str, steps: int = 24, **out: Path) -> Run:
    """Train on the embedded digits for some steps."""
    training = {"steps": steps, "engine": engine, "device": device, "batch_size": 100}
    return vaezoo.fit(name, training=training, **out)


def weights(run: Run) -> list[Tensor]:
    """Return the parameters of a run."""
    return [value for value in run.pair.state_dict().values() if value.is_floating_point()]


def devices_agree(device: str) -> Rows:
    """Return by how much log-densities and gradients differ from those of the CPU.

    Generators of devices differ, so that latents are drawn once and held.
    """
    rows: Rows = [("model", "log p(x, z) - log q(z | x)", "its gradient")]
    for entry in entries():
        pair, args = small_pair(entry)
        with pyro.validation_enabled(False):
            guide = sample_sites(trace_pair(pair, args).guide)
        latents = {name: site["value"].detach() for name, site in guide.items()}
        outcomes = [outcome(entry, latents, args, where) for where in ("cpu", device)]
        figures = [error_of(ours, theirs) for theirs, ours in zip(*outcomes, strict=True)]
        rows.append((f"`{entry.name}`", *[require(f, ROUNDING, entry.name) for f in figures]))
    return rows


def small_pair(entry: Entry) -> tuple[torch.nn.Module, Args]:
    """Return a pair of the zoo, the same each time, and a few rows of its data."""
    data = vaezoo.load_data(DEFAULT_SOURCES[entry.data])
    torch.manual_seed(0)
    pair = vaezoo.build_model(get_model(entry.name), {}, data.x_shape)
    scale = 1.0 if data.length is not None else 16.0
    batches = Batches(data, Transform(scale=scale), argument_names(pair), torch.device("cpu"))
    return pair.eval(), next(batches.fixed("train", limit=8))


def outcome(
    entry: Entry, latents: dict[str, Tensor], args: Args, device: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the log-weights of some latents on a device, and their gradients."""
    pair = small_pair(entry)[0].to(device)
    held = hold({name: value.to(device) for name, value in latents.items()})
    with held, pyro.validation_enabled(False):  # grey levels will do for bits
        trace = trace_pair(pair, tuple(arg.to(device) for arg in args))
    weight = log_weight(trace)
    parameters = [p for p in pair.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(
        weight.sum(), parameters, allow_unused=True, materialize_grads=True
    )
    return [weight.detach()], list(gradients)


def resumed(names: Sequence[str], engines: Sequence[EngineName], device: str) -> Rows:
    """Return by how much runs that were stopped and resumed differ from those that were not."""
    rows: Rows = [("model", "tier", "weights differ by")]
    most = 0.0 if device == "cpu" else 1e-5
    for name in names:
        for engine in engines:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "run"
                few_steps(name, engine, device, steps=11, out=out)
                error = error_of(
                    weights(vaezoo.resume(out, steps=24)), weights(few_steps(name, engine, device))
                )
            rows.append((f"`{name}`", engine, require(error, most, f"{name}, {engine}")))
    return rows


def zoo(device: str, steps: int, deadline: Deadline, names: Sequence[str] = ()) -> Rows:
    """Train each model of the zoo for some captured steps, and ask of it what can be asked.

    Raises
    ------
    AssertionError
        With the names of those that failed, or for which there was no time, behind all others.
    """
    rows: Rows = [("model", "tier", "seconds", "ELBO")]
    failures = []
    for entry in [entry for entry in entries() if not names or entry.name in names]:
        try:
            assert not deadline.is_over, "no time is left"
            rows.append(tried(entry, device, steps))
            print(*rows[-1], flush=True)
        except Exception as error:
            traceback.print_exc()
            failures.append(f"{entry.name} ({type(error).__name__}: {error})")
    assert not failures, "; ".join(failures)
    return rows


def tried(entry: Entry, device: str, steps: int) -> tuple[object, ...]:
    """Return the row of a model."""
    began = time.perf_counter()
    training = {"steps": steps, "engine": "graph", "device": device}
    run = vaezoo.fit(entry.name, training=training)
    draws = {} if is_autoencoder(entry) else {"iwae": (10,)}
    elbo = float(vaezoo.evaluate(run, limit=50, **draws).metrics.elbo)
    ask(run, entry)
    assert math.isfinite(elbo), f"the ELBO is {elbo}"
    took = f"{time.perf_counter() - began:.1f}"
    return f"`{entry.name}`", "/".join(run.info["steps_by_engine"]), took, f"{elbo:.1f}"


def is_autoencoder(entry: Entry) -> bool:
    """Whether a model has no posterior that could be weighed."""
    return "autoencoder" in entry.tags


def ask(run: Run, entry: Entry) -> None:
    """Ask a run for samples, reconstructions and codes."""
    vaezoo.sample(run, 4, latents="gmm" if is_autoencoder(entry) else "prior")
    if "baseline" not in entry.tags:
        vaezoo.reconstruct(run, limit=4)
        vaezoo.encode(run, limit=4)
