"""How a row of a paper is trained and told: runs that go on where they stopped, and figures."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import vaezoo
from vaezoo.data import Data
from vaezoo.predict.evaluation import Evaluation, evaluate_on
from vaezoo.runs import Run, open_run

__all__ = ["FIXED", "Figure", "Row", "Trained", "falling", "train"]


@dataclass(frozen=True)
class Figure:
    """One number of a row.

    Attributes
    ----------
    what, value
        What was measured, and what came out.
    target, published
        What it should be, and what others report; empty where there is none.
    floor
        What a simple model has there, and which.
    settings
        What differs from the paper, or from the figure beside it.
    minutes
        CPU time of this figure.
    """

    what: str
    value: float
    target: str = ""
    published: str = ""
    floor: str = ""
    settings: str = ""
    minutes: float = 0.0
    digits: int = 2


@dataclass(frozen=True)
class Row:
    """A row of a paper's table.

    Attributes
    ----------
    title, source
        What it is, and where its numbers come from.
    measure
        From a folder for runs, so that what was interrupted goes on, and a seed to its figures.
    note
        What the reader has to know: what differs, and why a target is missed.
    """

    title: str
    source: str
    measure: Callable[[Path, int], Sequence[Figure]]
    note: str


@dataclass(frozen=True)
class Trained:
    """A run and the minutes of the CPU that it took, over all its processes."""

    run: Run
    minutes: float

    def evaluated(self, draws: int, rows: int | None = None) -> tuple[Evaluation, float]:
        """Return its evaluation on test rows, and -log p(x) by so many draws, in nats.

        Fewer rows are a random sample: static MNIST has its test rows in the order of the digits.
        """
        data = self.run.find_data()
        test = np.random.default_rng(0).permutation(data.rows("test"))[:rows]
        batches = self.run.batches(replace(data, splits={**data.splits, "test": np.sort(test)}))
        result = evaluate_on(self.run.pair, batches, iwae=(draws,))
        return result, -result.iwae[0].value


def train(
    folder: Path,
    model: str,
    data: str | Data,
    *,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    **settings: Any,
) -> Trained:
    """Return a run: the one in the folder, gone on with, or a new one."""
    began, spent = time.process_time(), folder.with_suffix(".minutes")
    if (folder / "run.json").is_file():
        is_finished = open_run(folder).info["status"] == "finished"
        run = (
            vaezoo.load_run(folder)
            if is_finished
            else vaezoo.resume(folder, steps=training["steps"])
        )
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        run = vaezoo.fit(model, data, config=config, training=training, out=folder, **settings)
    before = float(spent.read_text()) if spent.is_file() else 0.0
    minutes = before + (time.process_time() - began) / 60
    spent.write_text(f"{minutes:.2f}")
    return Trained(run, minutes)


def falling(first: float, last: float, steps: int) -> dict[str, float]:
    """Return a learning rate that falls from one value to another, exponentially."""
    return {"lr": first, "lr_decay": (last / first) ** (1 / steps)}


FIXED: dict[str, Any] = {"plateau": 0, "patience": 0}
