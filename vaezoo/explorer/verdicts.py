"""What an analysis of a run said of single data."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from vaezoo.diagnostics.grading import GRADES, VERDICTS, WORDS
from vaezoo.runs import Run
from vaezoo.runs.stamps import stamp_of_weights
from vaezoo.runtime.optional import attempt
from vaezoo.trees.files import open_tree

__all__ = ["Verdicts", "verdicts_of"]


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on the first data of a split.

    Attributes
    ----------
    words
        Of each: ``trusted``, ``repaired``, ``not trusted``; without verdicts ``good``, ``caution``
        or ``bad``, the worst grade of the guide.
    reasons
        What was not good, of each.
    """

    words: tuple[str, ...]
    reasons: tuple[str, ...]


def verdicts_of(
    run: Run, data: str, split: str, notify: Callable[[str], object]
) -> Verdicts | None:
    """Return what ``vaezoo analyse`` left in the folder of a run, of these weights and data.

    None when there is no such analysis; one that cannot be read is left out, with a line.
    """
    folder = None if run.path is None else run.path / "analysis"
    if folder is None or not (folder / "diagnostics.nc").is_file():
        return None
    with attempt("verdicts of the analysis", notify):
        if _is_of(folder, run, data, split):
            return _read(open_tree(folder / "diagnostics.nc")["per_datum"].to_dataset())
    return None


def _is_of(folder: Path, run: Run, data: str, split: str) -> bool:
    subject = json.loads((folder / "report.json").read_text(encoding="utf-8"))["subject"]
    named = (subject["weights"], subject["data"], subject["split"])
    return named == (str(stamp_of_weights(run)), data, split)


def _read(table: xr.Dataset) -> Verdicts:
    grades = {name: table[f"grade_{name}"].values for name in WORDS if f"grade_{name}" in table}
    number = table.sizes["datum"]
    reasons = [
        "; ".join(WORDS[name] for name, places in grades.items() if places[row] > 0)
        for row in range(number)
    ]
    if "verdict" in table:
        words = tuple(str(VERDICTS[int(place)]) for place in table["verdict"].values)
    else:
        worst = [max((int(p[row]) for p in grades.values()), default=0) for row in range(number)]
        words = tuple(GRADES[place] for place in worst)
    return Verdicts(words, tuple(reasons))
