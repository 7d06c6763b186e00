"""What objectives share that look at the draws of a batch together: its terms and its codes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.distributions.families import family, is_improper, point_of
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


@dataclass(frozen=True)
class Coding:
    """How the terms of a pair are computed: what was found out about it, once.

    Attributes
    ----------
    closed_form
        Latents whose KL is taken in closed form.
    """

    closed_form: frozenset[str]

    @classmethod
    def of(
        cls,
        pair: nn.Module,
        args: Args,
        objective: str,
        *,
        one_latent: bool = False,
        mean: bool = False,
    ) -> "Coding":
        """Look at a pair, from trying it, and leave it as it was.

        Parameters
        ----------
        pair, args
            A pair, and a small batch of it.
        objective
            In whose name a pair is refused.
        one_latent
            Whether it needs a single latent of each datum, a vector.
        mean
            Whether it asks for the mean of q(z | x).

        Raises
        ------
        RequestError
            When a latent has no path derivative, is summed out or shared by data; or there is not
            one vector of each datum, or no mean, where that is needed.
        """
        with probing(pair, args[0].device):
            trace = trace_pair(pair, args)
        admit(pair, trace, f"objective '{objective}'", UNCOUNTED)
        refuse_shared_sites(
            trace, len(args[0]), f"objective '{objective}' needs", "use `objective='elbo'`"
        )
        _refuse_without_path(trace, objective)
        if one_latent:
            _refuse_other_latents(trace, objective)
        if mean:
            _refuse_without_mean(trace, objective)
        return cls(closed_form_sites(trace))

    def batch(self, pair: nn.Module, args: Args, context: Context) -> CodedBatch:
        """Return the terms of a batch.

        Parameters
        ----------
        pair
            The pair that was looked at.
        args
            A batch, tensors of ``(B, ...)``.
        context
            Which rows count.
        """
        trace = trace_pair(pair, args)
        terms = elbo_terms(pair, args, trace=trace, closed_form=self.closed_form, rows=context.mask)
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
