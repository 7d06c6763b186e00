"""Pairs whose posterior is known, for ``verdicts.py``: of each datum log p(x), and draws.

Each family is one pair with B data whose latents have a closed form, a grid of one dimension, or a
product of these. Guides are right, or wrong in a known way.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

Draws = Mapping[str, Tensor]
F64 = torch.float64


@dataclass(frozen=True)
class Case:
    """A pair, its data ``(B, ...)``, log p(x) of them, and exact draws of each latent.

    ``features`` makes the numbers that are compared of draws ``(S, B, *event)``; ``exact`` are
    those of 4,000 exact draws, ``(S, B, F)``.
    """

    family: str
    pair: nn.Module
    x: Tensor
    log_evidence: Tensor
    exact: Tensor
    features: Callable[[Tensor], Tensor] = lambda z: z.flatten(2)


class Pair(nn.Module):
    """A pair of functions: ``prior()``, ``likelihood(z)``, and ``posterior(x)`` for the guide."""

    def __init__(
        self,
        prior: Callable[[], dist.TorchDistribution],
        likelihood: Callable[[Tensor], dist.TorchDistribution],
        posterior: Callable[[Tensor], dist.TorchDistribution],
    ) -> None:
        super().__init__()
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        with pyro.plate("data", len(x)):
            prior = self.prior()
            z = pyro.sample("z", prior.expand(torch.Size([len(x)])))
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x)."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))


def normal(loc: Tensor, scale: Tensor | float) -> dist.TorchDistribution:
    """Return independent normals with one event dimension."""
    scale = torch.as_tensor(scale, dtype=loc.dtype).expand(loc.shape)
    return dist.Normal(loc, scale).to_event(1)


def standard(size: int) -> dist.TorchDistribution:
    """Return N(0, I)."""
    return normal(torch.zeros(size), 1.0)


NUM_EXACT = 4000
GRID = 20_001


def _on_grid(
    log_density: Callable[[Tensor], Tensor], low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Return log normalisers ``(B,)``, and draws ``(S, B)``, of densities ``(G, 1) -> (G, B)``."""
    at = torch.linspace(low, high, GRID, dtype=F64)
    log_p = log_density(at[:, None])
    step = (high - low) / (GRID - 1)
    total = log_p.logsumexp(0) + math.log(step)
    cumulative = log_p.softmax(0).cumsum(0).T.contiguous()
    u = torch.rand(log_p.shape[1], NUM_EXACT, dtype=F64)
    place = torch.searchsorted(cumulative, u).clamp(max=GRID - 1)
    draws = at[place] + step * (torch.rand_like(u) - 0.5)
    return total, draws.T


def squares(size: int, modes: int = 1, *, both: bool = False, num_data: int = 24) -> Case:
    """Observe z_1^2 ... z_m^2 with noise, and the other latents directly: 2^m modes, far apart.

    The guide has one of them, or with ``both`` all.
    """
    sd, noise = 0.1, 0.3
    z = torch.randn(num_data, size, dtype=F64)
    z[:, :modes] = 1.0 + torch.rand(num_data, modes, dtype=F64)
    seen = torch.cat([z[:, :modes].square(), z[:, modes:]], 1)
    scale = torch.tensor([sd] * modes + [noise] * (size - modes), dtype=F64)
    x = (seen + scale * torch.randn_like(seen)).float()

    def likelihood(z: Tensor) -> dist.TorchDistribution:
        loc = torch.cat([z[..., :modes].square(), z[..., modes:]], -1)
        return normal(loc, scale.float())

    def posterior(x: Tensor) -> dist.TorchDistribution:
        root = x[:, :modes].clamp(min=1e-3).sqrt()
        width = sd / (2 * root)
        shrink = 1 / (1 + noise**2)
        loc = torch.cat([root, x[:, modes:] * shrink], 1)
        spread = torch.cat([width, (noise * math.sqrt(shrink)) * torch.ones_like(x[:, modes:])], 1)
        if not both:
            return normal(loc, spread)
        sign = torch.tensor([[1.0], [-1.0]])
        flipped = torch.cat(
            [sign * loc[:, None, :modes], loc[:, None, modes:].expand(-1, 2, -1)], 2
        )
        each = normal(flipped, spread[:, None].expand_as(flipped))
        return dist.MixtureSameFamily(dist.Categorical(logits=torch.zeros(len(x), 2)), each)

    log_evidence, draws = (
        torch.zeros(num_data, dtype=F64),
        torch.zeros(NUM_EXACT, num_data, size, dtype=F64),
    )
    for i in range(modes):
        part, column = _on_grid(
            lambda u, i=i: (
                dist.Normal(0.0, 1.0).log_prob(u)
                + dist.Normal(u.square(), sd).log_prob(x[:, i].double())
            ),
            -4.0,
            4.0,
        )
        log_evidence, draws[..., i] = log_evidence + part, column
    rest = x[:, modes:].double()
    marginal = dist.Normal(0.0, math.sqrt(1 + noise**2)).log_prob(rest).sum(1)
    shrink = 1 / (1 + noise**2)
    draws[..., modes:] = rest * shrink + noise * math.sqrt(shrink) * torch.randn(
        NUM_EXACT, *rest.shape, dtype=F64
    )
    name = f"2^{modes} modes, guide {'all' if both else 'one'}, d {size}"
    return Case(
        name, Pair(lambda: standard(size), likelihood, posterior), x, log_evidence + marginal, draws
    )


