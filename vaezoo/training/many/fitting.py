"""A training for each of several seeds, from data to run folders."""

from collections.abc import Iterable, Mapping, Sequence
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

__all__ = ["SUMMARY", "fit_seeds"]

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
    for callback in callbacks:
        callback.on_prepare(prepared[0][0])
    voices = _voices(numbers, callbacks)
    trainers = [Trainer(*one, heard) for one, heard in zip(prepared, voices, strict=True)]
    notify = partial(_warn, callbacks)
    with registry.naming_place():
        try:
            return train_together(trainers, [made(run, notify=notify) for run, _ in prepared])
        finally:
            _write_summary(folder, [run for run, _ in prepared])


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


def _write_summary(folder: Path | None, runs: Sequence[Run]) -> None:
    trained = [run for run in runs if run.info.get("status") == "finished"]
    if folder is not None and trained and folder.is_dir():
        write_json(inside(folder, SUMMARY), spread_of_runs(trained))


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


def _voices(seeds: Sequence[int], callbacks: Sequence[Callback]) -> list[Sequence[Callback]]:
    """Return who hears each seed: the callbacks the first one, and warnings of the others."""
    said: set[str] = set()
    others = [[_Voice(f"seed {seed}: ", callbacks, said)] for seed in seeds[1:]]
    return [[_Voice("", (), said), *callbacks], *others]


def _warn(callbacks: Sequence[Callback], message: str) -> None:
    for callback in callbacks:
        callback.on_warning(message)
