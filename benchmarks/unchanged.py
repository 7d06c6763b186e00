"""Does a change that should change nothing change a number? Write the numbers down, and compare.

Every model of the zoo, eagerly and as a graph: three steps of training, and every command on the
run; then what no model does by default. The command line is called in this process, so that modules
may move and take other names; what is compared is what lies in the files. All is exact: the last
bit of a float counts. Of arrays there is a checksum, of weights one that does not depend on their
names or order. The data are the embedded digits, and random walks made here.

    python benchmarks/unchanged.py --write before.json      before the change
    python benchmarks/unchanged.py --compare before.json    after it; exit code 1 if any differs
"""

import os

# sums are rounded in another order by another number of threads; before torch is imported
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")

import argparse
import contextlib
import hashlib
import json
import math
import platform
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from click.testing import CliRunner
from safetensors.numpy import load_file

from vaezoo.cli import main as vaezoo

# How commands and options are spelt; whoever renames one changes it here and nowhere else.
# {run} is the run folder, {out} a file of the name before the colon, {data} the sequences below.
TRAIN = "train {model} --engine {engine} --steps 3 --batch-size 48 --seed 1 --out {run}"
RESUME = "run: train --resume {run} --steps 5"
FOR_ALL = (
    "evaluate: evaluate {run} --json --iwae 1,5 -n 24 --seed 2",
    "sample.npz: sample {run} --x sample -n 6 --seed 2 -o {out}",
)
FOR_MODELS = (
    "analyse: analyse {run} --level quick -n 4 --seed 2 -o {out}",
    "means.npz: sample {run} --x mean -n 6 --seed 2 -o {out}",
    "reconstruct.npz: reconstruct {run} --z sample --x sample -n 6 --seed 2 -o {out}",
    "encode.npz: encode {run} --z sample -n 6 --seed 2 -o {out}",
    "encode.nc: encode {run} --num-samples 8 --groups all -n 4 --seed 2 -o {out}",
)
FOR_IMAGES = (
    "impute.npz: impute {run} --fraction 0.3 --num-samples 4 --burn-in 3 -n 4 --seed 2 -o {out}",
)
FOR_SEQUENCES = (
    "filter: evaluate {run} --json --iwae 1 --fivo 5 --free-running 3 -n 12 --seed 2",
    "forecast.nc: forecast {run} --horizon 3 --num-samples 6 -n 5 --seed 2 -o {out}",
    "continue.npz: sample {run} --prefix 3 --steps 4 --x sample -n 4 --seed 2 -o {out}",
    "impute.npz: impute {run} --gap 2:4 --num-samples 4 --burn-in 3 -n 4 --seed 2 -o {out}",
)
# A net of 1,200 units a layer is analysed too slowly; "free-bits" below is trained with it.
SMALLER = {"beta-vae": "--set hidden=[64,32] --set decoder_hidden=[32,48,64]"}
# What no model does by default: model and options of ``train``, by the name of the case.
VARIANTS = {
    "iwae": ("vae-bernoulli", "--objective iwae --num-particles 5"),
    "dreg": ("vae-gaussian", "--objective dreg --num-particles 4 --sigma per-pixel"),
    "free-bits": ("beta-vae", "--free-bits 0.5 --kl-warmup 2 --optimizer adamw"),
    "convolutions": ("vae-bernoulli", "--preset conv --num-particles 2 --clip-norm 1"),
    "analytic": ("vae-gaussian", "--sigma analytic --standardize --optimizer clipped-adam"),
    "lengths": ("vrnn", "--data {data} --likelihood gaussian --truncate 5 --free-bits 0.1"),
    "mixture": ("srnn", "--data {data} --likelihood gaussian-mixture --optimizer adagrad"),
}
# What takes long is looked at once, after training as a graph: chains, annealing, classifiers, and
# two more steps of a run that was trained already.
LONG = {
    "vae-linear": ("full: analyse {run} --level full -n 2 --seed 2 -o {out}",),
    "vae-gaussian": ("standard: analyse {run} --level standard -n 3 --seed 2 -o {out}",),
    "storn": ("standard: analyse {run} --level standard -n 3 --seed 2 -o {out}",),
    "vae-bernoulli": (RESUME,),
    "beta-vae+free-bits": (RESUME,),
    "vrnn+lengths": (RESUME,),
}
ENGINES = ("eager", "graph")

