"""The state of training in one file: weights, optimiser, random generators, position."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.device import rng_state
from vaezoo.errors import RequestError
from vaezoo.runs import set_weights
from vaezoo.storage import load_tensors, save_tensors

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """What a saved state holds beside the weights and the optimiser, which are set from it.

    Attributes
    ----------
    state
        Plain values.
    rng
        States of the random generators.
    best
        The best weights so far; empty when there were none yet.
    """

    state: dict[str, Any]
    rng: dict[str, Tensor]
    best: dict[str, Tensor]


def save_checkpoint(
    path: Path,
    pair: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    device: torch.device,
    *,
    best: Mapping[str, Tensor],
) -> None:
    """Write all that is needed to go on with training, at once and without pickles."""
    slots = {
        f"{index}/{key}": torch.as_tensor(value)
        for index, slot in optimizer.state_dict()["state"].items()
        for key, value in slot.items()
    }
    groups: dict[str, Mapping[str, Tensor]] = {
        "weights": pair.state_dict(),
        "optimizer": slots,
        "rng": rng_state(device),
        "best": best,
    }
    tensors = {f"{g}/{name}": value for g, named in groups.items() for name, value in named.items()}
    save_tensors(path, tensors, {"state": dict(state), "lr": optimizer.param_groups[0]["lr"]})


def load_checkpoint(path: Path, pair: nn.Module, optimizer: torch.optim.Optimizer) -> Checkpoint:
    """Set pair and optimiser to a saved state, and return the rest of it.

    Raises
    ------
    RequestError
        When there is no saved state, or it is damaged or of another pair.
    """
    if not path.is_file():
        config = path.parent.parent / "config.toml"
        raise RequestError(
            f"no file '{path}': the run stopped before it had a state; start it again with: "
            f"vaezoo train --config {config}"
        )
    tensors, values = load_tensors(path)
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "rng": {}, "best": {}}
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    if not (groups["rng"] and "state" in values):
        raise RequestError(f"{path} holds no state of training")
    set_weights(pair, groups["weights"], path)
    _set_optimizer(optimizer, groups["optimizer"], values["lr"])
    return Checkpoint(values["state"], groups["rng"], groups["best"])


def _set_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], lr: float
) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        slots.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    for group in groups:
        group["lr"] = lr
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
