"""What a study came to: a row for each measure of each variant, and what became of its claims."""

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, refusing
from vaezoo.predict.comparison.estimates import Estimate, paired_difference
from vaezoo.runtime.reading import read_plain
from vaezoo.study.design import Claim, Study
from vaezoo.versions import say_machine, say_versions

__all__ = ["STATES", "Outcome", "Result", "Row", "answer_of", "judged", "read_result", "result_of"]

State = Literal["holds", "refuted", "open"]
STATES: dict[State, str] = {
    "holds": "holds",
    "refuted": "does not hold",
    "open": "within the noise",
}
Values = Mapping[tuple[str, str, str], Array]
LARGEST_FILE = 2**26  # bytes
COLUMNS = (
    *("data", "variant", "measure", "unit", "seeds", "value", "error"),
    *("difference", "low", "high"),
)


@dataclass(frozen=True)
class Row:
    """A measure of a variant on a data set.

    Attributes
    ----------
    data, variant, measure, unit
        What of what.
    seeds
        Of how many trainings.
    value, error
        Mean over seeds (and data), and its standard error over both.
    difference
        From the study's reference, with the interval that holds it in 95 of 100 cases; None of the
        reference itself.
    """

    data: str
    variant: str
    measure: str
    unit: str
    seeds: int
    value: float
    error: float | None
    difference: Estimate | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a claim on a data set: the difference that it is about, and the state."""

    claim: str
    rule: str
    rows: tuple[str, ...]
    data: str
    difference: Estimate
    state: State


@dataclass(frozen=True)
class Result:
    """What a study came to.

    Attributes
    ----------
    study, scale, seeds, question, answer
        Of which study, how large, and in sentences.
    rows, outcomes
        The table, and the claims on each data set.
    failed
        Trainings and measures that failed, and why.
    made
        Versions, machine and date.
    """

    study: str
    scale: str
    seeds: int
    question: str
    answer: str
    rows: tuple[Row, ...]
    outcomes: tuple[Outcome, ...]
    failed: tuple[str, ...]
    made: str

    def row(self, data: str, variant: str, measure: str) -> Row | None:
        """Return a row, or None."""
        wanted = (data, variant, measure)
        return next((r for r in self.rows if (r.data, r.variant, r.measure) == wanted), None)

    @property
    def refuted(self) -> list[str]:
        """The claims that are refuted on each data set where they were decided."""
        return [claim for claim, states in self.states.items() if set(states) == {"refuted"}]

    @property
    def states(self) -> dict[str, list[State]]:
        """What became of each claim, by data set."""
        states: dict[str, list[State]] = {}
        for outcome in self.outcomes:
            states.setdefault(outcome.claim, []).append(outcome.state)
        return states

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_csv(self) -> str:
        """Return the table as comma-separated values."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            own = [getattr(row, name) for name in COLUMNS[:7]]
            apart = row.difference
            ends = [apart.value, *(apart.interval or (None, None))] if apart else [None] * 3
            writer.writerow([*own, *ends])
        return file.getvalue()


def read_result(path: str | Path) -> Result:
    """Return the result in the folder of a study, or in a file.

    Raises
    ------
    RequestError
        When there is none, or it cannot be read.
    """
    file = Path(path)
    file = file / "result.json" if file.is_dir() else file
    if not file.is_file():
        raise RequestError(f"'{path}' has no result.json; `vaezoo study run` goes on with it")
    with refusing(f"{file} cannot be read"):
        values = json.loads(read_plain(file, LARGEST_FILE))
        rows = [
            Row(**{**row, "difference": _estimate(row["difference"])}) for row in values["rows"]
        ]
        outcomes = [
            Outcome(**{**o, "rows": tuple(o["rows"]), "difference": _estimate(o["difference"])})
            for o in values["outcomes"]
        ]
        both = {"rows": tuple(rows), "outcomes": tuple(outcomes)}
        return Result(**{**values, **both, "failed": tuple(values["failed"])})


def _estimate(values: Mapping[str, Any] | None) -> Any:
    if values is None:
        return None
    interval = values["interval"]
    return Estimate(
        values["value"], values["standard_error"], tuple(interval) if interval else None
    )


