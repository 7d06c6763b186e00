"""Choices that have no meaning beside each other: refused in one line before anything is built.

Whatever is not refused here trains, or is refused by the objective that cannot use it.
"""

from collections.abc import Mapping

from vaezoo.errors import RequestError
from vaezoo.parts import flows, posteriors, priors

__all__ = ["refuse_without_meaning"]


def refuse_without_meaning(chosen: Mapping[str, type]) -> None:
    """Refuse a prior and a posterior that make no bound of log p(x) together.

    Parameters
    ----------
    chosen
        Registered classes by the name of their axis, as ``"prior"``.

    Raises
    ------
    RequestError
        For a posterior without density, unless no prior has one either; for a flat prior of
        a VAE; for a VampPrior whose components are one, or are too dear.

    Examples
    --------
    >>> refuse_without_meaning({"prior": priors.Flat, "posterior": posteriors.Delta})
    >>> chosen = {"prior": priors.Flat, "posterior": posteriors.DiagonalNormal}
    >>> refuse_without_meaning(chosen)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    vaezoo.errors.RequestError: the prior 'flat' has infinite mass, so that there is no ELBO: ...
    """
    posterior, prior = chosen.get("posterior"), chosen.get("prior")
    if posterior is posteriors.Delta and prior is not priors.Flat:
        flat = "add `prior='flat'` for an autoencoder" if prior else "this pair has its own prior"
        raise RequestError(
            "the posterior 'delta' gives each datum one code, and KL(q || p) is infinite for any "
            f"density p(z), so that there is no ELBO; {flat}, or use `posterior='diagonal'`"
        )
    if prior is priors.Flat and posterior not in (None, posteriors.Delta):
        raise RequestError(
            "the prior 'flat' has infinite mass, so that there is no ELBO: q(z | x) would grow "
            "without end; use `posterior='delta'` for an autoencoder, or `prior='standard'`"
        )
    if prior is priors.VampPrior and posterior is posteriors.NoiseOnly:
        raise RequestError(
            "the prior 'vamp' is a mean of q(z | u), and with `posterior='noise-only'` that is "
            "N(0, I) for any u; use `prior='standard'`"
        )
    if prior is priors.VampPrior and posterior in (
        flows.InverseAutoregressiveFlow,
        flows.SplineFlow,
    ):
        raise RequestError(
            "the prior 'vamp' asks for the density of z at q(z | u) of other inputs, for which a "
            "flow is inverted latent by latent; use `prior='flow'`, or `posterior='full-rank'`"
        )
