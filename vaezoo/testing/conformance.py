"""The checks behind :mod:`vaezoo.testing`, one function each.

A check looks at a :class:`Subject` and yields a :class:`Failure` for everything that is wrong.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from vaezoo.errors import nearest
from vaezoo.pairs.admission import examine
from vaezoo.pairs.families import family, is_discrete, is_point
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.predictions import prior_predictive
from vaezoo.pairs.sites import (
    PairTrace,
    Site,
    sample_sites,
    site_values,
    takes_lengths,
)
from vaezoo.runtime.storage import load_tensors, save_tensors
from vaezoo.testing.subject import Failure, Failures, Subject, base_of, elbo, gradients

__all__ = ["CHECKS", "Check"]

TOLERANCE = 1e-4  # relative and absolute, of float32 log-densities in nats


@dataclass(frozen=True)
class Check:
    """A check, and the checks without which its answer would mean nothing."""

    name: str
    run: Callable[[Subject], Failures]
    after: tuple[str, ...] = ()


def check_arguments(subject: Subject) -> Failures:
    """Model and guide take the same arguments."""
    model, guide = subject.arguments("model"), subject.arguments("guide")
    if model != guide:
        yield Failure(
            "arguments",
            subject.where("guide"),
            f"model({', '.join(model)}) and guide({', '.join(guide)}) take different arguments",
            f"write def guide(self, {', '.join(model)})",
        )


def check_runs(subject: Subject) -> Failures:
    """Guide and model run at two batch sizes; an exception becomes the failure."""
    subject.first = subject.trace(subject.args)
    subject.second = subject.trace(subject.pick(subject.rows))
    yield from ()


def check_sites(subject: Subject) -> Failures:
    """Model and guide have the same latent sites."""
    sites = sample_sites(subject.first.model).items()
    latents = [name for name, site in sites if not site["is_observed"]]
    for finding in examine(subject.first):
        name, where = finding.site, subject.where(finding.side, finding.site)
        if finding.kind == "model only":
            what = f"the guide has no site '{name}', a latent of the model"
            repair = f"add pyro.sample('{name}', ...) to the guide, or obs= to the model"
            yield Failure("sites", where, what, repair)
        elif finding.kind in ("guide only", "observed"):
            state = "observes" if finding.kind == "observed" else "has no site"
            what = f"the guide draws '{name}', but the model {state} {f'{name!r}'}"
            repair = f"remove it from the guide, or rename it ({nearest(name, latents)})"
            yield Failure("sites", where, what, repair)


def check_plate(subject: Subject) -> Failures:
    """There is one plate over the batch, with every site inside it."""
    batch, plate = len(subject.args[0]), ""
    for side, name, site in subject.sites(subject.first):
        where = subject.where(side, name)
        stack = site["cond_indep_stack"]
        if not stack:
            repair = "indent it under: with pyro.plate('data', len(x))"
            yield Failure("plate", where, f"site '{name}' lies outside the data plate", repair)
        for frame in stack:
            plate = plate or frame.name
            if frame.name != plate:
                what = f"site '{name}' lies in a second plate, '{frame.name}' beside '{plate}'"
                yield Failure("plate", where, what, "keep one plate and use .to_event(...) instead")
            elif frame.size != batch:
                what = f"the plate '{plate}' has size {frame.size} for a batch of {batch}"
                yield Failure("plate", where, what, f"write pyro.plate('{plate}', len(x))")


def check_shapes(subject: Subject) -> Failures:
    """Every site has a log-density for each datum, ``(B,)``, at two batch sizes."""
    other = {(side, name): site for side, name, site in subject.sites(subject.second)}
    for side, name, site in subject.sites(subject.first):
        where, batch = subject.where(side, name), (len(subject.args[0]),)
        shape, event = tuple(log_density(site).shape), tuple(site["fn"].event_shape)
        small = tuple(other[side, name]["fn"].event_shape) if (side, name) in other else event
        if shape != batch:
            what = f"site '{name}' has log-densities of shape {shape} instead of {batch}"
            extra = len(shape) - 1
            repair = f"add .to_event({extra})" if extra > 0 else "keep one value per row of x"
            yield Failure("shapes", where, what, repair)
        elif event != small:
            what = f"the event shape of site '{name}' changes with the batch: {event} and {small}"
            yield Failure("shapes", where, what, "take a smaller number in .to_event(...)")


def check_reparameterised(subject: Subject) -> Failures:
    """Latents are discrete or have a path derivative."""
    for name, site in sample_sites(subject.first.guide).items():
        fn = site["fn"]
        if not fn.has_rsample and not is_discrete(fn):
            what = f"the {family(fn)} of the continuous latent '{name}' has no rsample"
            repair = "choose a reparameterised family"
            yield Failure("reparameterised", subject.where("guide", name), what, repair)


def check_store(subject: Subject) -> Failures:
    """Nothing is left in the global parameter store."""
    seen: set[str] = set()
    for name in pyro.get_param_store():
        where = subject.where("param", name)
        if where not in seen:
            what = f"'{name.replace('$$$', '.')}' is left in the global parameter store"
            repair = "make it an nn.Parameter or a sub-module; drop pyro.param and pyro.module"
            yield Failure("store", where, what, repair)
        seen.add(where)


def check_finite(subject: Subject) -> Failures:
    """Every term of the ELBO is finite, in training and in evaluation."""
    reported: set[str] = set()
    for training in (True, False):
        trace = subject.trace(subject.args, training=training)
        for side, name, site in subject.sites(trace):
            bad = ~torch.isfinite(log_density(site))
            if bad.any() and name not in reported:
                reported.add(name)
                value = float(log_density(site)[bad][0])
                what = f"log-density of site '{name}' is {value} in {int(bad.sum())} rows"
                repair = "give its scale a floor, and keep what goes into exp or log in range"
                yield Failure("finite", subject.where(side, name), what, repair)


def check_gradients(subject: Subject) -> Failures:
    """The ELBO has a finite gradient for every parameter, not zero everywhere."""
    named = {name: p for name, p in subject.pair.named_parameters() if p.requires_grad}
    runs = [gradients(subject, list(named.values()), seed) for seed in (0, 1)]
    for name, *grads in zip(named, *runs, strict=True):
        problem = _gradient_problem([grad for grad in grads if grad is not None])
        if problem:
            repair = "use it in model or guide, remove it, or freeze it by requires_grad=False"
            where = subject.where_attribute(name)
            yield Failure("gradients", where, f"parameter '{name}' {problem}", repair)


def _gradient_problem(grads: list[Tensor]) -> str:
    if not grads:
        return "gets no gradient from the ELBO"
    if not all(bool(grad.isfinite().all()) for grad in grads):
        return "gets a gradient that is NaN or infinite"
    return "gets a gradient that is zero everywhere" if not any(g.any() for g in grads) else ""


def check_seeds(subject: Subject) -> Failures:
    """One seed gives one loss, two seeds give two draws, and all noise is in sample sites."""
    again = subject.trace(subject.args)
    base = subject.trace(subject.args)
    changed = _first_change(subject, base, again)
    if changed:
        what = f"site '{changed[1]}' is not the same twice with the same seed"
        repair = "draw with pyro.sample or torch, not with numpy or random"
        yield Failure("seeds", subject.where(*changed), what, repair)
        return
    other = subject.trace(subject.args, seed=1)
    names = _random_latents(base)
    if names and all(_same(base.guide.nodes[n], other.guide.nodes[n], "value") for n in names):
        what = f"two seeds give the same draw of '{names[0]}'"
        repair = "remove the seed (torch.manual_seed) from the pair"
        yield Failure("seeds", subject.where("guide", names[0]), what, repair)
        return
    held = subject.trace(subject.args, seed=1, held=_values(base))
    changed = _first_change(subject, base, held)
    if changed:
        what = f"site '{changed[1]}' changes with the seed although the latents are held fixed"
        repair = "make the noise a latent, pyro.sample(...), or drop it outside training"
        yield Failure("seeds", subject.where(*changed), what, repair)


def _random_latents(trace: PairTrace) -> list[str]:
    """Return the continuous latents that are not point estimates."""
    sites = sample_sites(trace.guide).items()
    return [n for n, s in sites if not (is_point(s["fn"]) or is_discrete(s["fn"]))]


def _values(trace: PairTrace, rows: Tensor | None = None) -> dict[str, Tensor]:
    values = {name: site["value"] for name, site in sample_sites(trace.guide).items()}
    return values if rows is None else {name: value[rows] for name, value in values.items()}


def _same(a: Any, b: Any, key: str) -> bool:
    return a[key].shape == b[key].shape and bool(torch.equal(a[key], b[key]))


def _first_change(
    subject: Subject, a: PairTrace, b: PairTrace, rows: Tensor | None = None
) -> tuple[str, str] | None:
    """Return side and name of the first site that differs, of ``rows`` of a.

    Log-densities are compared, and the draws of the guide.
    """
    others = {(side, name): site for side, name, site in subject.sites(b)}
    for side, name, site in subject.sites(a):
        other = others.get((side, name))
        if other is None:
            continue
        density, value = _density(site), site["value"]
        if rows is not None:
            density, value = density[rows], value[rows]
        same = _close(density, _density(other))
        if not (same and (side == "model" or torch.equal(value, other["value"]))):
            return side, name
    return None


def _density(site: Site) -> Tensor:
    """Return the log-density, or the point itself where a Delta has all its mass."""
    return torch.as_tensor(site["fn"].mean) if is_point(site["fn"]) else log_density(site)


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def check_rows(subject: Subject) -> Failures:
    """A datum's log-densities do not change when other rows move or leave."""
    base = subject.trace(subject.args)
    held = _values(base, subject.rows)
    fewer = subject.trace(subject.pick(subject.rows), held=held)
    changed = _first_change(subject, base, fewer, subject.rows)
    if changed:
        what = f"site '{changed[1]}' of a datum depends on the other rows of its batch"
        repair = "compute per row: no mean, sum, max or reshape over dimension 0"
        yield Failure("rows", subject.where(*changed), what, repair)


