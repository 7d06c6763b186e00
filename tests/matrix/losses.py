"""Small pairs with objectives of their own: one that adds a term, one with a critic."""

import torch
from pyro import distributions as dist
from pyro import plate, sample
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaezoo.objectives import OBJECTIVES, Context, elbo_terms, num_units, trace_pair


class Judged(nn.Module):
    """A VAE whose objective stands in its file."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.enc, self.dec = nn.Linear(*x_shape, 4), nn.Linear(2, *x_shape)

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            sample("x", dist.Normal(self.dec(z), 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        loc, scale = self.enc(x).chunk(2, -1)
        with plate("data", len(x)):
            sample("z", dist.Normal(loc, softplus(scale) + 0.1).to_event(1))


class Criticised(Judged):
    """The same for an objective with a critic."""


@OBJECTIVES.register("capacity")
class Capacity:
    """gamma |KL - C| (Burgess et al. 2018, arXiv:1804.03599, eq. 8)."""

    judged_by_elbo = False

    def __init__(self, *, gamma: float = 10.0, most: float = 2.0) -> None:
        self.gamma, self.most = gamma, most

    def prepare(self, pair: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Nothing is looked up."""

    def loss(self, pair: nn.Module, args: tuple[Tensor, ...], context: Context) -> Tensor:
        terms = elbo_terms(pair, args, rows=context.mask)
        units = num_units(pair, args, context.mask)
        capacity = torch.as_tensor(context.step / 2).clamp(max=1.0) * self.most
        gap = (terms.kl_total.sum() / units - capacity).abs()
        return self.gamma * gap - terms.recon.sum() / units


@OBJECTIVES.register("factor")
class Factor:
    """FactorVAE (Kim and Mnih 2018, arXiv:1802.05983): a critic finds the total correlation."""

    judged_by_elbo = True
    learning_rates = {"critic": 1e-3}  # noqa: RUF012

    def prepare(self, pair: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.critic = nn.Linear(2, 1)

    def loss(
        self, pair: nn.Module, args: tuple[Tensor, ...], context: Context
    ) -> dict[str, Tensor]:
        trace = trace_pair(pair, args)
        elbo = elbo_terms(pair, args, trace=trace).elbo.mean()
        z = trace.latents["z"][1]["value"]
        permuted = z.gather(0, torch.rand_like(z).argsort(0))
        joint, product = self.critic(z), self.critic(permuted)
        critic = softplus(-joint).mean() + softplus(product).mean()
        return {"pair": -elbo + joint.mean(), "critic": critic}
