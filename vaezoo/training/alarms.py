"""What a person should be told while a pair is trained, and what to try when it cannot go on."""

from collections.abc import Iterator

from torch import Tensor

from vaezoo.checks.culprits import Culprit
from vaezoo.errors import NonFiniteError
from vaezoo.runs import Run
from vaezoo.runs.records import Record
from vaezoo.training.admission import preset_of
from vaezoo.training.checkpoint import State
from vaezoo.training.metrics import Metrics

__all__ = ["COLLAPSED_KL", "alarms", "alarms_of", "any_of", "failure", "to_learn"]

LARGEST_SHARE_AT_FLOOR = 0.01
LARGEST_FALL = 0.1
COLLAPSED_KL = 0.01
SMALLEST_LR, LARGEST_LR = 1e-5, 0.03
LARGE = 100.0  # a value of data that networks are not made for

_AT_FLOOR = (
    "sigma is at its floor for {:.0%} of the outputs: the likelihood is bounded by "
    "`likelihood.floor` alone; try `likelihood.sigma='shared'`"
)
_COLLAPSED = "the latents carry nothing, KL {:.3f} nats: every datum has the same posterior; try {}"
_MEMORISES = (
    "the validation ELBO has fallen by {:.1f} nats, that of training rises: the model memorises; "
    "the best weights are kept (try `likelihood.sigma='shared'`)"
)


def alarms_of(
    run: Run, state: State, train: Metrics, validation: Metrics, score: float, *, is_late: bool
) -> dict[str, str]:
    """Return what :func:`alarms` does for where training stands, and note the training ELBO."""
    train_rises = train.elbo > state.best_train_elbo
    state.best_train_elbo = max(state.best_train_elbo, train.elbo)
    return alarms(
        train,
        validation,
        ways=any_of(list(_ways_into_use(run, state.step))),
        fallen=state.best_score - score,
        best_score=state.best_score,
        train_rises=train_rises,
        is_late=is_late,
    )


def alarms(
    train: Metrics,
    validation: Metrics,
    *,
    ways: str,
    fallen: float,
    best_score: float,
    train_rises: bool,
    is_late: bool,
) -> dict[str, str]:
    """Return what is wrong after an epoch, by a short name, each with what to do.

    Parameters
    ----------
    train, validation
        Of this epoch.
    ways
        What this run can do to get its latents into use.
    fallen
        Nats by which the validation score lies below the best one.
    best_score
        The best validation score.
    train_rises
        Whether the training ELBO is the best so far.
    is_late
        Whether latents that are not in use by now will hardly come into use.
    """
    has_kl = validation.kl != 0.0 or bool(validation.kl_per_latent)
    has_latents = has_kl and not validation.is_autoencoder
    messages = {}
    if train.at_floor > LARGEST_SHARE_AT_FLOOR:
        messages["floor"] = _AT_FLOOR.format(train.at_floor)
    if is_late and has_latents and validation.kl < COLLAPSED_KL:
        messages["collapse"] = _COLLAPSED.format(validation.kl, ways)
    if train_rises and fallen > LARGEST_FALL * abs(best_score):
        messages["memorising"] = _MEMORISES.format(fallen)
    return messages


def _ways_into_use(run: Run, step: int) -> Iterator[str]:
    """Yield what this run has not tried, the likeliest first."""
    training, likelihood = run.training, run.config.get("likelihood")
    yield "`beta=1`" if training.beta > 1 else f"`beta={training.beta / 4:g}`"
    if not training.kl_warmup:
        yield f"`kl_warmup={max(step // 2, 1)}`"
    if isinstance(likelihood, dict) and likelihood.get("sigma", "shared") != "shared":
        yield "`likelihood.sigma='shared'`"
    if training.objective == "elbo" and not training.free_bits:
        yield "`free_bits=0.1`"


def failure(
    run: Run, error: NonFiniteError, x: Tensor, state: State, measured_at: int
) -> NonFiniteError:
    """Return the failure of a training, which says where it is, what is kept, and what to try.

    Parameters
    ----------
    run
        The run that stopped.
    error
        Says what was not finite.
    x
        Some of the input.
    state
        Of the last step that was.
    measured_at
        The last step whose weights were measured.
    """
    step = state.step
    where = f"after step {step}" if measured_at == step else f"at step {step + 1}"
    good = f"the last good weights, of step {state.best_step}, are in {run.path}"
    kept = f"; {good}" if run.path else ""
    ways = _advice(run, getattr(error, "culprit", None), x, step=step)
    return NonFiniteError(f"training stopped {where}: {error}{kept}; {ways}")


