"""The checks behind :mod:`vaezoo.testing`: how a pair is run and watched, and one function a check.

A check looks at a :class:`Subject` and yields a :class:`Failure` for everything that is wrong.
"""

import contextlib
import copy
import inspect
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from vaezoo.errors import nearest
from vaezoo.sites import (
    Args,
    PairTrace,
    Site,
    isolated,
    log_density,
    prior_predictive,
    run_guide,
    sample_sites,
    stack_steps,
    step_of,
)
from vaezoo.storage import load_tensors, save_tensors

__all__ = ["CHECKS", "Check", "Failure", "Subject"]

TOLERANCE = 1e-4  # relative and absolute, of float32 log-densities in nats
JITTER = 0.01  # moves parameters, so that what is initialised at zero does not hide anything
_LIBRARIES = (*pyro.__path__, *torch.__path__, contextlib.__file__, __file__)


@dataclass(frozen=True)
class Failure:
    """One thing that is wrong with a pair.

    Attributes
    ----------
    check
        The name of the check.
    where
        File and line, as ``my_vae.py:41``.
    what
        What is wrong; it names the site or the parameter.
    repair
        What to write instead.
    """

    check: str
    where: str
    what: str
    repair: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.repair} [{self.check}]"


Failures = Iterator[Failure]


class _Recorder(Messenger):
    """Remembers the line of every sample statement, and of what fills the parameter store."""

    def __init__(self, side: str, lines: dict[tuple[str, str], str]) -> None:
        super().__init__()
        self.side = side
        self.lines = lines
        self.visits: list[str] = []

    def _pyro_sample(self, msg: Any) -> None:
        self.visits.append(msg["name"])
        self.lines[self.side, msg["name"]] = _calling_line()

    def _pyro_param(self, msg: Any) -> None:
        self.lines["param", msg["name"]] = _calling_line()

    @property
    def repeated(self) -> str:
        """The name of the last site, when it came before."""
        return self.visits[-1] if self.visits and self.visits[-1] in self.visits[:-1] else ""


