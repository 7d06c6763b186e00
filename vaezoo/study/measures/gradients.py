"""Measures of the gradient of a training: its noise, where that comes from, and its price."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vaezoo.data.dataset import Array
    from vaezoo.objectives.base import Objective
    from vaezoo.pairs.sites import Args
    from vaezoo.study.design import Measure, Trained

__all__ = ["gradient_noise", "gradient_of", "objective_of", "spread"]


def gradient_noise(repeats: int = 40) -> "Measure":
    """Return measures of the gradient at the weights of a run, as its training estimates it.

    ``log10 variance`` is that of the sum over all parameters, of other rows and other draws each
    time; ``share of draws`` what is left of it if the rows are the same; ``CPU ms`` one gradient
    costs, and ``log10 variance x CPU`` is what a given precision costs.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import math

        import torch

        run, settings = trained.run, trained.run.training
        rows = run.batches(split="train")
        number, size = rows.size("train"), settings.batch_size or 128
        objective = objective_of(trained)
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            every = []
            for _ in range(repeats):
                positions = torch.randperm(number, generator=generator)[:size]
                args = rows.train("train", positions)
                every.append(gradient_of(run.pair, objective, args))
            start = time.process_time()
            alike = [gradient_of(run.pair, objective, args) for _ in range(repeats)]
            cost = 1000 * (time.process_time() - start) / repeats
        total = spread(every)
        return {
            "log10 variance": math.log10(total),
            "share of draws": spread(alike) / total,
            "CPU ms": cost,
            "log10 variance x CPU": math.log10(total * cost),
        }

    return measure


def objective_of(trained: "Trained") -> "Objective":
    """Return what a run was trained by."""
    from vaezoo.objectives.base import make_objective

    how = trained.run.training
    return make_objective(
        how.objective, owner=type(trained.run.pair), num_particles=how.num_particles
    )


def gradient_of(
    pair: "nn.Module",
    objective: "Objective",
    args: "Args",
    parameters: "Sequence[nn.Parameter] | None" = None,
) -> "Tensor":
    """Return the gradient of a loss by parameters, all by default, as one vector."""
    import torch
    from torch.nn.utils import parameters_to_vector

    from vaezoo.objectives.losses import PAIR, named_losses

    every = [*pair.parameters()] if parameters is None else [*parameters]
    loss = named_losses(objective.loss(pair, args))[PAIR]
    return parameters_to_vector(
        torch.autograd.grad(loss, every, allow_unused=True, materialize_grads=True)
    )


def spread(gradients: "Sequence[Tensor]") -> float:
    """Return the variance of vectors, summed over their elements.

    Examples
    --------
    >>> import torch
    >>> spread([torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0])])
    2.0
    """
    import torch

    return float(torch.stack(list(gradients)).var(0).sum())
