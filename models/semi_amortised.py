"""A guide that an encoder proposes, and that each datum refines by itself.

    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
    lambda_0 = (mu(x), log sigma(x)),                    of an encoder
    lambda_k = lambda_k-1 + a G^-1 grad L(lambda_k-1; x),    k = 1, ..., K
    q(z | x) = N(z; mu_K, diag sigma_K^2)

    L(lambda; x) = E_q[log p(x | z)] - KL(q || N(0, I)),   the ELBO of that datum

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===========================================

What an encoder loses against the best q of a datum, the amortisation gap, is taken back by a few
steps, in training and whenever the guide is asked: in `evaluate`, `encode` and `reconstruct` alike.
Training follows the bound at lambda_K through all steps, so that the encoder learns where to begin,
and the decoder what refinement makes of it.

Reference
    Kim, Wiseman, Miller, Sontag & Rush 2018, *Semi-Amortized Variational Autoencoders*,
    arXiv:1802.02550, algorithm 1. The points of the expectation are those of Arasaratnam & Haykin
    2009, *Cubature Kalman Filters*, IEEE Trans. Automatic Control 54(6), eq. 21.

Differs from the paper
    Steps follow the natural gradient (G the Fisher information of q, diagonal), so that a rate of
    one means the same whatever sigma is, instead of the plain one with momentum; each is held to a
    length. E_q is taken at 2 ``z_dim`` points, mu +- sqrt(z_dim) sigma_j e_j, exact for what is
    cubic in z, instead of at a draw: the guide of a datum is one distribution, not a random one.
    Two steps by default instead of twenty: by ``refine_steps``.
"""

import math

import pyro
import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["SemiAmortised"]

_LONGEST = 2.0  # of a step, in standard deviations of q, and in log sigma


@register("semi-amortised", data="images", reference="arXiv:1802.02550")
class SemiAmortised(nn.Module):
    """Variational autoencoder whose guide takes gradient steps for each datum."""

    points: Tensor

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 8,
        hidden: tuple[PositiveInt, ...] = (100,),
        refine_steps: NonNegativeInt = 2,
        refine_rate: PositiveFloat = 0.5,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.refine_steps, self.refine_rate = refine_steps, refine_rate
        self.decoder = likelihood(parts.Decoder(z_dim, hidden[::-1], x_shape))  # p(x | z)
        self.encoder = parts.Encoder(x_shape, hidden)
        self.loc, self.log_sigma = self.encoder.head(z_dim), self.encoder.head(z_dim)
        axes = math.sqrt(z_dim) * torch.eye(z_dim)
        self.register_buffer("points", torch.cat([axes, -axes]).unsqueeze(1), persistent=False)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            pyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``, refined."""
        h = self.encoder(x)
        loc, log_sigma = self.refined(x, self.loc(h), self.log_sigma(h))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_sigma.exp()).to_event(1))

    def refined(self, x: Tensor, loc: Tensor, log_sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log sigma, ``(B, z_dim)``, after all steps from the ones given."""
        is_trained = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            x, loc, log_sigma = x.clone(), _tracked(loc), _tracked(log_sigma)
            for _ in range(self.refine_steps):
                loc, log_sigma = self._step(x, loc, log_sigma, is_trained=is_trained)
        return (loc, log_sigma) if is_trained else (loc.detach(), log_sigma.detach())

    def _step(
        self, x: Tensor, loc: Tensor, log_sigma: Tensor, *, is_trained: bool
    ) -> tuple[Tensor, Tensor]:
        elbo = self.elbo(x, loc, log_sigma).sum()
        of_loc, of_log_sigma = torch.autograd.grad(
            elbo, (loc, log_sigma), create_graph=is_trained, retain_graph=is_trained
        )
        sigma = log_sigma.exp()
        # The inverse Fisher information is sigma^2 for the mean, and 1/2 for log sigma.
        in_sigmas = (sigma * of_loc).clamp(-_LONGEST, _LONGEST)
        in_logs = (0.5 * of_log_sigma).clamp(-_LONGEST, _LONGEST)
        return loc + self.refine_rate * sigma * in_sigmas, log_sigma + self.refine_rate * in_logs

    def elbo(self, x: Tensor, loc: Tensor, log_sigma: Tensor) -> Tensor:
        """L(lambda; x) of each datum, ``(B,)`` in nats, by cubature."""
        sigma = log_sigma.exp()
        log_likelihood = self.decoder(loc + sigma * self.points).log_prob(x).mean(0)
        kl = 0.5 * (loc.square() + sigma.square() - 1.0) - log_sigma
        elbo: Tensor = log_likelihood - kl.sum(-1)
        return elbo


def _tracked(value: Tensor) -> Tensor:
    """Return a copy that has a gradient, also where none is asked of what made the value."""
    copy = value.clone()
    return copy if copy.requires_grad else copy.requires_grad_()
