"""``vaezoo runs``."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._shared import echo_json, echo_note, json_option, table
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.predict.comparison.listing import ListedRun

__all__ = ["runs"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="runs")
@click.option("--sort", metavar="NAME", help="A column or a setting; of numbers the largest first.")
@click.option(
    "--where",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only those, as model=vrnn, elbo>-90 or z_dim>=8; repeatable.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, settings as columns.")
@json_option
def runs(
    folder: Path, sort: str | None, where: tuple[str, ...], as_csv: bool, as_json: bool
) -> None:
    """List the runs in FOLDER and below it: what was trained, how far, and how good it is.

    elbo is the best validation ELBO (of an autoencoder, the reconstruction), iwae log p(x) of the
    latest evaluation with the largest K, both in nats. Last stand the settings in which
    runs of one model differ.

    \b
    Examples:
      vaezoo runs
      vaezoo runs sweeps/a --sort elbo --where model=vrnn --where z_dim>=8
    """
    from vaezoo.predict.comparison.listing import Filter, list_runs, ordered

    conditions = [Filter.read(text) for text in where]
    listed = list_runs(folder, notify=echo_note)
    kept = [run for run in listed if all(condition.holds(run) for condition in conditions)]
    kept = ordered(kept, sort) if sort else kept
    if as_json:
        echo_json([asdict(run) for run in kept])
    elif as_csv:
        _print_csv(kept)
    elif kept:
        _print_table(kept)
    if not kept and not as_json:
        echo_note(
            f"none of {len(listed)} runs in {folder} is asked for"
            if listed
            else f"there is no run in {folder}"
        )


def _print_table(kept: "Sequence[ListedRun]") -> None:
    from vaezoo.predict.comparison.listing import differing_settings

    rows = []
    for run, settings in zip(kept, differing_settings(kept), strict=True):
        words = [f"{name.removesuffix('.name')}={value}" for name, value in settings.items()]
        last = ", ".join(filter(None, (run.verdict, *words)))
        rows.append((run.run, run.model, run.data, *_numbers(run), run.status, last))
    head = ("run", "model", "data", "step", "elbo", "iwae", "active", "status", "")
    kept_columns = [i for i in range(len(head)) if i in (0, 8) or any(row[i] for row in rows)]
    table([tuple(row[i] for i in kept_columns) for row in (head, *rows)])


def _numbers(run: "ListedRun") -> tuple[str, ...]:
    elbo, iwae = (f"{v:.2f}" if v is not None else "" for v in (run.elbo, run.iwae))
    step, active = ("" if v is None else str(v) for v in (run.step, run.active))
    return step, elbo, iwae, active


def _print_csv(kept: "Sequence[ListedRun]") -> None:
    from vaezoo.predict.comparison.listing import COLUMNS

    settings = sorted({name for run in kept for name in run.settings})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *settings])
    for run in kept:
        values: list[Any] = [run.value(name) for name in COLUMNS]
        writer.writerow([*values, *(run.settings.get(name, "") for name in settings)])
    echo(text.getvalue().rstrip("\n"))
