"""Schedules of training: how many steps, of which objective."""

import math

from vaezoo.errors import RequestError
from vaezoo.objectives.base import Objective, make_objective
from vaezoo.settings import Training

__all__ = ["checked_schedule", "num_steps", "objective_of"]

DEFAULT_EPOCHS = 100


def num_steps(training: Training, num_rows: int) -> int:
    """Return the number of optimiser steps that a schedule takes."""
    if training.steps:
        return training.steps
    return (training.epochs or DEFAULT_EPOCHS) * math.ceil(num_rows / training.batch_size)


def objective_of(training: Training) -> Objective:
    """Return the objective of a schedule."""
    return make_objective(
        training.objective, num_particles=training.num_particles, free_bits=training.free_bits
    )


def checked_schedule(training: Training, num_rows: int) -> Training:
    """Return a schedule with a length; a refusal when its parts do not go together."""
    if training.epochs and training.steps:
        raise RequestError("give `epochs` or `steps`, not both")
    if not (training.epochs or training.steps):
        training = training.model_copy(update={"epochs": DEFAULT_EPOCHS})
    objective_of(training)
    total = num_steps(training, num_rows)
    if training.kl_warmup >= total:
        raise RequestError(
            f"the KL warm-up of {training.kl_warmup} steps does not end before training does "
            f"({total} steps); use `kl_warmup={total // 2}`, or train longer"
        )
    return training
