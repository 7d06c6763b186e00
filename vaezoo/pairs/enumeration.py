"""Discrete latents that are summed out, instead of being drawn.

A latent is summed out when its author marks it, ``infer={"enumerate": "parallel"}``, in Pyro's
words. Each datum is then repeated, once for every joint value of its marked latents, and these are
held; nothing is asked of a pair, not even that it broadcasts.

    marked in the guide           sum_c q(c | x) [log p(x, z, c) - log q(z, c | x)]
    in the model only             log sum_c p(x, z, c) - log q(z | x)

The second is the first with the exact posterior p(c | x, z) for q(c | x), so that one accounting
serves both: row ``b * C + c`` has the weight of its value, and those of a datum sum to 1.
(Pyro's TraceEnum_ELBO has the same two meanings.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NoReturn

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from vaezoo.distributions.families import elements_of
from vaezoo.errors import RequestError
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import reduce_to_data, total_log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    StochasticFunction,
    density_sites,
    repeat_rows,
    sample_sites,
)

__all__ = ["Enumeration", "enumeration_of", "is_marked", "is_summed", "support_values"]

MOST_VALUES = 1_000


def is_marked(site: Site) -> bool:
    """Return whether the author of a site wants it summed out.

    Examples
    --------
    >>> is_marked({"infer": {"enumerate": "parallel"}, "is_observed": False})
    True
    """
    return not site["is_observed"] and bool((site["infer"] or {}).get("enumerate"))


def is_summed(site: Site) -> bool:
    """Return whether a site of a guide is the posterior of a latent that the model alone marks."""
    return isinstance(site["fn"], _Posterior)


@dataclass(frozen=True)
class Enumeration:
    """Every joint value of the marked latents of a datum.

    Attributes
    ----------
    of_guide, of_model
        Values by site, ``(G, *event)`` of those that the guide has, and ``(M, *event)`` of those
        that are in the model only; G or M is 1 where there are none. C = G M.
    """

    of_guide: Mapping[str, Tensor]
    of_model: Mapping[str, Tensor]

    @property
    def sizes(self) -> tuple[int, int]:
        """G and M."""
        return _length(self.of_guide), _length(self.of_model)

    @property
    def number(self) -> int:
        """C, the number of rows that a datum becomes."""
        return math.prod(self.sizes)

    def repeat(self, args: Args) -> Args:
        """Return a batch with each row repeated, once for each joint value."""
        return repeat_rows(args, self.number)

    def mean(self, rows: Tensor, weights: Tensor, dim: int = -1) -> Tensor:
        """Return the mean over the values of a datum, of terms of its C rows in ``dim``."""
        shaped = weights.reshape(*weights.shape, *[1] * (-1 - dim))
        return (rows * shaped).unflatten(dim, (-1, self.number)).sum(dim)

    def log_sum(self, log_p: Tensor) -> Tensor:
        """Return log sum_c p_c of each datum ``(..., B)``, of log p of its C rows."""
        return log_p.unflatten(-1, (-1, self.number)).logsumexp(-1)

    def held(self, num_data: int, particles: Particles) -> dict[str, Tensor]:
        """Return the values by site in the rows that a batch becomes, for each particle."""
        guide, model = self.sizes
        values = {n: v.repeat_interleave(model, 0) for n, v in self.of_guide.items()}
        values |= {n: v.repeat(guide, *[1] * (v.dim() - 1)) for n, v in self.of_model.items()}
        return {
            name: particles.by_row(
                value.repeat(num_data, *[1] * (value.dim() - 1)).expand(
                    particles.number, -1, *value.shape[1:]
                )
            )
            for name, value in values.items()
        }

    def trace(
        self,
        particles: Particles,
        model: StochasticFunction,
        guide: StochasticFunction,
        args: Args,
    ) -> tuple[PairTrace, Tensor]:
        """Return traces of both sides for every value, and the weight of each row.

        A latent of the model only gets the site in the guide that is best: its exact posterior.
        All rows of a datum that differ in such latents alone have the same other draws.

        Parameters
        ----------
        particles
            Draws of the other latents, for each value.
        model, guide
            Both sides.
        args
            A batch, tensors of ``(B, ...)``.

        Returns
        -------
        PairTrace
            Of C rows for each datum.
        Tensor
            Weights ``(B * C,)``, or ``(S, B * C)``, which sum to 1 in each datum.
        """
        num_data, rows = len(args[0]), self.repeat(args)
        values = self.held(num_data, particles)
        if self.of_model:
            drawn = self._draws(particles, guide, args)
            values |= {n: z for n, z in drawn.items() if n not in values}
        guide_trace = particles.run(hold(values)(guide), rows)
        replayed = hold(values)(poutine.replay(model, trace=guide_trace))
        trace = PairTrace(particles.run(replayed, rows), guide_trace)
        log_q = torch.as_tensor(_raw_log_density(trace.guide, self.of_guide))
        if self.of_model:
            log_joint = total_log_density(density_sites(trace.model).values())
            groups = particles.by_datum(log_joint).unflatten(-1, (-1, self.sizes[1]))
            log_r = particles.by_row(groups.log_softmax(-1).flatten(-2))
            self._add_posterior(trace, log_r)
            log_q = log_q + log_r
        return trace, log_q.exp()

    def _draws(
        self, particles: Particles, guide: StochasticFunction, args: Args
    ) -> dict[str, Tensor]:
        """Draw the latents of the guide, one draw for all values of those of the model only."""
        of_guide = Enumeration(self.of_guide, {})
        held = of_guide.held(len(args[0]), particles)
        trace = particles.run(hold(held)(guide), of_guide.repeat(args))
        times = self.sizes[1]
        return {
            name: particles.by_row(
                particles.by_datum(site["value"]).repeat_interleave(times, dim=1)
            )
            for name, site in sample_sites(trace).items()
        }

    def _add_posterior(self, trace: PairTrace, log_r: Tensor) -> None:
        """Add the sites of the exact posterior to the guide; the first has the joint density."""
        for place, name in enumerate(self.of_model):
            site: Any = dict(trace.model.nodes[name])
            log_prob = log_r if place == 0 else torch.zeros_like(log_r)
            site["fn"] = _Posterior(log_prob, site["fn"].event_shape)
            trace.guide.add_node(name, **{key: site[key] for key in site if key != "name"})
            node: Any = trace.guide.nodes[name]
            node["mask"], node["scale"] = None, 1.0


class _Posterior(TorchDistribution):
    """The posterior of a latent that is summed out, known at the values of its rows alone."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, log_prob: Tensor, event_shape: torch.Size) -> None:
        self._log_prob = log_prob
        super().__init__(log_prob.shape, event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._log_prob


def _length(values: Mapping[str, Tensor]) -> int:
    return len(next(iter(values.values()))) if values else 1


def _raw_log_density(trace: Trace, names: Mapping[str, Tensor]) -> Tensor | float:
    """Return the log-density of sites as a probability: without mask, scale or weight."""
    total: Tensor | float = 0.0
    for name in names:
        site: Any = trace.nodes[name]
        total = total + reduce_to_data(site["fn"].log_prob(site["value"]), site)
    return total


def enumeration_of(trace: PairTrace) -> Enumeration | None:
    """Return the joint values of the marked latents of a pair; None when none is marked.

    Raises
    ------
    RequestError
        When the support of one is not finite, or there are more than 1,000 joint values.
    """
    guide, model = sample_sites(trace.guide), sample_sites(trace.model)
    in_guide = {name: site for name, site in guide.items() if is_marked(site)}
    in_model = {n: site for n, site in model.items() if is_marked(site) and n not in guide}
    if not (in_guide or in_model):
        return None
    enumeration = Enumeration(_joint_values(in_guide), _joint_values(in_model))
    if enumeration.number > MOST_VALUES:
        _refuse([*in_guide, *in_model], enumeration.number)
    return enumeration


def _joint_values(sites: Mapping[str, Site]) -> dict[str, Tensor]:
    """Return all joint values of some sites, by site."""
    supports = {name: support_values(site["fn"], name) for name, site in sites.items()}
    number = math.prod(map(len, supports.values()))
    if number > MOST_VALUES:
        _refuse(list(sites), number)
    choices = torch.tensor(list(product(*[range(len(support)) for support in supports.values()])))
    return {
        name: support[choices[:, place].to(support.device)]
        for place, (name, support) in enumerate(supports.items())
    }


def _refuse(names: list[str], number: int) -> NoReturn:
    raise RequestError(
        f"the latents {', '.join(names)} have {number} joint values, and at most {MOST_VALUES} "
        "are summed out; take the mark `infer={'enumerate': ...}` off some of them"
    )


def support_values(fn: Any, name: str) -> Tensor:
    """Return all values of a distribution, ``(K, *event)``, at the site of a name.

    Raises
    ------
    RequestError
        When they cannot be counted, or are more than 1,000.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> support_values(dist.Categorical(logits=torch.zeros(5, 3)), "c")
    tensor([0, 1, 2])
    >>> support_values(dist.Bernoulli(torch.full((5, 2), 0.5)).to_event(1), "c")
    tensor([[0., 0.],
            [0., 1.],
            [1., 0.],
            [1., 1.]])
    """
    elements = elements_of(fn)
    try:
        values = elements.enumerate_support(expand=False)
    except NotImplementedError as error:
        raise RequestError(
            f"the {type(elements).__name__} of site '{name}' has no finite support, and cannot be "
            "summed out; take its mark `infer={'enumerate': ...}` off"
        ) from error
    values = values.reshape(len(values), *elements.event_shape)
    joint = fn.event_shape[: len(fn.event_shape) - len(elements.event_shape)]
    if len(values) ** joint.numel() > MOST_VALUES:
        raise RequestError(
            f"site '{name}' has {len(values)} ** {joint.numel()} values, and at most {MOST_VALUES} "
            "are summed out; take its mark `infer={'enumerate': ...}` off"
        )
    return values[_all_choices(len(values), joint.numel())].reshape(-1, *fn.event_shape)


def _all_choices(size: int, length: int) -> Tensor:
    return torch.tensor(list(product(range(size), repeat=length)))
