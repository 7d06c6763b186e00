"""Data larger than memory is comfortable with: anonymous memory and the time of a step.

A file of 2 GB is trained on as it lies on the disk, with and without ``--standardize``, and its
first rows, as many as fit, from memory. Each run is a fresh process. Of the steps after the first
hundred the quickest tenth is taken, since a machine does other things, too; memory is the most
anonymous memory that the system counts, over that of an import (Linux).

    python benchmarks/mapped.py
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--rows", type=int, default=1_000_000, help="of 512 reals [default: 1000000]")
parser.add_argument("--steps", type=int, default=600, help="of each run [default: 600]")
parser.add_argument("--rounds", type=int, default=2, help="turns of each run [default: 2]")

WIDTH, SKIPPED = 512, 100

_RUN = """
import json, sys, threading, time
import numpy as np, vaezoo
from vaezoo.training.callbacks import Callback

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

before, most, done = anonymous(), [0], threading.Event()

def watch():
    while not done.wait(0.01):
        most[0] = max(most[0], anonymous())

class Clock(Callback):
    def __init__(self):
        self.times = []
    def on_step(self, step, loss):
        self.times.append((time.process_time(), time.perf_counter()))

path, standardize, resident, steps, skipped = json.loads(sys.argv[1])
data = np.load(path, mmap_mode="r")
clock = Clock()
threading.Thread(target=watch, daemon=True).start()
begun = time.perf_counter()
if resident:
    data = np.array(data[:200_000])
    before = anonymous()
training = {"steps": steps, "batch_size": 128}
vaezoo.fit(
    "vae-gaussian", data if resident else path, data_settings={"standardize": standardize},
    config={"hidden": [256]}, training=training, callbacks=[clock],
)
done.set()
cpu, wall = (np.diff([t[i] for t in clock.times[skipped:]]) for i in (0, 1))
print("@", json.dumps({
    "memory": (most[0] - before) / 1e6,
    "cpu": float(np.quantile(cpu, 0.1)), "wall": float(np.quantile(wall, 0.1)),
    "mean wall": float(np.mean(wall)), "before the first step": clock.times[0][1] - begun,
}))
"""


def make(path: Path, num_rows: int) -> Path:
    """Write a file that is as large as it says and takes little room: most rows are zeros."""
    x = np.lib.format.open_memmap(path, "w+", np.float32, (num_rows, WIDTH))
    some = np.random.default_rng(0).normal(3, 2, (1000, WIDTH))
    x[:: num_rows // 1000][:1000] = some[: len(x[:: num_rows // 1000][:1000])]
    del x
    return path


def measure(path: Path, standardize: bool, resident: bool, steps: int) -> dict[str, float]:
    """Return what a fresh process says of one run."""
    words = json.dumps([str(path), standardize, resident, steps, SKIPPED])
    done = subprocess.run(
        [sys.executable, "-c", _RUN, words], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("@ ")]
    if not said:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(said[-1][2:])
    return result


def main() -> None:
    """Print a line for each kind of run."""
    arguments = parser.parse_args()
    kinds = {
        "mapped": (False, False),
        "mapped, standardised": (True, False),
        "in memory, standardised": (True, True),
    }
    with TemporaryDirectory() as folder:
        path = make(Path(folder) / "x.npy", arguments.rows)
        print(f"{path.stat().st_size / 1e9:.2f} GB")
        results: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
        for _ in range(arguments.rounds):
            for name, (standardize, resident) in kinds.items():
                results[name].append(measure(path, standardize, resident, arguments.steps))
    for name, some in results.items():
        values = {key: median(one[key] for one in some) for key in some[0]}
        print(
            f"{name:<24} {values['memory']:7.3f} GB anonymous  step {1e3 * values['wall']:.3f} ms, "
            f"mean {1e3 * values['mean wall']:.3f}, CPU {1e3 * values['cpu']:.3f}  "
            f"prepared in {values['before the first step']:.1f} s"
        )


if __name__ == "__main__":
    main()
