"""What share of ten commands do ten seeds side by side take? CPU seconds, one thread.

Each is a fresh process; figures are included. Commands are timed once, and counted ten times.

python benchmarks/seeds.py --seeds 10 --only 128
"""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--seeds", type=int, default=10)
parser.add_argument("--only", default="", help="rows whose name has this in it")

ROWS = {
    "digits, one hidden layer of 128": "vae-bernoulli --set hidden=[128] --epochs 40",
    "digits, small, as by default": "vae-bernoulli --set hidden=[128]",
    "digits, as by default": "vae-bernoulli",
    "vrnn, rows of digits": "vrnn --epochs 40",
}
_PROGRAM = (
    "import sys, time; from vaezoo.cli import main; "
    "main(sys.argv[1:], standalone_mode=False); print('@', time.process_time())"
)


def seconds(words: str, out: Path) -> float:
    """Return the CPU time of a training, start and figures included."""
    command = [sys.executable, "-c", _PROGRAM, "train", *words.split(), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout.rpartition("@")[2])


def main() -> None:
    """Print a row for each training."""
    asked = parser.parse_args()
    number = asked.seeds
    print(f"| | one command | {number} seeds at once | of {number} commands |")
    print("|---|---|---|---|")
    for name, words in ROWS.items():
        if asked.only in name:
            with TemporaryDirectory() as folder:
                graph = f"{words} --engine graph"
                one = seconds(graph, Path(folder, "one"))
                many = seconds(f"{graph} --seeds {number}", Path(folder, "many"))
            print(f"| {name} | {one:.1f} s | {many:.1f} s | {many / number / one:.2f} |")


if __name__ == "__main__":
    main()
