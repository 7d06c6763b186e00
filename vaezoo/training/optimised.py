"""What a training optimises: its objective, made ready for a pair, and who follows which loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.distributed.shared_step import SharedStep
from vaezoo.engine.groups import Alternating, Optimizers
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RequestError, nearest
from vaezoo.objectives.base import Context, Objective
from vaezoo.objectives.losses import PAIR, groups_of, named_losses, networks_of, together, untrained
from vaezoo.pairs.admission import refuse_global_parameters
from vaezoo.pairs.anatomy import names_of_guide, names_of_model
from vaezoo.pairs.sites import Args
from vaezoo.runtime.device import device_of, seeded
from vaezoo.runtime.isolation import isolated, untouched
from vaezoo.runtime.threads import flops_if_used
from vaezoo.settings import Training

__all__ = ["Optimised", "engine_for", "operations_of", "prepared"]

MOST_FILLED = 8  # times the rows of the data, in a batch that is filled up


@dataclass(frozen=True)
class Optimised:
    """An objective that is ready for a pair.

    Attributes
    ----------
    objective
        Has been prepared.
    form
        The pair in the form that is trained.
    networks
        What it owns: a critic, a multiplier.
    whole
        The pair with them.
    groups
        Parameters by the name of the loss that they follow.
    sides
        Of the pair's group, the parameters of the guide and those of the model, where they take
        turns.
    """

    objective: Objective
    form: nn.Module
    networks: nn.Module
    whole: nn.Module
    groups: Mapping[str, Sequence[Tensor]]
    sides: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None

    def optimizers(self, training: Training) -> Optimizers:
        """Return an optimiser for each group; an objective may have learning rates of its own."""
        rates: Mapping[str, float] = getattr(self.objective, "learning_rates", {})
        for name in rates:
            if name not in self.groups:
                raise RequestError(
                    f"the objective has a learning rate for '{name}', and no loss of that name; "
                    f"{nearest(name, self.groups)}"
                )

        def one(name: str, parameters: Sequence[Tensor]) -> Optimizer:
            return Optimizer(
                training.optimizer,
                parameters,
                lr=rates.get(name, training.lr),
                weight_decay=training.weight_decay,
                lr_decay=training.lr_decay,
            )

        groups: dict[str, Optimizer | Alternating]
        groups = {name: one(name, parameters) for name, parameters in self.groups.items()}
        if self.sides:
            sides = [one(PAIR, side) for side in self.sides]
            groups[PAIR] = Alternating(*sides, e_steps=training.e_steps)
        return Optimizers(groups)


def prepared(
    objective: Objective,
    form: nn.Module,
    args: Args,
    *,
    pair: nn.Module,
    training: Training,
    num_data: float,
    notify: Callable[[str, str], None],
) -> Optimised:
    """Prepare an objective for a pair, once, which is left as it was.

    Parameters
    ----------
    objective
        What it owns is made now, from the seed of the training.
    form
        The pair in the form that is trained.
    args
        A small batch; its losses show which groups there are.
    pair
        The pair as its author wrote it.
    training
        Has the seed of what the objective draws, and who moves when.
    num_data
        Number of data (of frames for sequences) in the training set.
    notify
        Is told what no loss trains: kind of the notice, and the line.
    """
    device = device_of(pair)
    with seeded(training.seed, device), isolated(), untouched(pair, device):
        objective.prepare(form, args)
        networks = networks_of(objective, pair).to(device)
        step = torch.zeros((), device=device)
        context = Context(torch.ones_like(step), None, step, num_data)
        with pyro.validation_enabled(False):
            losses = named_losses(objective.loss(form, args, context))
        whole = together(pair, networks)
        refuse_global_parameters(set(whole.parameters()))
    groups = groups_of(losses, pair, networks)
    for name in untrained(networks, groups):
        line = f"the objective gives no loss '{name}', so that its '{name}' is not trained"
        notify(f"untrained:{name}", line)
    sides = _sides(pair, args, groups[PAIR]) if training.schedule == "em" else None
    return Optimised(objective, form, networks, whole, groups, sides)


def _sides(
    pair: nn.Module, args: Args, parameters: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return those parameters that are the guide's, and those that are the model's."""
    of_guide, of_model = names_of_guide(pair, args), names_of_model(pair, args)
    if shared := sorted(of_guide & of_model):
        raise RequestError(
            f"in EM the guide and the model move in turns, and '{shared[0]}' is a parameter of "
            "both; use `schedule='joint'`"
        )
    names = {id(parameter): name for name, parameter in pair.named_parameters()}
    phi = [parameter for parameter in parameters if names[id(parameter)] in of_guide]
    theta = [parameter for parameter in parameters if names[id(parameter)] not in of_guide]
    if not (phi and theta):
        raise RequestError(
            f"in EM the guide and the model move in turns, and the {'model' if phi else 'guide'} "
            "has no parameters of its own; use `schedule='joint'`"
        )
    return phi, theta


def engine_for(
    optimised: Optimised,
    optimizer: Optimizers,
    training: Training,
    batches: Batches,
    shared: SharedStep,
    *,
    num_rows: int,
    batch_size: int,
    num_steps: int,
    notify: Callable[[str, str], None],
) -> Engine:
    """Return what takes the steps of a training.

    Parameters
    ----------
    optimised, optimizer
        What is optimised, and by what.
    training, batches
        How, and on which rows.
    shared
        Which part of them is that of this process.
    num_rows, batch_size
        Of an epoch and of a step.
    num_steps
        How many are planned.
    notify
        Is told what is not done as asked: kind of the notice, and the line.
    """
    is_filled = shared.has_unlike_parts(num_rows, batch_size)
    largest = shared.largest_part(batch_size) if batch_size <= MOST_FILLED * num_rows else 0
    return Engine(
        optimised.form,
        optimised.objective,
        optimizer,
        clip_norm=training.clip_norm,
        engine=training.engine,
        precision=training.precision,
        prepare=batches.finish,
        shorten=batches.few_frames,
        batch_size=largest if is_filled else 0,
        num_steps=num_steps,
        num_data=batches.num_units("train"),
        is_prepared=True,
        merge=shared if shared.processes.are_many else None,
        notify=notify,
    )


def operations_of(engine: Engine, batches: Batches, batch_size: int) -> int | None:
    """Return the floating-point operations of a step, if a number of threads is chosen by them.

    It tries the pair, so what cannot be trained is refused.
    """
    raw = batches.few_frames(batches.first("train", batch_size))
    with untouched(engine.whole, batches.device):
        engine.evaluate(raw)  # makes the plan of a recurrence
        return flops_if_used(lambda: engine.evaluate(raw), batches.times_few)
