"""Which latents have coordinates that are reals, and how they are carried there.

==================================  =====================================================
support                             coordinates
==================================  =====================================================
reals, half-lines, intervals,       ``torch.distributions.biject_to``, element by element
simplexes, matrices, and what is
joined of them
a mixture of one of these           those of its components
a sphere, a circle                  none: they have no edge to open them at
discrete                            none
==================================  =====================================================
"""

from typing import Any

from torch.distributions import Independent, biject_to, constraints
from torch.distributions.transforms import IndependentTransform

from vaezoo.distributions.families import elements_of
from vaezoo.errors import RequestError

__all__ = ["real_coordinates"]

# Distributions on a circle, whose support torch calls the reals: their densities are periodic.
CIRCULAR = ("VonMises", "SineBivariateVonMises", "SineSkewed")


_REMEDY = "importance weights of the guide need nothing of the kind"


def real_coordinates(fn: Any, name: str, what: str, remedy: str = _REMEDY) -> Any:
    """Return the bijection from reals to the support of a distribution.

    Parameters
    ----------
    fn
        Of a latent site.
    name
        Of the site.
    what
        In whose name a support is refused, as ``"HMC"``.
    remedy
        What to do then.

    Raises
    ------
    RequestError
        For a support without such a bijection, as that of a sphere.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> import torch
    >>> parts = dist.Normal(torch.zeros(4, 2), 1.0).to_event(1)
    >>> mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(4)), parts)
    >>> real_coordinates(mixture, "z", "HMC").inv(torch.ones(2))
    tensor([1., 1.])
    """
    family = _component_of(fn)
    try:
        transform = None if family in CIRCULAR else _bijection(fn.support)
    except NotImplementedError:
        transform = None
    if transform is None:
        raise RequestError(
            f"{what} needs latents that can be carried to the reals, and those of site '{name}' "
            f"({family}) cannot{f'; {remedy}' if remedy else ''}"
        )
    return transform


def _component_of(fn: Any) -> str:
    """Return the family of a distribution, of a mixture that of its components."""
    while hasattr(fn, "component_distribution") or isinstance(fn, Independent):
        fn = elements_of(fn)
        fn = getattr(fn, "component_distribution", fn)
    return type(getattr(fn, "base_dist", fn) if _only_reshapes(fn) else fn).__name__


def _only_reshapes(fn: Any) -> bool:
    return type(fn).__name__ in ("MaskedDistribution", "ExpandedDistribution")


def _bijection(support: Any) -> Any:
    if isinstance(support, constraints.MixtureSameFamilyConstraint):
        if _has_bounds_of_components(support.base_constraint):
            raise NotImplementedError
        return _bijection(support.base_constraint)
    if isinstance(support, constraints.independent):
        inner = _bijection(support.base_constraint)
        return IndependentTransform(inner, support.reinterpreted_batch_ndims)
    return biject_to(support)


def _has_bounds_of_components(support: Any) -> bool:
    """Return whether components of a mixture may end at different places."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    bounds = (getattr(support, name, 0.0) for name in ("lower_bound", "upper_bound"))
    return any(getattr(bound, "ndim", 0) for bound in bounds)
