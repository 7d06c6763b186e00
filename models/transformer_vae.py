"""The probabilistic transformer: a state space model whose latents look at all latents before.

    p(x, z)  = prod_t N(z_t; mu(h_t), diag sigma(h_t)^2) p(x_t | h_t, z_t)
    q(z | x) = prod_t N(z_t; nu(e_t), diag tau(e_t)^2)
    h_t = causal attention over z_1 ... z_{t-1},   e_t = attention over x_1 ... x_T

    both of num_layers layers, a <- a + attention(norm(a)), a <- a + mlp(norm(a)), on linear
    features and the position t as sines; the networks of p(x_t | .) have one hidden layer, ReLU

====  =================  ===========================================
site  event shape        meaning
====  =================  ===========================================
z     ``(T, z_dim)``     latents, one for each frame
x     ``(T, *x_shape)``  observed frames
====  =================  ===========================================

All memory is in the latents: the frames themselves are not fed back, so that frames that are
missing are left out exactly, and forecasts go on from draws of the latents. In training all steps
are computed side by side; a path of the prior is drawn frame by frame. KL(q || p) is the sum over
steps of its closed form at the path that was drawn.

Reference
    Tang & Matteson 2021, *Probabilistic Transformer for Time Series Analysis*, NeurIPS 34; the
    layers: Vaswani et al. 2017, *Attention Is All You Need*, arXiv:1706.03762, with the norm first.

Differs from the paper
    One level of latents; the layers of the prior attend to the latents before, not to their own
    outputs; the guide sees the frames and not the latents before; nothing is given of a sequence.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import pyro
import torch
from pydantic import PositiveInt
from pyro.distributions import MaskedDistribution, TorchDistribution
from torch import Tensor, nn
from torch.distributions import Independent, constraints, kl_divergence, register_kl
from torch.nn.functional import pad, scaled_dot_product_attention

from vaezoo import parts, register
from vaezoo.sequences import frame_mask

__all__ = ["Attention", "CausalPath", "TransformerVAE"]


class Attention(nn.Module):
    """Layers of attention and networks over frames ``(..., T, inputs)``, ``(..., T, width)``."""

    def __init__(self, inputs: int, width: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.features = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(_Layer(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Tensor, sees: Tensor) -> Tensor:
        """Return what each frame makes of those that it ``sees (..., T, T)``, itself included."""
        a = self.features(frames)
        a = a + _positions(a)
        for layer in self.layers:
            a = layer(a, sees)
        return torch.as_tensor(self.norm(a))


class _Layer(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        of_head = -(-width // num_heads)
        self.split = nn.Unflatten(-1, (3, num_heads, of_head))
        self.project = nn.Linear(width, 3 * num_heads * of_head)
        self.join = nn.Linear(num_heads * of_head, width)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, a: Tensor, sees: Tensor) -> Tensor:
        query, key, value = self.split(self.project(self.before(a))).transpose(-2, -4).unbind(-3)
        looked = scaled_dot_product_attention(query, key, value, sees.unsqueeze(-3))
        a = a + self.join(looked.transpose(-2, -3).flatten(-2))
        return a + torch.as_tensor(self.mlp(self.between(a)))


def _positions(like: Tensor) -> Tensor:
    """Return sines and cosines of the number of a frame, ``(T, width)``."""
    num_frames, width = like.shape[-2:]
    t = torch.arange(num_frames, dtype=like.dtype, device=like.device)
    number = torch.arange(width, dtype=like.dtype, device=like.device)
    angle = t[:, None] * 10_000.0 ** (-(number // 2) * 2 / width)
    return torch.where(number % 2 == 0, angle.sin(), angle.cos())


class CausalPath(TorchDistribution):
    """prod_t p(z_t | z_1 ... z_{t-1}), event shape ``(T, z_dim)``.

    Parameters
    ----------
    states
        From a path ``(..., T, z_dim)`` to h ``(..., T, H)``; h_t is made of the steps before t.
    step
        From h_t to the distribution of z_t, event ``(z_dim,)``.
    there
        Which steps there are, ``(B, T)``; others count for nothing.
    past
        Steps that are given, ``(B, S, z_dim)``, before those of the event; none with S = 0.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> step = lambda h: dist.Normal(h, 1.0).to_event(1)  # a random walk
    >>> before = lambda z: pad(z[..., :-1, :], (0, 0, 1, 0))
    >>> path = CausalPath(before, step, torch.ones(2, 5) > 0, torch.zeros(2, 0, 1))
    >>> path.sample().shape, path.prefix_condition(torch.zeros(2, 3, 1)).sample().shape
    (torch.Size([2, 5, 1]), torch.Size([2, 2, 1]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        states: Callable[[Tensor], Tensor],
        step: Callable[[Tensor], TorchDistribution],
        there: Tensor,
        past: Tensor,
    ) -> None:
        self.states, self.step, self.there, self.past = states, step, there, past
        # The last path and its states: the model needs them where its density is asked for, too.
        self.walked: list[tuple[Tensor, Tensor]] = []
        self.start = past.shape[-2]
        event = torch.Size((there.shape[-1] - self.start, past.shape[-1]))
        super().__init__(there.shape[:-1], event, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CausalPath":
        there, past = self.there.expand(*batch_shape, -1), self.past.expand(*batch_shape, -1, -1)
        new = CausalPath(self.states, self.step, there, past)
        new.walked = self.walked
        return new

    def prefix_condition(self, past: Tensor) -> "CausalPath":
        """Return the distribution of the steps after the first ones, ``(..., S, z_dim)``."""
        there = self.there.expand(*past.shape[:-2], -1)
        return CausalPath(self.states, self.step, there, past)

    def along(self, z: Tensor) -> Tensor:
        """Return h ``(..., T, H)`` of a path, past included."""
        if not (self.walked and self.walked[-1][0] is z):
            past = self.past.expand(*z.shape[:-2], -1, -1)
            self.walked[:] = [(z, self.states(torch.cat([past, z], -2)))]
        return self.walked[-1][1]

    def steps(self, z: Tensor) -> TorchDistribution:
        """Return p(z_t | z_1 ... z_{t-1}) of all steps of a path, batch ``(..., T)``."""
        return self.step(self.along(z)[..., self.start :, :])

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        z = self.past.expand(*sample_shape, *self.batch_shape, -1, -1)
        for _ in range(self.event_shape[0]):
            h = self.states(pad(z, (0, 0, 0, 1)))[..., -1, :]
            z = torch.cat([z, self.step(h).rsample().unsqueeze(-2)], -2)
        return z[..., self.start :, :]

    def log_prob(self, value: Tensor) -> Tensor:
        return self.sum_over_steps(self.steps(value).log_prob(value))

    def sum_over_steps(self, terms: Tensor) -> Tensor:
        """Return the sum of terms ``(..., T)`` over the steps that there are, ``(...)``."""
        return torch.where(self.there[..., self.start :], terms, 0.0).sum(-1)


@register_kl(Independent, CausalPath)  # type: ignore[untyped-decorator]
def _kl_along_the_path(q: Any, p: CausalPath) -> Tensor:
    """sum_t KL(q_t || p_t) at the path that the model went along: less noise than log q - log p."""
    base = q.base_dist.base_dist if isinstance(q.base_dist, MaskedDistribution) else None
    shape = torch.Size((*q.batch_shape, *q.event_shape))
    if base is None or not p.walked or p.walked[-1][0].shape != shape:
        raise NotImplementedError
    return p.sum_over_steps(kl_divergence(base, p.steps(p.walked[-1][0])))


@register(
    "transformer-vae",
    data="sequences",
    reference="Tang & Matteson 2021",
    tags=("sequence",),
    presets={
        "default": {"training": {"clip_norm": 10.0, "lr": 2e-3}},
        "small": {"z_dim": 4, "hidden": 16, "num_heads": 2, "num_layers": 1},
    },
)
class TransformerVAE(nn.Module):
    """Probabilistic transformer: latents with attention over time, causal in the prior."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 16,
        hidden: PositiveInt = 64,
        num_heads: PositiveInt = 4,
        num_layers: PositiveInt = 2,
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        # p(z_t | h_t), p(x_t | h_t, z_t)
        self.memory = Attention(z_dim + 1, hidden, num_heads, num_layers)
        self.prior = parts.DiagonalNormal(parts.Encoder((hidden,)), z_dim)
        self.decoder = likelihood(parts.Decoder(hidden + z_dim, [hidden], x_shape))
        # q(z_t | e_t)
        phi_x = parts.Encoder(x_shape)
        self.reader = Attention(phi_x.num_features, hidden, num_heads, num_layers)
        self.encoder = posterior(parts.Encoder((hidden,)), z_dim)

    def states(self, z: Tensor) -> Tensor:
        """h ``(..., T, hidden)`` of a path ``z (..., T, z_dim)``; h_t sees z_1 ... z_{t-1}."""
        first = pad(z.new_ones(*z.shape[:-2], 1, 1), (z.shape[-1], 0))
        before = torch.cat([first, pad(z[..., :-1, :], (0, 1))], -2)
        num_frames = z.shape[-2]
        sees = torch.ones(num_frames, num_frames, dtype=torch.bool, device=z.device).tril()
        return torch.as_tensor(self.memory(before, sees))

    def model(self, x: Tensor, length: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            nothing = x.new_zeros(len(x), 0, self.z_dim)
            prior = CausalPath(self.states, self.prior, there, nothing)
            z = pyro.sample("z", prior)
            fn = self.decoder(prior.along(z), z)
            pyro.sample("x", fn.mask(there).to_event(1), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        """q(z | x) of ``x (B, T, *x_shape)`` and ``length (B,)``."""
        there = frame_mask(length, x.shape[1])
        alone = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        frames = torch.where(there[..., None], x.flatten(2), 0.0)
        with pyro.plate("data", len(x)):
            e = self.reader(frames, there[:, None, :] | alone)
            pyro.sample("z", self.encoder(e).mask(there).to_event(1))
