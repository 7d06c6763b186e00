"""Which weights a run folder holds, and how they get into a pair."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.runs.former_names import with_present_names

__all__ = ["STATE", "WEIGHTS", "set_weights"]

WEIGHTS = "weights.safetensors"
STATE = "last/state.safetensors"


def set_weights(pair: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a pair; a refusal that names the first that does not fit."""
    wanted = pair.state_dict()
    tensors = with_present_names(tensors, wanted)
    for name in sorted(wanted.keys() | tensors.keys()):
        there, here = wanted.get(name), tensors.get(name)
        if there is None or here is None or there.shape != here.shape:
            have = tuple(here.shape) if here is not None else "missing"
            need = tuple(there.shape) if there is not None else "unknown"
            raise RequestError(
                f"{path} does not fit the model: '{name}' is {have} there, {need} in the model"
            )
    pair.load_state_dict(dict(tensors))