# Times, places and versions: keys whose values are left out.
NOT_COMPARED = {
    "checksum",
    "id",
    "seconds",
    "started",
    "finished",
    "commits",
    "python",
    "platform",
    "versions",
    "dir",
}

# Other versions of these may round otherwise; a comparison says so.
PACKAGES = ("torch", "pyro-ppl", "numpy", "scipy", "scikit-learn")

Numbers = dict[str, Any]

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
what = parser.add_mutually_exclusive_group(required=True)
what.add_argument("--write", type=Path, metavar="FILE", help="write the numbers down")
what.add_argument("--compare", type=Path, metavar="FILE", help="compare with what was written")
parser.add_argument("--models", metavar="A,B,...", help="only these, by the names in the file")


def main() -> None:
    began = time.monotonic()
    arguments = parser.parse_args()
    numbers = measure(arguments.models.split(",") if arguments.models else None)
    environment = {name: version(name) for name in PACKAGES} | {"machine": platform.machine()}
    took = f"{len(numbers)} numbers, {time.monotonic() - began:.0f} s"
    if arguments.write:
        content = {"environment": environment, "numbers": numbers}
        arguments.write.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
        print(f"wrote {took} -> {arguments.write}")
        return
    stored = json.loads(arguments.compare.read_text(encoding="utf-8"))
    for name, value in environment.items():
        if value != stored["environment"].get(name):
            print(f"note: {name} was {stored['environment'].get(name)}, is {value}")
    before = stored["numbers"]
    if arguments.models:
        only = tuple(f"{name}/" for name in arguments.models.split(","))
        before = {name: value for name, value in before.items() if name.startswith(only)}
    differences = [*compare(before, numbers)]
    print(*differences, f"compared {took}; {len(differences)} differ", sep="\n")
    sys.exit(bool(differences))


def compare(before: Numbers, after: Numbers) -> Iterator[str]:
    """One line for each number that is another one, or is there on one side only."""
    for name in sorted(before.keys() | after.keys()):
        values = [repr(side[name]) if name in side else "missing" for side in (before, after)]
        if values[0] != values[1]:
            model, engine, quantity = name.split("/", 2)
            yield f"{model} {engine} {quantity}: before {values[0]}, after {values[1]}"


def measure(wanted: list[str] | None) -> Numbers:
    """All numbers, by ``model/engine/quantity``."""
    numbers: Numbers = {}
    unknown = sorted({*(wanted or ())} - cases().keys())
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(cases())}")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_sequences(Path("sequences.npz"))
        for name, (model, kind, options) in cases().items():
            if wanted is not None and name not in wanted:
                continue
            for engine in ENGINES:
                began = time.monotonic()
                own = of_run(name, model, kind, options, engine)
                numbers |= {f"{name}/{engine}/{key}": value for key, value in own.items()}
                took = time.monotonic() - began
                print(f"{name}, {engine}: {len(own)} numbers, {took:.1f} s", file=sys.stderr)
    return numbers


def cases() -> dict[str, tuple[str, str, str]]:
    """Model, kind of its data, and further options of ``train``, by name of the case."""
    entries = json.loads(call("list --json").stdout)
    kinds = {entry["name"]: entry["data"] for entry in entries}
    variants = {
        f"{model}+{name}": (model, kinds[model], options)
        for name, (model, options) in VARIANTS.items()
    }
    zoo = {name: (name, kind, SMALLER.get(name, "")) for name, kind in kinds.items()}
    return zoo | variants


def write_sequences(path: Path) -> None:
    """Random walks of several lengths, as batches of sequences with padding."""
    rng = np.random.default_rng(0)
    walks = 0.1 * rng.normal(size=(160, 12, 3)).cumsum(1)
    np.savez(path, x=walks.astype(np.float32), length=rng.integers(6, 13, 160))


