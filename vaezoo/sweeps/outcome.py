"""What a sweep has come to: its trials, and the best of them."""

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from vaezoo.errors import RunError
from vaezoo.markup import table
from vaezoo.sweeps.space import typed
from vaezoo.sweeps.study import counted, open_study

__all__ = ["Sweep", "Trial", "outcome_of"]


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes
    ----------
    number
        In the order of their beginnings.
    state
        ``finished``, ``pruned``, ``failed``, or ``running``.
    value
        Validation ELBO of its best epoch, in nats per datum (or frame), or the reconstruction of an
        autoencoder; None without an epoch.
    settings
        Those of the space.
    run
        Its run folder.
    error
        Why it has failed; empty where it has not.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    run: Path
    error: str = ""


@dataclass(frozen=True)
class Sweep:
    """The trials of a sweep.

    Attributes
    ----------
    folder
        Of the sweep.
    trials
        Those that count, in order.

    Examples
    --------
    >>> runs = [Path("a/trial-0000"), Path("a/trial-0001")]
    >>> trials = [Trial(n, "finished", -1.0 - n, {"lr": 0.1}, run) for n, run in enumerate(runs)]
    >>> Sweep(Path("a"), trials).best.number
    0
    """

    folder: Path
    trials: list[Trial]

    def _repr_html_(self) -> str:
        """Return a table for a notebook, the best trials first."""
        first = sorted(self.trials, key=lambda t: -inf if t.value is None else t.value)[::-1]
        return table(map(_cells, first), ("trial", "state", "validation, nats", "settings"))

    @property
    def ended(self) -> list[Trial]:
        """Trials that nobody works on."""
        return [trial for trial in self.trials if trial.state != "running"]

    @property
    def best_or_none(self) -> Trial | None:
        """The finished trial of the highest value; None without one."""
        finished = [t for t in self.trials if t.state == "finished" and t.value is not None]
        return max(finished, key=lambda trial: trial.value or 0.0, default=None)

    @property
    def best(self) -> Trial:
        """The finished trial of the highest value."""
        if self.best_or_none is None:
            raise RunError(f"no trial of {self.folder} has finished")
        return self.best_or_none

    def to_dict(self) -> dict[str, Any]:
        """Return all as plain values."""
        trials = [{**asdict(trial), "run": str(trial.run)} for trial in self.trials]
        return {"sweep": str(self.folder), "best": self.best.number, "trials": trials}


def _cells(trial: Trial) -> tuple[str, ...]:
    value = "" if trial.value is None else f"{trial.value:.3f}"
    settings = ", ".join(f"{name}={value}" for name, value in trial.settings.items())
    return (str(trial.number), trial.state, value, trial.error or settings)


def outcome_of(folder: Path) -> Sweep:
    """Return what the sweep of a folder has come to so far."""
    trials = []
    for trial in counted(open_study(folder)):
        state = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
        settings = {
            name: typed(value) if isinstance(value, str) else value
            for name, value in trial.params.items()
        }
        best = max(trial.intermediate_values.values(), default=None)
        trials.append(
            Trial(
                number=trial.number,
                state=state.get(trial.state.name, "running"),
                value=trial.value if trial.state.name == "COMPLETE" else best,
                settings=settings,
                run=folder / f"trial-{trial.number:04d}",
                error=str(trial.user_attrs.get("error", "")),
            )
        )
    return Sweep(folder, trials)
