"""Padding changes nothing: neither what stands in it, nor how much of it there is.

A batch holds as many frames as its longest sequence. What a pair says of a sequence must therefore
not depend on how many frames lie beyond its end: a prior over whole paths that ignored the length
gave the same sequences -1354, -2314 and -4338 nats, the more the longer their batch.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vaezoo.checks.comparison import close, first_change, has_rows, latent_values
from vaezoo.checks.remarks import Failure, Remarks
from vaezoo.checks.subject import Subject, base_of, density_of
from vaezoo.distributions.families import is_point
from vaezoo.pairs.sites import Args, PairTrace, density_sites, sample_sites, takes_lengths

__all__ = ["check_padding"]

FRAMES = 3  # of padding, more or less


def check_padding(subject: Subject) -> Remarks:
    """The frames of a sequence beyond its length change nothing, nor does their number."""
    if not takes_lengths(subject.pair):
        return
    base = subject.trace(subject.args)
    padded = subject.trace(subject.with_other_padding(), held=latent_values(base))
    changed = first_change(subject, base, padded)
    if changed:
        what = f"site '{changed[1]}' depends on frames beyond the length of the sequence"
        repair = "mask the site, poutine.mask(mask=t < length), and read x only up to length"
        yield Failure("padding", subject.where(*changed), what, repair)
        return
    name = _counted_padding(subject)
    if name:
        what = f"site '{name}' depends on how many frames lie beyond the length of the sequence"
        repair = (
            "mask what lies there on both sides, as in .mask(t < length).to_event(1), or give it "
            "one distribution in model and guide"
        )
        side = "model" if name in sample_sites(base.model) else "guide"
        yield Failure("padding", subject.where(side, name), what, repair)


def _counted_padding(subject: Subject) -> str:
    """Return a site whose terms change when frames of padding are cut off; empty without any."""
    long, short = _with_padding(subject)
    if not short:
        return ""
    more = subject.trace(long)
    fewer = subject.trace(short)
    held = _cut_like(latent_values(more), latent_values(fewer))
    if held is None:
        return ""
    fewer = subject.trace(short, held=held)
    for name, site in sample_sites(fewer.guide).items():
        mean = torch.as_tensor(site["fn"].mean) if is_point(site["fn"]) else None
        other: Any = more.guide.nodes[name]
        if mean is not None and not close(_cut(other["fn"].mean, mean), mean):
            return name
    terms, others = _terms(more), _terms(fewer)
    if close(torch.stack([*terms.values()]).sum(0), torch.stack([*others.values()]).sum(0)):
        return ""
    gaps = {n: float((terms[n] - others.get(n, 0.0)).abs().max()) for n in terms}
    return max(gaps, key=lambda name: gaps[name])


def _with_padding(subject: Subject) -> tuple[Args, Args]:
    """Return the batch with shorter sequences, and without frames that are padding in all."""
    named = dict(zip(subject.names, subject.args, strict=True))
    shape = named["x"].shape[:2]
    fewer = shape[1] - min(FRAMES, shape[1] - 1)
    if fewer == shape[1]:
        return (), ()
    named["length"] = named["length"].clamp(max=fewer)
    short = [arg[:, :fewer] if arg.shape[:2] == shape else arg for arg in named.values()]
    return tuple(named.values()), tuple(short)


def _cut_like(
    values: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """Return values cut to the shapes of others, None where they cannot be."""
    cut = {name: _cut(values[name], other) for name, other in others.items() if name in values}
    fits = all(value.shape == others[name].shape for name, value in cut.items())
    return cut if fits else None


def _cut(value: Tensor, other: Tensor) -> Tensor:
    for dim, (size, wanted) in enumerate(zip(value.shape, other.shape, strict=False)):
        if size > wanted:
            value = value.narrow(dim, 0, wanted)
    return value


def _terms(trace: PairTrace) -> dict[str, Tensor]:
    """Return what each site, steps joined, adds to the log weight of a datum ``(B,)``."""
    terms: dict[str, Tensor] = {}
    for sign, nodes in ((1, trace.model), (-1, trace.guide)):
        for name, site in density_sites(nodes).items():
            if has_rows(trace, name) and not is_point(site["fn"]):
                key, density = base_of(name), density_of(site)
                if density is not None:
                    terms[key] = terms.get(key, 0.0) + sign * density
    return terms
