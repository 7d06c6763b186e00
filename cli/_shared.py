"""Options and output that several commands share."""

import json
import re
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import click
from click.shell_completion import CompletionItem

from vaezoo.cli._streams import LONGEST, echo
from vaezoo.errors import RequestError, VaezooError
from vaezoo.options import Device, PointValue, Shown, Split

__all__ = [
    "Counts",
    "Decorator",
    "Names",
    "StoppedError",
    "choice_option",
    "complete_data",
    "complete_model",
    "complete_run",
    "data_dir_option",
    "data_option",
    "echo_json",
    "echo_note",
    "echo_points",
    "json_option",
    "licence_option",
    "limit_option",
    "num_samples_option",
    "out_option",
    "seed_option",
    "shown_option",
    "split_option",
    "table",
    "takes_data",
    "takes_run",
    "takes_runs",
    "x_option",
    "z_option",
]

LEAST_ROOM = 20  # characters, for what is wrapped

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class StoppedError(VaezooError):
    """Work was interrupted, and what there is of it is saved: the message says how it goes on."""

    exit_code = 130


def complete_model(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a model, or of a Python file."""
    from vaezoo.registry import entries

    items = [CompletionItem(e.name, help=e.summary) for e in entries(f"{incomplete}*")]
    return items or [CompletionItem(incomplete, type="file")]


def complete_data(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a data set, or of a file; from the source text, which loads no numpy."""
    spec = find_spec("vaezoo.data")
    source = Path(spec.origin).with_name("sets") / "sources.py" if spec and spec.origin else Path()
    names = re.findall(r'Source\("([\w-]+)"', source.read_text(encoding="utf-8"))
    items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="file")]


def complete_run(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a run that comes with the package, or of a folder."""
    from vaezoo.pretrained import list_pretrained

    names = [run.name for run in list_pretrained() if run.name.startswith(incomplete)]
    items = [CompletionItem(name) for name in names] if incomplete else []
    return items or [CompletionItem(incomplete, type="dir")]


def choice_option(flag: str, choices: Any, **attributes: Any) -> Decorator:
    """Return an option whose choices are those of a ``Literal``, by default the first of them."""
    values = get_args(choices)
    attributes = {"default": values[0], "show_default": True, **attributes}
    return click.option(flag, type=click.Choice(values), **attributes)


def limit_option(
    default: int | None = None, text: str = "Only the first so many rows."
) -> Decorator:
    """Return the option ``--limit`` for the rows of data that are looked at."""
    return click.option(
        *("-n", "--limit"),
        type=click.IntRange(min=1),
        default=default,
        show_default=default is not None,
        help=text,
    )


def num_samples_option(default: int, text: str, *flags: str, least: int = 1) -> Decorator:
    """Return the option ``--num-samples`` for numbers of draws."""
    return click.option(
        *(*flags, "--num-samples"),
        type=click.IntRange(min=least),
        default=default,
        show_default=True,
        help=text,
    )


def out_option(*endings: str, text: str, required: bool = False) -> Decorator:
    """Return the option ``--out`` for a file with one of some endings."""
    kind = OutFile(endings)
    return click.option("-o", "--out", type=kind, required=required, help=text)


class OutFile(click.Path):
    """A file to be written, whose ending says in which format."""

    def __init__(self, endings: Sequence[str]) -> None:
        super().__init__(path_type=Path)
        self.endings = endings

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix not in self.endings:
            raise RequestError(
                f"cannot write '{path}': use a file ending in {' or '.join(self.endings)}"
            )
        return path


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return (
            [n.strip() for n in value.split(",") if n.strip()] if isinstance(value, str) else value
        )


class Counts(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers with commas between them."""

    name = "numbers"

    def __init__(self, what: str) -> None:
        self.what = what

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            numbers = [int(word) for word in value.split(",")] if isinstance(value, str) else value
        except ValueError:
            self.fail(f"'{value}' is no list of {self.what}", param, ctx)
        if any(number >= 2**31 for number in numbers):
            self.fail(f"'{value}' would never end", param, ctx)
        return numbers


def takes_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take a RUN, which it gets loaded, with the options that say how."""

    @wraps(command)
    def invoke(run: Path, device: str, model: str | None, **options: Any) -> Any:
        from vaezoo.runs import load_run

        return command(load_run(run, device=device, model=model), **options)

    return run_argument(device_option(model_option(invoke)))


def takes_runs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take RUN..., which it gets loaded; the folder of several seeds is its runs."""

    @wraps(command)
    def invoke(runs: tuple[Path, ...], device: str, model: str | None, **options: Any) -> Any:
        from vaezoo.runs import load_run, seeds_in

        folders = [folder for run in runs for folder in (seeds_in(run) or [run])]
        loaded = [load_run(folder, device=device, model=model) for folder in folders]
        return command(loaded, **options)

    return runs_argument(device_option(model_option(invoke)))


runs_argument = click.argument(
    "runs",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=complete_run,
)
run_argument = click.argument(
    "run", metavar="RUN", type=click.Path(path_type=Path), shell_complete=complete_run
)
device_option = choice_option(
    "--device", Device, help="Where to compute; auto takes a GPU when there is one."
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of all draws.",
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


licence_option = click.option(
    "--licence",
    "--license",
    "licence",
    metavar="NAME",
    help="Under which you give the weights to others, as apache-2.0.",
)
split_option = choice_option("--split", Split, default="test", help="Which rows of the data.")
z_option = choice_option("--z", PointValue, help="The mean of q(z | x), or a draw from it.")
x_option = choice_option("--x", PointValue, help="The mean of p(x | z), or a draw from it.")
shown_option = choice_option(
    "--x", Shown, help="Mean, mode or a draw of p(x | z); both: the mean, and a draw beside it."
)
model_option = click.option(
    "--model",
    metavar="FILE.py",
    help="File to take the pair from, for a run whose own copy was not trained on this machine.",
)


def takes_data(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take rows of data, with the options that say which."""
    return data_option(data_dir_option(split_option(command)))


def echo_json(value: object) -> None:
    """Print a value as JSON."""
    echo(json.dumps(value, indent=2))


def echo_note(line: str) -> None:
    """Print what is good to know beside the results, on standard error."""
    from vaezoo.cli._flags import in_flags

    echo(in_flags(line), err=True, limit=LONGEST)


def echo_points(run: Any, **sides: str) -> None:
    """Print what stands for a mean where a distribution has none, of the sides shown by theirs."""
    from vaezoo.predict.points import point_notes
    from vaezoo.runtime.optional import attempt

    with attempt("what stands for a mean", echo_note):
        for line in point_notes(run, [side for side, value in sides.items() if value == "mean"]):
            echo(line)


def table(rows: list[tuple[str, ...]], *, width: int = 80) -> None:
    """Print rows in aligned columns, the last one wrapped within the width.

    The first row holds the headings. Where there is no room for it, the last column stands below
    the others.
    """
    import textwrap

    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    indent = sum(sizes) + 2 * len(sizes)
    is_below = width - indent < min(LEAST_ROOM, max(len(row[-1]) for row in rows))
    for row in rows:
        start = "".join(cell.ljust(size + 2) for cell, size in zip(row, sizes, strict=False))
        lines = textwrap.wrap(row[-1], width - 4 if is_below else max(LEAST_ROOM, width - indent))
        first, *others = ["", *lines] if is_below else lines or [""]
        echo((start + first).rstrip())
        for line in others:
            echo(" " * (4 if is_below else indent) + line)
