"""Objectives: what SVI optimises, estimators over the sites of any pair.

An objective looks at a pair once, ``prepare``, and gives its loss, ``loss``: a scalar in nats per
datum (or frame) that is made of tensor operations only, so that it may be recorded and replayed.

A new one is a file of this folder, or a class in the file of a pair, to which its name belongs
then: ``@OBJECTIVES.register("name")``.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol

import torch
from pyro.distributions.util import is_identically_zero
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.objectives.losses import Losses, named_losses
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, Site
from vaezoo.parts.axes import Axis

__all__ = [
    "OBJECTIVES",
    "PLAIN",
    "SHARED_OPTIONS",
    "Context",
    "Objective",
    "ignores_padding",
    "is_reparameterised",
    "make_objective",
]

OBJECTIVES = Axis("objective", package="vaezoo.objectives")
SHARED_OPTIONS = ("num_particles", "free_bits")  # settings of a training, not of one objective


@dataclass(frozen=True)
class Context:
    """What an objective may know besides the batch.

    In training all of these are tensors that change from step to step, so that a step which was
    captured stays true: an objective computes with them, and never asks for their values.

    Attributes
    ----------
    beta
        Weight of the KL term.
    mask
        Which rows of the batch count, ``(B,)``, boolean; all without it.
    step
        Optimiser steps taken so far, for schedules.
    num_data
        Number N of data in the training set, of frames for sequences: what is shared by all of
        them counts 1 / N in each. Infinite where nobody knows.
    """

    beta: float | Tensor = 1.0
    mask: Tensor | None = None
    step: int | Tensor = 0
    num_data: float | Tensor = math.inf


PLAIN = Context()


class Objective(Protocol):
    """What the engine minimises.

    Attributes
    ----------
    judged_by_elbo
        Whether weights are judged by the ELBO with the same beta, and not by the objective itself.

    Notes
    -----
    One that is a sum over the frames of sequences says so, ``adds_up_over_frames = True``: it can
    be followed window by window (``truncate``).
    """

    judged_by_elbo: ClassVar[bool]

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at a pair once, on a small batch, and leave it as it was."""

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Losses:
        """Return what is minimised, in nats per unit, of the rows that count.

        Beside a loss of the pair there may be others, ``{"pair": ..., "critic": ...}``: each is
        followed by the parameters of the objective's, or the pair's, module of its name.
        """


def make_objective(
    name: str,
    *,
    owner: type | None = None,
    num_particles: int = 1,
    free_bits: float = 0.0,
    options: Mapping[str, object] = MappingProxyType({}),
) -> Objective:
    """Return an objective by its name, with those options that it takes.

    Parameters
    ----------
    name
        Under which it is registered.
    owner
        The class of the pair: an objective of its own file comes first.
    num_particles, free_bits
        Given to an objective that takes them.
    options
        Its other options, checked.

    Raises
    ------
    RequestError
        When there is no such objective, or it does not have an option that is not at its default.

    Examples
    --------
    >>> make_objective("iwae", num_particles=5).num_particles
    5
    """
    cls = OBJECTIVES.find(name, owner)
    shared: dict[str, float] = {"num_particles": num_particles, "free_bits": free_bits}
    defaults = inspect.signature(make_objective).parameters
    taken = {option: value for option, value in shared.items() if _takes(cls, option)}
    for option in shared.keys() - taken:
        if shared[option] != defaults[option].default:
            others = [name for name, other in OBJECTIVES.choices.items() if _takes(other, option)]
            raise RequestError(
                f"the objective '{name}' has no '{option}', '{others[0]}' has; "
                f"drop `{option}`, or use `objective={others[0]!r}`"
            )
    for attribute in ("prepare", "loss"):
        if not hasattr(cls, attribute):
            raise RequestError(
                f"the objective '{name}' has no method `{attribute}`; "
                "see vaezoo.objectives.Objective"
            )
    objective: Objective = cls(**taken, **options)
    return objective


def _takes(cls: type, option: str) -> bool:
    return option in inspect.signature(cls).parameters


def ignores_padding(objective: Objective, pair: nn.Module, args: Args) -> bool:
    """Return whether rows that are masked out leave the loss of a pair alone, from trying it.

    Batch normalisation, a likelihood whose variance is fitted to the batch, and sites outside the
    data plate do not: such pairs need batches without padding. The pair is run as it will be
    trained, and left as it was.

    Parameters
    ----------
    objective
        Has been prepared.
    pair
        In the mode in which it will be trained.
    args
        A batch of at least 2 rows.
    """
    kept = torch.arange(len(args[0]), device=args[0].device) < (len(args[0]) + 1) // 2
    other = tuple(arg[torch.where(kept, torch.arange(len(arg)).to(arg.device), 0)] for arg in args)
    losses = []
    for batch in (args, other):
        with probing(pair, args[0].device, evaluating=False):
            losses.append(named_losses(objective.loss(pair, batch, Context(mask=kept))))
    return all(torch.equal(loss, losses[1][name]) for name, loss in losses[0].items())


def is_reparameterised(site: Site) -> bool:
    """Return whether all of a draw's dependence on its parameters is a path derivative."""
    score = site["fn"].score_parts(site["value"]).score_function
    return bool(site["fn"].has_rsample) and is_identically_zero(score)
