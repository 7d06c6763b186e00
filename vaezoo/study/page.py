"""A result as one page that needs no other file."""

from collections.abc import Iterator
from pathlib import Path

from vaezoo.markup import Html, as_html, definitions, document, figure, joined, section, table
from vaezoo.study.design import Study
from vaezoo.study.result import Result
from vaezoo.study.words import claim_rows, measure_tables, paragraphs, sentences, setting_rows

__all__ = ["page_of"]


def page_of(study: Study, result: Result, picture: Path) -> str:
    """Return the HTML: answer, claims, tables, a figure, settings, how to repeat it."""
    head, *claims = claim_rows(result)
    names, *settings = setting_rows(study, result.scale)
    caption = (
        "Points are means, bars two standard errors; in colour what differs from the reference."
    )
    return document(
        result.question,
        definitions({"answer": joined(sentences(result.answer), "<br>")}),
        section("Claims, judged by rules that were stated before", table(claims, head)),
        section("What was measured", *_tables(study, result)),
        figure("measures", "Measures of each variant", caption, picture.read_bytes()),
        *([section("Failed", table([(line,) for line in result.failed]))] if result.failed else ()),
        section("Question, hypothesis, limits", *_prose(study.text)),
        section("Settings", table(settings, names)),
        section("Again", _again(study, result), result.made),
    )


def _tables(study: Study, result: Result) -> list[Html]:
    parts = [
        Html(
            f"<p>Means over {result.seeds} seeds and over data, with standard errors. "
            f"* differs from {as_html(study.standard)} by more than the noise.</p>"
        )
    ]
    for data, (head, *rows) in measure_tables(result):
        parts += [Html(f"<h3>{as_html(data)}</h3>"), table(rows, head)]
    return parts


def _prose(text: str) -> Iterator[Html]:
    for heading, words in paragraphs(text):
        bold = f"<b>{as_html(heading)}.</b> " if heading else ""
        yield Html(f"<p>{bold}{as_html(words)}</p>")


def _text(text: str) -> Html:
    return Html(f"<pre>{as_html(text)}</pre>")


def _again(study: Study, result: Result) -> Html:
    call = f'vaezoo.run_study("{study.name}", scale="{result.scale}", seeds={result.seeds})'
    return _text(call)
