"""A page for every study, from its file and the result that is kept, and numbers in other pages.

Results are those that ``vaezoo study run NAME`` left, copied to ``docs/results/studies``, and those
of scale ``full`` to ``docs/results/studies/full``; a study without one has a page that says how to
run it.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from generated import write_pages

from vaezoo.markup import markdown
from vaezoo.predict.comparison.estimates import Estimate
from vaezoo.study import Study, get_study, list_studies, read_result
from vaezoo.study.pictures import plot_result
from vaezoo.study.result import Outcome, Result
from vaezoo.study.words import (
    claim_rows,
    measure_tables,
    paragraphs,
    said_of,
    sentences,
    setting_rows,
    with_error,
)

__all__ = ["fill", "write"]

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results" / "studies"
_STUDY = re.compile(r"`study ([a-z-]+)`")
_ROW = re.compile(r"^\| (\d-\d+) \|", re.MULTILINE)
_CLAIM = re.compile(r"\{([a-z-]+)\.(\d+)\}")
_MEAN = re.compile(r"\{([a-z-]+): ([^{}]+)\}")
_CEILING = " *Information* is an estimate, at most the logarithm of the number of test data."


def write(folder: Path) -> None:
    """Write ``index.md`` and one page per study."""
    folder.mkdir(exist_ok=True)
    studies = [get_study(name) for name in list_studies()]
    results = {study.name: _result_of(study.name) for study in studies}
    pages = {f"{study.name}.md": _page(study, results[study.name], folder) for study in studies}
    pages["index.md"] = _index(studies, results)
    write_pages(folder, {name: "\n".join(lines) + "\n" for name, lines in pages.items()}, ".md")


@functools.cache
def _result_of(name: str) -> Result | None:
    file = _RESULTS / f"{name}.json"
    return read_result(file) if file.is_file() else None


def fill(text: str) -> str:
    """Put numbers of results in their places, and links to studies.

    ``{STUDY.NUMBER}`` stands for those of that claim, on each data set: differences of two
    variants, or values where the claim is about a number. ``{STUDY: MEASURE; VARIANT; DATA}`` is a
    mean with its standard error.
    """
    text = _STUDY.sub(r"[`study \1`](studies/\1.md)", text)
    text = _ROW.sub(r'| <span class="row">\1</span> |', text)
    text = _CLAIM.sub(lambda match: _differences(match[1], int(match[2])), text)
    return _MEAN.sub(lambda match: _mean(match[1], *match[2].split("; ")), text)


def _differences(name: str, number: int) -> str:
    study, result = get_study(name), _result_of(name)
    if result is None:
        return ""
    claim = study.claims[number - 1]
    shift = 0.0 if isinstance(claim.than, str) else claim.than
    unit = f" {study.unit(claim.measure)}".rstrip()
    parts = [
        f"{said_of(_shifted(outcome.difference, shift))}{unit}, {outcome.data}"
        for outcome in _outcomes(result, claim.text)
    ]
    return f"({'; '.join(parts)})"


def _mean(name: str, measure: str, variant: str, data: str) -> str:
    result = _result_of(name)
    row = result.row(data, variant, measure) if result else None
    if row is None:
        raise ValueError(f"{name} has no {measure} of {variant} on {data}")
    return f"{with_error(row.value, row.error)} {row.unit}".strip()


def _shifted(estimate: Estimate, by: float) -> Estimate:
    own = estimate.interval
    ends = None if own is None else (own[0] + by, own[1] + by)
    return replace(estimate, value=estimate.value + by, interval=ends)


def _outcomes(result: Result, claim: str) -> list[Outcome]:
    return [outcome for outcome in result.outcomes if outcome.claim == claim]


def _index(studies: Sequence[Study], results: dict[str, Result | None]) -> list[str]:
    lines = ["# Studies: questions that runs answer", ""]
    lines += [
        "Each is one file: variants that differ in one thing, trained with several seeds, measured "
        "on the same rows, and claims that are judged by rules which stood before. Results are "
        "those of `vaezoo study run NAME`, at the scale that its page names; an interval holds a "
        "difference in 95 of 100 cases, for all claims of a study together.",
        "",
    ]
    rows = [
        (f"[{study.name}]({study.name}.md)", study.question, _tally(results[study.name]))
        for study in studies
    ]
    lines += [_table([("study", "question", "claims"), *rows])]
    lines += ["", *_contradicted(results), "```{toctree}", ":hidden:", ""]
    return [*lines, *(study.name for study in studies), "```"]


def _tally(result: Result | None) -> str:
    if result is None:
        return "not run yet"
    states = [outcome.state for outcome in result.outcomes]
    words = {"holds": "hold", "refuted": "do not", "open": "within the noise"}
    counts = [(states.count(state), word) for state, word in words.items()]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _contradicted(results: dict[str, Result | None]) -> Iterator[str]:
    """List the claims that did not hold on any data set where they were tried."""
    yield from ("## What is said, and did not hold", "")
    for name, result in results.items():
        for claim in result.refuted if result else []:
            said = "; ".join(f"{said_of(o.difference)}, {o.data}" for o in _outcomes(result, claim))
            yield f"- {claim}: {said} ([{name}]({name}.md))."
    yield ""


def _page(study: Study, result: Result | None, folder: Path) -> list[str]:
    lines = [f"# {study.question}", ""]
    if result is not None:
        lines += [*(f"- {sentence}" for sentence in sentences(result.answer)), ""]
    for heading, words in paragraphs(study.text):
        lines += [f"**{heading}.** {words}" if heading else words, ""]
    lines += ["## Claims, and what became of them", ""]
    lines += [f"- {claim.text}: *{claim.rule}*" for claim in study.claims]
    lines += [""]
    if result is None:
        return [*lines, f"Run it: `vaezoo study run {study.name}`."]
    lines += [_table(claim_rows(result)), "", "## What was measured", ""]
    lines += _measured(study, result)
    picture = folder / f"{study.name}.png"
    plot_result(study, result, picture)
    lines += [f"![measures of each variant, by data set]({picture.name})", ""]
    lines += [f"Failed: {line}\n" for line in result.failed]
    lines += ["## Settings", "", _table(setting_rows(study, result.scale)), ""]
    lines += ["## Again", "", *_again(result), *_larger(study)]
    if study.rows:
        lines += ["", f"It answers the rows {', '.join(study.rows)} of [](../questions.md)."]
    return lines


def _measured(study: Study, result: Result) -> Iterator[str]:
    """Yield a table of all measures for each data set."""
    yield (
        f"Means over {result.seeds} seeds and over data, with standard errors; * differs from "
        f"*{study.standard}* by more than the noise."
        + (_CEILING if any(row.measure == "information" for row in result.rows) else "")
    )
    yield ""
    for data, rows in measure_tables(result):
        yield from (f"### {data[0].upper()}{data[1:]}, {result.scale}", "", _table(rows), "")


def _again(result: Result) -> Iterator[str]:
    """Yield how to run a study again, and what it was run with."""
    command = f"vaezoo study run {result.study} --scale {result.scale} --seeds {result.seeds}"
    yield from ("```bash", command, "```", "", f"{result.made}.", "")


def _larger(study: Study) -> Iterator[str]:
    """Yield what a study came to at scale ``full``, where that was run."""
    file = _RESULTS / "full" / f"{study.name}.json"
    if not file.is_file():
        return
    result = read_result(file)
    yield from ("## At scale `full`", "", *(f"- {line}" for line in sentences(result.answer)), "")
    yield from (_table(claim_rows(result)), "", *_measured(study, result))
    yield from (f"Failed: {line}\n" for line in result.failed)
    yield from (_table(setting_rows(study, result.scale)), "", *_again(result))


def _table(rows: Sequence[Sequence[str]]) -> str:
    return markdown([cell.replace("*", "\\*") for cell in row] for row in rows)
