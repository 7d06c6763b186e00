"""The deep Markov model: a state space model whose transition and emission are networks.

    p(x, z)  = prod_t N(z_t; mu(z_{t-1}), diag sigma(z_{t-1})^2) p(x_t | z_t)
    q(z | x) = prod_t N(z_t; nu(c_t), diag tau(c_t)^2)
    gate g = sigmoid(MLP(z_{t-1})),  proposal m = MLP(z_{t-1})
    mu = (1 - g) * (W z_{t-1} + b) + g * m,  sigma^2 = softplus(V relu(m) + v)
    c_t = 1/2 (tanh(U z_{t-1} + u) + r_t),  r_t = GRU(x_t, r_{t+1}), read from the last frame on

    W starts at the identity and b at 0; the MLPs have one hidden layer, the emission two, ReLU

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

All memory is in the latents: the state of the pair is h_t = z_{t-1}, and z_{-1} is learned. Given
z_{t-1}, the exact posterior of z_t depends on the frames t ... T - 1 only, which is what the guide
reads: the paper's DKS.

Reference
    Krishnan, Shalit & Sontag 2017, *Structured Inference Networks for Nonlinear State Space
    Models*, arXiv:1609.09869; the gated transition, and the combiner of DKS.

Differs from the paper
    A GRU instead of an LSTM reads backwards; sigma of the guide is the exponential of half of a
    linear layer instead of the root of a softplus; every sigma has a floor of 1e-4.
"""

import math

import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaezoo import SequencePair, parts, register
from vaezoo.sequences import read_backwards

__all__ = ["DMM"]

FLOOR = 1e-4


class GatedTransition(nn.Module):
    """p(z_t | z_{t-1}): a gate between a linear and a nonlinear step, for each latent."""

    def __init__(self, z_dim: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(z_dim, hidden), nn.ReLU(), nn.Linear(hidden, z_dim), nn.Sigmoid()
        )
        self.proposal = nn.Sequential(nn.Linear(z_dim, hidden), nn.ReLU(), nn.Linear(hidden, z_dim))
        self.linear = nn.Linear(z_dim, z_dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.variance = nn.Linear(z_dim, z_dim)

    def forward(self, z: Tensor) -> TorchDistribution:
        gate, proposal = self.gate(z), self.proposal(z)
        loc = (1 - gate) * self.linear(z) + gate * proposal
        variance = softplus(self.variance(proposal.relu())) + FLOOR**2
        return dist.Normal(loc, variance.sqrt()).to_event(1)


@register(
    "dmm",
    data="sequences",
    reference="arXiv:1609.09869",
    tags=("sequence",),
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32, "transition_hidden": 32, "emission_hidden": 32},
        "paper": {
            "z_dim": 100,
            "hidden": 600,
            "transition_hidden": 200,
            "emission_hidden": 100,
            "training": {"lr": 8e-4, "kl_warmup": 5000},
        },
        "jsb": {
            "z_dim": 64,
            "hidden": 200,
            "transition_hidden": 128,
            "emission_hidden": 100,
            "training": {
                "batch_size": 16,
                "epochs": 1500,
                "kl_warmup": 6000,
                "plateau": 40,
                "patience": 120,
            },
        },
    },
)
class DMM(SequencePair):
    """Deep Markov model: a nonlinear state space model, its latents found by smoothing."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 32,
        hidden: PositiveInt = 64,
        transition_hidden: PositiveInt = 64,
        emission_hidden: PositiveInt = 64,
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        # p(z_t | z_{t-1})
        self.z_before = nn.Parameter(torch.zeros(z_dim))
        self.prior = GatedTransition(z_dim, transition_hidden)
        # p(x_t | z_t)
        emission = [emission_hidden, emission_hidden]
        self.decoder = likelihood(parts.Decoder(z_dim, emission, x_shape))
        # q(z_t | c_t), c_t = 1/2 (tanh(U z_{t-1} + u) + r_t)
        self.smoother = nn.GRUCell(math.prod(x_shape), hidden)
        self.combiner = nn.Linear(z_dim, hidden)
        self.encoder = posterior(parts.Encoder((hidden,)), z_dim)

    def initial(self, x: Tensor) -> Tensor:
        """h_0 = z_{-1}, learned."""
        return self.z_before.repeat(len(x), 1)

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """r_t of ``x (B, T, *x_shape)``, what the frames t ... length - 1 say."""
        return read_backwards(self.smoother, x.flatten(2), length)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_{t-1}, r_t)."""
        return self.encoder((self.combiner(h).tanh() + e) / 2)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t)."""
        return self.decoder(z)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = z_t."""
        return z