def mixture_prior(
    size: int,
    weights: Sequence[float] = (0.5, 0.5),
    distance: float = 6.0,
    *,
    best: bool = False,
    num_data: int = 24,
) -> Case:
    """A mixture prior whose components lie ``distance`` sds apart; x blurs them all together.

    The guide is exact in the first component, or with ``best`` in the likeliest of each datum.
    """
    number, noise = len(weights), 3.0
    direction = torch.randn(number, size, dtype=F64)
    direction = direction / direction.norm(dim=1, keepdim=True) * distance / math.sqrt(2)
    logits = torch.tensor(weights, dtype=F64).log()
    choice = torch.multinomial(logits.exp().float(), num_data, replacement=True)
    z = direction[choice] + torch.randn(num_data, size, dtype=F64)
    x = (z + noise * torch.randn_like(z)).float()
    shrink = 1 / (1 + noise**2)
    sd = noise * math.sqrt(shrink)

    def parts(x: Tensor) -> tuple[Tensor, Tensor]:
        """Log shares ``(B, K)`` and means ``(B, K, L)`` of the posterior."""
        far = x.double()[:, None] - direction
        logs = logits + dist.Normal(0.0, math.sqrt(1 + noise**2)).log_prob(far).sum(-1)
        return logs, direction + shrink * far

    def posterior(x: Tensor) -> dist.TorchDistribution:
        logs, loc = parts(x)
        chosen = logs.argmax(1) if best else torch.zeros(len(x), dtype=torch.long)
        return normal(loc[torch.arange(len(x)), chosen].to(x.dtype), sd)

    def prior() -> dist.TorchDistribution:
        each = normal(direction.float(), 1.0)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits.float()), each)

    logs, loc = parts(x)
    component = torch.multinomial(logs.softmax(1), NUM_EXACT, replacement=True).T
    exact = loc[torch.arange(num_data), component] + sd * torch.randn(
        NUM_EXACT, num_data, size, dtype=F64
    )
    name = f"prior of {number}, guide {'best' if best else 'one'}, d {size}"
    pair = Pair(prior, lambda z: normal(z, noise), posterior)
    return Case(name, pair, x, logs.logsumexp(1), exact)


def linear(
    size: int, sigma: float, guide: str = "exact", *, change: float = 1.0, num_data: int = 24
) -> Case:
    """Linear-Gaussian; the guide exact, diagonal of the right sds, or ``change`` times as wide."""
    w = torch.randn(size, size, dtype=F64) / math.sqrt(size)
    z = torch.randn(num_data, size, dtype=F64)
    x = (z @ w.T + sigma * torch.randn(num_data, size, dtype=F64)).float()
    precision = torch.eye(size, dtype=F64) + w.T @ w / sigma**2
    covariance = torch.linalg.inv(precision)
    loc = x.double() @ w / sigma**2 @ covariance
    factor = torch.linalg.cholesky(covariance)
    marginal = dist.MultivariateNormal(
        torch.zeros(size, dtype=F64), w @ w.T + sigma**2 * torch.eye(size, dtype=F64)
    )

    def posterior(x: Tensor) -> dist.TorchDistribution:
        mean = (x.double() @ w / sigma**2 @ covariance).to(x.dtype)
        if guide == "exact":
            return dist.MultivariateNormal(mean, scale_tril=change * factor.to(x.dtype))
        return normal(mean, change * covariance.diagonal().sqrt().to(x.dtype))

    exact = loc + torch.randn(NUM_EXACT, num_data, size, dtype=F64) @ factor.T
    pair = Pair(lambda: standard(size), lambda z: normal(z @ w.to(z.dtype).T, sigma), posterior)
    what = guide if change == 1 else f"{guide} x {change:g}"
    return Case(
        f"linear, sigma {sigma:g}, {what}, d {size}", pair, x, marginal.log_prob(x.double()), exact
    )