def _advice(run: Run, culprit: Culprit | None, x: Tensor, *, step: int) -> str:
    """Return what a person can try, the end of a message.

    Parameters
    ----------
    run
        The run that stopped.
    culprit
        What was not finite in a step; None when it was something after it.
    x
        Some of the input.
    step
        Steps that were taken: before the first, no step can have been too long.
    """
    largest = max(float(x.nan_to_num().abs().max()), culprit.largest_input if culprit else 0.0)
    is_real = culprit.is_real if culprit else bool((x != x.round()).any())
    ways = [*_of_the_data(run, largest, is_real=is_real), *_of_the_objective(run)]
    ways += _of_the_likelihood(run, culprit)
    if (run.training.weight_decay or 0.0) * run.training.lr > 1.0:
        ways += ["a smaller `weight_decay`"]
    if step > 0:
        ways += ["a smaller `lr`"]
        if culprit and culprit.kind in ("gradient", "draw"):
            ways += ["a smaller `clip_norm`"]
    if run.training.precision != "float32":
        ways += ["`precision='float32'`"]
    if ways:
        return f"try {any_of(ways)}"
    if culprit and culprit.site:
        return f"look at what makes site '{culprit.site}' of these data"
    return "look at how the parameters are made, and at the data"


def _of_the_data(run: Run, largest: float, *, is_real: bool) -> Iterator[str]:
    if largest <= LARGE:
        return
    if run.transform.mean is not None:
        yield f"the data without outliers, the farthest {largest:.3g} deviations from the mean"
    elif is_real:
        yield "scaled data (`standardize=True`)"
    else:
        yield "data of smaller values"


def _of_the_objective(run: Run) -> Iterator[str]:
    if run.training.beta > 1.0:
        yield "a smaller `beta`"


def _of_the_likelihood(run: Run, culprit: Culprit | None) -> Iterator[str]:
    """A deviation that the network gives for each datum may vanish, and its density diverge."""
    likelihood = run.config.get("likelihood")
    sigma = likelihood.get("sigma") if isinstance(likelihood, dict) else None
    if sigma in ("per-pixel", "analytic") and culprit and culprit.is_observed:
        yield "`likelihood.sigma='shared'`"


def any_of(ways: list[str]) -> str:
    return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} or {ways[-1]}"


def to_learn(run: Run, best: Record) -> str:
    """Return what to try in a run whose latents have learned nothing: the likeliest cause first.

    Parameters
    ----------
    run
        At the end of its training.
    best
        Record of its best epoch.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"epochs": 2})
    >>> to_learn(run, run.metrics[-1])
    'it was still learning when it ended: train longer, as with `epochs=200`'
    >>> strong = vaezoo.fit("vae-bernoulli", training={"epochs": 2, "beta": 100.0, "lr": 1e-9})
    >>> to_learn(strong, strong.metrics[-1])
    'the KL term weighs 100 times: use `beta=1`'
    """
    return next(_ways_to_learn(run, best))


def _ways_to_learn(run: Run, best: Record) -> Iterator[str]:
    training, preset = run.training, preset_of(type(run.pair), run.data)
    if preset is not None and run.info.get("preset") != preset:
        yield f"the settings that go with these data are those of `preset='{preset}'`"
    if run.data.standardize is False and run.transform.mean is None:
        yield "networks are made for values around 1: drop `standardize=False`"
    if training.beta > 1:
        yield f"the KL term weighs {training.beta:g} times: use `beta=1`"
    if not SMALLEST_LR <= training.lr <= LARGEST_LR:
        yield f"`lr={training.lr:g}` is far from the usual: use `lr=0.001`"
    last = run.metrics[-1]
    if best["epoch"] >= last["epoch"] - last["epoch"] // 10:
        longer = f"steps={10 * training.steps}" if training.steps else ""
        longer = longer or f"epochs={max(200, 4 * (training.epochs or 0))}"
        yield f"it was still learning when it ended: train longer, as with `{longer}`"
    if best["validation"].get("kl", 1.0) < COLLAPSED_KL and not training.kl_warmup:
        warmup = max(last["step"] // 4, 1)
        yield f"its latents were switched off early: let the KL term grow, `kl_warmup={warmup}`"
    yield f"use a smaller `batch_size` than {training.batch_size}, or `lr={training.lr / 3:.1g}`"