class _Hold(Messenger):
    """Gives latent sites the values that they had in another run."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"] = self.values[msg["name"]]
            msg["done"] = True


def _calling_line() -> str:
    frame: FrameType | None = sys._getframe(1)
    while frame and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return _location(frame.f_code.co_filename, frame.f_lineno) if frame else ""


def _is_library(file: str) -> bool:
    return file.startswith(_LIBRARIES)


def _location(file: str, line: int) -> str:
    path = Path(file)
    near = path.is_relative_to(Path.cwd())
    return f"{path.relative_to(Path.cwd()) if near else path}:{line}"


class Subject:
    """A pair under examination, with a batch of at least three rows.

    Parameters
    ----------
    pair
        The pair, an instance.
    args
        A batch, tensors of ``(B, ...)``.
    names
        What model and guide call them.
    fresh
        Builds the pair once more, with new initial weights.
    """

    first: PairTrace
    second: PairTrace

    def __init__(
        self,
        pair: nn.Module,
        args: Args,
        names: tuple[str, ...],
        fresh: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.pair, self.args, self.names, self.fresh = pair, args, names, fresh
        self.lines: dict[tuple[str, str], str] = {}
        self.recorder = _Recorder("model", self.lines)
        self.batch = len(args[0])

    @property
    def rows(self) -> Tensor:
        """Two thirds of the rows in reverse order, a longest sequence among them."""
        batch = len(self.args[0])
        order = torch.arange(batch).flip(0)
        if "length" in self.names:
            longest = int(self.args[self.names.index("length")].argmax())
            order = torch.cat([torch.tensor([longest]), order[order != longest]])
        return order[: batch - batch // 3].to(self.args[0].device)

    def pick(self, rows: Tensor) -> Args:
        """Return some rows of the batch."""
        return tuple(arg[rows] for arg in self.args)

    @contextmanager
    def laboratory(self) -> Iterator[None]:
        """Leave no trace of the checks: weights, modes, seeds, parameter store."""
        state = {name: value.clone() for name, value in self.pair.state_dict().items()}
        modes = {module: module.training for module in self.pair.modules()}
        devices = [arg.device for arg in self.args[:1] if arg.device.type == "cuda"]
        with isolated(), torch.random.fork_rng(devices), pyro.validation_enabled(True):
            try:
                with torch.no_grad():
                    self._jitter()
                    yield
            finally:
                self.pair.load_state_dict(state)
                for module, training in modes.items():
                    module.training = training

    def _jitter(self) -> None:
        torch.manual_seed(0)
        for parameter in self.pair.parameters():
            if parameter.is_floating_point():
                parameter.add_(JITTER * torch.randn_like(parameter))

    def trace(
        self,
        args: Args,
        *,
        pair: nn.Module | None = None,
        held: Mapping[str, Tensor] | None = None,
        seed: int = 0,
        training: bool = False,
    ) -> PairTrace:
        """Run guide and model from a seed, some latents held fixed."""
        pair = (pair or self.pair).train(training)
        self.batch = len(args[0])
        torch.manual_seed(seed)
        with self._recording("guide"), _Hold(held or {}):
            guide = run_guide(pair, args)
        model: Callable[..., Any] = poutine.replay(pair.model, trace=guide)  # type: ignore[arg-type]
        with self._recording("model"):
            return PairTrace(poutine.trace(model).get_trace(*args), guide)

    def predict(self, args: Args, held: Mapping[str, Tensor]) -> Trace:
        """Run the model with its observed sites unconditioned."""
        model: Callable[..., Any] = poutine.uncondition(self.pair.eval().model)  # type: ignore[arg-type]
        torch.manual_seed(0)
        with self._recording("model"), _Hold(held):
            return poutine.trace(model).get_trace(*args)

    def _recording(self, side: str) -> _Recorder:
        self.recorder = _Recorder(side, self.lines)
        return self.recorder

    def train(self, steps: int) -> None:
        """Move every parameter along the sign of its gradient, a few times."""
        parameters = [p for p in self.pair.parameters() if p.requires_grad]
        for seed in range(steps):
            for parameter, grad in zip(parameters, gradients(self, parameters, seed), strict=True):
                if grad is not None:
                    parameter.sub_(JITTER * grad.sign())

    def sites(self, trace: PairTrace) -> Iterator[tuple[str, str, Site]]:
        """Return side, name and site of all random variables, the guide's first."""
        for side, nodes in (("guide", trace.guide), ("model", trace.model)):
            for name, site in sample_sites(nodes).items():
                yield side, name, site

    def with_other_data(self) -> Args:
        """Return the batch with the observed arrays exchanged between rows."""
        observed = self.first.observed
        names = {base_of(name) for name in observed}
        storages = {site["value"].untyped_storage().data_ptr() for site in observed.values()}
        moved = [
            name in names or arg.untyped_storage().data_ptr() in storages
            for name, arg in zip(self.names, self.args, strict=True)
        ]
        return tuple(a.roll(1, 0) if m else a for a, m in zip(self.args, moved, strict=True))

    def with_other_padding(self) -> Args:
        """Return the batch with the first frame of each sequence in its padding."""
        length = self.args[self.names.index("length")]
        steps = torch.arange(self.args[0].shape[1], device=length.device)
        padding = steps >= length[:, None]
        return tuple(
            torch.where(padding.reshape(*padding.shape, *[1] * (arg.dim() - 2)), arg[:, :1], arg)
            if arg.shape[:2] == padding.shape
            else arg
            for arg in self.args
        )

    def arguments(self, side: str) -> tuple[str, ...]:
        """Return what ``model`` or ``guide`` takes."""
        return tuple(inspect.signature(getattr(self.pair, side)).parameters)

    def where(self, side: str, name: str = "") -> str:
        """Return file and line of a sample statement, or else of ``model`` or ``guide``."""
        if (side, name) in self.lines:
            return self.lines[side, name]
        return line_of(getattr(type(self.pair), side, type(self.pair)))

    def where_attribute(self, name: str) -> str:
        """Return the line that sets ``self.<name>``, or else that of the class."""
        cls = type(self.pair)
        with contextlib.suppress(OSError, TypeError):
            lines, start = inspect.getsourcelines(cls)
            pattern = re.compile(rf"self\.{re.escape(name.partition('.')[0])}\b.*=|^$")
            for number, line in enumerate(lines, start):
                if name and line.strip() and pattern.search(line):
                    return _location(inspect.getfile(cls), number)
        return line_of(cls)

    def explain(self, check: str, error: Exception) -> Failure:
        """Return what an exception inside the pair means."""
        where = raised_at(error, inspect.getfile(type(self.pair)))
        site = _site_of(error.__traceback__)
        if self.recorder.repeated and "Multiple sample sites" in str(error):
            what = f"two sites of the {self.recorder.side} are called '{self.recorder.repeated}'"
            place = self.where(self.recorder.side, self.recorder.repeated)
            return Failure("sites", place, what, "give each sample statement a name of its own")
        if site and "Shape mismatch inside plate" in str(error):
            return self._explain_shape(site, where)
        message = " ".join(traceback.format_exception_only(error)[0].split())
        named = f"site '{site['name']}': " if site else ""
        return Failure(check, where, f"{named}{message[:200].rstrip(':;.')}", "correct this line")

    def _explain_shape(self, site: Site, where: str) -> Failure:
        batch, shape = self.batch, tuple(site["fn"].batch_shape)
        for frame in site["cond_indep_stack"]:
            if frame.size != batch:
                what = f"the plate '{frame.name}' has size {frame.size} for a batch of {batch}"
                repair = f"write pyro.plate('{frame.name}', len(x))"
                return Failure("plate", where, what, repair)
        extra = len(shape) - 1 if shape[0] == batch else len(shape)
        what = f"site '{site['name']}' has batch shape {shape} instead of ({batch},)"
        repair = f"add .to_event({extra})" if extra else "make one distribution per row of x"
        return Failure("shapes", where, what, repair)