def walk(size: int, step: float = 0.9, *, num_data: int = 24) -> Case:
    """Latents that follow each other, z_i = step z_(i-1) + noise, observed; the guide is exact.

    Its latents go together, as those of a smooth curve.
    """
    noise = 0.5
    place = torch.arange(size, dtype=F64)
    prior = step ** (place[:, None] - place).abs()
    covariance = torch.linalg.inv(torch.linalg.inv(prior) + torch.eye(size, dtype=F64) / noise**2)
    of_x = dist.MultivariateNormal(
        torch.zeros(size, dtype=F64), prior + noise**2 * torch.eye(size, dtype=F64)
    )
    x = of_x.sample(torch.Size([num_data])).float()
    factor = torch.linalg.cholesky(covariance)
    before = dist.MultivariateNormal(
        torch.zeros(size), scale_tril=torch.linalg.cholesky(prior).float()
    )

    def posterior(x: Tensor) -> dist.TorchDistribution:
        loc = (x.double() / noise**2 @ covariance).to(x.dtype)
        return dist.MultivariateNormal(loc, scale_tril=factor.to(x.dtype))

    loc = x.double() / noise**2 @ covariance
    exact = loc + torch.randn(NUM_EXACT, num_data, size, dtype=F64) @ factor.T
    pair = Pair(lambda: before, lambda z: normal(z, noise), posterior)
    return Case(f"walk of {size}, exact", pair, x, of_x.log_prob(x.double()), exact)


def cauchy(size: int, noise: float, *, num_data: int = 24) -> Case:
    """Latents with a Cauchy prior, each observed with noise; the guide is that of a flat prior."""
    z = torch.distributions.Cauchy(0.0, 1.0).sample(torch.Size([num_data, size]))
    x = (z + noise * torch.randn_like(z)).clamp(-30, 30)
    parts = [
        _on_grid(
            lambda u, i=i: (
                dist.Cauchy(0.0, 1.0).log_prob(u) + dist.Normal(u, noise).log_prob(x[:, i].double())
            ),
            -35.0,
            35.0,
        )
        for i in range(size)
    ]
    log_evidence = torch.stack([total for total, _ in parts]).sum(0)
    exact = torch.stack([draws for _, draws in parts], -1)
    pair = Pair(
        lambda: dist.Cauchy(torch.zeros(size), 1.0).to_event(1),
        lambda z: normal(z, noise),
        lambda x: normal(x, noise),
    )
    return Case(f"Cauchy, noise {noise:g}, d {size}", pair, x, log_evidence, exact)


def shell(size: int, *, num_data: int = 24) -> Case:
    """Observe |z| with noise; the guide is a Gaussian on one side of the shell."""
    sd = 0.2
    radius = torch.linspace(1.0, 3.0, num_data, dtype=F64)
    x = radius[:, None].float()

    def log_radial(r: Tensor) -> Tensor:
        log_chi = (
            (size - 1) * r.log()
            - 0.5 * r.square()
            - (0.5 * size - 1) * math.log(2)
            - math.lgamma(0.5 * size)
        )
        return log_chi + dist.Normal(r, sd).log_prob(radius)

    log_evidence, r = _on_grid(log_radial, 1e-6, 8.0)
    direction = torch.randn(NUM_EXACT, num_data, size, dtype=F64)
    exact = r[..., None] * direction / direction.norm(dim=-1, keepdim=True)

    def posterior(x: Tensor) -> dist.TorchDistribution:
        loc = torch.cat([x, torch.zeros(len(x), size - 1)], 1)
        return normal(loc, 0.4)

    pair = Pair(
        lambda: standard(size), lambda z: normal(z.norm(dim=-1, keepdim=True), sd), posterior
    )
    return Case(f"shell, d {size}", pair, x, log_evidence, exact)


