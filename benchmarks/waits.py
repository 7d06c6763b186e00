"""Where does a user wait? Start, the first step, padding, evaluation: before and after a change.

Each row is a small program that runs in fresh processes, in turn for the two trees, on one thread;
the CPU time is counted that it says itself. Ratios are the result.

    git worktree add --detach ../before COMMIT
    python benchmarks/waits.py --before ../before

Without ``--before`` this tree stands alone. ``--write`` writes the table into docs/results. All
rows take about a quarter of an hour on a free machine: rows that take long have fewer turns.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from _nets import NETS
from _report import markdown, write

HERE = Path(__file__).resolve().parents[1]

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--before", type=Path, help="another checkout, to compare with")
parser.add_argument("--rounds", type=int, default=3, help="turns of each row [default: 3]")
parser.add_argument("--only", default="", help="rows whose name has this in it")
parser.add_argument("--limit", type=float, default=120, help="seconds of a program [default: 120]")
parser.add_argument(
    "--row-seconds", type=float, default=45, help="no further turn of a row after [default: 45]"
)
parser.add_argument("--write", action="store_true")

TEXT = """\
CPU seconds of fresh processes, medians of up to 3, one thread, with bytecode compiled before.
*First step*: from launch until the first step of `vrnn` has been taken, batch 8, sequences of T
frames of 20 binary elements; *one of 4,000* stands among 199 sequences of 20 to 60 frames. *Frames
computed* for each real one are no times: 400 sequences in batches of 16, lengths between 20 and 80.
*Weights*: 100 pictures of 28 x 28, 320 draws each, by a net with one hidden layer of 500. *IWAE*:
60 such pictures, by products in bfloat16 where the processor has it. *Validation*: its time by that
of all steps, 100 epochs of a net of 64-128-16, no seconds. *A step*: milliseconds, Adam and the
reading of the loss included, batch 100 of 784-500-20 and 128 of 64-128-16. A dash: not done in
time."""

_SAY = "import time as t; print('@', t.process_time())"
_COMMAND = f"from vaezoo.cli import main; main({{words!r}}.split(), standalone_mode=False); {_SAY}"

_FIRST_STEP = """
import os, time
import numpy as np, vaezoo
from vaezoo.training.callbacks import Callback

class First(Callback):
    def on_step(self, step, loss):
        print("@", time.process_time(), flush=True)
        os._exit(0)

rng = np.random.default_rng(0)
lengths = {lengths}
data = [(rng.random((length, 20)) < 0.3).astype(np.float32) for length in lengths]
vaezoo.fit("vrnn", data, training={{"epochs": 200, "batch_size": 8}}, callbacks=[First()])
"""

_PADDING = """
import numpy as np, torch
from vaezoo.data import as_data
from vaezoo.data.batches import Batches, epoch_order
from vaezoo.data.transform import Transform

lengths = np.random.default_rng(0).integers(20, 80, size=400)
data = as_data([np.zeros((length, 1), np.float32) for length in lengths])
batches = Batches(data, Transform(), ("x", "length"), torch.device("cpu"))
size = batches.size("train")
if hasattr(batches, "order"):
    order = batches.order("train", size, 16, seed=0, epoch=0)
else:
    order = epoch_order(size, seed=0, epoch=0)
parts = [batches.gather("train", part)[0].shape for part in order.split(16)]
print("@", sum(rows * frames for rows, frames, _ in parts) / batches.num_units("train"))
"""

_WEIGHTS = """
import time, torch, vaezoo
from vaezoo.pairs.accounting import log_weights

config = {"z_dim": 20, "hidden": [500]}
pair = vaezoo.build_model(vaezoo.get_model("vae-bernoulli"), config, (28, 28)).eval()
x = (torch.rand(100, 28, 28) < 0.2).float()
log_weights(pair, (x,), 20)
times = []
for _ in range(5):
    began = time.process_time()
    log_weights(pair, (x,), 320)
    times.append(time.process_time() - began)
print("@", min(times))
"""

_STEP = """
import time
from statistics import median
import numpy as np, vaezoo
from vaezoo.training.callbacks import Callback

class Times(Callback):
    ends = []

    def on_step(self, step, loss):
        self.ends.append(time.process_time())