def of_run(name: str, model: str, kind: str, options: str, engine: str) -> Numbers:
    """Train, and call the commands on the run."""
    folder = Path(f"{name}-{engine}")
    words = {"model": model, "engine": engine, "run": folder / "run", "data": "sequences.npz"}
    commands = [f"run: {TRAIN} {options}", *FOR_ALL]
    if name == model:
        commands += [*FOR_MODELS, *(FOR_SEQUENCES if kind == "sequences" else FOR_IMAGES)]
    if engine == "graph":
        commands += LONG.get(name, ())
    numbers: Numbers = {}
    for line in commands:
        title, _, command = line.partition(": ")
        out = folder / title
        result = done(command.format(**words, out=out)) | of_file(out)
        title = "resume" if line == RESUME else title
        numbers |= prefixed(title, result)
    return numbers


def call(command: str) -> Any:
    return CliRunner().invoke(vaezoo, command.split(), prog_name="vaezoo")


def done(command: str) -> Numbers:
    """Call a command; its exit code, and the numbers of the JSON that it prints.

    A refusal (code 2) is a result: not every command makes sense for every model.
    """
    result = call(command)
    if result.exit_code not in (0, 2):
        raise RuntimeError(f"vaezoo {command}: {result.stderr}") from result.exception
    if result.exit_code == 2:
        print(f"  refused: {command.split()[0]}: {result.stderr.strip()}", file=sys.stderr)
    numbers: Numbers = {"exit": result.exit_code}
    if "--json" in command and result.exit_code == 0:
        numbers |= prefixed("json", flat(json.loads(result.stdout)))
    return numbers


def prefixed(prefix: str, numbers: Numbers) -> Numbers:
    return {f"{prefix}/{name}": value for name, value in numbers.items()}


def of_folder(run: Path) -> Numbers:
    """Numbers of a run folder: settings, facts, records of the epochs, weights, last state."""
    settings = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    records = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        **prefixed("config", flat(settings)),
        **prefixed("facts", flat(facts)),
        **prefixed("metrics", flat([json.loads(record) for record in records])),
        **prefixed("weights", of_weights(run / "weights.safetensors")),
        **prefixed("last", of_weights(run / "last" / "state.safetensors")),
    }


def of_weights(path: Path) -> Numbers:
    """What tensors hold, whatever their names and order are."""
    tensors = load_file(path).values()
    digests = sorted(digest(tensor) for tensor in tensors)
    total = math.fsum(v for tensor in tensors for v in tensor.ravel().tolist())
    return {
        "tensors": len(digests),
        "elements": sum(tensor.size for tensor in tensors),
        "sum": total,
        "sha256": hashlib.sha256(" ".join(digests).encode()).hexdigest(),
    }


def of_file(path: Path) -> Numbers:
    """Numbers of a file that a command wrote, or of a folder of them."""
    if (path / "config.toml").is_file():
        return of_folder(path)
    if path.is_dir():
        return {
            f"{file.name}/{key}": value
            for file in sorted(path.iterdir())
            for key, value in of_file(file).items()
        }
    if not path.is_file():
        return {}
    if path.suffix == ".json":
        return flat(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: described(arrays[name]) for name in arrays}
    if path.suffix == ".nc":
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return {
                f"{group.path.strip('/')}/{name}": described(variable.to_numpy())
                for group in tree.subtree
                for name, variable in group.variables.items()
            }
    return {}


def digest(array: np.ndarray) -> str:
    """Checksum of an array's type, shape and every bit."""
    content = array.tobytes() if array.dtype != object else repr(array.tolist()).encode()
    return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + content).hexdigest()


def described(array: np.ndarray) -> str:
    """A checksum, and a mean by which people see how much is different."""
    mean = ""
    if array.dtype.kind in "fiub" and array.size:
        finite = array[np.isfinite(array)]
        mean = f", mean {finite.mean(dtype=np.float64):.9g}" if finite.size else ", nan"
    return f"{array.dtype} {array.shape} {digest(array)[:16]}{mean}"


def flat(value: Any, name: str = "") -> Numbers:
    """Numbers, truth values and words of nested tables and lists, by their path; prose is left out.

    Prose is a text with a space in it; a path has a slash.
    """
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            path: leaf
            for key, item in items
            if key not in NOT_COMPARED
            for path, leaf in flat(item, f"{name}.{key}" if name else str(key)).items()
        }
    if isinstance(value, str) and (" " in value or "/" in value):
        return {}
    return {name: value}


if __name__ == "__main__":
    main()
