"""The work of one process of a sweep: trial after trial, each a training with its run folder."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from vaezoo.config import merge
from vaezoo.data.coercion import DataLike
from vaezoo.errors import RequestError, VaezooError, is_out_of_memory, reason_of
from vaezoo.runs import Run
from vaezoo.runs.summary import best_record, headline
from vaezoo.settings import DataSettings, checked
from vaezoo.sweeps.outcome import Trial, outcome_of
from vaezoo.sweeps.space import read_space, settings_of
from vaezoo.sweeps.study import give_up, next_trial, open_study
from vaezoo.training.callbacks import Callback
from vaezoo.training.fit import fit

if TYPE_CHECKING:
    import optuna

__all__ = ["Request", "try_all", "why_refused"]

_PLAIN = ("trials", "config", "preset", "training", "prune")
MOST_REFUSED = 3  # trials, when none before them has finished: then it is not their settings


@dataclass(frozen=True)
class Request:
    """What a sweep is asked for; see :func:`vaezoo.sweep`."""

    model: str | type[nn.Module]
    data: "DataLike | DataSettings | None"
    data_settings: dict[str, Any]
    space: dict[str, str | Sequence[object]]
    trials: int
    config: dict[str, Any]
    preset: str | None
    training: dict[str, Any]
    prune: bool

    @property
    def base(self) -> dict[str, Any]:
        """Settings of all trials."""
        return merge(self.config, {"training": self.training})

    def to_dict(self, *, for_processes: bool = False) -> dict[str, Any]:
        """Return it as plain values; those in memory by their kind.

        Raises
        ------
        RequestError
            For other processes, which cannot be given what lies in the memory of this one.
        """
        model, data = self.model, self.data
        are_named = isinstance(model, str) and isinstance(data, str | Path | DataSettings | None)
        are_named = are_named and all(_plain(v) is v for v in self.data_settings.values())
        if for_processes and not are_named:
            raise RequestError(
                "several processes of a sweep read the model and the data themselves: name both, "
                "by a file say, or leave out `jobs`"
            )
        if isinstance(data, DataSettings):
            named: Any = data.model_dump(mode="json", exclude_none=True)
        else:
            named = str(data) if isinstance(data, str | Path) else _plain(data)
        values = {name: getattr(self, name) for name in _PLAIN}
        return {
            "model": model
            if isinstance(model, str)
            else f"{model.__module__}:{model.__qualname__}",
            "data": named,
            "space": {n: v if isinstance(v, str) else list(v) for n, v in self.space.items()},
            "data_settings": {name: _plain(value) for name, value in self.data_settings.items()},
            **values,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Request":
        """Return what :meth:`to_dict` has made plain values of, for another process."""
        named = {field.name: values[field.name] for field in fields(Request)}
        if isinstance(named["data"], Mapping):
            named["data"] = checked(DataSettings, named["data"])
        return Request(**named)


def _plain(value: object) -> object:
    """Return a setting as it is written; values in memory by their kind."""
    is_plain = isinstance(value, str | int | float | list | tuple | dict | None)
    return value if is_plain else type(value).__name__


class PrunedError(VaezooError):
    """A training is given up, since it is worse than most."""


class Reporter(Callback):
    """Tells a trial how its training goes, and ends one that is worse than most."""

    def __init__(self, trial: "optuna.Trial", *, prune: bool) -> None:
        self.trial = trial
        self.prune = prune
        self.run: Run | None = None

    def on_prepare(self, run: Run) -> None:
        """Keep the run, to say what became of it."""
        self.run = run

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Report the validation ELBO."""
        self.trial.report(headline(record["validation"])[1], step=int(record["epoch"]))
        if self.prune and self.trial.should_prune():
            if self.run is not None:
                self.run.save_info(status="interrupted")
            raise PrunedError("worse than most")


def try_all(
    request: Request,
    folder: Path,
    worker: str,
    tell: Callable[[Trial], object] = lambda trial: None,
) -> None:
    """Take trial after trial until there are enough.

    Raises
    ------
    RequestError
        When the first trials are all refused: it is not their settings that are wrong.
    """
    study, space, seed = (
        open_study(folder),
        read_space(request.space),
        request.training.get("seed", 0),
    )
    num_refused = 0
    while new := next_trial(study, space, request.trials, worker, seed):
        trial, values = new
        refusal = _try(study, trial, values, request, folder)
        ended = {other.number: other for other in outcome_of(folder).trials}
        tell(ended[trial.number])
        num_refused = num_refused + 1 if refusal else 0
        finished = any(other.state == "finished" for other in ended.values())
        if refusal and num_refused == MOST_REFUSED and not finished:
            raise RequestError(why_refused(folder))


def why_refused(folder: Path) -> str:
    """Return why the first trials of a sweep could not be trained."""
    reasons = [trial.error for trial in outcome_of(folder).trials if trial.error]
    return f"the first {MOST_REFUSED} trials were refused: {reasons[-1] if reasons else '?'}"


def _try(
    study: "optuna.Study",
    trial: "optuna.Trial",
    values: Mapping[str, Any],
    request: Request,
    folder: Path,
) -> str:
    """Train with the settings of a trial, and tell what came of it; return why it is refused."""
    from optuna.trial import TrialState

    reporter = Reporter(trial, prune=request.prune)
    try:
        run = fit(
            request.model,
            request.data,
            data_settings=request.data_settings or None,
            config=settings_of(request.base, values),
            preset=request.preset,
            out=folder / f"trial-{trial.number:04d}",
            callbacks=(reporter,),
        )
        best = best_record(run.metrics, run.info["best_epoch"])["validation"]
        study.tell(trial, headline(best)[1])
    except PrunedError:
        study.tell(trial, state=TrialState.PRUNED)
    except KeyboardInterrupt:
        with suppress(Exception):
            give_up(study, trial)
        raise
    except Exception as error:  # whatever a training with these settings does
        words = str(error) if isinstance(error, VaezooError) else reason_of(error)
        trial.set_user_attr("error", "out of memory" if is_out_of_memory(error) else words)
        study.tell(trial, state=TrialState.FAIL)
        return words if isinstance(error, RequestError) else ""
    return ""
