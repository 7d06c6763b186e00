"""Two runs of a pair compared: are log-densities and draws the same?"""

import torch
from torch import Tensor

from vaezoo.checks.subject import Subject, density_of
from vaezoo.distributions.families import elements_of, is_point
from vaezoo.pairs.plates import in_data_plate, outermost_frame
from vaezoo.pairs.sites import PairTrace, Site, sample_sites

__all__ = ["close", "first_change", "has_rows", "latent_values", "same_value"]

TOLERANCE = 1e-4  # relative and absolute, of float32 log-densities in nats


def latent_values(trace: PairTrace, rows: Tensor | None = None) -> dict[str, Tensor]:
    """Return the latents, of some rows; what all data share has none.

    Those of the model alone, which are summed out, are among them.
    """
    model = sample_sites(trace.model).items()
    values = {name: site["value"] for name, site in model if not site["is_observed"]}
    values |= {name: site["value"] for name, site in sample_sites(trace.guide).items()}
    if rows is None:
        return values
    return {n: _pick(value, rows) if has_rows(trace, n) else value for n, value in values.items()}


def _pick(value: Tensor, rows: Tensor) -> Tensor:
    """Return rows of a draw; Pyro's straight-through draws carry those that they were made of."""
    picked = value[rows]
    if hasattr(value, "_unquantize"):
        picked._unquantize = value._unquantize[rows]  # type: ignore[attr-defined]
    return picked


def has_rows(trace: PairTrace, name: str) -> bool:
    """Return whether each datum has its own of a site."""
    site = trace.model.nodes.get(name)
    if site is None:
        return outermost_frame(trace.guide.nodes[name]) is not None
    return in_data_plate(site, trace.data_plate)


def same_value(a: Site, b: Site) -> bool:
    """Return whether two sites have one and the same value."""
    shapes = a["value"].shape == b["value"].shape
    return shapes and bool(torch.equal(a["value"], b["value"]))


def first_change(
    subject: Subject, a: PairTrace, b: PairTrace, rows: Tensor | None = None
) -> tuple[str, str] | None:
    """Return side and name of the first site that differs, of ``rows`` of a.

    Log-densities are compared, and the draws of the guide.
    """
    others = {(side, name): site for side, name, site in subject.sites(b)}
    for side, name, site in subject.sites(a):
        other = others.get((side, name))
        if other is None:
            continue
        density, theirs, value = _density(site), _density(other), site["value"]
        if density is None or theirs is None:
            density, theirs = _base_density(site), _base_density(other)
        if rows is not None and has_rows(a, name):
            density, value = density[rows], value[rows]
        same = close(density, theirs)
        if not (same and (side == "model" or torch.equal(value, other["value"]))):
            return side, name
    return None


def _density(site: Site) -> Tensor | None:
    """Return the log-density, or the point itself where a Delta has all its mass."""
    return torch.as_tensor(site["fn"].mean) if is_point(site["fn"]) else density_of(site)


def _base_density(site: Site) -> Tensor:
    """Return the log-density at zero of what a flow begins with, if it has any there ``(B,)``."""
    base = elements_of(site["fn"]).base_dist
    try:
        log_p = base.log_prob(site["value"].new_zeros(base.batch_shape + base.event_shape))
    except ValueError:  # zero is outside of its support
        return site["value"].new_zeros(len(site["value"]))
    return log_p.reshape(len(site["value"]), -1).sum(-1)


def close(a: Tensor, b: Tensor) -> bool:
    """Return whether log-densities are the same but for rounding."""
    return bool(torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
