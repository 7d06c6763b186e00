"""What the latents of a run are like: which are shared by all data, and which have no mean."""

from collections.abc import Collection

import torch

from vaezoo.observations.predictions import point_kinds
from vaezoo.pairs.sites import trace_pair
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.runtime.isolation import untouched

__all__ = ["point_notes", "shared_latents"]

WHY = {"mode": "has no mean", "draw": "has neither mean nor mode"}


def point_notes(run: Run, sides: Collection[str] = ("z", "x")) -> list[str]:
    """Return a line on each site whose mean is asked for, and that has none.

    Parameters
    ----------
    run
        Any run.
    sides
        Whose mean is asked for: ``z`` for the latents of the guide, ``x`` for what is observed.

    Examples
    --------
    >>> import vaezoo
    >>> point_notes(vaezoo.fit("vae-bernoulli", training={"steps": 5}))  # all have a mean
    []
    """
    with untouched(run.pair, run.device), seeded(0, run.device):
        latents, observed = point_kinds(run.pair, run.placeholder(2))
    kinds = (latents if "z" in sides else {}) | (observed if "x" in sides else {})
    return [
        f"{name}: {kind} ({family} {WHY[kind]})"
        for name, (kind, family) in kinds.items()
        if kind in WHY
    ]


def shared_latents(run: Run) -> frozenset[str]:
    """Return the names of the latents that all data share.

    Examples
    --------
    >>> import vaezoo
    >>> sorted(shared_latents(vaezoo.fit("vae-bernoulli", training={"steps": 5})))
    []
    """
    with torch.no_grad(), untouched(run.pair, run.device), seeded(0, run.device):
        return frozenset(trace_pair(run.pair, run.placeholder(2)).global_latents)
