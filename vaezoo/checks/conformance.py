"""Does a model/guide pair keep to the rules? The checks, and what they say of it.

A check looks at a :class:`Subject` and yields a :class:`Failure` for everything that is wrong.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from vaezoo.checks.agreement import check_agreement
from vaezoo.checks.behaviour import (
    check_finite,
    check_gradients,
    check_predictive,
    check_rows,
    check_seeds,
)
from vaezoo.checks.blame import class_of, line_of, one_line, raised_at, repair_of
from vaezoo.checks.density import check_density, check_reparameterised
from vaezoo.checks.padding import check_padding
from vaezoo.checks.remarks import Failure, Note, Remarks
from vaezoo.checks.saving import check_saving
from vaezoo.checks.structure import (
    check_arguments,
    check_plate,
    check_runs,
    check_shapes,
    check_sites,
    check_store,
)
from vaezoo.checks.subject import Subject, base_of
from vaezoo.distributions.families import family, is_discrete
from vaezoo.errors import RequestError, VaezooError, words_of
from vaezoo.pairs.materialise import materialise
from vaezoo.pairs.sites import Args, argument_names, sample_sites

__all__ = ["Conformance", "ContractError", "SiteRow", "conformance_of", "not_built", "not_run"]


@dataclass(frozen=True)
class Check:
    """A check, and the checks without which its answer would mean nothing."""

    name: str
    run: Callable[[Subject], Remarks]
    after: tuple[str, ...] = ()


# In their order.
CHECKS = (
    Check("arguments", check_arguments),
    Check("runs", check_runs, after=("arguments",)),
    Check("sites", check_sites, after=("runs",)),
    Check("plate", check_plate, after=("runs",)),
    Check("shapes", check_shapes, after=("plate",)),
    Check("reparameterised", check_reparameterised, after=("runs",)),
    Check("density", check_density, after=("sites", "plate")),
    Check("store", check_store, after=("runs",)),
    Check("finite", check_finite, after=("sites", "shapes")),
    Check("gradients", check_gradients, after=("finite",)),
    Check("seeds", check_seeds, after=("finite",)),
    Check("rows", check_rows, after=("seeds",)),
    Check("padding", check_padding, after=("rows",)),
    Check("agreement", check_agreement, after=("rows",)),
    Check("predictive", check_predictive, after=("seeds",)),
    Check("saving", check_saving, after=("seeds",)),
)


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
    arguments
        What becomes of each argument, in one line; of data that were given.
    failures
        What is wrong, in the order of the checks.
    notes
        What is right, but worth a word.
    passed, skipped
        Names of checks. One is skipped when a failure before it makes its answer meaningless.
    """

    shapes: tuple[SiteRow, ...]
    failures: tuple[Failure, ...]
    passed: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    arguments: str = ""

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
        lines = [*_table(self.shapes), self.arguments]
        lines += [*map(str, (*self.notes, *self.failures)), self.summary]
        return "\n".join(filter(None, lines))

    def raise_if_failed(self) -> None:
        """Raise an AssertionError that shows what is wrong, unless all is well."""
        if not self.ok:
            raise AssertionError(f"the pair fails its checks\n{self}")

    def refuse(self) -> None:
        """Raise an error that tells the first failure, unless all is well."""
        if not self.ok:
            raise ContractError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {
            "ok": self.ok,
            "sites": [asdict(row) for row in self.shapes],
            "arguments": self.arguments,
            "failures": [asdict(failure) for failure in self.failures],
            "notes": [asdict(note) for note in self.notes],
            "passed": list(self.passed),
            "skipped": list(self.skipped),
        }


class ContractError(RequestError):
    """A pair does not keep the contract: its first failure, in one line.

    Parameters
    ----------
    report
        What the checks say, all of it.
    """

    def __init__(self, report: Conformance) -> None:
        first, *others = report.failures
        more = f" (and {len(others)} more; see `vaezoo.testing.check_pair`)" if others else ""
        super().__init__(f"{first}{more}")
        self.report = report


def conformance_of(
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
    try:
        materialise(pair, args)
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:  # of lazy layers that run here first; SystemExit, too
        return not_run(pair, error)
    if unsaved := [n for n, v in pair.state_dict().items() if not isinstance(v, Tensor)]:
        return _only(_not_a_tensor(pair, str(unsaved[0])))
    subject = Subject(pair, args, names, fresh)
    remarks: list[Failure | Note] = []
    passed: list[str] = []
    with subject.isolation():
        for check in CHECKS:
            if set(check.after) <= set(passed):
                its_remarks = _run(check, subject)
                remarks += its_remarks
                if not any(isinstance(remark, Failure) for remark in its_remarks):
                    passed.append(check.name)
    failures = tuple(remark for remark in remarks if isinstance(remark, Failure))
    notes = tuple(remark for remark in remarks if isinstance(remark, Note))
    names_failed = {failure.check for failure in failures}
    skipped = [c.name for c in CHECKS if c.name not in passed and c.name not in names_failed]
    return Conformance(_rows(subject), failures, tuple(passed), tuple(skipped), notes)


def _not_a_tensor(pair: nn.Module, name: str) -> Failure:
    what = f"its state_dict holds '{name}', which is no tensor and cannot be saved"
    repair = "keep all state in nn.Parameter or self.register_buffer"
    return Failure("saving", line_of(class_of(pair)), what, repair)


def not_built(cls: type[nn.Module], error: BaseException) -> Conformance:
    """Return what is said of a pair whose constructor raises an exception."""
    where, repair = raised_at(error, cls), "correct this line"
    if isinstance(error, TypeError) and f"{cls.__name__}.__init__" in words_of(error):
        where = line_of(cls.__init__)
        repair = "take keyword-only, typed arguments: (self, *, x_shape: tuple[int, ...], ...)"
    what = f"the constructor of {cls.__name__} fails: {one_line(error)}"
    return _only(Failure("runs", where, what, repair))


def not_run(pair: nn.Module, error: BaseException) -> Conformance:
    """Return what is said of a pair that raises an exception before it is checked."""
    where = raised_at(error, class_of(pair))
    return _only(Failure("runs", where, one_line(error), repair_of(error)))


def _only(failure: Failure) -> Conformance:
    others = tuple(check.name for check in CHECKS if check.name != failure.check)
    return Conformance((), (failure,), (), others)


def _run(check: Check, subject: Subject) -> list[Failure | Note]:
    remarks: list[Failure | Note] = []
    try:
        remarks.extend(check.run(subject))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too
        remarks.append(subject.explain(check.name, error))
    return _merged(remarks)


def _merged(remarks: Sequence[Failure | Note]) -> list[Failure | Note]:
    """Join remarks on one line that differ in names and numbers only, as of steps do."""
    groups: dict[tuple[str, str], list[Failure | Note]] = {}
    for remark in remarks:
        kind = re.sub(r"'[^']*'|\d+", "", remark.what)
        groups.setdefault((remark.where, kind), []).append(remark)
    return [
        replace(first, what=f"{first.what} (and {len(others)} more)") if others else first
        for first, *others in groups.values()
    ]


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