x = (np.random.default_rng(0).random((20 * {batch}, {width})) < 0.3).astype(np.float32)
config = {{"hidden": {hidden}, "z_dim": {latents}}}
training = {{"steps": {steps}, "batch_size": {batch}, "engine": "{engine}", "patience": 0}}
vaezoo.fit("vae-bernoulli", x, config=config, training=training, callbacks=[Times()])
print("@", 1000 * median(np.diff(Times.ends[-{steps} // 2 :])))
"""


def _step(letter: str, engine: str, steps: int) -> str:
    """Return the program that takes steps of a net of the engine's table."""
    net = NETS[letter]
    shape = {"width": net.x_shape[0], "hidden": list(net.hidden), "latents": net.z_dim}
    return _STEP.format(engine=engine, steps=steps, batch=net.batch_size, **shape)


_ANALYSE = """
import time, vaezoo
from vaezoo.cli import main

vaezoo.fit("vae-bernoulli", training={"epochs": 40}, out="run")
began = time.process_time()
main("analyse run -n 100".split(), standalone_mode=False)
print("@", time.process_time() - began)
"""

_VALIDATION = """
import time, vaezoo
from vaezoo.engine.tiers import Engine
from vaezoo.training.validation import Validation

spent = dict.fromkeys((Engine, Validation), 0.0)

def timed(owner, name):
    function = getattr(owner, name)

    def run(*args, **settings):
        began = time.process_time()
        try:
            return function(*args, **settings)
        finally:
            spent[owner] += time.process_time() - began

    setattr(owner, name, run)

timed(Engine, "__call__")
timed(Validation, "measure")
config = {"hidden": [128], "z_dim": 16}
vaezoo.fit("vae-bernoulli", config=config, training={"epochs": 100, "batch_size": 128})
print("@", spent[Validation] / spent[Engine])
"""

_BOUND = """
import inspect, time, torch, vaezoo
from vaezoo.predict.bounds import iwae_bounds
from vaezoo.runtime import memory

getattr(memory, "keep_freed_memory", int)()  # as the command does
config = {"z_dim": 20, "hidden": [500]}
x = (torch.rand(600, 28, 28) < 0.2).float().numpy()
run = vaezoo.fit("vae-bernoulli", x, config=config, training={"steps": 1})
batches, pair = run.batches(), run.pair.eval()
new = "precision" in inspect.signature(iwae_bounds).parameters
began = time.process_time()
iwae_bounds(pair, batches, "test", [2000], **({"precision": "auto"} if new else {}))
print("@", time.process_time() - began)
"""

PROGRAMS: dict[str, str] = {
    "`import pyro`": f"import pyro; {_SAY}",
    "import of what trains": f"import pyro, vaezoo.training.fit; {_SAY}",
    "the embedded digits": f"import vaezoo; vaezoo.load_data('digits'); {_SAY}",
    "`vaezoo show vrnn`": _COMMAND.format(words="show vrnn"),
    "`vaezoo train vae-bernoulli`, 100 epochs": _COMMAND.format(
        words="train vae-bernoulli --epochs 100 --out run"
    ),
    **{
        f"first step, T = {frames}": _FIRST_STEP.format(lengths=f"[{frames}] * 200")
        for frames in (50, 200, 800)
    },
    "first step, one of 4,000 among short ones": _FIRST_STEP.format(
        lengths="[4000, *rng.integers(20, 60, size=199)]"
    ),
    "frames computed for each real one": _PADDING,
    "weights of `evaluate`": _WEIGHTS,
    "IWAE 2,000 of `evaluate --precision auto`": _BOUND,
    "validation, per step of digits": _VALIDATION,
    "a compiled step of 784-500-20": _step("a", "compiled", 800),
    "a compiled step of 64-128-16": _step("c", "compiled", 2000),
    "a captured step of 64-128-16": _step("c", "graph", 2000),
    "`analyse -n 100` of the digits": _ANALYSE,
}


def value_of(program: str, tree: Path, bytecode: str, limit: float) -> float:
    """Run a program in a tree, and return the number that it says; nan after the limit."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = {"PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": bytecode, "MPLBACKEND": "Agg"}
    environment = {**os.environ, **threads, **paths}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with TemporaryDirectory() as folder:
        try:
            result = subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
                cwd=folder,
                env=environment,
                timeout=None if math.isinf(limit) else limit,
            )
        except subprocess.TimeoutExpired:
            return math.nan
    return float(result.stdout.rpartition("@ ")[2])


def row_of(
    name: str, trees: Sequence[Path], bytecode: str, rounds: int, limit: float, seconds: float
) -> tuple[str, ...]:
    """Return the name of a program, its median in each tree, and the ratio of last and first."""
    values: list[list[float]] = [[] for _ in trees]
    began = time.monotonic()
    for turn in range(rounds + 1):
        if turn and time.monotonic() - began > seconds:
            break
        for tree, of_tree in zip(trees, values, strict=True):
            if turn == 0 or not math.isnan(of_tree[-1]):
                of_tree.append(value_of(PROGRAMS[name], tree, bytecode, limit))
    # the first turn compiles what no row before has, unless it was all that there was time for
    medians = [median(of_tree[1:] or of_tree) for of_tree in values]
    cells = ["-" if math.isnan(value) else f"{value:.2f}" for value in medians]
    ratio = medians[-1] / medians[0]
    return (
        name,
        *cells,
        *([] if len(trees) == 1 else ["-" if math.isnan(ratio) else f"{ratio:.2f}"]),
    )


def main() -> None:
    """Measure all rows, and print the table."""
    options, began = parser.parse_args(), time.monotonic()
    trees = [HERE] if options.before is None else [options.before.resolve(), HERE]
    heads = ("now",) if len(trees) == 1 else ("before", "now", "ratio")
    rows: list[tuple[str, ...]] = [("what", *heads)]
    with TemporaryDirectory() as bytecode:
        for tree in trees:  # so that no row pays for the bytecode of torch
            value_of(PROGRAMS["import of what trains"], tree, bytecode, math.inf)
        for name in PROGRAMS:
            if options.only in name:
                limits = (options.rounds, options.limit, options.row_seconds)
                rows.append(row_of(name, trees, bytecode, *limits))
                print(" | ".join(rows[-1]), flush=True)
    if options.write:
        write("waits", "Where does a user wait?", TEXT, rows, began)
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
