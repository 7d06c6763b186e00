"""Rows of papers' tables, measured again: target, published figure and a simple model beside each.

    VAEZOO_DATA=... python benchmarks/papers.py [ROW...] [--seed 0]

A row writes its figures into docs/results/papers.csv, in the place of those that it had there, and
the page docs/results/papers.md is made of all that stand in it. The columns are those of all
results, the row as the model, and behind them what stands beside a figure of a paper. Runs are kept
in a folder: what was interrupted goes on, and what is finished is not trained again.
"""

import argparse
import csv
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from _paper_rows import ROWS
from _paper_runs import Figure
from _report import RESULTS, Score, environment_of_now, environment_parts, markdown

ELSEWHERE = [
    ("row", "vaezoo", "target", "simple model", "where"),
    (
        "MIWAE (Mattei & Frellsen 2019), breast cancer, half of the entries missing: MSE",
        "0.267 with Gaussian noise, 0.301 with the paper's Student-t",
        "≤ 0.300",
        "probabilistic PCA 0.281",
        "`benchmarks/missing.py`",
    ),
    (
        "digits as integers 0 ... 16: -ELBO",
        "89.6 `ordinal`, 88.8 a mixture of three discretized logistics",
        "< 98.6",
        "",
        "`docs/data.md`",
    ),
    (
        "models of sequences on JSB chorales, nats a frame",
        "three seeds each",
        "",
        "a Markov chain of each key",
        "`docs/results/sequence-models.md`",
    ),
]
BESIDE = ("target", "published", "beside", "cpu_minutes", "made")
COLUMNS = (*(f.name for f in fields(Score)), *BESIDE)
HEADINGS = ("measured", "vaezoo", "target", "published", "simple models", "settings, CPU time")
Line = dict[str, str]

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; without any, only the page")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--runs", type=Path, default=Path("runs/papers"))
parser.add_argument("--out", type=Path, default=RESULTS)


def line_of(row: str, figure: Figure, seed: int, made: str) -> Line:
    """Return a figure as it stands in the file."""
    return in_columns(
        {
            **{"row": row, "what": figure.what, "value": f"{figure.value:.{figure.digits}f}"},
            **{"target": figure.target, "published": figure.published, "beside": figure.floor},
            **{"seed": str(seed), "settings": figure.settings, "made": made},
            "cpu_minutes": f"{figure.minutes:.0f}",
        }
    )


def in_columns(line: Line) -> Line:
    """Return a line in the columns of all results; one of a file of today is as it was."""
    if "row" not in line:
        return line
    of_version, of_machine, date = environment_parts(line["made"])
    score = {
        **{"model": line["row"], "data": "", "name": line["what"], "error": ""},
        **{"machine": of_machine, "version": of_version, "date": date},
        "script": "benchmarks/papers.py",
    }
    return {column: {**line, **score}[column] for column in COLUMNS}


def read(path: Path) -> list[Line]:
    """Return the figures that are there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [in_columns(line) for line in csv.DictReader(file)]


def write(path: Path, lines: list[Line]) -> None:
    """Write all figures, in the order of the rows."""
    order = list(ROWS)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(lines, key=lambda line: (order.index(line["model"]), line["seed"])))


def page(lines: list[Line]) -> str:
    """Return the page of all figures."""
    parts = [
        "# Rows of papers\n\nWhat papers report, measured again on two shared cores: shorter "
        "schedules than theirs, which each row says. Nats per datum on test rows where nothing "
        "else is said; lower is better for *-log p(x)*. Beside each stands a target that was set "
        "before, and what a simple model has. The same as a file: `docs/results/papers.csv`."
    ]
    for name, row in ROWS.items():
        own = [line for line in lines if line["model"] == name]
        if not own:
            continue
        parts.append(f"## {row.title}\n\n{row.source}. {row.note}")
        parts.append(markdown([HEADINGS, *map(cells, own)]))
        parts.append(f"Made by `benchmarks/papers.py {name}`: {own[0]['made']}")
    parts.append(f"## Rows that stand elsewhere\n\n{markdown(ELSEWHERE)}")
    return "\n\n".join(parts) + "\n"


def cells(line: Mapping[str, str]) -> tuple[str, ...]:
    """Return a figure as a line of the table."""
    minutes = line["cpu_minutes"]
    spent = f"{minutes} min" if minutes != "0" else ""
    settings = ", ".join(filter(None, (line["settings"], f"seed {line['seed']}", spent)))
    return (
        *(line["name"], line["value"], line["target"], line["published"], line["beside"]),
        settings,
    )


def main() -> None:
    arguments = parser.parse_args()
    file = arguments.out / "papers.csv"
    for name in arguments.rows:
        figures = ROWS[name].measure(arguments.runs, arguments.seed)
        made = environment_of_now()
        new = [line_of(name, figure, arguments.seed, made) for figure in figures]
        seed = str(arguments.seed)
        kept = [line for line in read(file) if (line["model"], line["seed"]) != (name, seed)]
        write(file, kept + new)
        print(markdown([HEADINGS, *map(cells, new)]), flush=True)
    write(file, read(file))
    (arguments.out / "papers.md").write_text(page(read(file)), encoding="utf-8")


if __name__ == "__main__":
    main()
