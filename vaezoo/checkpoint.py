"""The state of training in one file: weights, optimiser, random generators, position."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.device import rng_state
from vaezoo.errors import RequestError
from vaezoo.runs import set_weights
from vaezoo.storage import load_tensors, save_tensors

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(
    path: Path,
    pair: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    device: torch.device,
) -> None:
    """Write all that is needed to go on with training, at once and without pickles."""
    slots = {
        f"{index}/{key}": torch.as_tensor(value)
        for index, slot in optimizer.state_dict()["state"].items()
        for key, value in slot.items()
    }
    groups = {"weights": pair.state_dict(), "optimizer": slots, "rng": rng_state(device)}
    tensors = {
        f"{g}/{name}": tensor for g, named in groups.items() for name, tensor in named.items()
    }
    save_tensors(path, tensors, {"state": dict(state), "lr": optimizer.param_groups[0]["lr"]})


def load_checkpoint(
    path: Path, pair: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Set pair and optimiser to a saved state; return the rest of it.

    Returns
    -------
    dict
        The plain values of the state.
    dict
        States of the random generators.

    Raises
    ------
    RequestError
        When there is no saved state, or it is damaged or of another pair.
    """
    if not path.is_file():
        raise RequestError(
            f"{path} does not exist: the run was stopped before its first epoch ended"
        )
    tensors, values = load_tensors(path)
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "rng": {}}
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    if not (groups["rng"] and "state" in values):
        raise RequestError(f"{path} holds no state of training")
    set_weights(pair, groups["weights"], path)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["optimizer"].items():
        index, _, key = name.partition("/")
        slots.setdefault(int(index), {})[key] = tensor
    parameter_groups = optimizer.state_dict()["param_groups"]
    for parameter_group in parameter_groups:
        parameter_group["lr"] = values["lr"]
    optimizer.load_state_dict({"state": slots, "param_groups": parameter_groups})
    return values["state"], groups["rng"]
