"""What the latents carry: KL of each element, information about the data, what has collapsed.

    E_x KL(q(z | x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)),   q(z) = 1/N sum_j q(z | x_j)

The first term is what the latents say about the datum, the second how far the codes of all data are
from the prior, which is what samples of the model suffer from (Hoffman & Johnson 2016, *ELBO
surgery*). An element whose KL is below 0.01 nats carries nothing: it has collapsed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.data.transform import Transform
from vaezoo.distributions.families import elements_of_both
from vaezoo.errors import RequestError
from vaezoo.pairs.accounting import elbo_terms, num_units
from vaezoo.pairs.admission import DENSITY, admit
from vaezoo.pairs.particles import probing
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, PairTrace, takes_lengths, trace_pair
from vaezoo.predict.information import MOST_DATA, mutual_information
from vaezoo.sequences.paths import training_form
from vaezoo.training.alarms import COLLAPSED_KL
from vaezoo.training.metrics import measure

__all__ = ["Collapse", "collapse", "element_names"]

NEAR_CAP = 1.0


@dataclass(frozen=True)
class Collapse:
    """KL and information of the latents, in nats per datum; KL of sequences per frame.

    Attributes
    ----------
    kl_per_element
        E_x KL(q || p) of each element by name, as ``z[0]``: in closed form, or else by draws. A
        site that does not factorise is one entry, ``z``.
    active_units
        Elements whose posterior mean varies over the data by more than 0.01 (Burda et al. 2016,
        arXiv:1509.00519); None for sequences, and without closed-form means.
    information
        I_q(x; z) over ``information_rows`` data; None for sequences and several latent sites.
    information_rows
        N.
    """

    kl_per_element: Mapping[str, float]
    active_units: int | None
    information: float | None
    information_rows: int

    @property
    def kl(self) -> float:
        """E_x KL(q(z | x) || p(z))."""
        return sum(self.kl_per_element.values())

    @property
    def marginal(self) -> float | None:
        """KL(q(z) || p(z)) = KL - I; with draws for I, it may be a little below zero."""
        return None if self.information is None else self.kl - self.information

    @property
    def cap(self) -> float:
        """log N, the most that can be found of ``information``."""
        return math.log(max(1, self.information_rows))

    @property
    def is_capped(self) -> bool:
        """Whether ``information`` is within 1 nat of log N, and may be larger; take more data."""
        return self.information is not None and self.information > self.cap - NEAR_CAP

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Names of the elements with less than 0.01 nats."""
        return tuple(name for name, kl in self.kl_per_element.items() if kl < COLLAPSED_KL)


def collapse(pair: nn.Module, args: Args, *, num_samples: int = 10, seed: int = 0) -> Collapse:
    """Say what the latents of a pair carry about some data.

    Parameters
    ----------
    pair
        Any pair with latents; of a sequence pair, KL terms are summed along the paths.
    args
        Data, tensors of ``(B, ...)``; the more, the higher is the cap of the information.
    num_samples
        Draws for each datum, for what has no closed form, and for paths.
    seed
        Seed of the draws.

    Raises
    ------
    RequestError
        When the pair has no latents, or a guide without a density.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> latents = collapse(LinearPair(), (torch.randn(100, 4),))
    >>> list(latents.kl_per_element), latents.active_units
    (['z[0]', 'z[1]'], 2)
    """
    if num_samples < 1:
        raise RequestError(f"KL takes 1 draw or more, got {num_samples}")
    whole = training_form(pair)
    with probing(pair, args[0].device, seed=seed):
        admit(whole, trace_pair(whole, args), "an analysis of latents", DENSITY)
        units = float(num_units(whole, args))
        draws = [_kl_of_elements(whole, args) for _ in range(num_samples)]
        kl = {name: sum(d[name] for d in draws) / num_samples / units for name in draws[0]}
        active = measure(whole, [args], Transform()).active_units
        if takes_lengths(whole):
            return Collapse(kl, None, None, 0)
        some = tuple(arg[:MOST_DATA] for arg in args)
        return Collapse(kl, active, mutual_information(whole, some), len(some[0]))


def _kl_of_elements(pair: nn.Module, args: Args) -> dict[str, float]:
    """Return the KL of each element, summed over the data."""
    trace = trace_pair(pair, args)
    terms = elbo_terms(pair, args, trace=trace)
    sums: dict[str, float] = {}
    for name, total in terms.kl.items():
        elements = terms.kl_per_latent.get(name)
        if elements is None:
            elements = _by_draw(trace, name)
        elements = total if elements is None else elements
        names = element_names(name, elements.shape[1:])
        sums.update(zip(names, elements.cpu().double().sum(0).flatten().tolist(), strict=True))
    return sums


def _by_draw(trace: PairTrace, name: str) -> Tensor | None:
    """Return log q - log p of each element ``(B, *event)``, None where a side does not factorise.

    Only for a site whose density is not masked.
    """
    if name not in trace.latents:
        return None
    p, q = trace.latents[name]
    both = elements_of_both(p["fn"], q["fn"])
    if both is None:
        return None
    p_fn, q_fn = both
    elements = q_fn.log_prob(q["value"]) - p_fn.log_prob(q["value"])
    difference = log_density(q) - log_density(p)
    is_whole = torch.allclose(
        elements.reshape(len(difference), -1).sum(1), difference, rtol=1e-3, atol=1e-3
    )
    return elements if is_whole else None


def element_names(site: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the elements of a site.

    Examples
    --------
    >>> element_names("z", (2,)), element_names("z", ())
    (('z[0]', 'z[1]'), ('z',))
    """
    if not shape:
        return (site,)
    places = torch.cartesian_prod(*[torch.arange(n) for n in shape]).reshape(-1, len(shape))
    return tuple(f"{site}[{','.join(map(str, place))}]" for place in places.tolist())