def check_padding(subject: Subject) -> Failures:
    """The frames of a sequence beyond its length change nothing."""
    if not takes_lengths(subject.pair):
        return
    base = subject.trace(subject.args)
    padded = subject.trace(subject.with_other_padding(), held=_values(base))
    changed = _first_change(subject, base, padded)
    if changed:
        what = f"site '{changed[1]}' depends on frames beyond the length of the sequence"
        repair = "mask the site, poutine.mask(mask=t < length), and read x only up to length"
        yield Failure("padding", subject.where(*changed), what, repair)


def check_predictive(subject: Subject) -> Failures:
    """Predictions have the shapes of the data and do not see the data."""
    yield from _predicted_shapes(subject)
    posterior = _values(subject.trace(subject.args))
    for held in ({}, posterior):
        one = subject.predict(subject.args, held)
        two = subject.predict(subject.with_other_data(), held)
        for name, site in sample_sites(one).items():
            if name in two.nodes and not _same(site, two.nodes[name], "value"):
                what = f"the prediction of site '{name}' depends on the data to be predicted"
                repair = "use the value that pyro.sample returns, x = pyro.sample(..., obs=x)"
                yield Failure("predictive", subject.where("model", name), what, repair)
                return


def _predicted_shapes(subject: Subject) -> Failures:
    predicted = prior_predictive(subject.pair, subject.args)
    values = {name: site["value"] for name, site in subject.first.observed.items()}
    for name, value in site_values(subject.pair, values).items():
        shape = tuple(predicted[name].shape) if name in predicted else None
        if shape != tuple(value.shape):
            site = next(key for key in subject.first.observed if base_of(key) == name)
            what = f"site '{name}' is predicted as {shape}, but observed as {tuple(value.shape)}"
            repair = "compare .to_event(...) and the shape of its parameters with the data"
            yield Failure("predictive", subject.where("model", site), what, repair)


