"""What was measured, as tables; a target stands beside its figure."""

from collections.abc import Mapping, Sequence
from statistics import median

from _candidates import COMPILED, HAND, PYRO, RECORDED, SAME
from _timing import Measured
from _whole_runs import Timeline

__all__ = [
    "ADAM",
    "PRODUCTS",
    "Rows",
    "rows_in_turn",
    "rows_of_epochs",
    "rows_of_runs",
    "rows_on_cpu",
    "rows_on_cuda",
]

Rows = list[tuple[object, ...]]

PRODUCTS, ADAM = "matrix products alone", "Adam alone"
TARGETS = {"a": (0.95, 1.02, 1.7), "b": (0.85, 1.02, 2.8), "c": (0.52, 1.02, 5.0)}
CUDA_MILLISECONDS = {"a": 0.10, "c": 0.10}
CUDA_RATIO = 1.05
TIMES_PYTHAE = 2.0


def rows_on_cpu(net: str, measured: Measured) -> Rows:
    """Return the table of a net on the CPU."""
    seconds = measured.seconds
    pyro = next(name for name in seconds if name.startswith(PYRO))
    aims = TARGETS.get(net, (0.0, 0.0, 0.0))
    rows: Rows = [
        (
            *("step", "ms", "/ compiled loss", "/ same engine", "speed-up over Pyro SVI"),
            *("GFLOP/s", "first call, s"),
        )
    ]
    for name, time_ in seconds.items():
        if name in (PRODUCTS, ADAM):
            rate = "" if name == ADAM else f"{measured.flops / time_ / 1e9:.0f}"
            rows.append((name, f"{1e3 * time_:.3f}", "", "", "", rate, ""))
            continue
        ratios = (time_ / seconds[HAND], time_ / seconds[SAME], seconds[pyro] / time_)
        limits = aims if name == COMPILED else (0.0, 0.0, 0.0)
        rows.append(
            (
                *(name, f"{1e3 * time_:.3f}"),
                *(at_most(value, aim) for value, aim in zip(ratios[:2], limits[:2], strict=True)),
                at_least(ratios[2], limits[2]),
                f"{measured.flops / time_ / 1e9:.0f}",
                " / ".join(f"{second:.1f}" for second in measured.first[name]),
            )
        )
    return rows


def rows_on_cuda(net: str, measured: Measured) -> Rows:
    """Return the table of a net on a GPU."""
    seconds = measured.seconds
    pyro = next(name for name in seconds if name.startswith(PYRO))
    by_hand = min(value for name, value in seconds.items() if name.startswith(RECORDED))
    rows: Rows = [("step", "ms", "/ CUDA graph by hand", "speed-up over Pyro SVI", "first call, s")]
    for name, time_ in seconds.items():
        is_aim = name == COMPILED
        rows.append(
            (
                name,
                at_most(1e3 * time_, CUDA_MILLISECONDS.get(net, 0.0) if is_aim else 0.0, digits=4),
                at_most(time_ / by_hand, CUDA_RATIO if is_aim else 0.0),
                f"{seconds[pyro] / time_:.1f}",
                " / ".join(f"{second:.1f}" for second in measured.first[name]),
            )
        )
    return rows


def at_most(value: float, aim: float, *, digits: int = 2) -> str:
    """Return a number beside its target, if it has one, and whether that is missed."""
    return f"{value:.{digits}f}" + _beside("≤", aim, value <= aim)


def at_least(value: float, aim: float) -> str:
    """Return a speed-up beside its target, if it has one, and whether that is missed."""
    return f"{value:.2f}" + _beside("≥", aim, value >= aim)


def _beside(sign: str, aim: float, met: bool) -> str:
    if not aim:
        return ""
    return f" (target {sign} {aim:g}{'' if met else ', missed'})"


def rows_of_runs(runs: Mapping[str, Mapping[int, Timeline]]) -> Rows:
    """Return the table of whole trainings; what was computed and not measured has a ``≈``."""
    lengths = (1, 5, 20, 100)
    rows: Rows = [
        ("training", "a later epoch, s", "1 epoch, s", *(f"{n} epochs, s" for n in lengths[1:]))
    ]
    for name, timelines in runs.items():
        longest = timelines[max(timelines)]
        title = name if name == "pythae" else f"vaezoo, {name}"
        if name == "auto":
            title += f" ({longest.tier} at the end)"
        totals = (
            f"{timelines[n].seconds:.1f}" if n in timelines else f"≈ {longest.extended(n):.0f}"
            for n in lengths
        )
        rows.append((title, f"{longest.epoch:.2f}", *totals))
    return rows


def rows_in_turn(seconds: Mapping[str, Sequence[float]]) -> Rows:
    """Return the table of epochs of vaezoo and of pythae, the first left out."""
    ours, theirs = (median(values[1:]) for values in seconds.values())
    return [
        ("training", "steps of an epoch, s", "speed-up over pythae"),
        *zip(
            seconds,
            (f"{ours:.2f}", f"{theirs:.2f}"),
            (at_least(theirs / ours, TIMES_PYTHAE), "1.00"),
            strict=True,
        ),
    ]


def rows_of_epochs(runs: Mapping[str, Mapping[int, Timeline]]) -> Rows:
    """Return the table of epochs on a GPU."""
    rows: Rows = [("training", "steps of a later epoch, s", "whole epoch, s", "first epoch, s")]
    for name, timelines in runs.items():
        (timeline,) = timelines.values()
        figures = (timeline.trained[-1], timeline.epoch, timeline.ends[0])
        rows.append((f"vaezoo, {name}", *(f"{figure:.2f}" for figure in figures)))
    return rows
