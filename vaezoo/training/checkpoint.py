"""The state of training in one file: weights, optimiser, random generators, epoch."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.engine.groups import Optimizers
from vaezoo.errors import RequestError, refusing
from vaezoo.runs.weights import WEIGHTS, set_weights
from vaezoo.runtime.device import rng_state
from vaezoo.runtime.tensors import load_tensors, save_tensors

__all__ = ["Checkpoint", "State", "load_checkpoint", "save_checkpoint"]


@dataclass
class State:
    """Where training stands; with weights, optimiser and random states, all that is needed.

    ``epoch`` counts whole epochs, ``epoch_steps`` the steps already taken of the next one, and
    ``loss_sums`` the sums of each loss over them; ``records`` is a digest of the records of
    the epochs.
    """

    step: int = 0
    epoch: int = 0
    epoch_steps: int = 0
    loss_sums: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_score: float = -math.inf
    best_epoch: int = 0
    best_step: int = 0
    since_best: int = 0
    since_decay: int = 0
    best_train_elbo: float = -math.inf
    warned: str = ""
    records: str = ""
    compiled: bool = False
    compiled_steps: bool = False

    def add_losses(self, losses: Sequence[Sequence[float]]) -> None:
        """Add those of some steps, each a number per loss."""
        for of_step in losses:
            before = self.loss_sums or [0.0] * len(of_step)
            self.loss_sums = [total + loss for total, loss in zip(before, of_step, strict=True)]

    def mean_losses(self, names: Collection[str]) -> dict[str, Any]:
        """Return the mean loss of the pair, and where there are several those of the others."""
        steps = max(1, self.epoch_steps)
        means = [total / steps for total in self.loss_sums or [0.0] * len(names)]
        of_pair, *others = zip(names, means, strict=True)
        return {"loss": of_pair[1], **({"losses": dict(others)} if others else {})}

    def note_best(self, score: float, epoch: int) -> None:
        """Note the best score so far; the end of its epoch counts both waits up to 0."""
        self.best_score, self.best_epoch, self.best_step = score, epoch, self.step
        self.since_best = self.since_decay = -1


@dataclass(frozen=True)
class Checkpoint:
    """What a saved state holds beside the weights and the optimiser, which are set from it.

    Attributes
    ----------
    state
        Where training stood.
    rng
        States of the random generators.
    best
        The best weights so far; empty when there were none yet.
    """

    state: State
    rng: dict[str, Tensor]
    best: dict[str, Tensor]


def save_checkpoint(
    path: Path,
    pair: nn.Module,
    optimizer: Optimizers,
    state: State,
    device: torch.device,
    *,
    best: Mapping[str, Tensor],
    networks: nn.Module,
    carry: nn.Module,
    run: str,
) -> None:
    """Write all that is needed to go on with training, at once and without pickles."""
    groups: dict[str, Mapping[str, Tensor]] = {
        "weights": pair.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": rng_state(device),
        "best": best,
        "objective": networks.state_dict(),
        "carry": carry.state_dict(),
    }
    tensors = {f"{g}/{name}": value for g, named in groups.items() for name, value in named.items()}
    save_tensors(path, tensors, {"state": asdict(state)}, run=run)


def load_checkpoint(
    path: Path,
    pair: nn.Module,
    optimizer: Optimizers,
    *,
    networks: nn.Module,
    carry: nn.Module,
    run: str,
) -> Checkpoint:
    """Set a training to a saved state, and return the rest of it.

    Parameters
    ----------
    path
        Of the file.
    pair, optimizer
        The pair, and its optimisers.
    networks
        What the objective owns.
    carry
        The states that a window of sequences hands on to the next.
    run
        Whose state it has to be.

    Raises
    ------
    RequestError
        When there is no saved state, or it is damaged, of another run, or of another pair.
    """
    again = f"start it again, with its settings in {path.parent.parent / 'config.toml'}"
    if not path.is_file():
        raise RequestError(f"no file '{path}': the run stopped before it had a state; {again}")
    tensors, values = load_tensors(path, run=run, remedy=_remedy(path, again))
    groups = _grouped(tensors)
    if not (groups["rng"] and "state" in values):
        raise RequestError(f"{path} holds no state of training")
    set_weights(pair, groups["weights"], path, remedy=_remedy(path, again))
    set_weights(networks, groups["objective"], path, remedy=again)
    set_weights(carry, groups["carry"], path, remedy=again)
    with refusing(f"{path} holds no state of '{optimizer.name}'", again):
        optimizer.load_state_dict(groups["optimizer"])
    with refusing(f"{path} holds no state of training", again):
        return Checkpoint(State(**values["state"]), groups["rng"], groups["best"])


def _remedy(path: Path, again: str) -> str:
    """Return what can be done without a state: the best weights do not need it."""
    if not (path.parent.parent / WEIGHTS).is_file():
        return again
    return f"the best weights, in {WEIGHTS}, can be used without it; to train on, {again}"


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    names = ("weights", "optimizer", "rng", "best", "objective", "carry")
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    return groups
