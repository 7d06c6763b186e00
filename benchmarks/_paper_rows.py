"""The rows of papers that are measured again: which pair, on which data, for how long."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vaezoo
from vaezoo.predict.evaluation import Evaluation, evaluate_on
from vaezoo.runs import Run, open_run

__all__ = ["ROWS", "Figure", "Row"]


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

    def evaluated(self, draws: int, limit: int | None = None) -> tuple[Evaluation, float]:
        """Return its evaluation on the test rows, and -log p(x) by so many draws, in nats."""
        run = self.run
        result = evaluate_on(run.pair, run.batches(), iwae=(draws,), limit=limit)
        return result, -result.iwae[0].value


def train(
    folder: Path,
    model: str,
    data: str,
    *,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    **settings: Any,
) -> Trained:
    """Return a run: the one in the folder, gone on with, or a new one."""
    began, spent = time.process_time(), folder.with_suffix(".minutes")
    if (folder / "run.json").is_file():
        run = open_run(folder)
        if run.info["status"] != "finished":
            run = vaezoo.resume(folder)
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


def static_mnist(folder: Path, seed: int) -> list[Figure]:
    """784-400 ReLU, z 40, on static MNIST; beside it, the same with a linear decoder."""
    steps = 60_000
    net = {"hidden": [400], "z_dim": 40, "activation": "relu"}
    training = {"steps": steps, "batch_size": 200, "seed": seed, **FIXED}
    training |= falling(2e-3, 3e-5, steps)
    deep = train(
        folder / f"static-{seed}", "vae-bernoulli", "binarized-mnist", config=net, training=training
    )
    short = {**training, "steps": 6_000, **falling(2e-3, 3e-5, 6_000)}
    linear = train(
        folder / f"static-linear-{seed}",
        "vae-bernoulli",
        "binarized-mnist",
        config={**net, "decoder_hidden": []},
        training=short,
    )
    _, floor = linear.evaluated(200)
    result, nll = deep.evaluated(200)
    said = "batch 200, Adam 2e-3 falling to 3e-5, {} steps"
    beside = f"linear decoder {floor:.2f}, independent pixels {-result.floors['independent']:.2f}"
    return [
        Figure(
            "-log p(x), 200 draws",
            nll,
            "≤ 90.5",
            "89.78 (500 epochs), 89.9",
            beside,
            said.format(f"{steps:,}") + f" ({steps // 250} epochs)",
            deep.minutes,
        ),
        Figure("-ELBO", -result.metrics.elbo),
        Figure("-log p(x) with a linear decoder", floor, settings=said.format("6,000")),
    ]


ROWS: dict[str, Row] = {
    "static-mnist": Row(
        "Static MNIST, 784-400-40, ReLU",
        "pythae's reproducibility page (Chadebec et al. 2022, arXiv:2206.08309)",
        static_mnist,
        "Batch and learning rate are ours: theirs are 100 and 1e-4 for 500 epochs.",
    ),
}
