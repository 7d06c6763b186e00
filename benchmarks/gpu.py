"""Does a GPU give what it should, and how fast? All that is to be asked of one, in 8 minutes.

    python benchmarks/gpu.py --write

Parts that fail are named at the end, and the exit status is 1; the others go on. Without a GPU all
of it is gone through, small:

    python benchmarks/gpu.py --device cpu --smoke
"""

import argparse
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import sequences
import torch
from _candidates import on_cpu, on_cuda
from _gpu_checks import Deadline, Rows, devices_agree, resumed, tiers_agree, zoo
from _nets import NETS, Architecture
from _report import markdown, write
from _tables import at_most, rows_of_epochs, rows_on_cuda
from _timing import Clock, Measured
from _whole_runs import mnist, whole_runs
from engine import measure, warm_up

import vaezoo
from vaezoo.data import from_arrays
from vaezoo.options import EngineName

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
parser.add_argument("--smoke", action="store_true", help="all of it, small")
parser.add_argument("--budget", type=float, default=450, help="seconds [default: 450]")
parser.add_argument("--only", default="", help="parts whose name has this in it")
parser.add_argument("--write", action="store_true")

VRNN_MILLISECONDS, SEEDS_RATIO = 4.0, 3.0
TEXT = """\
Parts of one script on one device. *Tiers*: weights after 24 steps from one seed, batches of 100
digits and a short one. *Devices*: log-weights and their gradients against those of the CPU, the
latents held. *Resumed*: stopped after 11 steps, against a run that was not. *Steps*: as in
`benchmarks/engine.py --device cuda`. *Epochs*: net (a) on MNIST. *VRNN*: 16 sequences of 40 to
80 frames, h = z = 64. *Seeds*: `vae-bernoulli` on the embedded digits, net (c). *Posteriors*:
`analyse` at level *standard*, on draws of the model itself. *Zoo*: 20 captured steps of every
model, then evaluation, samples, reconstructions and codes."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    nets: dict[str, Architecture]
    rounds: int
    num_rows: int
    frames: int
    epochs: int
    seeds: Sequence[int]
    seed_steps: int
    posteriors: int
    tiers: Sequence[EngineName]
    steps: int
    zoo: Sequence[str] = ()
    checked: Sequence[str] = field(default=("vae-bernoulli", "vae-gaussian", "vrnn", "dmm"))


FULL = Scale(
    nets={name: NETS[name] for name in "abcd"},
    rounds=10,
    num_rows=10_000,
    frames=80,
    epochs=3,
    seeds=(1, 10, 100),
    seed_steps=2_000,
    posteriors=10_000,
    tiers=("graph", "compiled"),
    steps=20,
)
SMALL = Scale(
    nets={"c": Architecture("6-5-3, batch 4", (6,), (5,), 3, 4)},
    rounds=1,
    num_rows=16,
    frames=8,
    epochs=2,
    seeds=(1, 2),
    seed_steps=20,
    posteriors=10,
    tiers=("graph",),
    steps=3,
    zoo=("vae-gaussian", "wae-mmd", "vrnn"),
    checked=("vae-bernoulli", "vrnn"),
)


class Parts:
    """The parts of the script.

    Parameters
    ----------
    scale
        How large they are.
    device
        Where they run.
    deadline
        Until when.
    """

    def __init__(self, scale: Scale, device: str, deadline: Deadline) -> None:
        self.scale, self.device, self.deadline = scale, device, deadline
        self.clock = Clock(torch.device(device), max(1.0, deadline.at - time.monotonic()))

    def tiers(self) -> Rows:
        """Images draw alike in all tiers; sequences at once where they are captured."""
        images = [name for name in self.scale.checked if name.startswith("vae")]
        others = [name for name in self.scale.checked if name not in images]
        rows = tiers_agree(images, ("eager", *self.scale.tiers), self.device)
        return rows + tiers_agree(others, self.scale.tiers, self.device)[1:]

    def devices(self) -> Rows:
        return devices_agree(self.device)

    def resumed(self) -> Rows:
        return resumed(self.scale.checked, ("eager", *self.scale.tiers[:1]), self.device)

    def steps(self) -> Rows:
        """Return the tables of the nets, one below the other."""
        warm_up()
        return [row for name in self.scale.nets for row in self._steps_of(name)]

    def _steps_of(self, name: str) -> Rows:
        net, on_gpu = self.scale.nets[name], self.device == "cuda"
        chosen = on_cuda(net) if on_gpu else [c for c in on_cpu(net) if not c.compiles]
        rounds, num_rows = self.scale.rounds, self.scale.num_rows
        measured = measure(net, chosen, self.clock, rounds=rounds, num_rows=num_rows)
        heading, *rows = rows_on_cuda(name, measured) if on_gpu else of_cpu(measured)
        title = (f"**({name}) {net.title}**", *heading[1:])
        return [title, *rows]

    def epochs(self) -> Rows:
        data = mnist()
        if self.scale is SMALL:
            bits = np.random.default_rng(0).integers(0, 2, (300, 28, 28), np.uint8)
            data = from_arrays(bits, name="made-up rows")
        return rows_of_epochs(
            whole_runs(self.scale.tiers, data, self.device, lengths=(self.scale.epochs,))
        )

    def vrnn(self) -> Rows:
        x, length = sequences.batch(self.scale.frames, self.device)
        steps = {sequences.BY_HAND: sequences.by_hand(sequences.vectorised_loss, x, length)}
        for tier in self.scale.tiers:
            steps[f"vaezoo, {tier}"] = sequences.of_vaezoo(tier, x, length)
        seconds = sequences.alternate(steps, self.scale.rounds)
        fastest = f"vaezoo, {self.scale.tiers[-1]}"
        rows: Rows = [("step", "ms", "/ by hand")]
        for name, value in seconds.items():
            aim = VRNN_MILLISECONDS if name == fastest and self.device == "cuda" else 0.0
            ratio = value / seconds[sequences.BY_HAND]
            rows.append((name, at_most(1e3 * value, aim), f"{ratio:.2f}"))
        return rows

    def seeds(self) -> Rows:
        rows: Rows = [("seeds at once", "seconds", "/ one")]
        if "seeds" not in inspect.signature(vaezoo.fit).parameters:
            return [*rows, ("`fit(..., seeds=...)` is not there", "", "")]
        training = {"steps": self.scale.seed_steps, "engine": "graph", "device": self.device}
        taken = []
        for number in self.scale.seeds:
            began = time.perf_counter()
            vaezoo.fit("vae-bernoulli", training=training, seeds=range(number))
            taken.append(time.perf_counter() - began)
            aim = SEEDS_RATIO if number == 100 else 0.0
            rows.append((number, f"{taken[-1]:.1f}", at_most(taken[-1] / taken[0], aim)))
        return rows

    def posteriors(self) -> Rows:
        training = {"steps": 50 * self.scale.steps, "device": self.device}
        run = vaezoo.fit("vae-bernoulli", config={"z_dim": 8}, training=training)
        x = vaezoo.sample(run, self.scale.posteriors, x="sample")
        began = time.perf_counter()
        report = vaezoo.analyse(run, np.asarray(x), limit=None)
        took = time.perf_counter() - began
        (line, *_) = str(report).splitlines()
        number = f"{self.scale.posteriors:,}"
        return [
            ("posteriors", "seconds", "per second", "report"),
            (number, f"{took:.1f}", f"{self.scale.posteriors / took:.0f}", line),
        ]

    def zoo(self) -> Rows:
        return zoo(self.device, self.scale.steps, self.deadline, self.scale.zoo)


def of_cpu(measured: Measured) -> Rows:
    """Return the table of a net where nothing is compiled."""
    return [("step", "ms"), *((n, f"{1e3 * s:.2f}") for n, s in measured.seconds.items())]


NAMES = ("tiers", "devices", "resumed", "vrnn", "steps", "seeds", "posteriors", "epochs", "zoo")


def run_parts(parts: Parts, names: Sequence[str]) -> tuple[list[tuple[str, Rows]], list[str]]:
    """Return the tables of some parts, and a line for each that failed."""
    tables: list[tuple[str, Rows]] = []
    failures: list[str] = []
    for name in names:
        part: Callable[[], Rows] = getattr(parts, name)
        began = time.perf_counter()
        try:
            assert not parts.deadline.is_over, "no time is left"
            rows = part()
        except Exception as error:
            traceback.print_exc()
            failures.append(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            rows = [("failed",), (failures[-1],)]
        took = time.perf_counter() - began
        tables.append((f"**{name}**, {took:.0f} s", rows))
        print(f"{tables[-1][0]}\n\n{markdown(rows)}\n", flush=True)
    return tables, failures


def main() -> None:
    """Go through the parts, write the page, and exit with 1 when one has failed."""
    options, began = parser.parse_args(), time.monotonic()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this machine has no GPU; `--device cpu --smoke` goes through all of it, small")
    scale = SMALL if options.smoke else FULL
    parts = Parts(scale, options.device, Deadline(began + options.budget))
    names = [name for name in NAMES if options.only in name]
    tables, failures = run_parts(parts, names)
    if options.write and tables:
        *others, (caption, last) = tables
        body = [f"{heading}\n\n{markdown(rows)}" for heading, rows in others]
        write("gpu", "A GPU", "\n\n".join([TEXT, *body, caption]), last, began)
    if failures:
        sys.exit("\n".join(["FAILED:", *failures]))


if __name__ == "__main__":
    main()
