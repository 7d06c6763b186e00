"""A pair for vectors, and objectives of its own: a capacity that rises, a critic, a multiplier."""

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.objectives import OBJECTIVES, Context
from vaezoo.pairs.accounting import elbo_terms, num_units
from vaezoo.pairs.sites import Args, trace_pair

Z = 2


class Pair(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        (x_dim,) = x_shape
        self.encoder = nn.Linear(x_dim, 2 * Z)
        self.decoder = nn.Linear(Z, x_dim)
        self.register_buffer("zero", torch.zeros(Z))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        loc, log_scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@OBJECTIVES.register("capacity")
class Capacity:
    """Burgess et al. (2018, arXiv:1804.03599), eq. 8: gamma * |KL - C|, C rises with the steps."""

    judged_by_elbo = True

    def __init__(self, *, gamma: float = 2.0, most: float = 5.0, steps: int = 10) -> None:
        self.gamma, self.most, self.steps = gamma, most, steps

    def prepare(self, pair: nn.Module, args: Args) -> None:
        pass

    def loss(self, pair: nn.Module, args: Args, context: Context) -> Tensor:
        terms = elbo_terms(pair, args, rows=context.mask)
        units = num_units(pair, args, context.mask)
        capacity = self.most * torch.as_tensor(context.step / self.steps).clamp(max=1.0)
        kl = terms.kl_total.sum() / units
        return self.gamma * (kl - capacity).abs() - terms.recon.sum() / units


@OBJECTIVES.register("critic")
class WithCritic:
    """The ELBO and a critic's view of z, which the critic's own loss sharpens."""

    judged_by_elbo = True

    def __init__(self, *, weight: float = 0.5, rate: float = 0.02) -> None:
        self.weight = weight
        self.learning_rates = {"critic": rate}

    def prepare(self, pair: nn.Module, args: Args) -> None:
        self.critic = nn.Sequential(nn.Linear(Z, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))

    def loss(self, pair: nn.Module, args: Args, context: Context) -> dict[str, Tensor]:
        trace = trace_pair(pair, args)
        z = trace.latents["z"][1]["value"]
        rating, of_prior = self.critic(z).mean(), self.critic(torch.randn_like(z)).mean()
        elbo = elbo_terms(pair, args, trace=trace).elbo.mean()
        return {"pair": self.weight * rating - elbo, "critic": of_prior**2 - rating}


@OBJECTIVES.register("multiplier")
class WithMultiplier(nn.Module):
    """A reconstruction at a set level: the multiplier rises where it is missed."""

    judged_by_elbo = True

    def __init__(self, *, level: float = 6.0) -> None:
        super().__init__()
        self.level = level
        self.multiplier = nn.Parameter(torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))

    def prepare(self, pair: nn.Module, args: Args) -> None:
        pass

    def loss(self, pair: nn.Module, args: Args, context: Context) -> dict[str, Tensor]:
        terms = elbo_terms(pair, args)
        missed = -terms.recon.mean() - self.level
        with torch.no_grad():
            self.average.mul_(0.9).add_(0.1 * missed)
        weight = self.multiplier.exp()
        return {
            "pair": terms.kl_total.mean() + weight.detach() * missed,
            "multiplier": -weight * self.average,
        }


class _Given:
    """An objective whose losses are named by a class attribute."""

    judged_by_elbo = True
    names: tuple[str, ...] = ("pair",)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        pass

    def loss(self, pair: nn.Module, args: Args, context: Context) -> dict[str, Tensor]:
        loss = -elbo_terms(pair, args).elbo
        return dict.fromkeys(self.names, loss.mean())


@OBJECTIVES.register("no-pair")
class NoPair(_Given):
    names = ("critic",)


@OBJECTIVES.register("no-module")
class NoModule(_Given):
    names = ("pair", "encodr")


@OBJECTIVES.register("no-average")
class NoAverage(_Given):
    def loss(self, pair: nn.Module, args: Args, context: Context) -> dict[str, Tensor]:
        return {"pair": -elbo_terms(pair, args).elbo}


@OBJECTIVES.register("detached")
class Detached(_Given):
    def loss(self, pair: nn.Module, args: Args, context: Context) -> dict[str, Tensor]:
        loss = -elbo_terms(pair, args).elbo.mean()
        return {"pair": loss, "decoder": loss.detach()}


@OBJECTIVES.register("forgets-critic")
class ForgetsCritic(_Given):
    def __init__(self) -> None:
        self.critic = nn.Linear(Z, 1)


@OBJECTIVES.register("keeps-pair")
class KeepsPair(_Given):
    def prepare(self, pair: nn.Module, args: Args) -> None:
        self.pair = pair


@OBJECTIVES.register("part-of-pair")
class PartOfPair(_Given):
    names = ("pair", "decoder")


@OBJECTIVES.register("by-place")
class ByPlace(_Given):
    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


@OBJECTIVES.register("no-loss")
class NoLoss:
    def prepare(self, pair: nn.Module, args: Args) -> None:
        pass