def bent(kind: str, *, num_data: int = 24) -> Case:
    """z_2 follows a bend of z_1, a banana or a sine; the guide is a diagonal Gaussian."""
    sd = 0.1
    bend = {"banana": torch.square, "sine": lambda a: (4 * a).sin()}[kind]
    x = torch.linspace(-1.5, 2.5, num_data, dtype=F64)[:, None].float()

    def log_first(a: Tensor) -> Tensor:
        # z_2 is integrated out: x - bend(z_1) ~ N(0, 1 + sd^2)
        rest = dist.Normal(0.0, math.sqrt(1 + sd**2)).log_prob(x[:, 0].double() - bend(a))
        return dist.Normal(0.0, 1.0).log_prob(a) + rest

    log_evidence, first = _on_grid(log_first, -6.0, 6.0)
    shrink = 1 / (1 + sd**2)
    second = shrink * (x[:, 0].double() - bend(first)) + sd * math.sqrt(shrink) * torch.randn_like(
        first
    )
    exact = torch.stack([first, second], -1)

    def posterior(x: Tensor) -> dist.TorchDistribution:
        return normal(torch.cat([torch.zeros_like(x), 0.5 * x], 1), torch.tensor([0.5, 0.3]))

    def likelihood(z: Tensor) -> dist.TorchDistribution:
        return normal((z[..., 1] + bend(z[..., 0]))[..., None], sd)

    return Case(kind, Pair(lambda: standard(2), likelihood, posterior), x, log_evidence, exact)


def funnel(size: int, *, num_data: int = 24) -> Case:
    """Observe numbers N(0, exp(z)) of one log variance z; the guide is half as wide as right."""
    v = torch.randn(num_data, 1, dtype=F64)
    x = (v.mul(0.5).exp() * torch.randn(num_data, size, dtype=F64)).float()

    def log_v(v: Tensor) -> Tensor:
        each = dist.Normal(0.0, v.mul(0.5).exp()[..., None]).log_prob(x.double()).sum(-1)
        return dist.Normal(0.0, 1.0).log_prob(v) + each

    log_evidence, exact = _on_grid(log_v, -8.0, 8.0)

    def posterior(x: Tensor) -> dist.TorchDistribution:
        share = size / (size + 2)  # of the likelihood, were it a Gaussian
        loc = share * x.square().mean(1, keepdim=True).clamp(min=1e-6).log()
        return normal(loc, 0.5 * math.sqrt(1 - share))

    def likelihood(z: Tensor) -> dist.TorchDistribution:
        return normal(
            torch.zeros(*z.shape[:-1], size), z.mul(0.5).exp().expand(*z.shape[:-1], size)
        )

    pair = Pair(lambda: standard(1), likelihood, posterior)
    return Case(f"log scale, guide narrow, {size} numbers", pair, x, log_evidence, exact[..., None])


def conjugate(kind: str, shape: float, guide: str, *, num_data: int = 24) -> Case:
    """Gamma-Poisson and Beta-Bernoulli, down to shapes far below 1, where densities have poles."""
    if kind == "gamma":
        rate = torch.distributions.Gamma(shape, 1.0).sample(torch.Size([num_data, 1]))
        x = torch.poisson(rate)
        after = dist.Gamma(shape + x.double(), 2.0)
        log_evidence = dist.GammaPoisson(shape, 1.0).log_prob(x.double())[:, 0]
        prior, likelihood = (
            (lambda: dist.Gamma(torch.tensor([shape]), 1.0).to_event(1)),
            dist.Poisson,
        )
    else:
        x = torch.bernoulli(torch.full((num_data, 1), 0.5))
        after = dist.Beta(shape + x.double(), shape + 1 - x.double())
        log_evidence = torch.full((num_data,), math.log(0.5), dtype=F64)
        prior = lambda: dist.Beta(torch.tensor([shape]), shape).to_event(1)  # noqa: E731
        likelihood = dist.Bernoulli
    exact = after.expand(torch.Size([num_data, 1])).sample(torch.Size([20 * NUM_EXACT]))

    def posterior(x: Tensor) -> dist.TorchDistribution:
        if kind == "gamma":
            right = dist.Gamma(shape + x, torch.full_like(x, 2.0))
            wrong = dist.LogNormal(right.mean.log() - 0.3, 0.3)
        else:
            right = dist.Beta(shape + x, shape + 1 - x)
            wrong = dist.Beta(3 * (shape + x), 3 * (shape + 1 - x))
        return (right if guide == "exact" else wrong).to_event(1)

    pair = Pair(prior, lambda z: likelihood(z).to_event(1), posterior)
    return Case(f"{kind} {shape:g}, guide {guide}", pair, x, log_evidence, exact)