def base_of(name: str) -> str:
    """Return ``x`` for the site ``x_3`` of a sequence, other names as they are."""
    return (step_of(name) or (name,))[0]


def line_of(function: Any) -> str:
    """Return file and line of a function or class."""
    try:
        _, line = inspect.getsourcelines(function)
        return _location(inspect.getfile(function), line)
    except (OSError, TypeError):
        return str(getattr(function, "__qualname__", function))


def raised_at(error: BaseException, file: str) -> str:
    """Return where an exception left ``file``, or else the last line outside torch and pyro."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)]
    here = [frame for frame in own if frame.filename == file] or own or list(frames)
    return _location(here[-1].filename, here[-1].lineno or 0)


def _site_of(trace: TracebackType | None) -> Site | None:
    """Return the site that an exception is about, as the frames of pyro know it."""
    found: Site | None = None
    while trace:
        for name in ("msg", "site"):
            value = trace.tb_frame.f_locals.get(name)
            if isinstance(value, dict) and "fn" in value and "name" in value:
                found = value
        trace = trace.tb_next
    return found


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
    model, guide = sample_sites(subject.first.model), sample_sites(subject.first.guide)
    for name, site in model.items():
        if not site["is_observed"] and name not in guide:
            yield Failure(
                "sites",
                subject.where("model", name),
                f"the guide has no site '{name}', a latent of the model",
                f"add pyro.sample('{name}', ...) to the guide, or obs= to the model",
            )
    latents = [name for name, site in model.items() if not site["is_observed"]]
    for name, site in guide.items():
        if name not in latents and not site["infer"].get("is_auxiliary"):
            state = "observes" if name in model else "has no site"
            yield Failure(
                "sites",
                subject.where("guide", name),
                f"the guide draws '{name}', but the model {state} {f'{name!r}'}",
                f"remove it from the guide, or rename it ({nearest(name, latents)})",
            )


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
            yield Failure("shapes", where, what, f"add .to_event({max(1, len(shape) - 1)})")
        elif event != small:
            what = f"the event shape of site '{name}' changes with the batch: {event} and {small}"
            yield Failure("shapes", where, what, "take a smaller number in .to_event(...)")


def check_reparameterised(subject: Subject) -> Failures:
    """Latents are discrete or have a path derivative."""
    for name, site in sample_sites(subject.first.guide).items():
        fn = site["fn"]
        if not fn.has_rsample and not fn.support.is_discrete:
            what = f"the {type(fn).__name__} of the continuous latent '{name}' has no rsample"
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
    found: set[str] = set()
    for training in (True, False):
        trace = subject.trace(subject.args, training=training)
        for side, name, site in subject.sites(trace):
            bad = ~torch.isfinite(log_density(site))
            if bad.any() and name not in found:
                found.add(name)
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


def gradients(
    subject: Subject, parameters: list[nn.Parameter], seed: int
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the negative ELBO in training, None where there is none."""
    with torch.enable_grad():
        loss = -elbo(subject.trace(subject.args, seed=seed, training=True))
        if not loss.requires_grad:
            return (None,) * len(parameters)
        return torch.autograd.grad(loss, parameters, allow_unused=True)


