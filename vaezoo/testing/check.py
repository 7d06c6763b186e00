"""Does a model/guide pair keep to the rules? The checks behind ``vaezoo check``."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from vaezoo.config import build_model, layers
from vaezoo.errors import RequestError, VaezooError
from vaezoo.pairs.blame import line_of, one_line, raised_at
from vaezoo.pairs.families import family, is_boolean, is_discrete, support_of
from vaezoo.pairs.materialise import materialise
from vaezoo.pairs.sites import (
    Args,
    argument_names,
    sample_sites,
    takes_lengths,
    trace_pair,
)
from vaezoo.registry import entry_of
from vaezoo.runtime.isolation import isolated
from vaezoo.testing.conformance import CHECKS, Check
from vaezoo.testing.subject import Failure, Subject, base_of

__all__ = ["Conformance", "SiteRow", "check_class", "check_pair", "made_up_batch"]

NUM_ROWS, NUM_STEPS = 7, 6
X_SHAPES = {"images": (8, 8), "vectors": (5,), "sequences": (4,)}


@dataclass(frozen=True)
class SiteRow:
    """One line of the table of sites; the steps of a sequence share one."""

    site: str
    kind: str
    distribution: str
    batch_shape: tuple[int, ...]
    event_shape: tuple[int, ...]


@dataclass(frozen=True)
class Conformance:
    """How far a pair keeps the contract: what the checks say.

    Attributes
    ----------
    shapes
        The sites of the model; empty when it did not run.
    failures
        What is wrong, in the order of the checks.
    passed, skipped
        Names of checks. One is skipped when a failure before it makes its answer meaningless.
    """

    shapes: tuple[SiteRow, ...]
    failures: tuple[Failure, ...]
    passed: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    @property
    def summary(self) -> str:
        """One line: how many checks passed."""
        if self.ok:
            return f"ok: {len(self.passed)} checks passed"
        failed = len({failure.check for failure in self.failures})
        later = f", {len(self.skipped)} wait for that: {', '.join(self.skipped)}"
        return f"{failed} failed, {len(self.passed)} passed{later if self.skipped else ''}"

    def __str__(self) -> str:
        lines = [*_table(self.shapes), *map(str, self.failures), self.summary]
        return "\n".join(lines)

    def raise_if_failed(self) -> None:
        """Raise an AssertionError that shows what is wrong, unless all is well."""
        if not self.ok:
            raise AssertionError(f"the pair fails its checks\n{self}")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {
            "ok": self.ok,
            "sites": [asdict(row) for row in self.shapes],
            "failures": [asdict(failure) for failure in self.failures],
            "passed": list(self.passed),
            "skipped": list(self.skipped),
        }


def check_pair(
    pair: nn.Module, args: Args, *, fresh: Callable[[], nn.Module] | None = None
) -> Conformance:
    """Check an instance of a pair on a batch.

    Weights, random states and the parameter store are afterwards what they were before.

    Parameters
    ----------
    pair
        The pair.
    args
        What model and guide take: tensors of ``(B, ...)``, at least three rows.
    fresh
        Builds the pair once more. With it the check of saving also sees what the constructor
        draws at random and nothing saves.

    Raises
    ------
    RequestError
        When the batch does not fit the arguments of the model.
    """
    names = argument_names(pair)
    if len(args) != len(names):
        raise RequestError(f"the model takes ({', '.join(names)}), not {len(args)} tensors")
    if len(args[0]) < 3:
        raise RequestError(f"the checks need a batch of at least 3 rows, got {len(args[0])}")
    materialise(pair, args)
    subject = Subject(pair, args, names, fresh)
    failures: list[Failure] = []
    passed: list[str] = []
    with subject.isolation():
        for check in CHECKS:
            if set(check.after) <= set(passed):
                its_failures = _run(check, subject)
                failures += its_failures
                passed += [] if its_failures else [check.name]
    names_failed = {failure.check for failure in failures}
    skipped = [c.name for c in CHECKS if c.name not in passed and c.name not in names_failed]
    return Conformance(_rows(subject), tuple(failures), tuple(passed), tuple(skipped))


def _run(check: Check, subject: Subject) -> list[Failure]:
    failures: list[Failure] = []
    try:
        failures.extend(check.run(subject))
    except Exception as error:
        failures.append(subject.explain(check.name, error))
    return _merged(failures)


def _merged(failures: Sequence[Failure]) -> list[Failure]:
    """Join failures of one line that differ in names and numbers only, as of steps do."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        kind = re.sub(r"'[^']*'|\d+", "", failure.what)
        groups.setdefault((failure.where, kind), []).append(failure)
    return [
        replace(first, what=f"{first.what} (and {len(others)} more)") if others else first
        for first, *others in groups.values()
    ]


