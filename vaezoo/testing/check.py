"""Check a class: build a pair and make up data that it can take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from vaezoo.checks.admission import examine_on_data, materialised, with_parameters
from vaezoo.checks.blame import one_line, raised_at
from vaezoo.checks.conformance import Conformance, ContractError, conformance_of
from vaezoo.checks.remarks import Note
from vaezoo.checks.subject import base_of
from vaezoo.config import layers
from vaezoo.data import Data, DataLike
from vaezoo.data.dataset import with_arguments
from vaezoo.distributions.families import is_boolean, support_of
from vaezoo.errors import RequestError
from vaezoo.observations.roles import describe_arguments
from vaezoo.pairs.sites import Args, PairTrace, argument_names, takes_lengths, trace_pair
from vaezoo.registry import blaming_file, entry_of
from vaezoo.runtime.isolation import isolated
from vaezoo.settings import DataSettings
from vaezoo.training.admission import built, filled_from_data, load_for, preset_of

__all__ = ["check_class", "check_pair", "made_up_batch", "small_pair"]

NUM_ROWS, NUM_STEPS = 7, 6
MOST_TRIALS = 200
MOST_INPUTS = 4096
# The first is made up, unless the pair does not run on it, but on another.
X_SHAPES: dict[str, list[tuple[int, ...]]] = {
    "images": [(8, 8), (1, 8, 8), (28, 28), (1, 28, 28), (32, 32), (3, 32, 32), (3, 64, 64)],
    "vectors": [(5,), (4,), *((width,) for width in range(6, 17)), (3,), (2,), (1,)],
    "sequences": [(4,), *((width,) for width in range(5, 17)), (3,), (2,), (1,)],
}


def check_class(
    cls: type[nn.Module],
    *,
    settings: Mapping[str, Any] | None = None,
    x_shape: Sequence[int] | None = None,
    data: DataLike | DataSettings | None = None,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
) -> Conformance:
    """Build a pair and check it, on data or on made-up data that fit its observed sites.

    Parameters
    ----------
    cls
        The class of the pair.
    settings
        Arguments of its constructor; the others have their defaults.
    x_shape
        Shape of one made-up datum, or of one frame. Small by default.
    data, data_settings
        In any form that :func:`vaezoo.fit` takes, to say what that would say.

    Raises
    ------
    RequestError
        When a setting is wrong, or the pair cannot explain the data, or an argument of the model is
        one that cannot be made up.
    """
    if data is not None:
        if x_shape is not None:
            raise RequestError("`x_shape` is of made-up data; leave it out, or `data`")
        return _on_data(cls, settings or {}, *load_for(cls, data, data_settings))
    config, _ = layers(cls, None, settings or {})
    shapes = [tuple(x_shape)] if x_shape else X_SHAPES[entry_of(cls).data]
    with torch.random.fork_rng(devices=[]):
        attempts = [_attempt(cls, config, shapes[0])]
        # Some pairs are for data of one shape.
        others = (_attempt(cls, config, shape) for shape in (*shapes[1:], *_widths_of(*attempts)))
        if attempts[0].error is not None and x_shape is None:
            attempts += [a for a in others if a.error is None][:1]
        report = _told(cls, *attempts)
        return with_parameters(report, attempts[-1].pair) if attempts[-1].pair else report


def check_pair(
    pair: nn.Module,
    args: Args | None = None,
    *,
    data: DataLike | DataSettings | None = None,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    fresh: Callable[[], nn.Module] | None = None,
) -> Conformance:
    """Check an instance of a pair on a batch, or on a few rows of data.

    Weights, random states and the parameter store are afterwards what they were before.

    Parameters
    ----------
    pair
        The pair.
    args
        What model and guide take: tensors of ``(B, ...)``, at least three rows.
    data, data_settings
        Instead of a batch, in any form that :func:`vaezoo.fit` takes.
    fresh
        Builds the pair once more. With it the check of saving also sees what the constructor
        draws at random and nothing saves.

    Raises
    ------
    RequestError
        When the batch does not fit the arguments of the model, or the pair cannot explain the data.

    Examples
    --------
    >>> pair = vaezoo.build_model("vae-linear", {"z_dim": 2}, (4,))
    >>> check_pair(pair, data=torch.randn(20, 4).numpy()).ok
    True
    """
    if (args is None) == (data is None):
        raise RequestError("check_pair needs either a batch, `args`, or `data`")
    if args is not None:
        return conformance_of(pair, args, fresh=fresh)
    return _report(pair, *load_for(type(pair), data, data_settings), fresh)


def _on_data(
    cls: type[nn.Module], values: Mapping[str, Any], settings: DataSettings, data: Data
) -> Conformance:
    """Build a pair as training does, and check it as training does."""
    config, _ = layers(cls, preset_of(cls, settings), values)
    config = filled_from_data(cls, config, data)
    again = partial(built, cls, config, data.x_shape)
    with torch.random.fork_rng(devices=[]), blaming_file(cls):
        torch.manual_seed(0)
        try:
            pair = again()
        except ContractError as error:
            return error.report
        return _report(pair, settings, data, again)


def _report(
    pair: nn.Module,
    settings: DataSettings,
    data: Data,
    again: Callable[[], nn.Module] | None,
) -> Conformance:
    try:
        admission = examine_on_data(pair, data, settings, again=again)
    except ContractError as error:
        return error.report
    names = argument_names(pair)
    arrays = with_arguments(data, names).arrays
    chosen = {n: [c] if isinstance(c, str) else c for n, c in settings.columns.items()}
    columns = {"x": data.columns, **chosen}
    line = describe_arguments(admission.roles, arrays, names, columns)
    return replace(admission.report, arguments=line if admission.report.ok else "")


@dataclass(frozen=True)
class _Attempt:
    """A pair on made-up data, and why it does not run."""

    shape: tuple[int, ...]
    build: Callable[[], nn.Module]
    pair: nn.Module | None = None
    args: Args = ()
    error: Exception | None = None


def _attempt(cls: type[nn.Module], config: Mapping[str, Any], shape: tuple[int, ...]) -> _Attempt:
    """Build a pair for data of a shape and make them up."""
    torch.manual_seed(0)
    build = partial(built, cls, config, shape)
    try:
        pair = build()
        args, error = _made_up(pair, shape)
    except RequestError as refusal:  # of the constructor, too
        return _Attempt(shape, build, error=refusal)
    return _Attempt(shape, build, pair, args, error)


def _told(cls: type[nn.Module], first: _Attempt, other: _Attempt | None = None) -> Conformance:
    """Return what the checks say of the first attempt, or of another that passes instead."""
    if other is None or first.error is None:
        return _report_of(first)
    report = _report_of(other)
    if not report.ok:
        return _report_of(first)
    where = raised_at(first.error, cls)
    what = f"x of shape {first.shape} fails, {one_line(first.error)}"
    note = Note("runs", where, what, f"{other.shape} is what was made up instead")
    return replace(report, notes=(note, *report.notes))


def _report_of(attempt: _Attempt) -> Conformance:
    if isinstance(attempt.error, ContractError):
        return attempt.error.report
    if isinstance(attempt.error, RequestError):
        raise attempt.error
    assert attempt.pair is not None
    fresh = partial(materialised, attempt.build, attempt.args)
    return conformance_of(attempt.pair, attempt.args, fresh=fresh)


def _widths_of(attempt: _Attempt) -> list[tuple[int, ...]]:
    """Return widths that the layers of a pair take."""
    return [(width,) for width in _inputs(attempt.pair)] if attempt.pair else []


def _inputs(pair: nn.Module) -> list[int]:
    sizes = {getattr(module, "in_features", 0) for module in pair.modules()}
    return sorted(size for size in sizes if isinstance(size, int) and 0 < size <= MOST_INPUTS)


def small_pair(cls: type[nn.Module]) -> tuple[nn.Module, Args]:
    """Return a pair of a class with its defaults, and a batch for it, the first that it runs on.

    Raises
    ------
    RequestError
        When it runs with none, or a setting is needed.

    Examples
    --------
    >>> from vaezoo.models.vae import VAEBernoulli
    >>> small_pair(VAEBernoulli)[1][0].shape
    torch.Size([7, 8, 8])
    """
    values, _ = layers(cls, None)
    problem: Exception = RequestError(f"{cls.__name__} runs on no made-up data")
    for x_shape in X_SHAPES[entry_of(cls).data]:
        try:
            pair = built(cls, values, x_shape)
            return pair, made_up_batch(pair, x_shape)
        except Exception as error:  # perhaps it takes another shape
            problem = error
    raise problem


def made_up_batch(pair: nn.Module, x_shape: Sequence[int]) -> Args:
    """Return a small batch for a pair.

    ``x`` is binary for a Bernoulli site, standard normal for a real one, and otherwise drawn from
    the site itself; ``length`` varies; ``label`` is drawn from its site, or alternates. Other
    arguments get the first shape and type, of some usual ones, with which the pair runs.

    Raises
    ------
    RequestError
        When the pair runs with none of them.
    """
    args, error = _made_up(pair, x_shape)
    if isinstance(error, RequestError):
        raise error
    return args


def _made_up(pair: nn.Module, x_shape: Sequence[int]) -> tuple[Args, Exception | None]:
    """Return a batch, and what the pair raises on it."""
    names = argument_names(pair)
    draft = {name: _draft(name, x_shape, takes_lengths(pair)) for name in names}
    others = [name for name, value in draft.items() if value is None]
    batch = {name: value for name, value in draft.items() if value is not None}
    batch, trace = _first_that_runs(pair, batch, others)
    batch = {name: batch[name] for name in names}
    if isinstance(trace, Exception):  # the checks will say what is wrong
        return tuple(batch.values()), trace
    for name in ("x", "label", *others):
        sites = [site for key, site in trace.observed.items() if base_of(key) == name]
        if name in names and sites:
            batch[name] = _fitting(batch[name], [site["fn"] for site in sites])
    return tuple(batch.values()), None


def _tried(
    pair: nn.Module, batch: Mapping[str, Tensor], *, strict: bool = False
) -> PairTrace | Exception:
    """Return a trace of a pair, or what it raises; strictly, what Pyro has against it, too."""
    training = pair.training
    args = tuple(batch[name] for name in argument_names(pair))
    try:
        with torch.no_grad(), isolated(), pyro.validation_enabled(strict):
            trace = trace_pair(pair.eval(), args)
            return _unequal(trace) or trace
    except Exception as error:
        return error
    finally:
        pair.train(training)


def _unequal(trace: PairTrace) -> Exception | None:
    """Return what to say where values broadcast against the distribution that observes them."""
    for name, site in trace.observed.items():
        shape, value = site["fn"].batch_shape + site["fn"].event_shape, site["value"].shape
        if shape != value:
            return ValueError(f"site '{name}' has shape {tuple(shape)}, its data {tuple(value)}")
    return None


def _first_that_runs(
    pair: nn.Module, batch: dict[str, Tensor], others: Sequence[str]
) -> tuple[dict[str, Tensor], PairTrace | Exception]:
    """Return a batch with other arguments with which the pair runs, and its trace.

    What the pair raises whatever they are is its own fault; otherwise it is theirs.
    """
    candidates = list(_usual_arguments(pair, batch["x"], takes_lengths(pair))) if others else []
    errors: list[Exception] = []
    choices = list(islice(product(candidates, repeat=len(others)), MOST_TRIALS))
    # Where others are wanted, such as a scale above 0; but x itself is only a draft.
    for strict, chosen in product((True, False) if others else (False,), choices):
        full = batch | dict(zip(others, chosen, strict=True))
        trace = _tried(pair, full, strict=strict)
        if isinstance(trace, PairTrace):
            return full, trace
        errors.append(trace)
    if len({str(error) for error in errors}) == 1:
        return full, errors[0]
    last = one_line(errors[-1])
    refusal = RequestError(
        f"no data can be made up for the argument '{others[0]}' (the last try: {last}); "
        "give data of your own, `data=FILE`"
    )
    return full, refusal


def _usual_arguments(pair: nn.Module, x: Tensor, sequences: bool) -> Iterator[Tensor]:
    """Yield arguments: labels, numbers, rows of numbers, and what is shaped like x."""
    inputs = _inputs(pair)
    # A layer takes them alone, or beside x.
    beside = [size - x[0].numel() for size in inputs]
    widths = [*range(1, 9), *sorted({w for w in (*inputs, *beside) if w > 8})]
    if sequences:
        yield from (torch.randn(*x.shape[:2], width) for width in widths)
    yield torch.arange(len(x)) % 2
    yield torch.linspace(0.1, 1, len(x))
    yield from (torch.randn(len(x), width) for width in widths)
    yield torch.randn(x.shape)
    yield torch.ones(x.shape, dtype=torch.bool)
    if sequences:
        yield (torch.arange(x[:, :, 0].numel()) % 2).reshape(x.shape[:2])
        yield torch.randn(x.shape[:2])


def _draft(name: str, x_shape: Sequence[int], sequences: bool) -> Tensor | None:
    steps = (NUM_STEPS,) if sequences else ()
    if name == "x":
        return torch.bernoulli(torch.full((NUM_ROWS, *steps, *x_shape), 0.5))
    if name == "mask":
        return torch.ones(NUM_ROWS, *steps, *x_shape, dtype=torch.bool)
    if name == "length":
        return 1 + (torch.arange(NUM_ROWS) * 5 + NUM_STEPS - 1) % NUM_STEPS
    return torch.arange(NUM_ROWS) % 2 if name == "label" else None


def _fitting(draft: Tensor, sites: list[Any]) -> Tensor:
    if is_boolean(sites[0]):
        return draft
    if support_of(sites[0]) is torch.distributions.constraints.real:
        return torch.randn_like(draft)
    x = torch.stack([fn.sample() for fn in sites], 1)
    return x.reshape(draft.shape).to(draft.dtype) if x.numel() == draft.numel() else draft
