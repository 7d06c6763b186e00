"""A pair under examination: how the checks of :mod:`vaezoo.testing` run it and watch it."""

import inspect
import linecache
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_messenger import TraceHandler
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import TransformedDistribution

from vaezoo.checks.blame import (
    calling_line,
    line_of,
    line_that_sets,
    one_line,
    raised_at,
    repair_of,
)
from vaezoo.checks.remarks import Failure
from vaezoo.distributions.families import elements_of
from vaezoo.errors import words_of
from vaezoo.pairs.handlers import hold, require_pyro
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    density_sites,
    lengths_of,
    model_of,
    run_guide,
    sample_sites,
    step_of,
)
from vaezoo.runtime.isolation import isolated, uncompiled
from vaezoo.sequences import sequence_pair as sequence
from vaezoo.sequences.sequence_pair import Rollout, SequencePair

__all__ = ["Subject", "base_of", "density_of", "elbo", "gradients"]

JITTER = 0.01  # moves parameters, so that what is initialised at zero does not hide anything


class _Recorder(require_pyro):
    """Remembers the line of every sample statement, and of what fills the parameter store."""

    def __init__(self, side: str, source_lines: dict[tuple[str, str], str]) -> None:
        super().__init__()
        self.side = side
        self.source_lines = source_lines
        self.visits: list[str] = []
        self.plates: set[str] = set()

    def _pyro_sample(self, msg: Any) -> None:
        super()._pyro_sample(msg)
        self.visits.append(msg["name"])
        if site_is_subsample(msg):
            self.plates.add(msg["name"])
        # Empty for a sequence pair, whose sample statements are vaezoo's.
        line = calling_line(below=TraceHandler.get_trace.__code__)
        if line:
            self.source_lines[self.side, msg["name"]] = line

    def _pyro_param(self, msg: Any) -> None:
        self.source_lines["param", msg["name"]] = calling_line()

    @property
    def repeated(self) -> str:
        """The name of the last site, when it came before."""
        return self.visits[-1] if self.visits and self.visits[-1] in self.visits[:-1] else ""


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
        Builds the pair once more, with new initial parameters.
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
        self.source_lines: dict[tuple[str, str], str] = {}
        self.recorder = _Recorder("model", self.source_lines)
        self.batch = len(args[0])

    @property
    def rows(self) -> Tensor:
        """Two thirds of the rows in reverse order, a longest sequence among them."""
        batch = len(self.args[0])
        order = torch.arange(batch).flip(0)
        length = lengths_of(self.pair, self.args)
        if length is not None:
            longest = int(length.argmax())
            order = torch.cat([torch.tensor([longest]), order[order != longest]])
        return order[: batch - batch // 3].to(self.args[0].device)

    def pick(self, rows: Tensor) -> Args:
        """Return some rows of the batch."""
        return tuple(arg[rows] for arg in self.args)

    @contextmanager
    def isolation(self) -> Iterator[None]:
        """Leave no trace of the checks: parameters, modes, seeds, parameter store."""
        state = {name: value.clone() for name, value in self.pair.state_dict().items()}
        modes = {module: module.training for module in self.pair.modules()}
        devices = [arg.device for arg in self.args[:1] if arg.device.type == "cuda"]
        seeds, validated = torch.random.fork_rng(devices), pyro.validation_enabled(True)
        with isolated(), uncompiled(), seeds, validated:
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
        with self._recording("guide"), hold(held or {}):
            guide = run_guide(pair, args)
            _remember_flows(guide)
        model: Callable[..., Any] = poutine.replay(model_of(pair), trace=guide)
        with self._recording("model"), hold(held or {}):
            return PairTrace(poutine.trace(model).get_trace(*args), guide)

    def predict(self, args: Args, held: Mapping[str, Tensor]) -> Trace:
        """Run the model with its observed sites unconditioned."""
        model: Callable[..., Any] = poutine.uncondition(model_of(self.pair.eval()))
        torch.manual_seed(0)
        with self._recording("model"), hold(held):
            return poutine.trace(model).get_trace(*args)

    def _recording(self, side: str) -> _Recorder:
        self.recorder = _Recorder(side, self.source_lines)
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
        length, shape = lengths_of(self.pair, self.args), self.args[0].shape[:2]
        if length is None:
            return self.args
        return tuple(
            fill_padding(arg, length, arg[:, :1]) if arg.shape[:2] == shape else arg
            for arg in self.args
        )

    def arguments(self, side: str) -> tuple[str, ...]:
        """Return what ``model`` or ``guide`` takes."""
        fn = getattr(self.pair, side)
        fn = fn.forward if isinstance(fn, nn.Module) else fn
        parameters = inspect.signature(fn).parameters.values()
        # An AutoGuide takes whatever the model does.
        takes_all = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        return self.names if takes_all else tuple(parameter.name for parameter in parameters)

    def where(self, side: str, name: str = "") -> str:
        """Return file and line of a sample statement, or else of ``model`` or ``guide``.

        For a sequence pair it is the line of the conditional that is sampled.
        """
        if (side, name) in self.source_lines:
            return self.source_lines[side, name]
        if name and isinstance(self.pair, SequencePair):
            latent = "posterior" if side == "guide" else "prior"
            part = latent if base_of(name) not in ("x", *self.pair.inputs) else "likelihood"
            return line_of_part(type(self.pair), part)
        return line_of(getattr(type(self.pair), side, type(self.pair)))

    def where_attribute(self, name: str) -> str:
        """Return the line that sets ``self.<name>``, or else that of the class."""
        return line_that_sets(type(self.pair), name.partition(".")[0])

    def explain(self, check: str, error: BaseException) -> Failure:
        """Return what an exception inside the pair means."""
        site = _site_of(error.__traceback__)
        where = self._where_raised(error, site)
        if self.recorder.repeated and "Multiple sample sites" in words_of(error):
            return self._explain_repeated(self.recorder.repeated)
        if site and "Shape mismatch inside plate" in words_of(error):
            return self._explain_shape(site, where)
        unequal = self._unequal_latents()
        if unequal:
            return unequal
        named = f"site '{site['name']}': " if site and "site '" not in words_of(error) else ""
        return Failure(check, where, named + one_line(error), repair_of(error))

    def _explain_repeated(self, name: str) -> Failure:
        side = self.recorder.side
        what = f"two sites of the {side} are called '{name}'"
        repair = "give each sample statement a name of its own"
        if name in self.recorder.plates:
            what = f"the {side} makes the plate '{name}' twice"
            repair = f"make it once, rows = pyro.plate('{name}', ...), and write twice: with rows"
        return Failure("sites", self.where(side, name), what, repair)

    def _where_raised(self, error: BaseException, site: Site | None) -> str:
        """Return the innermost line of the user's code that led to an exception."""
        cls = type(self.pair)
        where = raised_at(error, cls)
        if where != line_of(cls) or not isinstance(self.pair, SequencePair):
            return where
        part = part_called(error)
        if part:
            return line_of_part(cls, part)
        return self.where(self.recorder.side, site["name"]) if site else where

    def _unequal_latents(self) -> Failure | None:
        """Compare prior and posterior of the first step of a sequence pair."""
        pair = self.pair
        if not (isinstance(pair, SequencePair) and pair.has_latents):
            return None
        try:
            step = Rollout(pair, pair.initial(self.args[0]))
            e = pair.encode(*self.args)[:, 0]
            p, q = step.latent("prior"), step.latent("posterior", e)
        except Exception:  # another failure than this one
            return None
        if p.event_shape == q.event_shape:
            return None
        shapes = f"event shape {tuple(q.event_shape)}, the prior {tuple(p.event_shape)}"
        where, repair = self.where("guide", "z_0"), "give both z_dim elements"
        return Failure("shapes", where, f"the posterior has {shapes}", repair)

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


def line_of_part(cls: type, name: str) -> str:
    """Return the line that defines ``prior`` or another part of a sequence pair."""
    own = getattr(cls, name, None)
    if own is None or own is getattr(SequencePair, name, None):
        return line_that_sets(cls, name)
    return line_of(own)


_PART = re.compile(r"\.(prior|posterior|likelihood|transition|embed|encode|initial)\(")


def part_called(error: BaseException) -> str:
    """Return what of a sequence pair one step of model or guide was calling, as ``prior``."""
    frames = traceback.extract_tb(error.__traceback__)
    steps = [frame for frame in frames if frame.filename == sequence.__file__]
    if not (steps and steps[-1].lineno):
        return ""
    line = linecache.getline(steps[-1].filename, steps[-1].lineno)
    called = _PART.search(line[steps[-1].colno or 0 : steps[-1].end_colno])
    return called[1] if called else ""


def base_of(name: str) -> str:
    """Return ``x`` for the site ``x_3`` of a sequence, other names as they are."""
    return (step_of(name) or (name,))[0]


def _site_of(trace: TracebackType | None) -> Site | None:
    """Return the site that an exception is about, as the frames of pyro know it."""
    site: Site | None = None
    while trace:
        for name in ("msg", "site"):
            value = trace.tb_frame.f_locals.get(name)
            if isinstance(value, dict) and "fn" in value and "name" in value:
                site = value
        trace = trace.tb_next
    return site


def gradients(
    subject: Subject, parameters: list[nn.Parameter], seed: int
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the negative ELBO in training, None where there is none."""
    with torch.enable_grad():
        loss = -elbo(subject.trace(subject.args, seed=seed, training=True))
        if not loss.requires_grad:
            return (None,) * len(parameters)
        return torch.autograd.grad(loss, parameters, allow_unused=True)


def elbo(trace: PairTrace) -> Tensor:
    """Return the ELBO of a batch from one draw, a scalar in nats; 0 of a pair without sites."""
    model = sum(log_density(site).sum() for site in density_sites(trace.model).values())
    densities = map(density_of, density_sites(trace.guide).values())
    guide = sum(density.sum() for density in densities if density is not None)
    return torch.as_tensor(model - guide)


def density_of(site: Site) -> Tensor | None:
    """Return the log-density of a site, None of a flow at a value that it did not draw itself."""
    if "density" in site:
        return site["density"]
    return log_density(site)


def _remember_flows(guide: Trace) -> None:
    """Keep the densities of flows: one that cannot be inverted knows that of its last draw only."""
    for site in sample_sites(guide).values():
        if isinstance(elements_of(site["fn"]), TransformedDistribution):
            try:
                site["density"] = log_density(site)
            except (KeyError, NotImplementedError):
                site["density"] = None
