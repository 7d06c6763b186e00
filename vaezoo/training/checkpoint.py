"""The state of training in one file: weights, optimiser, random generators, position."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from vaezoo.engine.groups import Optimizers
from vaezoo.errors import RequestError
from vaezoo.runs.former_names import with_present_names
from vaezoo.runs.weights import set_weights
from vaezoo.runtime.device import rng_state
from vaezoo.runtime.tensors import load_tensors, save_tensors

__all__ = ["Checkpoint", "State", "load_checkpoint", "save_checkpoint"]


@dataclass
class State:
    """Where training stands; with weights, optimiser and random states, all that is needed.

    ``epoch`` counts whole epochs, ``position`` the rows already seen of the next one, and
    ``loss_sums`` the sums of each loss over its steps.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    epoch_steps: int = 0
    loss_sums: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_score: float = -math.inf
    best_epoch: int = 0
    since_best: int = 0
    since_decay: int = 0
    best_train_elbo: float = -math.inf
    warned: str = ""
    compiled: bool = False
    compiled_steps: bool = False

    def add_losses(self, losses: Sequence[Sequence[float]]) -> None:
        """Add those of some steps, each a number per loss."""
        for of_step in losses:
            before = self.loss_sums or [0.0] * len(of_step)
            self.loss_sums = [total + loss for total, loss in zip(before, of_step, strict=True)]

    def note_best(self, score: float, epoch: int) -> None:
        """Note the best score so far; the end of its epoch counts both waits up to 0."""
        self.best_score, self.best_epoch = score, epoch
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
) -> None:
    """Write all that is needed to go on with training, at once and without pickles."""
    groups: dict[str, Mapping[str, Tensor]] = {
        "weights": pair.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": rng_state(device),
        "best": best,
        "objective": networks.state_dict(),
    }
    tensors = {f"{g}/{name}": value for g, named in groups.items() for name, value in named.items()}
    save_tensors(path, tensors, {"state": asdict(state)})


def load_checkpoint(
    path: Path, pair: nn.Module, optimizer: Optimizers, networks: nn.Module
) -> Checkpoint:
    """Set pair, optimisers and what the objective owns to a saved state; return the rest of it.

    Raises
    ------
    RequestError
        When there is no saved state, or it is damaged or of another pair.
    """
    if not path.is_file():
        config = path.parent.parent / "config.toml"
        raise RequestError(
            f"no file '{path}': the run stopped before it had a state; start it again, with "
            f"its settings in {config}"
        )
    tensors, values = load_tensors(path)
    groups = _grouped(tensors)
    if not (groups["rng"] and "state" in values):
        raise RequestError(f"{path} holds no state of training")
    set_weights(pair, groups["weights"], path)
    set_weights(networks, groups["objective"], path)
    try:
        optimizer.load_state_dict(groups["optimizer"])
    except (KeyError, ValueError) as error:
        raise RequestError(f"{path} holds no state of '{optimizer.name}': {error}") from error
    best = dict(with_present_names(groups["best"], pair.state_dict()))
    return Checkpoint(State(**values["state"]), groups["rng"], best)


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    names = ("weights", "optimizer", "rng", "best", "objective")
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    return groups
