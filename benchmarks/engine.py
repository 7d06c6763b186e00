"""How long is a step? The engine against Pyro's SVI, steps written by hand, and pythae.

``--write`` writes what was measured into docs/results. Nothing else should run meanwhile.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from _candidates import Candidate, on_cpu, on_cuda
from _hand_written import Networks, Step, fused_adam
from _nets import NETS, Architecture, Feed
from _report import markdown, write
from _tables import (
    ADAM,
    PRODUCTS,
    Rows,
    rows_in_turn,
    rows_of_epochs,
    rows_of_runs,
    rows_on_cpu,
    rows_on_cuda,
)
from _timing import Clock, Measured, Products, alternate, cache_in, timed
from _whole_runs import PYTHAE_IS_MISSING, in_turn, mnist, whole_runs
from torch import Tensor

from vaezoo.errors import RunError
from vaezoo.runtime.isolation import isolated
from vaezoo.runtime.threads import count_flops

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--nets", help="letters [default: a,b,c,d,e; a,b,c,d on a GPU]")
parser.add_argument("--rounds", type=int, default=40, help="turns of each step [default: 40]")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--only", choices=["table", "epochs", "pythae"])
parser.add_argument("--budget", type=float, help="seconds; then the tables are cut short")
parser.add_argument("--write", action="store_true")

SEED, NUM_ROWS = 0, 10_000
SECONDS_A_NET = 20
BUDGET = {"cpu": 540.0, "cuda": 400.0}

STEPS = """\
A step: gather a batch from rows that lie in memory, loss, gradients, Adam, and the loss read back.
Medians; all steps of a net take turns in one process. Random binary rows, and the same initial
weights for all, seed 0. *Compiled loss* is the row with `torch.optim.Adam(fused=True)`, *same
engine* the row whose loss alone is written by hand: ratios below 1 are faster than they. GFLOP/s
are those of the products of the forward and backward pass. First call: making a step and calling it
once; with an empty cache / after that, from what Inductor keeps on disk (the second of the two
rows with a compiled loss then finds that of the first in memory). vaezoo clips gradients
at a norm of 200 and takes no step that is not finite, as it does by default; Pyro and the steps
written by hand do neither."""
STEPS_ON_CUDA = """\
A step: gather a batch from rows that lie on the device, loss, gradients and Adam. Medians of blocks
of 50 steps between two waits for the device, of which vaezoo and the steps written by hand read the
last loss only, Pyro all. All steps of a net take turns in one process. Random binary rows, and
the same initial weights for all, seed 0. Ratios are to the faster of the two CUDA graphs written by
hand, each the whole step with `torch.optim.Adam(fused=True, capturable=True)`. First call: making
a step and calling it once; with an empty cache / after that, from what Inductor keeps on disk.
vaezoo clips gradients at a norm of 200 and takes no step that is not finite, as it does by default;
the others do neither."""
RUNS = """\
Seconds of whole trainings of `vae-bernoulli`, preset `paper-mnist`, batch 100, from the call to its
return, what is done once included: capture, compiling with an empty cache, validation after
every epoch, saved states. 1 and 5 epochs, and 20 for `auto`, were trained; a figure with
`≈` goes on from the longest one at the pace of its last epochs. The images are binarised once,
before training, so that vaezoo and pythae do the same work. pythae 0.1.2 has its own `BaseTrainer`
and data loader, at their defaults, and the same net, batch and learning rate; vaezoo is measured as
`vaezoo train` runs it. Seed 0."""


def measure(
    architecture: Architecture,
    chosen: Sequence[Candidate],
    clock: Clock,
    *,
    rounds: int,
    num_rows: int = NUM_ROWS,
) -> Measured:
    """Make all steps of a net, and let them take turns."""
    torch.manual_seed(SEED)
    rows = torch.bernoulli(torch.full((num_rows, *architecture.x_shape), 0.3)).to(clock.device)
    networks = Networks(architecture).to(clock.device)
    with isolated():
        steps, first = first_calls(architecture, chosen, networks, rows, clock)
        batch = Feed(rows, architecture.batch_size)()
        if clock.device.type == "cpu":
            steps |= _floor(networks, batch)
        seconds, num_times = alternate(steps, rounds, clock, seconds=SECONDS_A_NET)
    return Measured(seconds, num_times, first, count_flops(lambda: _gradients(networks, batch)))


def first_calls(
    architecture: Architecture,
    chosen: Sequence[Candidate],
    networks: Networks,
    rows: Tensor,
    clock: Clock,
) -> tuple[dict[str, Step], dict[str, list[float]]]:
    """Return a step of each candidate, and the seconds that making it takes.

    Where a compiler runs, that is done twice: with an empty cache of its own, and with what the
    first time left there on disk.
    """
    steps: dict[str, Step] = {}
    seconds: dict[str, list[float]] = {candidate.name: [] for candidate in chosen}
    compiling = [candidate for candidate in chosen if candidate.compiles]
    with tempfile.TemporaryDirectory() as folder:
        for round_of in (chosen, compiling):
            torch.compiler.reset()
            for candidate in round_of:
                if round_of is chosen:
                    torch.compiler.reset()
                with cache_in(Path(folder) / str(chosen.index(candidate))):
                    steps[candidate.name], took = first_call(
                        architecture, candidate, networks, rows, clock
                    )
                seconds[candidate.name].append(took)
                print(f"{candidate.name}: first call {took:.1f} s", flush=True)
    return steps, seconds


def first_call(
    architecture: Architecture,
    candidate: Candidate,
    networks: Networks,
    rows: Tensor,
    clock: Clock,
) -> tuple[Step, float]:
    """Return a step on weights of its own, and the seconds that it takes the first time.

    A second batch is tried when the engine refuses a tier on the first: where a ReLU is zero but
    for rounding, one gradient differs from the eager one by more than rounding.
    """

    def attempt() -> tuple[Step, float]:
        own, feed = copy.deepcopy(networks), Feed(rows, architecture.batch_size)
        return timed(partial(candidate.make, architecture, own, feed), clock)

    try:
        return attempt()
    except RunError as error:
        print(f"{candidate.name}: {error}; once more", flush=True)
        return attempt()


def _gradients(networks: Networks, batch: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(networks(batch), list(networks.parameters()))


def _floor(networks: Networks, batch: Tensor) -> dict[str, Step]:
    """What no step goes below: its products, and its update."""
    with Products() as products:
        gradients = _gradients(networks, batch)
    update = fused_adam(list(copy.deepcopy(networks).parameters()))

    def adam() -> float:
        update(gradients)
        return 0.0

    return {PRODUCTS: products.again, ADAM: adam}


def write_steps(arguments: argparse.Namespace, clock: Clock) -> None:
    """Measure the steps of the nets asked for, and on a GPU epochs too."""
    began, on_gpu = time.monotonic(), clock.device.type == "cuda"
    tables: list[tuple[str, Rows]] = []
    for net in (arguments.nets or ("a,b,c,d" if on_gpu else "a,b,c,d,e")).split(","):
        if tables and clock.is_over():
            print(f"({net}) is left out: --budget is used up")
            continue
        architecture = NETS[net]
        chosen = on_cuda(architecture) if on_gpu else on_cpu(architecture)
        measured = measure(architecture, chosen, clock, rounds=arguments.rounds)
        rows = rows_on_cuda(net, measured) if on_gpu else rows_on_cpu(net, measured)
        caption = f"**({net}) {architecture.title}**; medians of {measured.num_times}"
        tables.append((caption, rows))
        print(f"{caption}\n\n{markdown(rows)}\n", flush=True)
    if on_gpu and not clock.is_over():
        data = mnist()
        runs = whole_runs(("eager", "graph", "compiled"), data, "cuda", lengths=(3,))
        tables.append((f"**Epochs of net (a) on {data.name}**", rows_of_epochs(runs)))
    text = STEPS_ON_CUDA if on_gpu else STEPS
    show(arguments, "engine", "How long is a step?", text, tables, began)


def write_runs(arguments: argparse.Namespace) -> None:
    """Measure whole trainings."""
    began, data = time.monotonic(), mnist()
    has_pythae = find_spec("pythae") is not None
    if not has_pythae:
        print(PYTHAE_IS_MISSING)
    tables: list[tuple[str, Rows]] = []
    if arguments.only != "pythae":
        names = ["auto", "eager", "graph", "compiled", *["pythae"] * has_pythae]
        runs = whole_runs(names, data, "cpu", lengths=(1, 5, 20))
        caption = f"**Net (a) on {data.name}**, {len(data.rows('train')):,} training rows"
        tables.append((caption, rows_of_runs(runs)))
    if has_pythae:
        caption = (
            "**The steps of an epoch**, vaezoo and pythae in turn; medians of 4 after the first"
        )
        tables.append((caption, rows_in_turn(in_turn(data, num_epochs=5))))
    if tables:
        show(arguments, "engine-runs", "How long is a training?", RUNS, tables, began)


def show(
    arguments: argparse.Namespace,
    name: str,
    title: str,
    text: str,
    tables: Sequence[tuple[str, Rows]],
    began: float,
) -> None:
    """Write tables as a page, or print it."""
    *others, (caption, rows) = tables
    parts = [
        text.replace("\n", " "),
        *(f"{heading}\n\n{markdown(table)}" for heading, table in others),
        caption,
    ]
    if arguments.device == "cuda":
        name += "-cuda"
    elif arguments.threads != 2:
        name += f"-{arguments.threads}-threads"
    if arguments.write:
        write(name, title, "\n\n".join(parts), rows, began)
    else:
        print("\n\n".join(parts), markdown(rows), sep="\n\n")


def warm_up() -> None:
    """Load tracer and compiler, so that no first call pays for it."""
    tiny = Architecture("", (4,), (4,), 2, 2)
    (graph,) = [candidate for candidate in on_cpu(tiny) if candidate.name == "vaezoo, graph"]
    graph.make(tiny, Networks(tiny), Feed(torch.zeros(4, 4), 2))()
    torch.compile(torch.exp)(torch.zeros(8))


def main() -> None:
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    budget = arguments.budget or BUDGET[arguments.device]
    clock = Clock(torch.device(arguments.device), budget)
    if arguments.only in (None, "table"):
        warm_up()
        write_steps(arguments, clock)
    if arguments.only != "table" and arguments.device == "cpu":
        write_runs(arguments)


if __name__ == "__main__":
    main()