def check_class(
    cls: type[nn.Module],
    *,
    settings: Mapping[str, Any] | None = None,
    x_shape: Sequence[int] | None = None,
) -> Conformance:
    """Build a pair and check it on made-up data that fit its observed sites.

    Parameters
    ----------
    cls
        The class of the pair.
    settings
        Arguments of its constructor; the others have their defaults.
    x_shape
        Shape of one datum, or of one frame. Small by default.

    Raises
    ------
    RequestError
        When a setting is wrong, or an argument of the model is one that cannot be made up.
    """
    shape = tuple(x_shape or X_SHAPES[entry_of(cls).data])
    config, _ = layers(cls, None, settings or {})

    def fresh() -> nn.Module:
        pair = build_model(cls, config, shape)
        materialise(pair, made_up_batch(pair, shape))
        return pair

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            pair = fresh()
        except VaezooError:
            raise
        except Exception as error:
            return _not_built(cls, error)
        args = made_up_batch(pair, shape)
    return check_pair(pair, args, fresh=fresh)


def _not_built(cls: type[nn.Module], error: Exception) -> Conformance:
    where, repair = raised_at(error, cls), "correct this line"
    if isinstance(error, TypeError) and f"{cls.__name__}.__init__" in str(error):
        where = line_of(cls.__init__)
        repair = "take keyword-only, typed arguments: (self, *, x_shape: tuple[int, ...], ...)"
    what = f"the constructor of {cls.__name__} fails: {one_line(error)}"
    failure = Failure("runs", where, what, repair)
    return Conformance((), (failure,), (), tuple(c.name for c in CHECKS if c.name != "runs"))


def made_up_batch(pair: nn.Module, x_shape: Sequence[int]) -> Args:
    """Return a small batch for a pair.

    ``x`` is binary for a Bernoulli site, standard normal for a real one, and otherwise drawn from
    the site itself; ``length`` varies; ``label`` is drawn from its site, or alternates.

    Raises
    ------
    RequestError
        When the model takes an argument of another name.
    """
    names = argument_names(pair)
    draft = {name: _draft(name, x_shape, takes_lengths(pair)) for name in names}
    training = pair.training
    try:
        with torch.no_grad(), isolated(), pyro.validation_enabled(False):
            observed = trace_pair(pair.eval(), tuple(draft.values())).observed
    except Exception:  # the checks will say what is wrong
        return tuple(draft.values())
    finally:
        pair.train(training)
    for name in ("x", "label"):
        sites = [site for key, site in observed.items() if base_of(key) == name]
        if name in names and sites:
            draft[name] = _fitting(draft[name], [site["fn"] for site in sites])
    return tuple(draft.values())


def _draft(name: str, x_shape: Sequence[int], sequences: bool) -> Tensor:
    if name == "x":
        steps = (NUM_STEPS,) if sequences else ()
        return torch.bernoulli(torch.full((NUM_ROWS, *steps, *x_shape), 0.5))
    if name == "length":
        return 1 + (torch.arange(NUM_ROWS) * 5 + NUM_STEPS - 1) % NUM_STEPS
    if name == "label":
        return torch.arange(NUM_ROWS) % 2
    raise RequestError(
        f"no data can be made up for the argument '{name}'; in a test of your own, call "
        "vaezoo.testing.check_pair(pair, args)"
    )


def _fitting(draft: Tensor, sites: list[Any]) -> Tensor:
    if is_boolean(sites[0]):
        return draft
    if support_of(sites[0]) is torch.distributions.constraints.real:
        return torch.randn_like(draft)
    x = torch.stack([fn.sample() for fn in sites], 1)
    return x.reshape(draft.shape).to(draft.dtype) if x.numel() == draft.numel() else draft


def _rows(subject: Subject) -> tuple[SiteRow, ...]:
    """Return the sites of the model, those of one kind at several steps as one row."""
    if not hasattr(subject, "first"):
        return ()
    steps: dict[SiteRow, list[str]] = {}
    for name, site in sample_sites(subject.first.model).items():
        steps.setdefault(_row(base_of(name), site), []).append(name)
    return tuple(
        replace(row, site=names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}")
        for row, names in steps.items()
    )


def _row(name: str, site: dict[str, Any]) -> SiteRow:
    fn = site["fn"]
    discrete = "discrete latent" if is_discrete(fn) else "latent"
    kind = "observed" if site["is_observed"] else discrete
    return SiteRow(name, kind, family(fn), tuple(fn.batch_shape), tuple(fn.event_shape))


def _table(rows: Sequence[SiteRow]) -> list[str]:
    if not rows:
        return []
    cells = [("site", "kind", "distribution", "batch", "event")]
    cells += [
        (row.site, row.kind, row.distribution, str(row.batch_shape), str(row.event_shape))
        for row in rows
    ]
    widths = [min(20, max(map(len, column))) for column in zip(*cells, strict=True)]
    form = "  ".join(f"{{:<{width}.{width}}}" for width in widths)
    return [form.format(*line).rstrip() for line in cells]
