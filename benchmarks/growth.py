"""How do time and memory grow, with rows, frames, latents and seeds, and where does it bend?

Each size is trained for some steps in a fresh process, on one thread; it says itself its CPU time
and its memory. ``--write`` writes the table into docs/results.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from _report import markdown, write

HERE = Path(__file__).resolve().parents[1]

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--only", default="", help="axes whose name has this in it")
parser.add_argument("--steps", type=int, default=30, help="of each size [default: 30]")
parser.add_argument("--seconds", type=float, default=25, help="CPU time of the steps of a size")
parser.add_argument("--limit", type=float, default=180, help="seconds of a process")
parser.add_argument("--write", action="store_true")

TEXT = """\
CPU time of one thread, each size in a fresh process. *To the first step*: from launch, imports of
about 2.5 s and the making of the data included. *A step*: the median after the first two, captured
(`engine="graph"`). *Power*: p, where time grows like size^p from the row above; a bend is where it
changes. *Memory*: the peak above what imports take, data and capture included. *Rows*: binary, 64
elements, net 64-128-16, batch 128. *Frames*: `vrnn`, batch 8, two of 16 sequences have T frames of
88 elements, the others a tenth; in *windows*, `truncate=80`, a step sees 80 of them. *Latents*: net
784-500-z, batch 100. *Seeds*: net 64-128-16 on the embedded digits; a step of all of them. A dash:
not done in time."""

_TRAIN = """
import json, os, resource, sys, time
import numpy as np, vaezoo, vaezoo.training.fit
from vaezoo.training.callbacks import Callback

MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
base = memory()

class Steps(Callback):
    times = []

    def on_step(self, step, loss):
        self.times.append(time.process_time())
        if step == {steps} or self.times[-1] - self.times[0] > {seconds}:
            say = {{"times": self.times, "memory": memory() - base}}
            print("@", json.dumps(say), flush=True)
            os._exit(0)

rng = np.random.default_rng(0)
def bits(*shape):
    return rng.integers(0, 2, shape, np.uint8)

training = {{"steps": 10_000, "engine": "graph", "patience": 0}}
{fit}
"""

_ROWS = """
vaezoo.fit("vae-bernoulli", bits({size}, 64), config={{"hidden": [128], "z_dim": 16}},
    training={{**training, "batch_size": 128}}, callbacks=[Steps()])
"""
_FRAMES = """
data = [bits(length, 88) for length in [{size}, *[max({size} // 10, 8)] * 7] * 2]
vaezoo.fit("vrnn", data, config={{"hidden": 64, "z_dim": 32}}, callbacks=[Steps()],
    training={{**training, "batch_size": 8, "truncate": {truncate}}})
"""
_LATENTS = """
vaezoo.fit("vae-bernoulli", bits(2_000, 784), config={{"hidden": [500], "z_dim": {size}}},
    training={{**training, "batch_size": 100}}, callbacks=[Steps()])
"""
_SEEDS = """
vaezoo.fit("vae-bernoulli", config={{"hidden": [128], "z_dim": 16}}, seeds=range({size}),
    training={{**training, "batch_size": 128}}, callbacks=[Steps()])
"""

AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "rows": (_ROWS, (1_000, 10_000, 100_000, 1_000_000)),
    "frames": (_FRAMES.replace("{truncate}", "0"), (50, 200, 800, 4_000)),
    "frames, windows of 80": (_FRAMES.replace("{truncate}", "80"), (200, 800, 4_000, 40_000)),
    "latents": (_LATENTS, (2, 16, 128, 1_024)),
    "seeds": (_SEEDS, (1, 10, 100)),
}


def measured(fit: str, size: int, options: argparse.Namespace) -> tuple[float, float, float]:
    """Return seconds to the first step and of a step, and MB; nan where it was not done in time."""
    body = fit.format(size=size)
    program = _TRAIN.format(steps=options.steps, seconds=options.seconds, fit=body)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(HERE), "MPLBACKEND": "Agg"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            timeout=options.limit,
        )
    except subprocess.TimeoutExpired:
        return math.nan, math.nan, math.nan
    if "@ " not in result.stdout:
        print(result.stderr.strip().rpartition("\n")[2])
        return math.nan, math.nan, math.nan
    said = json.loads(result.stdout.rpartition("@ ")[2])
    times = said["times"]
    steps = sorted(b - a for a, b in pairwise(times[1:]))
    return times[0], steps[len(steps) // 2] if steps else math.nan, said["memory"]


def shown(value: float, digits: int) -> str:
    """Return a number, or a dash for what is not known."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def table(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Measure all sizes of the axes that are asked for."""
    rows = [("axis", "size", "to the first step, s", "a step, ms", "power", "memory, MB")]
    for axis, (fit, sizes) in AXES.items():
        before = (math.nan, math.nan)
        for size in sizes if options.only in axis else ():
            first, step, memory = measured(fit, size, options)
            power = math.log(step / before[1]) / math.log(size / before[0])
            figures = (shown(first, 1), shown(1e3 * step, 2), shown(power, 2), shown(memory, 0))
            rows.append((axis, f"{size:,}", *figures))
            print(" | ".join(rows[-1]), flush=True)
            before = (size, step)
    return rows


def main() -> None:
    """Print the table, or write it."""
    options, began = parser.parse_args(), time.monotonic()
    rows = table(options)
    if options.write:
        write("growth", "How does it grow?", TEXT, rows, began)
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
