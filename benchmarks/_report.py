"""Tables that say where their numbers come from."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _rows import RESULTS, Score, environment_parts, read_scores, replace_scores, write_rows

from vaezoo.markup import markdown
from vaezoo.versions import say_machine, say_versions

__all__ = [
    "RESULTS",
    "Score",
    "environment",
    "environment_of_now",
    "environment_parts",
    "markdown",
    "read_scores",
    "replace_scores",
    "write",
    "write_page",
]


def environment(began: float) -> str:
    """Return versions, machine and duration as one sentence."""
    minutes = (time.monotonic() - began) / 60
    head, _, date = environment_of_now().rpartition("; ")
    return f"{head}; {minutes:.0f} minutes; {date}"


def environment_of_now() -> str:
    """Return versions, machine and date as one sentence."""
    where = say_machine()
    if torch.cuda.is_available():
        where += f", {torch.cuda.get_device_name()}"
    return (
        f"{say_versions()}, {where}, "
        f"{torch.get_num_threads()} threads; {time.strftime('%Y-%m-%d')}."
    )


def write(name: str, title: str, text: str, rows: Sequence[Sequence[object]], began: float) -> None:
    """Print a result and write it as a page of the documentation."""
    script = f"benchmarks/{Path(sys.argv[0]).name}"
    page = f"# {title}\n\n{text}\n\n{markdown(rows)}\n\nMade by `{script}`: {environment(began)}\n"
    if name == "zoo":  # which keeps its scores in a file of its own
        (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    else:
        write_page(RESULTS / f"{name}.md", page)
    print(page)


def write_page(path: Path, page: str) -> None:
    """Write a page, and the numbers of its tables beside it as rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    write_rows(path)
