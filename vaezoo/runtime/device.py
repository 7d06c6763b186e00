"""Which device work runs on, and its random number generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError

__all__ = ["device_of", "find_device", "rng_state", "seeded", "set_rng_state"]


def find_device(name: str = "auto") -> torch.device:
    """Return the device of a name; ``auto`` is cuda, else mps, else cpu.

    Raises
    ------
    RequestError
        When this machine does not have the device.

    Examples
    --------
    >>> find_device("cpu")
    device(type='cpu')
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        here = ", ".join(device for device, there in available.items() if there)
        raise RequestError(f"this machine has no {name} device; `device` takes: auto, {here}")
    return torch.device(name)


def device_of(pair: nn.Module) -> torch.device:
    """Return where the parameters of a pair are; the CPU for a pair without any."""
    return next((parameter.device for parameter in pair.parameters()), torch.device("cpu"))


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_rng_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Set torch's global generators back to states that :func:`rng_state` returned."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, and set them back to what they were at the end.

    Examples
    --------
    >>> with seeded(3, torch.device("cpu")):
    ...     first = torch.rand(2)
    >>> with seeded(3, torch.device("cpu")):
    ...     second = torch.rand(2)
    >>> torch.equal(first, second)
    True
    """
    before = rng_state(device)
    if device.type == "cpu":
        # That of the CPU alone: for each kind of device that is not in use, torch.manual_seed keeps
        # a traceback, which takes a millisecond.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        set_rng_state(before, device)