def _gradient_problem(grads: list[Tensor]) -> str:
    if not grads:
        return "gets no gradient from the ELBO"
    if not all(bool(grad.isfinite().all()) for grad in grads):
        return "gets a gradient that is NaN or infinite"
    return "gets a gradient that is zero everywhere" if not any(g.any() for g in grads) else ""


def elbo(trace: PairTrace) -> Tensor:
    """Return the ELBO of a batch from one draw, a scalar in nats."""
    model = sum(log_density(site).sum() for site in sample_sites(trace.model).values())
    guide = sum(log_density(site).sum() for site in sample_sites(trace.guide).values())
    return torch.as_tensor(model - guide)


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
    sites = sample_sites(trace.guide).items()
    return [name for name, site in sites if "Delta" not in type(site["fn"]).__name__]


def _values(trace: PairTrace, rows: Tensor | None = None) -> dict[str, Tensor]:
    values = {name: site["value"] for name, site in sample_sites(trace.guide).items()}
    return values if rows is None else {name: value[rows] for name, value in values.items()}


def _same(a: Any, b: Any, key: str) -> bool:
    return a[key].shape == b[key].shape and bool(torch.equal(a[key], b[key]))


def _first_change(
    subject: Subject, a: PairTrace, b: PairTrace, rows: Tensor | None = None
) -> tuple[str, str] | None:
    """Return side and name of the first site whose log-densities differ, of ``rows`` of a."""
    others = {(side, name): site for side, name, site in subject.sites(b)}
    for side, name, site in subject.sites(a):
        density = log_density(site) if rows is None else log_density(site)[rows]
        other = others.get((side, name))
        if other is not None and not _close(density, log_density(other)):
            return side, name
    return None


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
    if "length" not in subject.names:
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
    steps = "length" in subject.names
    values = {name: site["value"] for name, site in subject.first.observed.items()}
    for name, value in (stack_steps(values) if steps else values).items():
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
        for name, value in vars(module).items():
            if not (name.startswith("_") or name == "training"):
                yield f"{prefix}.{name}".lstrip("."), value


def _unsaved(subject: Subject) -> Failures:
    for name, value in _plain_attributes(subject.pair):
        items: list[object] = [value]
        if isinstance(value, list | tuple | Mapping):
            items = list(value.values() if isinstance(value, Mapping) else value)
        if any(isinstance(item, nn.Module) for item in items):
            what = "holds modules that are not registered, so they are not trained"
            repair = "use nn.ModuleList or nn.ModuleDict"
        elif any(isinstance(item, Tensor) for item in items):
            what = "is a tensor but neither parameter nor buffer, so it is not saved"
            repair = f"self.register_buffer('{name.rpartition('.')[2]}', ...)"
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