def check_saving(subject: Subject) -> Failures:
    """Everything that the loss depends on is a parameter or a buffer."""
    unsaved = list(_unsaved(subject))
    if unsaved:
        yield from unsaved
        return
    fresh = subject.fresh() if subject.fresh else copy.deepcopy(subject.pair)
    subject.train(steps=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_tensors(path, subject.pair.state_dict(), {})
        fresh.load_state_dict(load_tensors(path)[0])
    before = elbo(subject.trace(subject.args))
    after = elbo(subject.trace(subject.args, pair=fresh))
    if not _close(before, after):
        name = _different_attribute(subject.pair, fresh)
        what = f"loaded from its file, the ELBO is {float(after):g} instead of {float(before):g}"
        culprit = f": self.{name} is neither parameter nor buffer" if name else ""
        repair = "keep all state in nn.Parameter or self.register_buffer"
        yield Failure("saving", subject.where_attribute(name), what + culprit, repair)


def _plain_attributes(pair: nn.Module) -> Iterator[tuple[str, object]]:
    for prefix, module in pair.named_modules():
        # A module of torch or Pyro looks after itself: what it computes anew, it need not save.
        its_own = type(module).__module__.startswith(("torch.", "pyro."))
        for name, value in vars(module).items():
            if not (its_own or name.startswith("_") or name == "training"):
                yield f"{prefix}.{name}".lstrip("."), value


def _unsaved(subject: Subject) -> Failures:
    registered = set(subject.pair.modules())
    for name, value in _plain_attributes(subject.pair):
        items: list[object] = [value]
        if isinstance(value, list | tuple | Mapping):
            items = list(value.values() if isinstance(value, Mapping) else value)
        if any(isinstance(item, nn.Module) and item not in registered for item in items):
            what = "holds modules that are not registered, so they are not trained"
            repair = "use nn.ModuleList or nn.ModuleDict"
        elif any(isinstance(item, Tensor) for item in items):
            what = "is a tensor but neither parameter nor buffer, so it is not saved"
            repair = f"self.register_buffer('{name.rpartition('.')[2]}', ...)"
        elif any(isinstance(item, torch.distributions.Distribution) for item in items):
            what = "is a distribution, whose tensors are neither saved nor moved to a device"
            repair = "keep its parameters as buffers and make it in model or guide"
        else:
            continue
        yield Failure("saving", subject.where_attribute(name), f"self.{name} {what}", repair)


def _different_attribute(one: nn.Module, two: nn.Module) -> str:
    others = dict(_plain_attributes(two))
    for name, value in _plain_attributes(one):
        plain = isinstance(value, int | float) or hasattr(value, "__array__")
        if plain and repr(value) != repr(others.get(name)):
            return name
    return ""


CHECKS = (
    Check("arguments", check_arguments),
    Check("runs", check_runs, after=("arguments",)),
    Check("sites", check_sites, after=("runs",)),
    Check("plate", check_plate, after=("runs",)),
    Check("shapes", check_shapes, after=("plate",)),
    Check("reparameterised", check_reparameterised, after=("runs",)),
    Check("store", check_store, after=("runs",)),
    Check("finite", check_finite, after=("sites", "shapes")),
    Check("gradients", check_gradients, after=("finite",)),
    Check("seeds", check_seeds, after=("finite",)),
    Check("rows", check_rows, after=("seeds",)),
    Check("padding", check_padding, after=("rows",)),
    Check("predictive", check_predictive, after=("seeds",)),
    Check("saving", check_saving, after=("seeds",)),
)
