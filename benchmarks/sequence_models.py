"""How good are the models of sequences? Chorales, folk tunes, speech and pen drawings.

``--run DATA`` trains and evaluates (a result is kept in ``--folder`` and not made again);
``--write`` writes what the folder holds into docs/results. Data are read from ``VAEZOO_DATA``.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from _report import RESULTS, environment, markdown, write_page

import vaezoo
from vaezoo.config import layers
from vaezoo.settings import DataSettings
from vaezoo.training.alarms import COLLAPSED_KL

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--run", help="jsb, nottingham, spoken-digits or pendigits")
parser.add_argument("--models", help="names of the rows to run [default: all]")
parser.add_argument("--seeds", default="0,1,2")
parser.add_argument("--folder", type=Path, default=Path("sequence-results"))
parser.add_argument("--write", action="store_true")


@dataclass(frozen=True)
class Row:
    """A model with its preset for a data set, and what differs from that."""

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)


# The claim of Chung et al. 2015 (arXiv:1506.02216), table 1.
PAPER = {
    "RNN": Row("rnn"),
    "VRNN-I": Row("vrnn", {"prior": "static"}),
    "VRNN": Row("vrnn"),
}
ROWS: dict[str, dict[str, Row]] = {
    "jsb": {name: Row(name) for name in ("vrnn", "vrnn-lstm", "srnn", "storn", "rnn", "dmm")},
    "nottingham": {"vrnn": Row("vrnn"), "rnn": Row("rnn")},
    "spoken-digits": PAPER,
    "pendigits": PAPER,
}
FLOORS = {"independent": "independent elements", "markov": "Markov chain of each element"}
STANDARDIZED = ("spoken-digits", "pendigits")
TITLES = {
    "jsb": "JSB chorales, 77 test sequences, 4,725 frames",
    "nottingham": "Nottingham, 170 test sequences, 44,463 frames",
    "spoken-digits": "Spoken digits, frames of 200 samples, standardised",
    "pendigits": "Pen digits, frames (dx, dy, pen), offsets standardised",
}


def run(data: str, name: str, seed: int, folder: Path) -> None:
    """Train and evaluate one row, unless its result is there."""
    path = folder / f"{data}-{name}-{seed}.json"
    if path.exists():
        return
    row = ROWS[data][name]
    began = time.monotonic()
    trained = vaezoo.fit(
        row.model,
        DataSettings(name=data, standardize=data in STANDARDIZED),
        config=row.config,
        preset=data,
        training={"seed": seed},
        out=folder / path.stem,
    )
    seconds = time.monotonic() - began
    evaluation = vaezoo.evaluate(trained, iwae=(1, 5), fivo=(5,))
    path.write_text(json.dumps({"seconds": seconds, **evaluation.to_dict()}), encoding="utf-8")
    print(f"{path.stem}: {seconds:.0f} s, ELBO {evaluation.metrics.elbo:.3f}", flush=True)


def rows_of(data: str, folder: Path) -> list[list[str]]:
    """Return a table of means over seeds and their standard deviations."""
    per = "frame" if data in ("jsb", "nottingham") else "sequence"
    floors: dict[str, float] = {}
    table = [["model", "seeds", f"ELBO, nats per {per}", "IWAE 5", "FIVO 5", "KL", "latents"]]
    for name in ROWS[data]:
        paths = sorted(folder.glob(f"{data}-{name}-[0-9].json"))
        records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if not records:
            continue
        cells = [_elbo(r, per) for r in records], [_bound(r["iwae"][-1], per) for r in records]
        fivo = [_bound(r["fivo"][0], per) for r in records]
        scale = [1.0 if per == "frame" else r["num_frames"] / r["num_rows"] for r in records]
        kl = [r["metrics"]["kl"] * s for r, s in zip(records, scale, strict=True)]
        values = [_spread(values) for values in (*cells, fivo, kl)]
        table.append([f"`{name}`", str(len(records)), *values, ", ".join(map(_in_use, records))])
        simple = records[0]["floors"].items()
        floors = {FLOORS[kind]: value * scale[0] for kind, value in simple}
    if len(table) > 1:
        table += [[name, "", _spread([value]), "", "", "", ""] for name, value in floors.items()]
    return table


def _elbo(result: Mapping[str, Any], per: str) -> float:
    if per == "frame":
        return float(result["metrics"]["elbo"])
    return float(result["elbo_per_sequence"])


def _bound(bound: Mapping[str, Any], per: str) -> float:
    return float(bound["value" if per == "frame" else "per_sequence"])


def _in_use(result: Mapping[str, Any]) -> str:
    kl = result["metrics"]["kl_per_latent"].get("z", [])
    return str(sum(value > COLLAPSED_KL for value in kl))


def _spread(values: list[float]) -> str:
    digits = 2 if abs(values[0]) < 100 else 1
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


TEXT = """\
Bounds on log p(x) of test sequences, higher is better: mean ± standard deviation over seeds. `RNN`
is `rnn`, `VRNN-I` is `vrnn --set prior=static`. *Latents* are those with a KL above 0.01 nats per
frame, for each seed. Weights are those with the best validation ELBO.
IWAE and FIVO have 5 particles and are bounds of the model that was trained by its ELBO.
The last rows of a table are floors, log p(x) of simple models of the training frames."""


def report(folder: Path) -> str:
    """Return the page; its duration is that of all trainings, one after the other."""
    paths = folder.glob("*-[0-9].json")
    seconds = sum(json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in paths)
    parts = ["# Models of sequences: results", TEXT]
    for data, title in TITLES.items():
        table = rows_of(data, folder)
        if len(table) > 1:
            parts += [f"## {title}", markdown(table), _settings(data)]
    parts.append(
        f"Made by `benchmarks/sequence_models.py`: {environment(time.monotonic() - seconds)}"
    )
    return "\n\n".join(parts) + "\n"


def _settings(data: str) -> str:
    lines = []
    for name, row in ROWS[data].items():
        config, training = layers(vaezoo.get_model(row.model), data, row.config)
        likelihood = config.pop("likelihood")["name"]
        values = {**config, **training.model_dump(include=training.model_fields_set)}
        plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
        words = ", ".join(f"{name} {value}" for name, value in plain.items())
        lines.append(f"- `{name}`: {likelihood}, {words}")
    return "\n".join(lines)


def main() -> None:
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.run:
        names = options.models.split(",") if options.models else list(ROWS[options.run])
        for seed in options.seeds.split(","):
            for name in names:
                run(options.run, name, int(seed), options.folder)
    page = report(options.folder)
    if options.write:
        write_page(RESULTS / "sequence-models.md", page)
    print(page)


if __name__ == "__main__":
    main()
