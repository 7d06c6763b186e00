"""What several runs of one kind come to together: means, and the intervals of these."""

from collections.abc import Mapping, Sequence

from vaezoo.errors import RequestError
from vaezoo.predict.comparison.estimates import Estimate, interval_of_mean
from vaezoo.predict.evaluation import Evaluation

__all__ = ["over_runs"]


def over_runs(results: Sequence[Evaluation]) -> dict[str, Estimate]:
    """Return the mean of each number of several evaluations, with an interval over runs.

    Runs are taken for draws of one distribution, as those are that differ in their seed: the
    interval says where the mean of many such runs lies, on these data.

    Parameters
    ----------
    results
        Of runs of one pair on the same rows, asked for alike.

    Raises
    ------
    RequestError
        When they are of other rows, or have other numbers.

    Examples
    --------
    >>> import vaezoo
    >>> runs = vaezoo.fit("vae-linear", training={"steps": 50}, seeds=range(3))
    >>> estimates = over_runs([vaezoo.evaluate(run, iwae=(10,)) for run in runs])
    >>> list(estimates)
    ['ELBO', 'IWAE 10', 'KL', 'active units']
    """
    numbers = [_numbers(result) for result in results]
    rows = {(result.split, result.num_rows, result.num_frames) for result in results}
    if len(rows) > 1 or any(one.keys() != numbers[0].keys() for one in numbers):
        raise RequestError(
            "these runs are on other rows, or of other kinds; `vaezoo.compare(runs)` says what of "
            "them can be compared"
        )
    return {name: interval_of_mean([one[name] for one in numbers]) for name in numbers[0]}


def _numbers(result: Evaluation) -> Mapping[str, float]:
    metrics = result.metrics
    if metrics.is_autoencoder:
        return {"reconstruction": metrics.recon}
    named = (("IWAE", result.iwae), ("FIVO", result.fivo), ("predictive", result.predictive))
    bounds = {f"{name} {b.num_samples}": b.value for name, all_of in named for b in all_of}
    active = {} if metrics.active_units is None else {"active units": float(metrics.active_units)}
    return {"ELBO": metrics.elbo, **bounds, "KL": metrics.kl, **active}
