"""How long is a step of the VRNN? vaezoo against Pyro with a site per step, and loops by hand.

``--write`` writes what was measured into docs/results. Nothing else should run meanwhile.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import pyro
import torch
from _report import markdown, write
from _vrnn import NaivePyro, Networks, looped_loss, vectorised_loss
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.recurrence.planned import Planned
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RunError
from vaezoo.models.vrnn import VRNN
from vaezoo.objectives import ELBO
from vaezoo.options import EngineName
from vaezoo.sequences.paths import PathPair
from vaezoo.sequences.unrolled import loop

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--rounds", type=int, default=30, help="turns of each step [default: 30]")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--only", choices=["table", "growth"])
parser.add_argument("--write", action="store_true")

X_DIM, WIDTH, ROWS, FRAMES = 88, 64, 16, 80
LENGTHS = (20, 40, 80, 160, 320, 640, 1280)
BY_HAND = "by hand, vectorised, eager"
NAIVE = "Pyro SVI, a site per step"
COMPILED = "vaezoo, compiled"
TEXT = """\
A step of `vrnn` on random binary sequences, x 88, h = z = 64, T = 80, 16 sequences of 40 to 80
frames (masked): loss, gradients, Adam, and the loss read back. Medians; all steps take turns in one
process. *By hand, vectorised* has everything that does not depend on the past outside of its loop.
vaezoo clips gradients and takes no step that is not finite; the others do neither."""
GROWTH = """\
Growth with the length of the sequences, 16 of T frames each; milliseconds of a step, and per frame
in units of T = 80."""

Step = Callable[[], float]


def batch(num_frames: int, device: str, *, full: bool = False) -> tuple[Tensor, Tensor]:
    """Return random sequences and their lengths."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(ROWS, num_frames, X_DIM, generator=generator) < 0.1).float()
    shortest = num_frames if full else num_frames // 2
    length = torch.randint(shortest, num_frames + 1, (ROWS,), generator=generator)
    length[0] = num_frames
    return x.to(device), length.to(device)


def of_vaezoo(engine: EngineName, x: Tensor, length: Tensor, *, blocks: bool = False) -> Step:
    """Return a step of vaezoo's engine."""
    torch.manual_seed(0)
    pair = VRNN(x_shape=(X_DIM,), z_dim=WIDTH, hidden=WIDTH).to(x.device)
    form = PathPair(pair, loop if engine == "eager" else Planned(_refuse))
    optimizer = Optimizer("adam", list(pair.parameters()), lr=1e-3)
    taken = Engine(form, ELBO(), optimizer, clip_norm=200.0, engine=engine, notify=_refuse)
    if blocks:
        taken((x, length))
        taken.compile_steps()
    return lambda: float(taken((x, length)))


def _refuse(kind: str, line: str) -> None:
    raise RunError(line)


def by_hand(loss: Callable[..., Tensor], x: Tensor, length: Tensor) -> Step:
    """Return a step with autograd and a fused Adam."""
    torch.manual_seed(0)
    nets = Networks(X_DIM, WIDTH, WIDTH).to(x.device)
    adam = torch.optim.Adam(nets.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        adam.zero_grad()
        value = loss(nets, x, length)
        value.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return float(value)

    return step


def of_pyro(x: Tensor, length: Tensor) -> Step:
    """Return a step of Pyro's SVI."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    pair = NaivePyro(Networks(X_DIM, WIDTH, WIDTH).to(x.device))
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())  # type: ignore[no-untyped-call,attr-defined]
    return lambda: float(svi.step(x, length))


def candidates(x: Tensor, length: Tensor) -> dict[str, Step]:
    """Return the steps that take turns."""
    return {
        NAIVE: of_pyro(x, length),
        "by hand, all in the loop, eager": by_hand(looped_loss, x, length),
        BY_HAND: by_hand(vectorised_loss, x, length),
        "vaezoo, eager": of_vaezoo("eager", x, length),
        "vaezoo, graph": of_vaezoo("graph", x, length),
        "vaezoo, graph with compiled steps": of_vaezoo("graph", x, length, blocks=True),
        COMPILED: of_vaezoo("compiled", x, length),
    }


def alternate(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Return the median seconds of steps that take turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            for _ in range(2):
                began = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


def table(device: str, rounds: int) -> list[list[str]]:
    """Return the steps, their times, and ratios."""
    seconds = alternate(candidates(*batch(FRAMES, device)), rounds)
    rows = [["step", "ms", "/ by hand, vectorised", "over Pyro SVI"]]
    for name, value in seconds.items():
        ratios = f"{value / seconds[BY_HAND]:.2f}", f"{seconds[NAIVE] / value:.2f}"
        rows.append([name, f"{1e3 * value:.1f}", *ratios])
    return rows


def growth(device: str, rounds: int) -> list[list[str]]:
    """Return the time of a step for sequences of several lengths."""
    rows = [["T", "graph, ms", "per frame", "compiled steps, ms", "per frame"]]
    steps = {
        (t, blocks): of_vaezoo("graph", *batch(t, device, full=True), blocks=blocks)
        for t in LENGTHS
        for blocks in (False, True)
    }
    seconds = alternate({f"{t} {blocks}": step for (t, blocks), step in steps.items()}, rounds)
    for t in LENGTHS:
        row = [str(t)]
        for blocks in (False, True):
            value, unit = seconds[f"{t} {blocks}"], seconds[f"{FRAMES} {blocks}"]
            row += [f"{1e3 * value:.1f}", f"{value / unit * FRAMES / t:.2f}"]
        rows.append(row)
    return rows


def main() -> None:
    began, options = time.monotonic(), parser.parse_args()
    torch.set_num_threads(options.threads)
    parts = [TEXT]
    if options.only != "growth":
        parts.append(markdown(table(options.device, options.rounds)))
    last = growth(options.device, max(3, options.rounds // 4)) if options.only != "table" else [[]]
    if options.write:
        write("sequence-steps", "Steps of sequences", "\n\n".join([*parts, GROWTH]), last, began)
    else:
        print("\n\n".join([*parts[1:], markdown(last) if last[0] else ""]))


if __name__ == "__main__":
    main()
