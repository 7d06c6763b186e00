"""Of a pair, before it is trained: how many of its latents can be in use."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.distributions.families import elements_of, family
from vaezoo.observations.roles import roles_of
from vaezoo.observations.spectrum import Spectrum, active_units, spectrum_of
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import trial_rows
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    model_of,
    sample_sites,
    takes_lengths,
    trace_pair,
)

__all__ = ["Usable", "usable_latents"]

_NEAR = 1e-4  # relative, in float32
_NOTHING = 1e-3  # of the largest eigenvalue


@dataclass(frozen=True)
class Usable:
    """How many latents can be in use.

    Attributes
    ----------
    number, num_latents
        Of how many.
    threshold, spectrum
        What an eigenvalue has to be above, and the eigenvalues.
    is_binary
        Of the correlation of binary elements, and not of a covariance.
    is_exact
        Whether the decoder is linear and its noise Gaussian.
    variance
        sigma^2, if it is fixed.
    """

    number: int
    num_latents: int
    threshold: float
    spectrum: Spectrum
    is_binary: bool
    is_exact: bool
    variance: float | None

    @property
    def beta_for_all(self) -> float:
        """The largest beta, to two digits, with which all latents that explain something are."""
        worth = [
            v for v in self.spectrum.eigenvalues if v > _NOTHING * self.spectrum.eigenvalues[0]
        ]
        if not worth:
            return 0.0
        least = worth[: self.num_latents][-1] / (self.variance or 1.0)
        unit = 10.0 ** (math.floor(math.log10(least)) - 1)
        return float(f"{math.floor(least / unit * (1 - 1e-9)) * unit:.2g}")


def usable_latents(pair: nn.Module, args: Args, beta: float) -> Usable | None:
    """Return how many latents the KL term lets come into use; None where no rule is known.

    One is for a pair with one latent site whose prior is N(0, I), and with one observed site that
    is Bernoulli, or normal with one sigma for all.

    Parameters
    ----------
    pair
        Before it is trained.
    args
        Training rows, as many as their covariance takes.
    beta
        Weight of the KL term.

    Examples
    --------
    >>> from vaezoo.models.vae_linear import VAELinear
    >>> x = torch.randn(500, 4) * torch.tensor([3.0, 2.0, 0.1, 0.1])
    >>> usable = usable_latents(VAELinear(x_shape=(4,), z_dim=3), (x,), beta=0.5)
    >>> usable.number, usable.is_exact
    (3, True)
    """
    if takes_lengths(pair):
        return None
    few = trial_rows(args)
    with probing(pair, args[0].device, seed=0):
        trace = trace_pair(pair, few)
        taken = list(roles_of(pair, few).observed.values())
        names, sites = list(trace.latents), list(trace.observed.values())
        if len(names) != 1 or len(sites) != 1 or len(taken) != 1 or not _is_standard(trace):
            return None
        place, fn = taken[0], sites[0]["fn"]
        if place is None or place.argument != "x" or place.elements is not None:
            return None
        noise = _noise_of(pair, few, fn)
        if noise is None:
            return None
        is_linear = not noise.is_binary and _is_linear(pair, few, names[0], trace)
    x = args[0].flatten(1).cpu()
    if bool(x.isnan().any()):
        return None
    num_latents = _size_of(trace, names[0])
    spectrum = spectrum_of(x, num_latents, is_binary=noise.is_binary)
    number, threshold = active_units(spectrum, num_latents, beta=beta, variance=noise.variance)
    return Usable(
        *(number, num_latents, threshold, spectrum, noise.is_binary, is_linear),
        None if noise.is_binary else noise.variance,
    )


@dataclass(frozen=True)
class _Noise:
    """What an element varies by, given its mean; None for what is learned, one for all."""

    is_binary: bool
    variance: float | None


def _is_standard(trace: PairTrace) -> bool:
    """Whether the prior of the one latent is N(0, I)."""
    ((p, _),) = trace.latents.values()
    elements = elements_of(p["fn"])
    if family(elements) != "Normal":
        return False
    return bool((elements.loc == 0).all() and (elements.scale == 1).all())


def _noise_of(pair: nn.Module, few: Args, fn: Any) -> _Noise | None:
    kind = family(fn)
    if kind == "Bernoulli":
        return _Noise(True, 1.0)  # in units of what an element varies by
    scale = getattr(elements_of(fn), "scale", None)
    if kind != "Normal" or scale is None or bool((scale != scale.flatten()[0]).any()):
        return None
    with torch.enable_grad():
        again = next(iter(trace_pair(pair.train(), few).observed.values()))["fn"]
    elements = elements_of(again)
    is_learned = type(elements).__name__ != "Normal" or elements.scale.requires_grad
    return _Noise(False, None if is_learned else float(scale.flatten()[0]) ** 2)


def _is_linear(pair: nn.Module, few: Args, name: str, trace: PairTrace) -> bool:
    """Whether the mean of p(x | z) is linear in z, along the line through a draw."""
    z = trace.latents[name][1]["value"]
    nought, one, two = (_mean_at(pair, few, {name: times * z}) for times in (0.0, 1.0, 2.0))
    return bool((two - 2 * one + nought).abs().max() <= _NEAR * (two - nought).abs().max())


def _mean_at(pair: nn.Module, few: Args, values: dict[str, Tensor]) -> Tensor:
    trace = poutine.trace(hold(values)(model_of(pair))).get_trace(*few)
    (site,) = [site for site in sample_sites(trace).values() if site["is_observed"]]
    mean: Tensor = elements_of(site["fn"]).mean
    return mean


def _size_of(trace: PairTrace, name: str) -> int:
    return math.prod(trace.latents[name][1]["fn"].event_shape)
