"""Schedules of training: how many steps, of which objective, with which weight; when to stop."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import nn

from vaezoo.config import objective_options
from vaezoo.data import Data
from vaezoo.errors import RequestError
from vaezoo.objectives.base import Objective, make_objective
from vaezoo.runtime.device import seeded
from vaezoo.sequences.windows import num_updates
from vaezoo.settings import Training
from vaezoo.training.checkpoint import State

__all__ = [
    "advance",
    "batch_size_of",
    "checked_schedule",
    "is_out_of_patience",
    "kl_weight",
    "objective_of",
]

# Defaults are sized in updates, whatever the number of rows.
DEFAULT_EPOCHS = 100
FEWEST_STEPS, MOST_STEPS = 3_000, 50_000
# Without a better score, until the rate is halved, and until training stops: of few rows an epoch
# is a few steps, and its score on few validation rows is noise.
EPOCHS_OF_WAITING = {"plateau": 15, "patience": 40}
STEPS_OF_WAITING = {"plateau": 300, "patience": 1_000}
SMALLEST_BATCH, LARGEST_BATCH = 16, 128
STEPS_OF_AN_EPOCH = 10
RISE = "rise"  # what an objective calls the steps of a schedule of its own


def batch_size_of(training: Training, num_rows: int) -> int:
    """Return the rows of a step: those asked for, or a power of two by the number of rows.

    Examples
    --------
    >>> [batch_size_of(vaezoo.Training(), num_rows) for num_rows in (20, 229, 1437, 60_000)]
    [16, 16, 128, 128]
    """
    if training.batch_size:
        return training.batch_size
    largest = max(num_rows // STEPS_OF_AN_EPOCH, SMALLEST_BATCH)
    return min(2 ** (largest.bit_length() - 1), LARGEST_BATCH)


def steps_of_epoch(training: Training, num_rows: int, lengths: Sequence[int] | None = None) -> int:
    """Return the optimiser steps of an epoch, about where sequences are cut into windows.

    Examples
    --------
    >>> steps_of_epoch(vaezoo.Training(batch_size=100), num_rows=250)
    3
    """
    size = batch_size_of(training, num_rows)
    return num_updates(num_rows, size, lengths, training.truncate)


def default_epochs(training: Training, steps: int) -> int:
    """Return the epochs of a schedule that says nothing of its length.

    Examples
    --------
    >>> [default_epochs(vaezoo.Training(), steps) for steps in (2, 15, 469, 7813)]
    [1500, 200, 100, 6]
    """
    most = max(MOST_STEPS // steps, 1)
    return min(max(DEFAULT_EPOCHS, math.ceil(FEWEST_STEPS / steps)), most)


def waiting(training: Training, steps: int) -> dict[str, int]:
    """Return the epochs without a better score after which the rate is halved, or training stops.

    Examples
    --------
    >>> waiting(vaezoo.Training(), steps=469)
    {'plateau': 15, 'patience': 40}
    >>> waiting(vaezoo.Training(patience=0), steps=8)
    {'plateau': 38, 'patience': 0}
    """
    asked = {"plateau": training.plateau, "patience": training.patience}
    return {
        name: max(EPOCHS_OF_WAITING[name], math.ceil(STEPS_OF_WAITING[name] / steps))
        if epochs is None
        else epochs
        for name, epochs in asked.items()
    }


def objective_of(training: Training, owner: type[nn.Module]) -> Objective:
    """Return the objective of a schedule, for a pair of some class; networks of it are seeded."""
    with seeded(training.seed, torch.device("cpu")):
        return make_objective(
            training.objective,
            owner=owner,
            num_particles=training.num_particles,
            free_bits=training.free_bits,
            options=objective_options(owner, training),
        )


def checked_schedule(
    training: Training,
    data: Data,
    owner: type[nn.Module],
    *,
    asked: Collection[str] | None = None,
) -> Training:
    """Return a schedule with length and batch size; a refusal when its parts do not go together.

    Parameters
    ----------
    training
        As it was asked for.
    data
        Whose training rows it goes through.
    owner
        The class of the pair, whose file may have an objective of its own.
    asked
        Settings that somebody asked for, those of the objective among them; all by default. A rise
        that only a preset has is cut to a shorter training.
    """
    if training.epochs and training.steps:
        raise RequestError("give `epochs` or `steps`, not both")
    rows = data.rows("train")
    lengths = None if data.length is None else data.length[rows].tolist()
    sizes = {"batch_size": batch_size_of(training, len(rows))}
    steps = steps_of_epoch(training, len(rows), lengths)
    sizes |= waiting(training, steps)
    if not (training.epochs or training.steps):
        sizes["epochs"] = default_epochs(training, steps)
    training = training.model_copy(update=sizes)
    objective = objective_of(training, owner)
    _refuse_windows(training, objective)
    total = training.steps or steps * (training.epochs or 1)
    if asked is not None:
        training = _cut(training, objective, total, asked)
        objective = objective_of(training, owner)
    _refuse_late_end("KL warm-up", "kl_warmup", training.kl_warmup, total)
    _refuse_cycle(training, total)
    _refuse_turns(training, total)
    rise = getattr(objective, RISE, 0)
    what = f"rise of objective '{training.objective}'"
    _refuse_late_end(what, f"objective.{RISE}", rise, total)
    return training


def _cut(training: Training, objective: Objective, total: int, asked: Collection[str]) -> Training:
    """Return a schedule whose rises, where only a preset has them, end within it."""
    if training.kl_warmup >= total and "kl_warmup" not in asked:
        training = training.model_copy(update={"kl_warmup": total // 2})
    if getattr(objective, RISE, 0) >= total and RISE not in asked:
        options = {**training.objective_options, RISE: total // 2}
        training = training.model_copy(update={"objective_options": options})
    return training


def _refuse_late_end(what: str, setting: str, steps: int, total: int) -> None:
    if steps and steps >= total:
        raise RequestError(
            f"the {what} of {steps} steps does not end before training does "
            f"({total} steps); use `{setting}={total // 2}`, or train longer"
        )


def _refuse_cycle(training: Training, total: int) -> None:
    cycle, warmup = training.kl_cycle, training.kl_warmup
    if not cycle:
        return
    if not 0 < warmup < cycle:
        raise RequestError(
            f"`kl_cycle={cycle}` lets beta rise again and again over `kl_warmup` steps, which are "
            f"{warmup} here; use `kl_warmup={cycle // 2}`"
        )
    _refuse_late_end("first KL cycle", "kl_cycle", cycle, total)


def _refuse_turns(training: Training, total: int) -> None:
    if training.schedule == "joint" and training.e_steps > 1:
        raise RequestError(
            f"`e_steps={training.e_steps}` are steps of the guide alone, and model and guide move "
            "together; use `schedule='em'`, or drop `e_steps`"
        )
    if training.schedule == "em" and total <= training.e_steps:
        raise RequestError(
            f"the model moves after {training.e_steps} steps of its guide, and training has "
            f"{total}; use fewer `e_steps`, or train longer"
        )


def _refuse_windows(training: Training, objective: Objective) -> None:
    if training.truncate and not getattr(objective, "adds_up_over_frames", False):
        raise RequestError(
            f"`truncate` takes a step after each window of a sequence, and the objective "
            f"'{training.objective}' weighs whole sequences; use `objective='elbo'`, or drop "
            "`truncate`"
        )


def kl_weight(step: int, *, beta: float, warmup: int, cycle: int = 0) -> float:
    """Return the weight of the KL term at a step: linear from 0 to ``beta``, then constant.

    With a cycle it begins again after so many steps (Fu et al. 2019, arXiv:1903.10145, eq. 5).

    Examples
    --------
    >>> [kl_weight(step, beta=4.0, warmup=4) for step in (0, 2, 4, 9)]
    [0.0, 2.0, 4.0, 4.0]
    >>> [kl_weight(step, beta=4.0, warmup=4, cycle=8) for step in (0, 2, 4, 8, 10)]
    [0.0, 2.0, 4.0, 0.0, 2.0]
    """
    return beta * min(1.0, (step % cycle if cycle else step) / warmup) if warmup else beta


def advance(state: State, training: Training) -> bool:
    """Count an epoch, and return whether the learning rate is to be halved: on a plateau.

    Nothing counts while the weight of the KL term rises, when the score falls because of that.

    Examples
    --------
    >>> state, training = State(step=100), vaezoo.Training(plateau=2)
    >>> [advance(state, training) for _ in range(4)]
    [False, True, False, True]
    """
    step = state.step % training.kl_cycle if training.kl_cycle else state.step
    if step < training.kl_warmup:
        state.since_best = state.since_decay = 0
        return False
    state.since_best += 1
    state.since_decay += 1
    is_on_plateau = _is_over(state.since_decay, training.plateau)
    if is_on_plateau:
        state.since_decay = 0
    return is_on_plateau


def is_out_of_patience(state: State, training: Training) -> bool:
    """Return whether the validation score has not risen for as long as a schedule waits.

    Examples
    --------
    >>> is_out_of_patience(State(since_best=10), vaezoo.Training(patience=10))
    True
    """
    return _is_over(state.since_best, training.patience)


def _is_over(epochs: int, most: int | None) -> bool:
    return most is not None and 0 < most <= epochs
