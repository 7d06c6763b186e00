"""The switching linear dynamical system, its switches summed out.

    p(x, z, s) = prod_t p(s_t | s_{t-1}) N(z_t; A^s z_{t-1} + b^s, diag q^s) p(x_t | z_t),  s = s_t
    q(z | x)   = prod_t N(z_t; mu, diag sigma^2),  a network of z_{t-1}, p(s_t | z_{<t}) and r_t
    r_t        = GRU(x_t, r_{t+1}), read from the last frame on

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

s_t is one of K regimes, s_0 of learned probabilities; z_0 is N(m^s, diag v^s). Given z the switches
are a hidden Markov chain, so that they are summed out exactly, and no site. What is left is

    p(z) = prod_t sum_k p(s_t = k | z_0 ... z_{t-1}) N(z_t; A^k z_{t-1} + b^k, diag q^k),

with the probabilities that the forward algorithm hands on. The state of the pair is h_t = [z_{t-1},
1, log p(s_t | z_0 ... z_{t-1})], and 0 for the 1 at the first step. :meth:`SLDS.switches` gives the
regime of each step.

Reference
    Dong, Seybold, Murphy & Bui 2020, *Collapsed Amortized Variational Inference for Switching
    Nonlinear Dynamical Systems*, arXiv:1910.09588, section 3; Ghahramani & Hinton 2000,
    *Variational Learning for Switching State-Space Models*.

Differs from the paper
    The transitions are linear; switches do not hear of the frames before; neither an entropy bonus
    nor an annealed temperature keeps regimes alive. ``emission`` are the hidden layers of
    p(x_t | z_t); the preset ``linear`` has none, as the switching state space models of 2000.
"""

import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register
from vaezoo.parts import sigma_of
from vaezoo.sequences import frame_mask, read_backwards

__all__ = ["SLDS"]

FLOOR = 0.01
STAY = 3.0  # log odds that a regime goes on, at the start


@register(
    "slds",
    data="sequences",
    reference="arXiv:1910.09588",
    tags=("sequence",),
    presets={
        "default": {"training": {"lr": 1e-2, "clip_norm": 10.0, "epochs": 150}},
        "small": {"z_dim": 4, "hidden": 32},
        "linear": {"emission": []},
    },
)
class SLDS(SequencePair):
    """Switching linear dynamical system: latents move by one of several linear laws at a time."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 8,
        num_regimes: PositiveInt = 3,
        hidden: PositiveInt = 64,
        emission: tuple[PositiveInt, ...] = (64,),
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.hidden = z_dim + 1 + num_regimes
        # p(s_0), p(s_t | s_{t-1})
        self.first = nn.Parameter(torch.zeros(num_regimes))
        self.switching = nn.Parameter(STAY * torch.eye(num_regimes))
        # N(m^s, diag v^s), N(A^s z_{t-1} + b^s, diag q^s)
        self.m = nn.Parameter(torch.zeros(num_regimes, z_dim))
        self.A = nn.Parameter(0.9 * torch.eye(z_dim) + 0.1 * torch.randn(num_regimes, z_dim, z_dim))
        self.b = nn.Parameter(0.1 * torch.randn(num_regimes, z_dim))
        self.log_v = nn.Parameter(torch.zeros(num_regimes, z_dim))
        self.log_q = nn.Parameter(torch.zeros(num_regimes, z_dim))
        # p(x_t | z_t)
        self.decoder = likelihood(parts.Decoder(z_dim, list(emission), x_shape))
        # q(z_t | z_{t-1}, p(s_t | z_{<t}), r_t)
        self.phi_x = parts.Encoder(x_shape, [hidden])
        self.smoother = nn.GRUCell(hidden, hidden)
        self.encoder = posterior(parts.Encoder((hidden + self.hidden,), [hidden]), z_dim)

    def initial(self, x: Tensor) -> Tensor:
        """h_0: no latent before, and log p(s_0)."""
        before = x.new_zeros(len(x), self.z_dim + 1)
        return torch.cat([before, self.first.log_softmax(-1).expand(len(x), -1)], -1)

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """r_t of ``x (B, T, *x_shape)``, what the frames t ... length - 1 say."""
        f = self.phi_x(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return read_backwards(self.smoother, f, length)

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t | z_0 ... z_{t-1}), a mixture of what the regimes expect."""
        regime = dist.Categorical(logits=self._belief(h))
        return dist.MixtureSameFamily(regime, self.regimes(h))

    def regimes(self, h: Tensor) -> TorchDistribution:
        """p(z_t | z_{t-1}, s_t) of all regimes, batch shape ``(N, K)``."""
        z, started = h[:, : self.z_dim], h[:, self.z_dim, None, None] > 0
        loc = torch.einsum("kij,nj->nki", self.A, z) + self.b
        log_var = torch.where(started, self.log_q, self.log_v)
        loc = torch.where(started, loc, self.m)
        return dist.Normal(loc, sigma_of(log_var, FLOOR)).to_event(1)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_{t-1}, p(s_t | z_0 ... z_{t-1}), x_t ... x_T)."""
        belief = self._belief(h).exp()
        return self.encoder(torch.cat([e, h[:, : self.z_dim + 1], belief], -1))

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t)."""
        return self.decoder(z)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = [z_t, 1, log p(s_{t+1} | z_0 ... z_t)], a step of the forward algorithm."""
        joint = self._belief(h) + self.regimes(h).log_prob(z.unsqueeze(1))
        now = joint.log_softmax(-1)
        after = (now.unsqueeze(-1) + self.switching.log_softmax(-1)).logsumexp(1)
        return torch.cat([z, torch.ones_like(h[:, :1]), after], -1)

    def _belief(self, h: Tensor) -> Tensor:
        """Return log p(s_t | z_0 ... z_{t-1}), ``(N, K)``."""
        return h[:, self.z_dim + 1 :].log_softmax(-1)

    @torch.no_grad()
    def switches(self, z: Tensor, length: Tensor) -> Tensor:
        """Return p(s_t | z) of paths ``z (B, T, z_dim)``, ``(B, T, K)``; nan behind ``length``.

        Rabiner 1989, eqs. 19-27, in logarithms.

        Examples
        --------
        >>> pair, z = SLDS(x_shape=(5,)), torch.randn(2, 6, 8)
        >>> probability = pair.switches(z, torch.tensor([6, 3]))[0]
        >>> probability.shape, bool((probability.sum(-1) - 1).abs().max() < 1e-5)
        (torch.Size([6, 3]), True)
        """
        h, forward, densities = self.initial(z), [], []
        for z_t in z.unbind(1):
            densities.append(self.regimes(h).log_prob(z_t.unsqueeze(1)))
            forward.append(self._belief(h) + densities[-1])
            h = self.transition(z_t, z_t, h)
        switching = self.switching.log_softmax(-1)
        backward = [torch.zeros_like(forward[-1])]
        for t in reversed(range(1, z.shape[1])):
            ahead = (backward[0] + densities[t]).unsqueeze(1)
            before = (switching + ahead).logsumexp(-1).log_softmax(-1)
            backward.insert(0, torch.where((t < length).unsqueeze(-1), before, 0.0))
        shares = (torch.stack(forward, 1) + torch.stack(backward, 1)).softmax(-1)
        return torch.where(frame_mask(length, z.shape[1]).unsqueeze(-1), shares, torch.nan)
