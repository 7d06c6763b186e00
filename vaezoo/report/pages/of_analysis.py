"""What the page of an analysis says: verdict, figures with their captions, checks, files.

It is kept beside the numbers, so that the page of a run can show it, too, without a second
analysis: words in ``report.json``, pictures in ``figures``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vaezoo.diagnostics.grading import GRADES
from vaezoo.errors import refusing
from vaezoo.markup import Html, as_html, definitions, document, figure, joined, section, table
from vaezoo.plots.paper import as_png
from vaezoo.report.figures import figures_of
from vaezoo.report.findings import Report
from vaezoo.report.meanings import CHECKS, LABELS, meaning
from vaezoo.report.tables import grade_counts, medians
from vaezoo.report.words import labelled
from vaezoo.runtime.reading import read_plain

__all__ = ["Described", "Picture", "describe", "page_of", "read_described", "sections_of"]

LARGEST_FILE = 2**26  # bytes
CLOSING = (
    "All of this is about the posterior of the latents given the parameters of the model; it says "
    "nothing about those."
)


@dataclass(frozen=True)
class Picture:
    """A figure of an analysis: its short name, title, caption, and content as ``.png``."""

    name: str
    title: str
    caption: str
    content: bytes = b""


@dataclass(frozen=True)
class Described:
    """All that a page says of an analysis, as plain values.

    Attributes
    ----------
    title, badge, quality, meaning, subject
        What it is of, and what came out: a word, of which quality it is, a sentence, and which
        data, weights and seed it rests on.
    weights
        Epoch and step, as ``epoch 3, step 36``.
    lines
        Label, text and note of each check.
    figures
        With their contents.
    checks
        Name, meaning, number of data of each grade, and median of each graded check.
    files, variable
        Names of the trees of draws, and of a latent in them; empty without draws.
    """

    title: str
    badge: str
    quality: str
    meaning: str
    subject: str
    weights: str
    lines: tuple[tuple[str, str, str], ...]
    figures: tuple[Picture, ...]
    checks: tuple[tuple[str, ...], ...]
    files: tuple[str, ...] = ()
    variable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as ``report.json`` holds it, without the contents of pictures."""
        figures = [{n: getattr(f, n) for n in ("name", "title", "caption")} for f in self.figures]
        return {**asdict(replace(self, figures=())), "figures": figures}


def describe(report: Report) -> Described:
    """Return what a page says of a report, with its figures drawn."""
    badge, text = meaning(report)
    trees = report.trees
    best = "checked" if "checked" in trees else "q"
    variables = trees[best]["posterior"].data_vars if trees else ()
    return Described(
        title=f"{report.scope.run}: posteriors of {report.scope.model}",
        badge=badge,
        quality=report.quality,
        meaning=text,
        subject=_subject(report),
        weights=report.scope.weights,
        lines=tuple(_lines(report)),
        figures=tuple(
            Picture(f.name, f.title, f.caption, as_png(f.picture)) for f in figures_of(report)
        ),
        checks=tuple(_checks(report)),
        files=tuple(trees),
        variable=str(next(iter(variables), "")),
    )


def _subject(report: Report) -> str:
    scope, plan = report.scope, report.plan
    rows = f"{plan.num_data} of {scope.total} {scope.split} data of {scope.data}"
    weights = f"Weights of {scope.weights}"
    return f"{rows}, level {plan.level}, seed {scope.seed}. {weights}. Analysed {scope.date}."


def _lines(report: Report) -> Iterator[tuple[str, str, str]]:
    for label, text in labelled(report):
        note = LABELS.get(label.partition(" ")[0] if label.startswith("data") else label, "")
        if label in ("posterior", "log p(x)") and not report.shares:
            note = ""  # of verdicts, which there are not
        yield label, text, note


def _checks(report: Report) -> Iterator[tuple[str, ...]]:
    if report.graded is None:
        return
    middle, kind = medians(report), "sequences" if report.sequences else "data"
    for name, counts in grade_counts(report).items():
        value = f"{middle[name]:.3g}" if name in middle else ""
        yield (name, CHECKS[kind].get(name, ""), *map(str, counts.values()), value)


def page_of(report: Described) -> str:
    """Return the page of an analysis."""
    return document(report.title, *sections_of(report))


def sections_of(report: Described) -> Iterator[Html]:
    """Yield what a page says of an analysis, part by part."""
    badge = f'<p><span class="badge {as_html(report.quality)}">{as_html(report.badge)}</span>'
    yield Html(f"{badge} {as_html(report.meaning)}</p>\n<p>{as_html(report.subject)}</p>")
    yield definitions((label, _with_note(text, note)) for label, text, note in report.lines)
    if report.figures:
        pictures = (figure(f.name, f.title, f.caption, f.content) for f in report.figures)
        yield Html(f'<div class="figures">\n{joined(pictures)}\n</div>')
    if report.checks:
        rows = [(_with_note(name, what), *cells) for name, what, *cells in report.checks]
        yield section("Checks", table(rows, ("check, number of data", *GRADES, "median")))
    yield _opening(report)
    yield Html(f"<p>{CLOSING}</p>")


def _with_note(text: str, note: str) -> Html:
    return Html(as_html(text) + (f"<small>{as_html(note)}</small>" if note else ""))


def _opening(report: Described) -> Html:
    """Say which files there are, and how the draws are opened."""
    files = ", ".join(f"<code>{as_html(name)}.nc</code>" for name in report.files)
    text = "What there is of each datum is in <code>diagnostics.nc</code>"
    if not report.files:
        return section("Files", Html(f"<p>{text}.</p>"))
    best = "checked" if "checked" in report.files else "q"
    code = f"""import arviz as az
import vaezoo

draws = vaezoo.to_arviz(vaezoo.open_tree("{best}.nc"))
az.summary(draws, var_names=["{report.variable}"], coords={{"datum": [0]}}, kind="stats")"""
    return section(
        "How are the draws opened?",
        Html(f"<p>{text}, draws in {files}.</p><pre>{as_html(code)}</pre>"),
    )


def read_described(folder: Path) -> Described | None:
    """Return what the analysis in a folder says; None where there is none.

    Raises
    ------
    RequestError
        When a file of it is missing or damaged.
    """
    path = folder / "report.json"
    if not path.is_file():
        return None
    with refusing(f"{path} is damaged; analyse again"):
        values: Mapping[str, Any] = json.loads(read_plain(path, LARGEST_FILE))["page"]
        figures = tuple(_read_picture(folder, words) for words in values["figures"])
        texts = {n: str(values[n]) for n in (*_TEXTS, "variable")}
        return Described(
            **texts,
            lines=tuple((str(a), str(b), str(c)) for a, b, c in values["lines"]),
            figures=figures,
            checks=tuple(_cells(row) for row in values["checks"]),
            files=tuple(map(str, values["files"])),
        )


_TEXTS = ("title", "badge", "quality", "meaning", "subject", "weights")


def _cells(row: Any) -> tuple[str, ...]:
    name, what, *cells = map(str, row)
    return (name, what, *cells)


def _read_picture(folder: Path, words: Mapping[str, Any]) -> Picture:
    name, title, caption = (str(words[part]) for part in ("name", "title", "caption"))
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"no figure is called {name!r}")
    content = read_plain(folder / "figures" / f"{name}.png", LARGEST_FILE, follow=False)
    return Picture(name, title, caption, content)
