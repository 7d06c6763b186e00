"""What does ``--precision auto`` save, and what does it cost? Steps in turns, and ELBO by seed.

    VAEZOO_DATA=... python benchmarks/precision.py --write

A processor that does not multiply in bfloat16 has nothing to show: ``auto`` is float32 there.
"""

import argparse
import time
from collections.abc import Iterator
from statistics import mean

import torch
from _candidates import vaezoo_step
from _hand_written import Networks, Step
from _nets import NETS, Feed
from _report import markdown, write
from _timing import Clock, alternate
from _whole_runs import mnist

import vaezoo
from vaezoo.engine.precision import precision_on
from vaezoo.options import Precision
from vaezoo.predict.evaluation import evaluate_on
from vaezoo.runtime.isolation import isolated

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--nets", default="a,b,c,d", help="letters [default: a,b,c,d]")
parser.add_argument("--seeds", type=int, default=3, help="trainings of each [default: 3]")
parser.add_argument("--epochs", type=int, default=20, help="of a training [default: 20]")
parser.add_argument("--write", action="store_true")

PRECISIONS: tuple[Precision, ...] = ("float32", "auto")
TARGETS = {"a": "≤ 0.72", "b": "≤ 1.00", "c": "≤ 1.00", "d": "≤ 0.70"}
TEXT = """\
*A step*: milliseconds of a compiled step on one thread, as in docs/results/engine.md, medians of
the two in turns in one process; *ratio* is auto by float32. *ELBO*: net (a) on binarised MNIST,
{epochs} epochs, batch 100, Adam 1e-3, scored in float32 on 10,000 test rows, the mean of {seeds}
seeds; the difference is auto minus float32, with the values of each seed."""


def rows_of_steps(letters: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each net: its step in either precision, and their ratio."""
    clock = Clock(torch.device("cpu"), 600)
    for letter in letters:
        architecture = NETS[letter]
        torch.manual_seed(0)
        x = torch.bernoulli(torch.full((10_000, *architecture.x_shape), 0.3))
        networks = Networks(architecture)
        with isolated():
            steps: dict[str, Step] = {
                how: vaezoo_step(
                    *(architecture, networks, Feed(x, architecture.batch_size)),
                    engine="compiled",
                    precision=how,
                )
                for how in PRECISIONS
            }
            seconds, _ = alternate(steps, 40, clock, seconds=30)
        of_float, of_auto = (1000 * seconds[how] for how in PRECISIONS)
        name = f"({letter}) {architecture.title}: a step, ms"
        ratio = f"{of_auto / of_float:.2f}"
        yield (name, f"{of_float:.3f}", f"{of_auto:.3f}", ratio, TARGETS[letter])


def row_of_elbo(num_seeds: int, epochs: int) -> tuple[str, ...]:
    """Return the row of the ELBO that trainings in either precision come to."""
    data = mnist()
    elbo: dict[Precision, list[float]] = {how: [] for how in PRECISIONS}
    config = {"hidden": list(NETS["a"].hidden), "z_dim": NETS["a"].z_dim}
    for how in PRECISIONS:
        for seed in range(num_seeds):
            training = {"epochs": epochs, "batch_size": 100, "seed": seed, "precision": how}
            run = vaezoo.fit("vae-bernoulli", data, config=config, training=training)
            elbo[how].append(evaluate_on(run.pair, run.batches(data), iwae=(1,)).metrics.elbo)
            print(f"{how}, seed {seed}: ELBO {elbo[how][-1]:.3f}", flush=True)
    of_float, of_auto = elbo.values()
    differences = [ours - theirs for ours, theirs in zip(of_auto, of_float, strict=True)]
    each = ", ".join(f"{value:.2f}" for value in differences)
    return (
        *("ELBO, nats", f"{mean(of_float):.3f}", f"{mean(of_auto):.3f}"),
        *(f"{mean(differences):+.3f} ({each})", "within 0.1"),
    )


def main() -> None:
    """Measure, and print the table."""
    options, began = parser.parse_args(), time.monotonic()
    torch.set_num_threads(1)
    if precision_on("auto", torch.device("cpu")) == "float32":
        parser.exit(message="this processor does not multiply in bfloat16: auto is float32\n")
    rows: list[tuple[str, ...]] = [("what", *PRECISIONS, "ratio or difference", "target")]
    for row in rows_of_steps(options.nets.split(",") if options.nets else []):
        rows.append(row)
        print(" | ".join(row), flush=True)
    if options.seeds:
        rows.append(row_of_elbo(options.seeds, options.epochs))
    if options.write:
        text = TEXT.format(epochs=options.epochs, seeds=options.seeds)
        write("precision", "What does bfloat16 save?", text, rows, began)
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
