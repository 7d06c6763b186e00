"""The runs that come with the package: train, measure, and write them into it.

Each is what its command trains, without what only going on needs. One at a time, so that it can be
stopped and called again: ``python benchmarks/pretrained.py --missing``.
"""

import argparse
import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaezoo import analyse, evaluate, load_run, save_report
from vaezoo.cli import main as vaezoo_command
from vaezoo.data.sets.sources import get_source
from vaezoo.pretrained.catalogue import MANIFEST, RUNS, list_pretrained
from vaezoo.runs import Run
from vaezoo.runs.records import Record, read_metrics, write_records

COMMANDS = {
    "ae.digits": "train ae --data digits",
    "beta-vae.dsprites": "train beta-vae --data dsprites --preset conv --set hidden=[128]"
    " --set decoder_hidden=[128] --beta 4 --kl-warmup 3000 --batch-size 32"
    " --steps 14000 --lr-decay 0.9998 --precision auto",
    "cvae.digits": "train cvae --data digits",
    "dmm.jsb": "train dmm --data jsb --preset default --epochs 80 --lr 3e-3 --kl-warmup 600",
    "dmm.oscillators": "train dmm --data oscillators --likelihood gaussian --no-standardize"
    " --batch-size 64 --preset small --set likelihood.sigma=per-dim --lr 5e-3 --epochs 60",
    "latent-ode.irregular-sines": "train latent-ode --data irregular-sines",
    "miwae.breast-cancer": "train miwae --data breast-cancer --preset gaussian",
    "vae-bernoulli.digits": "train vae-bernoulli --data digits",
    "vae-bernoulli.digits-2d": "train vae-bernoulli --data digits --set z_dim=2",
    "vae-gaussian.digits": "train vae-gaussian --data digits",
    "vampprior.digits": "train vampprior --data digits",
    "vq-vae.digits": "train vq-vae --data digits",
    "vrnn.jsb": "train vrnn --data jsb",
    "vrnn.pendigits": "train vrnn --data pendigits",
}
# Rows whose posteriors are checked at level standard, of runs for which that takes minutes.
ANALYSED = {
    "cvae.digits": 20,
    "miwae.breast-cancer": 20,
    "vae-bernoulli.digits": 20,
    "vae-bernoulli.digits-2d": 20,
    "vae-gaussian.digits": 20,
}
ANALYSIS = "analysis/report.json"
KEPT = ("config.toml", "run.json", "weights.safetensors")
NUM_SAMPLES, QUICK = 100, {"iwae": [10], "limit": 10}  # a test asks for the latter, too
MOST_ROWS = 300  # of the test rows, so that a test can ask for them, too
# Their first rows are of one shape and size, so that all are looked at, with fewer draws each.
IN_ORDER = {"beta-vae.dsprites": 10}
LICENCE = """These weights are part of vaezoo, and under its licence, Apache-2.0.

They were trained by

    {command}

on the data set '{data}', which is not part of vaezoo:

    made by:  {citation}
    licence:  {licence}
"""

# Which pictures the originals are told apart from, though hardly any differs: users have those.
DRAWN_AGAIN = "beta-vae.dsprites"
REMARK = """
It was trained on pictures that were drawn again from the geometry of the data set; one in 13,000
may differ from the original in a pixel.
"""

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("names", nargs="*", help="Those named only, as 'vrnn.jsb'.")
parser.add_argument("--measure", action="store_true", help="Measure again, and train nothing.")
parser.add_argument("--analyse", action="store_true", help="Check posteriors again, too.")
parser.add_argument("--missing", action="store_true", help="Those that are not there only.")


def main() -> None:
    arguments = parser.parse_args()
    there = {run.name for run in list_pretrained()} if arguments.missing else set()
    for name in (name for name in arguments.names or COMMANDS if name not in there):
        if not arguments.measure:
            _train(name)
        if arguments.analyse or not arguments.measure:
            _analyse(name)
        _measure(name)


def _measure(name: str) -> None:
    """Write the row of a run in the package into the manifest."""
    row = _described(name)
    rows = json.loads(MANIFEST.read_text()) if MANIFEST.is_file() else []
    rows = sorted([*(r for r in rows if r["name"] != name), row], key=lambda r: r["name"])
    MANIFEST.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(name, row["score"], row["value"], row["standard_error"], row["size"], flush=True)


def _train(name: str) -> None:
    """Train a run, and write what is kept of it into the package."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        vaezoo_command([*shlex.split(COMMANDS[name]), "--out", str(path)], standalone_mode=False)
        _keep(name, path)


def _keep(name: str, path: Path) -> None:
    """Write into the package what is kept of a run that was trained by its command."""
    target = RUNS / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in KEPT:
        shutil.copyfile(path / file, target / file)
    write_records(target, _slim(read_metrics(path)))
    if name == DRAWN_AGAIN:
        load_run(target, device="cpu").save_info(data_checksum="")


def _slim(records: list[Record]) -> list[Record]:
    """Return records of epochs without what takes most of their room, but for the last one."""
    for record in records[:-1]:
        record["validation"].pop("kl_per_latent", None)
    return records


def _analyse(name: str) -> None:
    """Keep what an analysis says of posteriors of a run in the package, without its draws."""
    if name not in ANALYSED:
        return
    report = analyse(load_run(RUNS / name, device="cpu"), limit=ANALYSED[name], level="standard")
    target = RUNS / name / ANALYSIS
    with tempfile.TemporaryDirectory() as folder:
        save_report(report, folder)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(folder, target.name), target)


def _described(name: str) -> dict[str, Any]:
    """Return the row of the manifest of a run in the package, which keeps its evaluation."""
    run = load_run(RUNS / name, device="cpu")
    (RUNS / name / "evaluation.json").unlink(missing_ok=True)
    source, command = get_source(run.data.name), f"vaezoo {COMMANDS[name]}"
    licence = LICENCE.format(
        command=command, data=source.name, citation=source.citation, licence=source.licence
    )
    remark = REMARK if name == DRAWN_AGAIN else ""
    (RUNS / name / "LICENSE").write_text(licence + remark, encoding="utf-8")
    num_samples = IN_ORDER.get(name, NUM_SAMPLES)
    asked = {"split": "test", "iwae": [num_samples], "seed": 0, "precision": "float32"}
    if name not in IN_ORDER and run.info["splits"]["test"]["rows"] > MOST_ROWS:
        asked["limit"] = MOST_ROWS
    quick = _score(replace(run, path=None), {**asked, **QUICK})  # is not kept
    measured = {"asked": asked, **_score(run, asked), "quick": quick["value"]}
    files = [path for path in sorted((RUNS / name).rglob("*")) if path.is_file()]
    return {
        "name": name,
        "model": name.partition(".")[0],
        "data": source.name,
        "licence": source.licence,
        "command": command,
        **measured,
        "files": {
            file.relative_to(RUNS / name).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        },
        "size": sum(file.stat().st_size for file in files),
    }


def _score(run: Run, asked: Mapping[str, Any]) -> dict[str, Any]:
    result = evaluate(run, **asked)
    unit = "datum" if result.num_frames is None else "frame"
    if result.metrics.is_autoencoder:
        return {
            "score": "reconstruction",
            "value": result.metrics.recon,
            "standard_error": None,
            "unit": unit,
            "num_samples": None,
        }
    bound = result.iwae[0]
    return {
        "score": "log p(x)",
        "value": bound.value,
        "standard_error": bound.standard_error,
        "unit": unit,
        "num_samples": bound.num_samples,
    }


if __name__ == "__main__":
    main()