def result_of(
    study: Study, scale: str, seeds: int, values: Values, failed: Sequence[str]
) -> Result:
    """Return what a study came to.

    Parameters
    ----------
    study, scale, seeds
        Which one, how large, of how many seeds.
    values
        ``(seeds, N)`` by data set, variant and measure; N is 1 where a run has one number.
    failed
        What failed, and why.
    """
    outcomes = [
        outcome
        for claim in study.claims
        for data in dict.fromkeys(data for data, _, _ in values)
        if (outcome := judged(claim, data, values, len(study.claims)))
    ]
    result = Result(
        study.name,
        scale,
        seeds,
        study.question,
        "",
        tuple(_row(study, key, values) for key in values),
        tuple(outcomes),
        tuple(failed),
        f"{say_versions()}, {say_machine()}; {time.strftime('%Y-%m-%d')}",
    )
    return replace(result, answer=answer_of(study, result))


def _row(study: Study, key: tuple[str, str, str], values: Values) -> Row:
    data, variant, measure = key
    own = values[key]
    reference = values.get((data, study.standard, measure))
    mean = _difference(own, np.zeros((1, own.shape[1])))
    apart = None
    if reference is not None and reference is not own and reference.shape[1] == own.shape[1]:
        number = sum(other[0] == data and other[2] == measure for other in values) - 1
        apart = _difference(own, reference, number)
    unit = study.unit(measure)
    return Row(data, variant, measure, unit, len(own), mean.value, mean.standard_error, apart)


def _difference(first: Array, second: Array, number: int = 1) -> Estimate:
    return paired_difference(first, second, np.ones(first.shape[1]), num_comparisons=max(number, 1))


def judged(claim: Claim, data: str, values: Values, num_claims: int = 1) -> Outcome | None:
    """Return what becomes of a claim on a data set; None where one of the two is not there.

    Intervals are as wide as Bonferroni asks for so many claims.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> few, many = rng.normal(size=(2, 3, 100))
    >>> values = {("toy", "few", "elbo"): few, ("toy", "many", "elbo"): many + 2}
    >>> judged(Claim("More is better", "elbo", "many", "few"), "toy", values).state
    'holds'
    """
    own = values.get((data, claim.of, claim.measure))
    other = values.get((data, claim.than, claim.measure)) if isinstance(claim.than, str) else None
    if own is None or (isinstance(claim.than, str) and other is None):
        return None
    if other is None:
        other = np.full((1, own.shape[1]), float(claim.than))
    difference = _difference(own, other, num_claims)
    state = _state(claim, difference)
    return Outcome(claim.text, claim.rule, claim.rows, data, difference, state)


def _state(claim: Claim, difference: Estimate) -> State:
    if difference.interval is None:  # of one seed and one number, nothing is sure
        return "open"
    low, high = difference.interval
    if claim.relation == "same":
        if -claim.by <= low and high <= claim.by:
            return "holds"
        return "refuted" if low > claim.by or high < -claim.by else "open"
    if claim.relation == "smaller":
        low, high = -high, -low
    return "holds" if low > claim.by else ("refuted" if high < claim.by else "open")


def answer_of(study: Study, result: Result) -> str:
    """Return sentences that answer the question of a study by its result."""
    return study.answer(result) if study.answer else _became(result)


def _became(result: Result) -> str:
    """Say which claims hold, which do not, which are open, and which depend on the data."""
    sorts: dict[str, list[str]] = {}
    for claim, states in result.states.items():
        if len(set(states)) == 1:
            sorts.setdefault(STATES[states[0]].capitalize(), []).append(f"“{claim}”")
        else:
            sorts.setdefault("It depends on the data", []).append(_by_state(result, claim))
    return " ".join(f"{sort}: {'; '.join(claims)}." for sort, claims in sorts.items())


def _by_state(result: Result, claim: str) -> str:
    """Say on which data a claim came to what."""
    own = [outcome for outcome in result.outcomes if outcome.claim == claim]
    sets = {o.state: ", ".join(p.data for p in own if p.state == o.state) for o in own}
    where = (f"{STATES[state]} on {data}" for state, data in sets.items())
    return f"“{claim}” ({'; '.join(where)})"
