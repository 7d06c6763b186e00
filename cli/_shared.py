"""Options and output that several commands share."""

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = [
    "SEED",
    "complete_data",
    "complete_model",
    "data_dir_option",
    "data_option",
    "device_option",
    "echo_json",
    "json_option",
    "model_option",
    "run_argument",
    "seed_option",
    "split_option",
    "table",
    "x_option",
    "z_option",
]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SEED = click.IntRange(0, 2**63 - 1)


def complete_model(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a model, or of a Python file."""
    from vaezoo.registry import entries

    found = [CompletionItem(e.name, help=e.summary) for e in entries(f"{incomplete}*")]
    return found or [CompletionItem(incomplete, type="file")]


def complete_data(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a data set, or of a file; from the source text, which loads no numpy."""
    spec = find_spec("vaezoo.data")
    source = Path(spec.origin).with_name("sets") / "sources.py" if spec and spec.origin else Path()
    names = re.findall(r'Source\("([\w-]+)"', source.read_text(encoding="utf-8"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def _mean_or_sample(flag: str, density: str) -> Decorator:
    return click.option(
        flag,
        type=click.Choice(["mean", "sample"]),
        default="mean",
        show_default=True,
        help=f"The mean of {density}, or a draw from it.",
    )


run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU when there is one.",
)
seed_option = click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Seed of all draws."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
data_option = click.option(
    "--data",
    metavar="NAME|PATH",
    shell_complete=complete_data,
    help="Other data than those of the run, of the same shape.",
)
data_dir_option = click.option(
    "--data-dir",
    metavar="DIR",
    help="Folder where original data files may lie, before that of VAEZOO_DATA.",
)
split_option = click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which rows of the data.",
)
z_option = _mean_or_sample("--z", "q(z | x)")
x_option = _mean_or_sample("--x", "p(x | z)")
model_option = click.option(
    "--model",
    metavar="FILE.py",
    help="File to take the pair from, for a run whose own copy was not trained on this machine.",
)


def echo_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def table(rows: list[tuple[str, ...]], *, width: int = 80) -> None:
    """Print rows in aligned columns, the last one wrapped within the width.

    The first row holds the headings.
    """
    import textwrap

    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    indent = sum(sizes) + 2 * len(sizes)
    for row in rows:
        start = "".join(cell.ljust(size + 2) for cell, size in zip(row, sizes, strict=False))
        lines = textwrap.wrap(row[-1], max(20, width - indent)) or [""]
        click.echo((start + lines[0]).rstrip())
        for line in lines[1:]:
            click.echo(" " * indent + line)
