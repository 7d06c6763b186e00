"""What is looked at and said before training: rows left out, missing entries, noisy gradients."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.data.summary import describe_missing
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RequestError
from vaezoo.observations.usable import Usable, usable_latents
from vaezoo.pairs.accounting import log_weight
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import trial_rows
from vaezoo.pairs.plates import score_function
from vaezoo.pairs.sites import PairTrace, trace_pair
from vaezoo.runs import Run
from vaezoo.runs.records import Record
from vaezoo.runtime.isolation import isolated, untouched
from vaezoo.sequences.windows import Updates
from vaezoo.training.alarms import any_of, to_learn

__all__ = [
    "first_remarks",
    "last_remarks",
    "noise_of",
    "remarks",
    "rows_of_an_epoch",
    "units_before",
]

EVALUATIONS = 10
MANY_FRAMES = 5_000
VALUES_OF_A_COVARIANCE, ROWS_OF_A_COVARIANCE = 2**23, 5_000


def rows_of_an_epoch(pair: nn.Module, batches: Batches, batch_size: int) -> int:
    """Return how many rows are seen in an epoch: all, but for one that would stand alone.

    Batch normalisation needs two rows in training. As the order is drawn anew for each epoch,
    another row is left out each time.

    Raises
    ------
    RequestError
        When every batch is to be of one row, which the pair does not take.

    Examples
    --------
    >>> from vaezoo.data.transform import Transform
    >>> from vaezoo.testing.pairs import LinearPair
    >>> from vaezoo.data import from_arrays
    >>> data = from_arrays(torch.rand(20, 4).numpy())
    >>> batches = Batches(data, Transform(), ("x",), torch.device("cpu"))
    >>> rows_of_an_epoch(LinearPair(), batches, 5)
    16
    """
    size = batches.size("train")
    if size % batch_size not in ((0,) if batch_size == 1 else (1,)) or size == 1:
        return size
    if _takes(pair, batches, 1) or not _takes(pair, batches, 2):
        return size
    if batch_size == 1:
        raise RequestError(
            f"{type(pair).__name__} cannot be trained on batches of one row, as batch "
            "normalisation cannot; use `batch_size=2` or more"
        )
    return size - 1


def remarks(updates: Updates, info: Mapping[str, Any], noise: str) -> Iterator[tuple[str, str]]:
    """Yield what deserves a word before training, each by a short name.

    Parameters
    ----------
    updates
        Which rows, and frames of them, are seen in an epoch.
    info
        Of the run, with notes of its admission.
    noise
        A line on noisy gradients, if there are any.
    """
    batches, frames = updates.batches, updates.most_frames
    if updates.num_rows < batches.size("train"):
        yield "row", "one row is left out of each epoch, since it would be a batch of its own"
    if line := describe_missing(batches.data, batches.names):
        yield "missing", line
    if frames > MANY_FRAMES and updates.can_be_cut:
        yield (
            "long sequences",
            f"a step goes through {frames:,} frames at once, and its memory grows with them: "
            "`truncate=200` takes a step after each 200, and carries the state on",
        )
    for line in filter(None, (*info.get("notes", ()), noise)):
        yield line, line


def first_remarks(
    run: Run, engine: Engine, form: nn.Module, updates: Updates, batch_size: int
) -> list[tuple[str, str]]:
    """Return what deserves a word before training, each by a short name.

    Parameters
    ----------
    run
        At its start.
    engine
        Evaluates gradients.
    form
        The pair in the form that is trained.
    updates, batch_size
        Which rows are seen in an epoch, and in a step.
    """
    noise = noise_before(engine, updates.batches, batch_size)
    said = remarks(updates, run.info, noise)
    return [*said, *units_before(run, form, updates.batches)]


def units_before(run: Run, pair: nn.Module, batches: Batches) -> Iterator[tuple[str, str]]:
    """Yield how many latents can be in use, where the weight of the KL term leaves some out.

    It is asked where one can get it wrong: with a beta above 1, and with a fixed sigma.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-linear", training={"steps": 1, "beta": 50.0})
    >>> dict(units_before(run, run.pair, run.batches()))["units"][:29]
    '0 of 10 latents can be in use'
    """
    training, likelihood = run.training, run.config.get("likelihood")
    sigma = str(likelihood.get("sigma", "")) if isinstance(likelihood, dict) else ""
    if training.objective != "elbo" or training.free_bits:
        return
    if training.beta <= 1 and not sigma.startswith("fixed"):
        return
    size = math.prod(batches.data.x_shape)
    number = max(min(ROWS_OF_A_COVARIANCE, VALUES_OF_A_COVARIANCE // size), 2)
    args = batches.whole("train", limit=number)
    usable = usable_latents(pair, args, training.beta)
    if usable is not None and usable.number < usable.num_latents:
        yield "units", _in_words(usable, training.beta, has_sigma=sigma.startswith("fixed"))


def _in_words(usable: Usable, beta: float, *, has_sigma: bool) -> str:
    """Return what is said of latents that cannot be in use, and what this run can do about it."""
    of_what = "correlation of the elements" if usable.is_binary else "covariance of the data"
    what = "beta" if usable.is_binary else "beta sigma^2"
    largest = usable.spectrum.eigenvalues[0]
    how = (
        "exact, as the decoder is linear"
        if usable.is_exact
        else "a heuristic: the decoder is not linear"
    )
    better = 1.0 if usable.variance is None and not usable.is_binary else usable.beta_for_all
    ways = [f"`beta={better:g}`"] if 0 < better < beta else []
    ways += ["`likelihood.sigma='shared'`"] if has_sigma else []
    return (
        f"{usable.number} of {usable.num_latents} latents can be in use: so many eigenvalues of "
        f"the {of_what}, the largest {largest:.3g}, are above {what} = {usable.threshold:.3g} "
        f"({how}){f'; for more, try {any_of(ways)}' if ways else ''}"
    )


def last_remarks(run: Run, best: Record, floor: float | None) -> Iterator[tuple[str, str]]:
    """Yield what deserves a word after training, each by a short name.

    Parameters
    ----------
    run
        At the end of its training.
    best
        Record of its best epoch.
    floor
        What independent elements have there, in nats per datum, when the run has hardly more; else
        None.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 1})
    >>> [name for name, _ in last_remarks(run, run.metrics[-1], 0.0)]
    ['floor of elements']
    """
    if floor is not None:
        elbo = best["validation"]["elbo"]
        yield (
            "floor of elements",
            f"the validation ELBO, {elbo:.2f} nats, is no better than that of "
            f"independent elements, {floor:.2f}: the latents have taught the model nothing yet; "
            f"{to_learn(run, best)}",
        )


def _takes(pair: nn.Module, batches: Batches, num_rows: int) -> bool:
    """Whether a pair, in training, gives so many rows a finite density."""
    try:
        with probing(pair.train(), batches.device, evaluating=False), isolated():
            raw = batches.gather("train", torch.arange(num_rows))
            args = batches.finish(batches.few_frames(raw))
            return bool(log_weight(trace_pair(pair, args)).isfinite().all())
    except Exception:  # said when it is trained
        return False


def noise_before(engine: Engine, batches: Batches, batch_size: int) -> str:
    """Return how noisy gradients are before training, in a line; nothing is changed by it."""
    raw = batches.few_frames(batches.first("train", batch_size))
    with probing(engine.pair, batches.device, seed=0):
        trace = trace_pair(engine.pair, trial_rows(batches.finish(raw)))
    with untouched(engine.whole, batches.device):
        return noise_of(trace, lambda: engine.evaluate(raw)[1])


def noise_of(trace: PairTrace, gradients: Callable[[], Sequence[Tensor]]) -> str:
    """Return how noisy the gradient of a score function is, in a line; empty without any.

    Parameters
    ----------
    trace
        Of a few rows.
    gradients
        Evaluates the gradients of the loss on a batch, with new draws each time.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import StatesPair
    >>> noise = lambda: [torch.randn(5)]
    >>> noise_of(trace_pair(StatesPair(), (torch.zeros(3, 1),)), noise)[:26]
    "'k' has no path derivative"
    """
    unmarked = list(_without_path(trace))
    if not unmarked:
        return ""
    mark = """`infer={"enumerate": "parallel"}`"""
    return (
        f"'{unmarked[0]}' has no path derivative: its gradient is a score function, whose "
        f"standard deviation is {_noise(gradients):.1f} times the gradient on a batch; mark a "
        f"latent of finite support by {mark}, and it is summed out"
    )


def _without_path(trace: PairTrace) -> Iterator[str]:
    for name, (_, q) in trace.latents.items():
        if not is_marked(q) and score_function(q) is not None:
            yield name


def _noise(gradients: Callable[[], Sequence[Tensor]]) -> float:
    """Return the standard deviation of the gradient, as a share of the norm of its mean."""
    draws = torch.stack(
        [torch.cat([g.flatten() for g in gradients()]).cpu() for _ in range(EVALUATIONS)]
    )
    norm = draws.mean(0).norm().clamp(min=torch.finfo(draws.dtype).tiny)
    return float(draws.var(0).sum().sqrt() / norm)
