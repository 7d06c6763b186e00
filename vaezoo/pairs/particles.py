"""Particles: several draws of the latents of every datum, through any pair.

A pair is written for one draw. Several go through it either in a plate of their own, so that its
encoder runs once for all of them, or as rows that are repeated, which every pair takes.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from vaezoo.pairs.handlers import hold
from vaezoo.pairs.plates import PARTICLES, log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    StochasticFunction,
    guide_of,
    model_of,
    repeat_rows,
    sample_sites,
)
from vaezoo.runtime.isolation import untouched

__all__ = [
    "Particles",
    "choose_particles",
    "probing",
]

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Particles:
    """S draws of the latents of each of B data, and how they go through a pair.

    Attributes
    ----------
    number
        S.
    in_plate
        Whether they have a plate of their own, left of the data plate, so that every site has batch
        shape ``(S, B)``. Otherwise row ``b`` becomes the rows ``b * S ... (b + 1) * S - 1``.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = Particles(5, in_plate=True).trace(pair.model, pair.guide, (x,))
    >>> trace.latents["z"][1]["value"].shape
    torch.Size([5, 3, 2])
    """

    number: int = 1
    in_plate: bool = False

    def repeat(self, args: Args) -> Args:
        """Return the arguments that the pair is called with."""
        return args if self.in_plate or self.number == 1 else repeat_rows(args, self.number)

    def run(self, fn: StochasticFunction, args: Args) -> Trace:
        """Return a trace of a model or a guide."""
        if self.in_plate:
            fn = pyro.plate(PARTICLES, self.number, dim=-2)(fn)
        return poutine.trace(fn).get_trace(*self.repeat(args))

    def trace(self, model: StochasticFunction, guide: StochasticFunction, args: Args) -> PairTrace:
        """Return traces of the guide, and of the model on the latents that it drew."""
        latents = self.run(guide, args)
        return PairTrace(self.run(poutine.replay(model, trace=latents), args), latents)

    def by_datum(self, values: Tensor) -> Tensor:
        """Return values in the batch shape that the sites have as ``(S, B, ...)``."""
        return values if self.in_plate else values.unflatten(0, (-1, self.number)).transpose(0, 1)

    def by_row(self, values: Tensor) -> Tensor:
        """Return values ``(S, B, ...)`` in the batch shape that the sites have."""
        return values if self.in_plate else values.transpose(0, 1).flatten(0, 1)


@contextmanager
def probing(
    pair: nn.Module, device: torch.device, *, seed: int | None = None, evaluating: bool = True
) -> Iterator[None]:
    """Run a pair in evaluation mode, or as it is, without gradients, and leave it as it was.

    At the end, random generators, modes and buffers are what they were before. With a seed, torch
    draws from it meanwhile.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> with probing(pair, x.device):
    ...     pair.training, torch.is_grad_enabled()
    (False, False)
    """
    modes = [(module, module.training) for module in pair.modules()]
    try:
        if evaluating:
            pair.eval()
        with (
            untouched(pair, device),
            torch.no_grad(),
            pyro.validation_enabled(False),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def choose_particles(pair: nn.Module, args: Args, number: int) -> Particles:
    """Return how several draws go through a pair, from trying it.

    They get a plate if the pair then gives every site the log-density that it has with repeated
    rows and the same latents. A pair whose layers want exactly one batch dimension does not.

    Parameters
    ----------
    pair
        Any model/guide pair whose sites have batch shape ``(B,)``; run it inside :func:`probing`.
    args
        A batch, tensors of ``(B, ...)``.
    number
        Draws S for each datum.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> with probing(pair, x.device):
    ...     choose_particles(pair, (x,), 5)
    Particles(number=5, in_plate=True)
    """
    repeated, together = Particles(number), Particles(number, in_plate=True)
    if number == 1:
        return repeated
    try:
        return together if _agree(pair, args, together, repeated) else repeated
    except Exception:  # whatever a pair does with a batch dimension that it does not expect
        return repeated


def _agree(pair: nn.Module, args: Args, together: Particles, repeated: Particles) -> bool:
    model, guide = model_of(pair), guide_of(pair)
    first = together.trace(model, guide, args)
    sites = sample_sites(first.guide).items()
    latents = {name: repeated.by_row(site["value"]) for name, site in sites}
    second = repeated.trace(hold(latents)(model), hold(latents)(guide), args)
    return _same(first.guide, second.guide, repeated) and _same(first.model, second.model, repeated)


def _same(first: Trace, second: Trace, repeated: Particles) -> bool:
    ours, theirs = sample_sites(first), sample_sites(second)
    densities = [
        (log_density(site), repeated.by_datum(log_density(theirs[name])))
        for name, site in ours.items()
    ]
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
        for a, b in densities
    )
