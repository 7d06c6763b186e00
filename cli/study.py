"""``vaezoo study``: questions about variational autoencoders, answered by runs."""

import textwrap
from pathlib import Path
from typing import Any

import click

from vaezoo.cli._shared import StoppedError, echo_json, echo_note, json_option, table
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError, command
from vaezoo.study.design import SCALES

__all__ = ["study"]

WIDTH = 80


@click.group()
def study() -> None:
    """Studies: questions about these models, answered by runs with seeds and intervals.

    \b
    Example:
      vaezoo study run linear --scale quick
    """


@study.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the studies, each with its question.

    \b
    Example:
      vaezoo study list
    """
    from vaezoo.study.catalogue import get_study, list_studies

    studies = [get_study(name) for name in list_studies()]
    if as_json:
        rows = [{"name": s.name, "question": s.question, "rows": [*s.rows]} for s in studies]
        echo_json(rows)
        return
    table([("study", "question"), *((own.name, own.question) for own in studies)])


@study.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a study: hypothesis, what would refute it, what is trained, and the claims.

    \b
    Example:
      vaezoo study show linear
    """
    from vaezoo.study.catalogue import get_study
    from vaezoo.study.words import paragraphs

    own = get_study(name)
    costs = {scale: _cost(own, scale) for scale in own.scales}
    if as_json:
        claims = [{"claim": c.text, "rule": c.rule, "rows": [*c.rows]} for c in own.claims]
        facts = {"name": own.name, "question": own.question, "text": own.text.strip()}
        echo_json(facts | {"rows": [*own.rows], "claims": claims, "cost": costs})
        return
    _wrapped(own.question)
    for heading, words in paragraphs(own.text):
        echo(f"\n{heading}" if heading else "")
        _wrapped(words, "    " if heading else "")
    if own.rows:
        echo()
        _wrapped(f"Questions it answers: {', '.join(own.rows)}")
    echo("\nClaims, and the rule by which each is judged")
    for claim in own.claims:
        _wrapped(claim.text, "  ")
        _wrapped(claim.rule, "    ")
    echo("\nScales")
    for scale, cost in costs.items():
        echo(f"  {scale:<6} {cost}")


def _wrapped(text: str, indent: str = "") -> None:
    echo(textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent))


def _cost(own: Any, scale: str, seeds: int | None = None) -> str:
    size, cells = own.scale(scale), own.cells(scale)
    number = seeds or size.seeds
    minutes = size.minutes * number / size.seeds
    time = f"{minutes:.0f} minutes" if minutes >= 1 else f"{60 * minutes:.0f} seconds"
    return (
        f"{len(cells)} trainings x {number} seeds = {len(cells) * number} runs, about {time} on "
        "two cores"
    )


@study.command()
@click.argument("name")
@click.option(
    "--scale", type=click.Choice(SCALES), default="quick", show_default=True, help="How large."
)
@click.option("--seeds", type=click.IntRange(min=1), help="Trainings of each variant.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of this machine.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the study.")
@click.option("--resume", is_flag=True, help="Only go on with a study that is there.")
@json_option
def run(
    name: str,
    scale: str,
    seeds: int | None,
    jobs: int,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train what a study sets side by side, and judge its claims.

    The same command goes on with a study that was stopped; what is trained is not trained again.
    Several machines may work on one folder that they share.

    \b
    Example:
      vaezoo study run linear --scale smoke
    """
    from vaezoo.runtime.signals import termination_interrupts
    from vaezoo.study.catalogue import get_study
    from vaezoo.study.running import folder_of, run_study

    click.get_current_context().with_resource(termination_interrupts())
    own = get_study(name)
    folder = out or folder_of(own, scale)
    if resume and not (folder / "study.json").is_file():
        raise RequestError(f"there is no study in {folder} to go on with; leave out `resume`")
    echo_note(f"{own.name}, {scale}: {_cost(own, scale, seeds)}, in {folder}")
    try:
        result = run_study(name, scale=scale, seeds=seeds, jobs=jobs, out=folder, tell=echo_note)
    except KeyboardInterrupt:
        words: list[object] = ["study", "run", name, "--scale", scale, "--out", folder]
        words += ["--seeds", seeds] if seeds else []
        words += ["--jobs", jobs] if jobs > 1 else []
        raise StoppedError(f"stopped; go on with `{command(*words)}`") from None
    if as_json:
        echo_json(result.to_dict())
    else:
        _report(result, folder)


def _report(result: Any, folder: Path) -> None:
    from vaezoo.study.words import claim_rows, measure_tables, sentences

    for data, rows in measure_tables(result):
        echo(f"\n{data}")
        _aligned(rows)
    echo("\nClaims")
    for claim, data, difference, state in claim_rows(result)[1:]:
        _wrapped(f"{state}: {claim}", "  ")
        echo(f"    {data}: {difference}")
    for line in result.failed:
        echo(f"  failed: {line}")
    echo()
    _wrapped(result.question)
    for sentence in sentences(result.answer):
        _wrapped(sentence)
    echo(f"\nthe page is {folder / 'page.html'}")


def _aligned(rows: list[tuple[str, ...]]) -> None:
    """Print a table in blocks of columns that fit the width."""
    first = max(len(row[0]) for row in rows) + 2
    sizes = [max(len(row[i]) for row in rows) + 2 for i in range(1, len(rows[0]))]
    start = 0
    while start < len(sizes):
        end, used = start + 1, first + sizes[start]
        while end < len(sizes) and used + sizes[end] <= WIDTH:
            used += sizes[end]
            end += 1
        for row in rows:
            cells = [row[i + 1].ljust(sizes[i]) for i in range(start, end)]
            echo((row[0].ljust(first) + "".join(cells)).rstrip())
        start = end
