"""``vaezoo train --seeds``: what several runs have come to, told and drawn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.cli._shared import echo_json
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError, command

if TYPE_CHECKING:
    from vaezoo.runs import Run

__all__ = ["report_seeds", "seeds_of"]


def seeds_of(words: dict[str, Any]) -> range | None:
    """Return which seeds are asked for, None for a single run: so many from ``--seed`` on."""
    number = words.get("seeds")
    if number is None:
        return None
    if number < 1:
        raise RequestError("--seeds takes how many there are, 1 or more; --seed is the first one")
    first = words.get("seed", 0)
    return range(first, first + number)


def report_seeds(runs: "Sequence[Run]", draw: "Callable[[Run], object]", *, as_json: bool) -> None:
    """Draw the figures of each run, and print mean, standard deviation and range over seeds."""
    from vaezoo.training.many.fitting import SUMMARY
    from vaezoo.training.many.spread import spread_of_runs

    folder = runs[0].folder().parent
    for run in runs:
        draw(run)
    spread = spread_of_runs(runs)
    if as_json:
        echo_json({"folder": str(folder), **spread})
        return
    name = spread["headline"]
    value = spread["validation"][name]
    of_what = " (of standardised values)" if runs[0].transform.mean is not None else ""
    echo(
        f"{len(runs)} seeds: validation {name.upper() if name == 'elbo' else name} of the best "
        f"epochs {value['mean']:.2f} nats, sd {value['sd']:.2f}, from {value['min']:.2f} to "
        f"{value['max']:.2f}{of_what}"
    )
    echo(f"wrote {_names(runs)} and {SUMMARY} in {folder}")
    echo("each is a run:")
    echo(f"  {command('evaluate', Path(runs[0].folder()))}")


def _names(runs: "Sequence[Run]") -> str:
    names = [run.folder().name for run in runs]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
