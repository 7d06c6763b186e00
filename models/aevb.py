"""The variational autoencoder of the paper that named it, by its letters, settings included.

    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
    q(z | x) = N(z; mu, diag sigma^2),          h = tanh(W3 x + b3), mu = W4 h + b4,
                                                log sigma^2 = W5 h + b5

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===========================================

Reference
    Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114: section 5 (settings),
    App. B (KL in closed form), C.1 (decoder), C.2 (encoder).
"""

import math

import pyro
import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import register

__all__ = ["AEVB"]

INITIAL_VARIANCE = 0.01  # "all parameters ... were initialized by random sampling from N(0, 0.01)"


@register(
    "aevb",
    data="images",
    reference="arXiv:1312.6114",
    presets={
        "default": {"training": {"batch_size": 100, "optimizer": "adagrad", "lr": 0.02}},
        "mnist": {"hidden": 500, "z_dim": 20},
        "frey": {"hidden": 200, "z_dim": 10},
    },
)
class AEVB(nn.Module):
    """Auto-Encoding VB with the networks, initialisation and optimiser of its paper.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
        q(z | x) = N(z; mu, diag sigma^2),          h = tanh(W3 x + b3), mu = W4 h + b4,
                                                    log sigma^2 = W5 h + b5

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Minibatches of M = 100, L = 1 draw, Adagrad with a step size out of 0.01, 0.02 and 0.1; all
    parameters start at draws from N(0, 0.01), a variance. The layers have the paper's names.

    Reference
        Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, section 5 and
        App. C.

    Differs from the paper
        No weight decay: it stood for a prior p(theta) = N(0, I), which is ``weight_decay`` of
        1 / N for N data.
    """

    def __init__(
        self, *, x_shape: tuple[int, ...], z_dim: PositiveInt = 20, hidden: PositiveInt = 500
    ) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        self.z_dim = z_dim
        x_dim = math.prod(x_shape)
        self.W1, self.W2 = nn.Linear(z_dim, hidden), nn.Linear(hidden, x_dim)  # theta
        self.W3 = nn.Linear(x_dim, hidden)  # phi
        self.W4, self.W5 = nn.Linear(hidden, z_dim), nn.Linear(hidden, z_dim)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=math.sqrt(INITIAL_VARIANCE))

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            logits = self.W2(torch.tanh(self.W1(z)))
            logits = logits.reshape(*z.shape[:-1], *self.x_shape)
            likelihood = dist.Bernoulli(logits=logits).to_event(len(self.x_shape))
            pyro.sample("x", likelihood, obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            h = torch.tanh(self.W3(x.reshape(len(x), -1)))
            mu, log_variance = self.W4(h), self.W5(h)
            pyro.sample("z", dist.Normal(mu, torch.exp(0.5 * log_variance)).to_event(1))
