"""Why a step is not finite: which parameter, value, site or gradient, and how large it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyro
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from vaezoo.distributions.families import family, support_of
from vaezoo.errors import NonFiniteError
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, PairTrace, density_sites, trace_pair

__all__ = ["Culprit", "StepError", "find_culprit"]

Kind = Literal["parameter", "site", "loss", "gradient", "draw"]
Evaluate = Callable[[], tuple[Tensor, list[Tensor]]]

NUM_DRAWS = 8  # of noise: that of the step is gone


@dataclass(frozen=True)
class Culprit:
    """What made a step not finite.

    Attributes
    ----------
    kind
        What it is: a ``draw`` is one of the noise only, and other draws are finite.
    what
        In words: what it is called, and how large it is.
    site
        Name of the site; empty when it is none.
    is_observed
        Whether that site is observed.
    largest_input
        Largest absolute value of the input.
    is_real
        Whether the observed sites explain all reals, so that data can be shifted and scaled.
    """

    kind: Kind
    what: str
    site: str = ""
    is_observed: bool = False
    largest_input: float = 0.0
    is_real: bool = False


class StepError(NonFiniteError):
    """A step was not finite, and why."""

    def __init__(self, culprit: Culprit) -> None:
        super().__init__(culprit.what)
        self.culprit = culprit


def find_culprit(
    pair: nn.Module,
    args: Args,
    evaluate: Evaluate,
    parameters: Sequence[str],
    *,
    beta: float = 1.0,
) -> Culprit:
    """Return what makes a step on a batch not finite.

    Parameters
    ----------
    pair
        In its state before the step.
    args
        Of model and guide.
    evaluate
        Returns loss and gradients of the batch, with new noise.
    parameters
        Their names, in the order of the gradients.
    beta
        Weight of the KL term.
    """
    kind: Kind = "draw"
    trace: PairTrace | None = None
    site, is_observed = "", False
    broken = _broken_tensor(pair)
    for _ in range(1 if broken else NUM_DRAWS):
        with torch.no_grad(), pyro.validation_enabled(False):
            trace = trace_pair(pair, args)
        words, site, is_observed = _broken_site(trace)
        if broken:
            kind, words = "parameter", "; ".join(filter(None, [broken, words]))
        elif words:
            kind = "site"
        else:
            kind, words = _broken_sum(evaluate, parameters, trace, beta)
        if kind != "draw":
            break
    return Culprit(
        kind=kind,
        what="; ".join([words, *map(_range, args[:1])]),
        site=site,
        is_observed=is_observed,
        largest_input=_largest(args[0]),
        is_real=trace is not None and _all_real(trace),
    )


def _broken_tensor(pair: nn.Module) -> str:
    """Return which parameter or buffer is not finite."""
    for kind, tensors in (("parameter", pair.named_parameters()), ("buffer", pair.named_buffers())):
        for name, tensor in tensors:
            if tensor.is_floating_point() and not _finite(tensor):
                return f"{kind} '{name}' is not finite"
    return ""


def _broken_site(trace: PairTrace) -> tuple[str, str, bool]:
    """Return the first site that is not finite in words, its name, and whether it is observed."""
    for name, site in _sites(trace).items():
        if not (_finite(site["value"]) and _finite(log_density(site))):
            words = f"site '{name}' ({family(site['fn'])}) has no finite log-density"
            return f"{words}; {_reason(site)}", name, site["is_observed"]
    return "", "", False


def _sites(trace: PairTrace) -> dict[str, Any]:
    """Return the sites in the order in which they are drawn: of the guide, then of the model."""
    return {**density_sites(trace.guide), **density_sites(trace.model)}


def _reason(site: Mapping[str, Any]) -> str:
    for name, value in _distribution_parameters(site["fn"]):
        if not _finite(value):
            return f"its {name} is not finite"
        if name == "scale" and not bool((value > 0).all()):
            return "its scale is 0"
    if not _finite(site["value"]):
        return "its value is not finite"
    return f"its value reaches {_largest(site['value']):g}"


def _distribution_parameters(fn: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield what a distribution, perhaps one within others, was made of."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    for name in getattr(fn, "arg_constraints", {}):
        value = vars(fn).get(name)
        if isinstance(value, Tensor) and value.is_floating_point():
            yield name, value


def _broken_sum(
    evaluate: Evaluate, parameters: Sequence[str], trace: PairTrace, beta: float
) -> tuple[Kind, str]:
    """Return what of loss and gradients is not finite where every site is."""
    loss, gradients = evaluate()
    name, density = _largest_site(trace)
    terms = f"the log-density of site '{name}' reaches {density:.3g} nats"
    if beta > 1.0:
        terms += f", and the KL term weighs {beta:g}"
    if not _finite(loss):
        return "loss", f"the loss overflows: {terms}"
    norms = [float(torch.linalg.vector_norm(g.double())) for g in gradients]
    for parameter, norm in zip(parameters, norms, strict=True):
        if not norm < float("inf"):
            return "gradient", f"the gradient of '{parameter}' is not finite; {terms}"
    largest = max(range(len(norms)), key=norms.__getitem__)
    words = f"that of '{parameters[largest]}' has the norm {norms[largest]:.3g}; {terms}"
    if not _finite(_norm_in_float32(gradients)):
        return "gradient", f"the gradient overflows: {words}"
    other = f"the loss is {float(loss.sum()):.4g} and the largest gradient, {words}"
    return "draw", f"it was so for one draw of the noise; for others {other}"


def _norm_in_float32(gradients: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(g).float() for g in gradients]).norm()


def _largest_site(trace: PairTrace) -> tuple[str, float]:
    """Return the site whose log-density is largest, in nats, and it."""
    densities = {
        name: float(density.flatten()[density.abs().argmax()])
        for name, site in _sites(trace).items()
        if (density := log_density(site)).numel()
    }
    name = max(densities, key=lambda site: abs(densities[site]))
    return name, densities[name]


def _all_real(trace: PairTrace) -> bool:
    sites = trace.observed.values()
    return bool(sites) and all(_is_real(support_of(site["fn"])) for site in sites)


def _is_real(support: Any) -> bool:
    return getattr(support, "base_constraint", support) is constraints.real


def _range(x: Tensor) -> str:
    return f"the input lies in [{float(x.min()):g}, {float(x.max()):g}]"


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
