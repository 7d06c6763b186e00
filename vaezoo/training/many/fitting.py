"""A training for each of several seeds, from data to run folders."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from torch import nn

from vaezoo import registry
from vaezoo.data import Data
from vaezoo.data.coercion import DataLike
from vaezoo.errors import RequestError
from vaezoo.runs import Run
from vaezoo.runs.ownership import made
from vaezoo.runtime.storage import inside, write_json
from vaezoo.settings import DataSettings, Training
from vaezoo.training.admission import prepare
from vaezoo.training.callbacks import Callback
from vaezoo.training.many.spread import spread_of_runs
from vaezoo.training.many.together import train_together
from vaezoo.training.trainer import Trainer

__all__ = ["SUMMARY", "fit_seeds", "heard_by", "write_summary"]

SUMMARY = "seeds.json"


def fit_seeds(
    model: str | type[nn.Module] | nn.Module,
    data: DataLike | DataSettings | None,
    *,
    seeds: Iterable[int],
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    numbered: bool = False,
    callbacks: Sequence[Callback] = (),
) -> list[Run]:
    """Do what ``vaezoo.fit(..., seeds=...)`` does; parameters are those of :func:`vaezoo.fit`.

    Examples
    --------
    >>> runs = fit_seeds("vae-linear", None, seeds=[3, 4], training={"steps": 3})
    >>> [run.training.seed for run in runs]
    [3, 4]
    """
    numbers = _checked(model, seeds, training)
    folder = _free(Path(out), numbers, numbered=numbered) if out else None
    prepared: list[tuple[Run, Data]] = []
    for seed in numbers:
        prepared.append(
            prepare(
                model,
                data,
                data_settings=data_settings,
                config=config,
                preset=preset,
                training=_with_seed(training, seed),
                out=folder / f"seed-{seed}" if folder else None,
                loaded=(prepared[0][0].data, prepared[0][1]) if prepared else None,
            )
        )
    first = prepared[0][0]
    for callback in callbacks:
        callback.on_prepare(first)
    said: set[str] = set()
    trainers = [
        Trainer(run, loaded, heard_by(callbacks, said, run.training.seed, is_first=run is first))
        for run, loaded in prepared
    ]
    folders = [made(run, notify=partial(_warn, callbacks)) for run, _ in prepared]
    with registry.naming_place():
        try:
            return train_together(trainers, [*folders, _noting(folder, numbers)])
        finally:
            write_summary(folder, [run for run, _ in prepared])


def _checked(model: object, seeds: Iterable[int], training: object) -> list[int]:
    numbers = list(seeds)
    if isinstance(model, nn.Module):
        raise RequestError(
            "a pair that is already built has weights of one seed; give its class or name to train "
            "it with several `seeds`"
        )
    if not numbers:
        raise RequestError("`seeds` names no seed; give at least one, as `seeds=range(10)`")
    if twice := sorted({seed for seed in numbers if numbers.count(seed) > 1}):
        raise RequestError(f"`seeds` names {twice[0]} twice; give each seed once")
    asked = training.model_fields_set if isinstance(training, Training) else (training or {})
    if "seed" in asked:  # type: ignore[operator]
        raise RequestError("give `seed` or `seeds`, not both")
    return numbers


def _with_seed(training: Training | Mapping[str, Any] | None, seed: int) -> dict[str, Any]:
    if isinstance(training, Training):
        training = training.model_dump(exclude_unset=True)
    return {**(training or {}), "seed": seed}


def _free(folder: Path, seeds: Sequence[int], *, numbered: bool) -> Path:
    """Return the folder of all runs; with a number behind it when it is taken, if asked for."""
    for number in count(2):
        if not numbered or not folder.exists():
            return folder
        folder = folder.with_name(f"{folder.name.removesuffix(f'-{number - 1}')}-{number}")
    raise AssertionError


@contextmanager
def _noting(folder: Path | None, seeds: Sequence[int]) -> Iterator[None]:
    """Take note of which seeds there are to be, once their folders are made."""
    if folder is not None:
        write_json(inside(folder, SUMMARY), {"planned": list(seeds)})
    yield


def write_summary(folder: Path | None, runs: Sequence[Run]) -> None:
    """Write what the runs that have finished have come to beside them."""
    trained = [run for run in runs if run.info.get("status") == "finished"]
    if folder is not None and trained and folder.is_dir():
        planned = {"planned": [run.training.seed for run in runs]}
        write_json(inside(folder, SUMMARY), planned | spread_of_runs(trained))


class _Voice(Callback):
    """Hands on the warnings of a seed, but for those that another one has said.

    Parameters
    ----------
    prefix
        Stands before them.
    callbacks
        Are told; none are where they hear the seed itself.
    said
        What has been said, of all seeds.
    """

    def __init__(self, prefix: str, callbacks: Sequence[Callback], said: set[str]) -> None:
        self.prefix, self.callbacks, self.said = prefix, callbacks, said

    def on_warning(self, message: str) -> None:
        if message not in self.said:
            self.said.add(message)
            _warn(self.callbacks, f"{self.prefix}{message}")


def heard_by(
    callbacks: Sequence[Callback], said: set[str], seed: int, *, is_first: bool
) -> Sequence[Callback]:
    """Return who hears a seed: the callbacks the first one, and warnings of the others.

    ``said`` is what has been said, of all seeds.
    """
    if is_first:
        return [_Voice("", (), said), *callbacks]
    return [_Voice(f"seed {seed}: ", callbacks, said)]


def _warn(callbacks: Sequence[Callback], message: str) -> None:
    for callback in callbacks:
        callback.on_warning(message)
