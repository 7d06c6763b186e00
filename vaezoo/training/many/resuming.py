"""All seeds of a folder go on, side by side where they stopped."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from vaezoo import registry
from vaezoo.data.coercion import DataLike
from vaezoo.distributed.processes import joined
from vaezoo.errors import RequestError
from vaezoo.runs import Run, load_run, open_run, seeds_in
from vaezoo.runs.ownership import owned
from vaezoo.training.callbacks import Callback, FinishedError
from vaezoo.training.fit import reopened
from vaezoo.training.many.fitting import SUMMARY, heard_by, write_summary
from vaezoo.training.many.together import train_together
from vaezoo.training.trainer import Trainer

__all__ = ["resume_seeds"]

# One of them may have been trained longer, or elsewhere.
_OF_EACH = ("seed", "device", "epochs", "steps")


def resume_seeds(
    path: str | Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    device: str | None = None,
    data: DataLike | None = None,
    data_dir: str | Path | None = None,
    model: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[Run]:
    """Go on with all seeds of a folder that have not finished, side by side in this process.

    Parameters
    ----------
    path
        The folder that ``fit(..., seeds=..., out=path)`` made.
    epochs, steps, device, data, data_dir, model, callbacks
        As :func:`vaezoo.resume` takes them, for each seed.

    Returns
    -------
    list of Run
        One for each seed, those that had finished before among them.

    Raises
    ------
    RequestError
        When a seed is missing, was made by other settings, or is being trained.
    FinishedError
        When all have finished.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> _ = vaezoo.fit("vae-linear", training={"steps": 3}, seeds=range(2), out=folder)
    >>> [run.info["steps"] for run in vaezoo.resume_seeds(folder, steps=5)]
    [5, 5]
    """
    if joined().are_many:
        raise RequestError("seeds go on side by side in one process; start it without torchrun")
    paths = seeds_in(Path(path))
    with ExitStack() as stack:
        for own in paths:
            stack.enter_context(owned(own, notify=partial(_warn, callbacks)))
        runs = [open_run(own, device=device, model=model) for own in paths]
        _require_alike(Path(path), runs)
        going: list[Trainer] = []
        said: set[str] = set()
        for place, run in enumerate(runs):
            voice = heard_by(callbacks, said, run.training.seed, is_first=not going)
            same = going[0].batches.data if going and data is None else data
            again = partial(reopened, run, epochs=epochs, steps=steps, device=device)
            try:
                going.append(again(data=same, data_dir=data_dir, callbacks=voice))
            except FinishedError:
                runs[place] = load_run(paths[place], device=str(run.device), model=model)
            else:
                runs[place] = going[-1].run
        if not going:
            raise FinishedError(
                f"all {len(runs)} seeds of {path} have finished; to train longer, give more "
                "`epochs` or `steps`"
            )
        with registry.naming_place():
            try:
                train_together(going, [])
            finally:
                write_summary(Path(path), runs)
    return runs


def _require_alike(folder: Path, runs: Sequence[Run]) -> None:
    """Refuse a folder that lacks seeds, or has some that were made by other settings."""
    if not runs:
        raise RequestError(f"'{folder}' holds no seeds: it has no folder seed-0, seed-1, ...")
    planned = _planned(folder)
    if missing := sorted(set(planned) - {run.training.seed for run in runs}):
        raise RequestError(
            f"{folder} lacks seed-{missing[0]}, which its {SUMMARY} names; put it back, or go on "
            f"with each of the others by itself, as {runs[0].folder()}"
        )
    first = _settings(runs[0])
    for run in runs[1:]:
        own = _settings(run)
        if other := [name for name in first | own if first.get(name) != own.get(name)]:
            raise RequestError(
                f"{run.folder()} has another `{other[0]}` than {runs[0].folder()}; go on with each "
                "by itself"
            )


def _planned(folder: Path) -> list[int]:
    with suppress(OSError, ValueError):
        values = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return list(values.get("planned", ())) if isinstance(values, dict) else []
    return []


def _settings(run: Run) -> dict[str, Any]:
    """Return all settings of a run that seeds have in common, by name."""
    training = run.training.model_dump(exclude=set(_OF_EACH))
    return {"model": run.model, **run.data.model_dump(), **run.config, **training}


def _warn(callbacks: Sequence[Callback], message: str) -> None:
    for callback in callbacks:
        callback.on_warning(message)
