"""What objectives share that look at the draws of a batch together: its terms and its codes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.distributions.families import factorises, family, is_improper, point_of
from vaezoo.errors import RequestError
from vaezoo.objectives.base import Context, is_reparameterised
from vaezoo.pairs.accounting import elbo_terms, num_units
from vaezoo.pairs.admission import UNCOUNTED, admit, refuse_shared_sites
from vaezoo.pairs.divergences import closed_form_sites
from vaezoo.pairs.enumeration import enumeration_of
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, PairTrace, sample_sites, trace_pair

__all__ = ["CodedBatch", "Codes", "Coding", "critic_of", "of_prior"]


@dataclass(frozen=True)
class Codes:
    """One draw of the one latent of each datum of a batch, and where it came from.

    Attributes
    ----------
    prior, posterior
        Its distributions.
    z
        Draws, ``(B, D)``.
    share
        Of each row among those that count, ``(B,)``; they sum to 1.
    """

    prior: Any
    posterior: Any
    z: Tensor
    share: Tensor


@dataclass(frozen=True)
class CodedBatch:
    """The terms of a batch, in nats per datum (or frame), from one draw of the guide.

    Attributes
    ----------
    distortion
        - log p(x | z), and what ``pyro.factor`` takes from it, ``()``.
    kl
        KL(q || p) of all latents, ``()``.
    trace
        Of both sides.
    rows
        Which rows count, ``(B,)``; all without it.
    """

    distortion: Tensor
    kl: Tensor
    trace: PairTrace
    rows: Tensor | None

    @property
    def codes(self) -> Codes:
        """The codes, of a pair that has one latent."""
        ((p, q),) = self.trace.latents.values()
        z = q["value"]
        share = torch.ones_like(z[:, 0]) if self.rows is None else self.rows.to(z)
        return Codes(p["fn"], q["fn"], z, share / share.sum())


class Coding:
    """How the terms of a pair are computed: what is found out about it once, from trying it.

    Parameters
    ----------
    objective
        In whose name a pair is refused.
    one_latent
        Whether it needs a single latent of each datum, a vector.
    mean
        Whether it asks for the mean of q(z | x).
    independent
        Whether the elements of that vector must be independent, in prior and posterior.
    """

    def __init__(
        self,
        objective: str,
        *,
        one_latent: bool = False,
        mean: bool = False,
        independent: bool = False,
    ) -> None:
        self.objective = objective
        self.one_latent, self.mean, self.independent = one_latent, mean, independent
        self._closed_form: frozenset[str] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a pair has been looked at."""
        return self._closed_form is not None

    def look(self, pair: nn.Module, args: Args) -> None:
        """Look at a pair and leave it as it was.

        Parameters
        ----------
        pair, args
            A pair, and a small batch of it.

        Raises
        ------
        RequestError
            When a latent has no path derivative, is summed out or shared by data; or there is not
            one vector of each datum, or no mean, or its elements depend on each other, where that
            matters.
        """
        with probing(pair, args[0].device):
            trace = trace_pair(pair, args)
        what = f"objective '{self.objective}'"
        admit(pair, trace, what, UNCOUNTED)
        refuse_shared_sites(trace, len(args[0]), f"{what} needs", "use `objective='elbo'`")
        _refuse_without_path(trace, self.objective)
        if self.one_latent:
            _refuse_other_latents(trace, self.objective)
        if self.mean:
            _refuse_without_mean(trace, self.objective)
        if self.independent:
            _refuse_dependent_elements(trace, self.objective)
        self._closed_form = closed_form_sites(trace)

    def batch(self, pair: nn.Module, args: Args, context: Context) -> CodedBatch:
        """Return the terms of a batch.

        Parameters
        ----------
        pair
            The pair that was looked at; it is now, if it was not.
        args
            A batch, tensors of ``(B, ...)``.
        context
            Which rows count.
        """
        if not self.is_ready:
            self.look(pair, args)
        trace, closed_form = trace_pair(pair, args), self._closed_form
        terms = elbo_terms(pair, args, trace=trace, closed_form=closed_form, rows=context.mask)
        units = num_units(pair, args, context.mask)
        distortion = -terms.recon.sum() / units
        for factor in terms.factors.values():
            distortion = distortion - factor.sum() / units
        return CodedBatch(distortion, terms.kl_total.sum() / units, trace, context.mask)


def _refuse_without_path(trace: PairTrace, objective: str) -> None:
    if enumeration_of(trace) is not None:
        raise RequestError(
            f"objective '{objective}' sums no latent out, and this pair marks some; "
            "use `objective='elbo'`"
        )
    for name, site in sample_sites(trace.guide).items():
        if not is_reparameterised(site):
            raise RequestError(
                f"objective '{objective}' needs reparameterised latents, and '{name}' is not; "
                "use `objective='elbo'`"
            )


def _refuse_without_mean(trace: PairTrace, objective: str) -> None:
    for name, (_, q) in trace.latents.items():
        if point_of(q["fn"])[1] != "mean":
            raise RequestError(
                f"objective '{objective}' needs the mean of q(z | x), and the {family(q['fn'])} of "
                f"'{name}' has none in closed form; use `objective='elbo'`"
            )


def _refuse_other_latents(trace: PairTrace, objective: str) -> None:
    shapes = {n: tuple(p["fn"].event_shape) for n, (p, _) in trace.latents.items()}
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        raise RequestError(
            f"objective '{objective}' compares data by one latent vector of each, and the latents "
            f"are: {listed}; use `objective='elbo'`"
        )


def _refuse_dependent_elements(trace: PairTrace, objective: str) -> None:
    ((p, q),) = trace.latents.values()
    for side, site in (("prior", p), ("posterior", q)):
        if not factorises(site["fn"]):
            raise RequestError(
                f"objective '{objective}' needs a {side} whose elements are independent, and "
                f"that of '{site['name']}' is not; use `objective='factor'`"
            )


def of_prior(codes: Codes) -> Tensor:
    """Return as many draws of the prior as there are codes, of N(0, I) where it is flat.

    Parameters
    ----------
    codes
        Of a batch.
    """
    if is_improper(codes.prior):
        return torch.randn_like(codes.z)
    prior = codes.prior.expand(codes.z.shape[:1])
    return torch.as_tensor(prior.rsample() if prior.has_rsample else prior.sample())


def critic_of(z: Tensor, hidden: int, layers: int) -> nn.Sequential:
    """Return a network that gives codes ``(B, D)`` log-odds ``(B, 1)``.

    Parameters
    ----------
    z
        Codes, for their number and type.
    hidden, layers
        Width and number of its hidden layers.

    Examples
    --------
    >>> critic_of(torch.zeros(5, 2), 8, 2)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """
    widths = [z.shape[1], *[hidden] * layers]
    body = [
        layer
        for first, second in pairwise(widths)
        for layer in (nn.Linear(first, second), nn.LeakyReLU(0.2))
    ]
    return nn.Sequential(*body, nn.Linear(hidden, 1)).to(z.dtype)
