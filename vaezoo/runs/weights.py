"""Which weights a run folder holds, which of them are good, and how they get into a pair."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError, source_of
from vaezoo.runtime.tensors import load_tensors

__all__ = [
    "STATE",
    "WEIGHTS",
    "first_not_finite",
    "load_weights",
    "require_weights_of",
    "set_weights",
]

WEIGHTS = "weights.safetensors"
STATE = "last/state.safetensors"


def load_weights(pair: nn.Module, folder: Path, *, run: str) -> Mapping[str, Any]:
    """Set a pair to the weights in a folder, and return the values beside them.

    Parameters
    ----------
    pair
        As it was trained.
    folder
        With the files of the run.
    run
        Its id.

    Raises
    ------
    RequestError
        When there are none, or they are damaged or of another run, with where to take them from.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise RequestError(f"{folder} has no {WEIGHTS}: it was stopped before it had any")
    remedy = f"train again, with the settings in {folder / 'config.toml'}"
    if (folder / STATE).is_file():
        remedy = f"`vaezoo.resume({source_of(str(folder))})` takes them from its last state"
    tensors, values = load_tensors(path, run=run, remedy=remedy)
    set_weights(pair, tensors, path, remedy=remedy)
    return values


def set_weights(
    pair: nn.Module, tensors: Mapping[str, Tensor], path: Path, *, remedy: str = ""
) -> None:
    """Load weights into a pair; a refusal that names the first that does not fit, or is no number.

    Parameters
    ----------
    pair
        A module; what is not finite in it as it is may be so in the weights, too.
    tensors
        Its parameters and buffers.
    path
        Where they come from.
    remedy
        What to do when they are not finite, the end of the message.
    """
    require_weights_of(pair, tensors, path, remedy=remedy)
    pair.load_state_dict(dict(tensors))


def require_weights_of(
    pair: nn.Module, tensors: Mapping[str, Tensor], path: Path, *, remedy: str = ""
) -> None:
    """Refuse what :func:`set_weights` would, and leave the pair as it is."""
    wanted = pair.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        there, here = wanted.get(name), tensors.get(name)
        if there is None or here is None or there.shape != here.shape:
            have = tuple(here.shape) if here is not None else "missing"
            need = tuple(there.shape) if there is not None else "unknown"
            raise RequestError(
                f"{path} does not fit the model: '{name}' is {have} there, {need} in the model"
            )
    if name := first_not_finite(tensors, wanted):
        end = f"; {remedy}" if remedy else ""
        raise RequestError(f"{path} holds weights that are not finite, in '{name}'{end}")


def first_not_finite(tensors: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> str:
    """Return the name of the first tensor with an entry that has become nan or infinite, or "".

    Parameters
    ----------
    tensors
        By name.
    before
        The same at the start; a mask of -inf in an attention, say, was so from the beginning.

    Examples
    --------
    >>> mask, weight = torch.tensor([0.0, -torch.inf]), torch.ones(2)
    >>> first_not_finite({"mask": mask, "weight": weight / 0}, {"mask": mask, "weight": weight})
    'weight'
    """
    real = {n: t for n, t in tensors.items() if t.is_floating_point() or t.is_complex()}
    # Asked of all at once, since a GPU is waited for at each answer; a finite sum has finite terms.
    finite = [tensor.sum().isfinite() for tensor in real.values()]
    if len({flag.device for flag in finite}) == 1 and bool(torch.stack(finite).all()):
        return ""
    for name, tensor in real.items():
        wrong = ~tensor.isfinite()
        if bool(wrong.any()) and name in before:
            wrong &= before[name].isfinite().to(wrong.device)
        if bool(wrong.any()):
            return name
    return ""
