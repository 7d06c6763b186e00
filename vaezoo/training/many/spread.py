"""What several seeds have come to: mean, standard deviation and range of each metric."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from vaezoo.runs import Run
from vaezoo.runs.summary import best_record, headline

__all__ = ["best_of", "spread_of", "spread_of_runs"]


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """Return mean, standard deviation (of the seeds, not of the mean), least and largest value.

    Examples
    --------
    >>> spread_of([-3.0, -1.0])
    {'mean': -2.0, 'sd': 1.4142135623730951, 'min': -3.0, 'max': -1.0}
    """
    sd = stdev(values) if len(values) > 1 else 0.0
    return {"mean": fmean(values), "sd": sd, "min": min(values), "max": max(values)}


def best_of(run: Run) -> dict[str, Any]:
    """Return the record of a run's best epoch."""
    return best_record(run.metrics, run.info.get("best_epoch"))


def spread_of_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what ``seeds.json`` holds: the runs, and how the metrics of their best epochs differ.

    Parameters
    ----------
    runs
        One for each seed, trained.

    Examples
    --------
    >>> runs = vaezoo.fit("vae-linear", training={"steps": 3}, seeds=range(2))
    >>> spread = spread_of_runs(runs)
    >>> spread["seeds"], spread["headline"], sorted(spread["validation"]["elbo"])
    ([0, 1], 'elbo', ['max', 'mean', 'min', 'sd', 'values'])
    """
    values = [best_of(run)["validation"] for run in runs]
    return {
        "seeds": [run.training.seed for run in runs],
        "runs": [str(run.path.name) if run.path else None for run in runs],
        "headline": headline(values[0])[0].lower(),
        "best_epochs": [best_of(run)["epoch"] for run in runs],
        "validation": {
            name: {**spread_of(of_seeds), "values": of_seeds}
            for name in values[0]
            if (of_seeds := _numbers(values, name))
        },
    }


def _numbers(values: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return a metric of all runs; nothing where it is no number for one of them."""
    of_seeds = [value.get(name) for value in values]
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in of_seeds):
        return []
    return [float(v) for v in of_seeds if v is not None]
