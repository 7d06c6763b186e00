"""Which pairs are admitted: what stands in the way of a posterior, found from one trace.

Everything that works with the latents of a datum asks for some of the same things: latents, the
same ones on both sides, with a density, each with one log-density for each datum. :func:`examine`
finds what is wrong as data. Who refuses decides which of it matters, and says so in its words.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import pyro
from torch import nn

from vaezoo.distributions.families import is_discrete, is_point
from vaezoo.errors import RequestError, nearest
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.plates import in_data_plate, is_scaled, num_densities
from vaezoo.pairs.sites import PairTrace, is_autoencoder, is_auxiliary, sample_sites

__all__ = [
    "DENSITY",
    "ONE_SIDED",
    "UNCOUNTED",
    "Finding",
    "Kind",
    "admit",
    "examine",
    "refuse_global_parameters",
    "refuse_shared_sites",
    "shared_site",
    "words_of",
]

Kind = Literal[
    "no latents",
    "point",
    "rounded",
    "discrete",
    "model only",
    "guide only",
    "auxiliary",
    "noise",
    "observed",
    "factor",
    "factor in guide",
    "penalty",
    "scaled",
    "subsampled plate",
    "global",
    "shared",
]

DENSITY: tuple[Kind, ...] = ("no latents", "point")
ONE_SIDED: tuple[Kind, ...] = ("model only", "guide only", "auxiliary")
# What no accounting has a term for: refused by everything, training included.
UNCOUNTED: tuple[Kind, ...] = ("guide only", "auxiliary", "observed", "factor in guide")


@dataclass(frozen=True)
class Finding:
    """One thing that some uses of a pair refuse.

    Attributes
    ----------
    kind
        ====================  ==================================================================
        ``no latents``        the guide has no site
        ``point``             the guide gives a latent one value, as an autoencoder does
        ``rounded``           a straight-through draw: it alone knows what its density is of
        ``discrete``          a latent is discrete
        ``model only``        a latent of the model, which the guide does not draw
        ``guide only``        a site of the guide, which the model does not have
        ``auxiliary``         the same, and the guide says that it means to
        ``noise``             the same, of an autoencoder, where it counts nothing
        ``observed``          a site of the guide, which the model observes
        ``factor``            a ``pyro.factor`` of the model: log p is not normalised
        ``factor in guide``   one of a guide with a density, which is none with it
        ``penalty``           one of the guide of an autoencoder
        ``scaled``            the author scales a site: the ELBO is of a tempered density
        ``subsampled plate``  the data plate takes the batch for a subsample; N / B is divided out
        ``global``            a site lies outside the data plate, so that all data share it
        ``shared``            a site has not one log-density for each datum
        ====================  ==================================================================
    site
        Its name; empty without latents.
    """

    kind: Kind
    site: str = ""

    @property
    def side(self) -> str:
        """The side that has the site."""
        return "model" if self.kind == "model only" else "guide"


def examine(trace: PairTrace, num_rows: int | None = None) -> list[Finding]:
    """Return what may stand in the way of a use of a pair.

    Parameters
    ----------
    trace
        Of both sides.
    num_rows
        Rows of the batch that was traced; by default nobody asks whether sites are shared.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import PointGuide
    >>> examine(trace_pair(PointGuide(), (torch.zeros(3, 4),)))
    [Finding(kind='point', site='z')]
    """
    findings = [Finding("no latents")] if not sample_sites(trace.guide) else []
    for name, (p, q) in trace.latents.items():
        is_value = is_point(q["fn"]) and not trace.bases
        findings += [Finding("point", name)] if is_value else []
        findings += [Finding("rounded", name)] if hasattr(q["value"], "_unquantize") else []
        findings += [Finding("discrete", name)] if is_discrete(p["fn"]) and not is_marked(q) else []
    findings += [*_one_sided(trace), *_factors(trace), *_plates(trace)]
    shared = None if num_rows is None else shared_site(trace, num_rows)
    return [*findings, Finding("shared", shared)] if shared is not None else findings


def _one_sided(trace: PairTrace) -> Iterator[Finding]:
    model, guide = sample_sites(trace.model), sample_sites(trace.guide)
    for name, site in model.items():
        if not site["is_observed"] and name not in guide and not is_marked(site):
            yield Finding("model only", name)
    bases = [base["name"] for base in trace.bases.values()]
    unpaired: Kind = "noise" if is_autoencoder(trace) else "auxiliary"
    for name, site in guide.items():
        if name not in model and name not in bases:
            yield Finding(unpaired if is_auxiliary(site) else "guide only", name)
        elif name in model and model[name]["is_observed"] and not is_auxiliary(site):
            yield Finding("observed", name)


def _factors(trace: PairTrace) -> Iterator[Finding]:
    yield from (Finding("factor", name) for name in trace.factors)
    in_guide: Kind = "penalty" if is_autoencoder(trace) else "factor in guide"
    yield from (Finding(in_guide, name) for name in trace.penalties)


def _plates(trace: PairTrace) -> Iterator[Finding]:
    data = trace.data_plate
    sites = {**sample_sites(trace.guide), **sample_sites(trace.model)}
    for name, site in sites.items():
        if is_scaled(site):
            yield Finding("scaled", name)
        if name in trace.model.nodes and not in_data_plate(site, data):
            yield Finding("global", name)
    if data is not None and data.full_size not in (None, data.size):
        yield Finding("subsampled plate", next(iter(trace.observed)))


NEEDS: dict[Kind, str] = {
    "no latents": "latents",
    "point": "a posterior",
    "rounded": "the density of any value of the latents",
    "discrete": "real latents",
    "observed": "latents that the model draws",
    **dict.fromkeys(ONE_SIDED, "the same latents on both sides"),
    "factor in guide": "a density of the latents",
    "auxiliary": "a density of the latents",
    "shared": "one log-density for each datum",
}
# What is wrong, and what to write instead.
WORDS: dict[Kind, tuple[str, str]] = {
    "no latents": (
        "{pair} has none, so that its log p(x) is exact",
        "use `vaezoo.evaluate(run)`",
    ),
    "point": (
        "the guide of {pair} gives site '{site}' one value, as an autoencoder does",
        "use `vaezoo.encode(run)` or `vaezoo.reconstruct(run)`",
    ),
    "rounded": (
        "site '{site}' has that of its own draws only, which it rounds",
        "train with a relaxed distribution that is not straight-through",
    ),
    "discrete": (
        "site '{site}' is discrete",
        "use importance weights of the guide (vaezoo.inference.importance), or "
        "`vaezoo.evaluate(run, iwae=K)`",
    ),
    "model only": (
        "the guide has no site '{site}', a latent of the model",
        "add pyro.sample('{site}', ...) to the guide, or obs= to the model",
    ),
    "guide only": (
        "the guide draws '{site}', but the model has no site '{site}'",
        "remove it from the guide, or rename it ({nearest})",
    ),
    "auxiliary": (
        "the guide draws '{site}', for which the model has no density",
        "add its reverse density to the model, pyro.sample('{site}', ...)",
    ),
    "observed": (
        "the guide draws '{site}', but the model observes '{site}'",
        "remove it from the guide, or rename it ({nearest})",
    ),
    "factor in guide": (
        "pyro.factor at site '{site}' of the guide leaves no density of the latents",
        "put it into the model, or into an objective of your own",
    ),
    "shared": (
        "site '{site}' has others",
        "put it inside the data plate, with what belongs to a datum in .to_event(...), "
        "or {instead}",
    ),
}


def words_of(
    finding: Finding, trace: PairTrace, pair: nn.Module, instead: str = ""
) -> tuple[str, str]:
    """Return what is wrong with a pair, and what to write instead: whoever refuses it says so.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> pair = LinearPair()
    >>> words_of(Finding("auxiliary", "u"), trace_pair(pair, (torch.zeros(3, 4),)), pair)[0]
    "the guide draws 'u', for which the model has no density"
    """
    sites = sample_sites(trace.model).items()
    latents = [name for name, site in sites if not site["is_observed"]]
    filled = {"site": finding.site, "pair": type(pair).__name__, "instead": instead}
    filled["nearest"] = nearest(finding.site, latents) if latents else "the model has no latents"
    what, repair = WORDS[finding.kind]
    return what.format(**filled), repair.format(**filled)


def admit(
    pair: nn.Module,
    trace: PairTrace,
    what: str,
    kinds: Collection[Kind],
    *,
    num_rows: int | None = None,
    instead: str = "leave this pair out",
) -> None:
    """Refuse a pair for the first finding that matters.

    Parameters
    ----------
    pair
        Whose name is said.
    trace
        Of both sides.
    what
        In whose name it is refused, as ``"HMC"``.
    kinds
        What matters.
    num_rows
        Rows of the batch that was traced, where ``shared`` matters.
    instead
        What to do about a shared site, other than to mend it.

    Raises
    ------
    RequestError
        With what is wrong, and what to do.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import NoLatents
    >>> trace = trace_pair(NoLatents(), (torch.zeros(3, 4),))
    >>> admit(NoLatents(), trace, "HMC", DENSITY)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    vaezoo.errors.RequestError: HMC needs latents, and NoLatents has none, ...
    """
    for finding in examine(trace, num_rows):
        if finding.kind in kinds:
            wrong, repair = words_of(finding, trace, pair, instead)
            raise RequestError(f"{what} needs {NEEDS[finding.kind]}, and {wrong}; {repair}")


def shared_site(trace: PairTrace, num_rows: int) -> str | None:
    """Return the name of a site whose log-density is not one number for each row.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> shared_site(trace, 3), shared_site(trace, 2)
    (None, 'z')
    """
    sites = {**sample_sites(trace.guide), **sample_sites(trace.model)}
    return next((n for n, site in sites.items() if num_densities(site) != (num_rows,)), None)


def refuse_shared_sites(trace: PairTrace, num_rows: int, what: str, instead: str) -> None:
    """Refuse a shared site in the name of what is asked for, as ``"free bits need"``.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> refuse_shared_sites(trace_pair(pair, (x,)), 3, "free bits need", "drop `free_bits`")
    """
    name = shared_site(trace, num_rows)
    if name is not None:
        wrong, repair = words_of(Finding("shared", name), trace, nn.Module(), instead)
        raise RequestError(f"{what} {NEEDS['shared']}, and {wrong}; {repair}")


def refuse_global_parameters(own: set[nn.Parameter]) -> None:
    """Refuse a parameter in Pyro's global store that is not one of the pair's own."""
    for name, value in pyro.get_param_store().named_parameters():
        if not any(value is parameter for parameter in own):
            raise RequestError(
                f"parameter '{name}' lives in Pyro's global store; make it an nn.Parameter (or a "
                "PyroParam) of the pair, so that it is saved and two models never share it"
            )
