"""The variational recurrent network as it is written without vaezoo, in three ways.

One set of networks (Chung et al. 2015, arXiv:1506.02216, eqs. 5-9): phi_x, phi_z, and one hidden
layer each for prior, encoder and decoder, a GRU; Bernoulli frames, lengths by a mask.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NaivePyro", "Networks", "looped_loss", "vectorised_loss"]


class Networks(nn.Module):
    """All layers, ReLU, of one width h."""

    def __init__(self, x_dim: int, z_dim: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.z_dim = hidden, z_dim
        self.phi_x, self.phi_z = nn.Linear(x_dim, hidden), nn.Linear(z_dim, hidden)
        self.prior_body, self.prior_head = nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * z_dim)
        self.body, self.head = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, 2 * z_dim)
        self.decoder_body = nn.Linear(2 * hidden, hidden)
        self.decoder_head = nn.Linear(hidden, x_dim)
        self.gru = nn.GRUCell(2 * hidden, hidden)

    def prior(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return _gaussian(self.prior_head(functional.relu(self.prior_body(h))))

    def encode(self, fx: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return _gaussian(self.head(functional.relu(self.body(torch.cat([fx, h], -1)))))

    def decode(self, fz: Tensor, h: Tensor) -> Tensor:
        logits: Tensor = self.decoder_head(
            functional.relu(self.decoder_body(torch.cat([fz, h], -1)))
        )
        return logits


def _gaussian(parameters: Tensor) -> tuple[Tensor, Tensor]:
    mean, raw = parameters.chunk(2, -1)
    return mean, functional.softplus(raw) + 1e-4


class NaivePyro(nn.Module):
    """What a user of Pyro writes: two sites per step."""

    def __init__(self, nets: Networks) -> None:
        super().__init__()
        self.nets = nets

    def model(self, x: Tensor, length: Tensor) -> None:
        nets = self.nets
        pyro.module("nets", nets)
        h = x.new_zeros(len(x), nets.hidden)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z = pyro.sample(f"z_{t}", dist.Normal(*nets.prior(h)).to_event(1))
                    fz = functional.relu(nets.phi_z(z))
                    p_x = dist.Bernoulli(logits=nets.decode(fz, h)).to_event(1)
                    pyro.sample(f"x_{t}", p_x, obs=x[:, t])
                h = nets.gru(torch.cat([functional.relu(nets.phi_x(x[:, t])), fz], -1), h)

    def guide(self, x: Tensor, length: Tensor) -> None:
        nets = self.nets
        pyro.module("nets", nets)
        h = x.new_zeros(len(x), nets.hidden)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                fx = functional.relu(nets.phi_x(x[:, t]))
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z = pyro.sample(f"z_{t}", dist.Normal(*nets.encode(fx, h)).to_event(1))
                h = nets.gru(torch.cat([fx, functional.relu(nets.phi_z(z))], -1), h)


def looped_loss(nets: Networks, x: Tensor, length: Tensor) -> Tensor:
    """Everything in the loop, by hand; ``x (B, T, D)``, nats per frame."""
    h, total = x.new_zeros(len(x), nets.hidden), x.new_zeros(())
    for t in range(x.shape[1]):
        fx = functional.relu(nets.phi_x(x[:, t]))
        mean, scale = nets.encode(fx, h)
        z = mean + scale * torch.randn_like(mean)
        fz = functional.relu(nets.phi_z(z))
        terms = _kl(mean, scale, *nets.prior(h)) + _cross_entropy(nets.decode(fz, h), x[:, t])
        total = total + (terms * (t < length)).sum()
        h = nets.gru(torch.cat([fx, fz], -1), h)
    return total / length.sum()


def vectorised_loss(nets: Networks, x: Tensor, length: Tensor) -> Tensor:
    """Only what depends on the past in the loop, by hand and with care; nats per frame."""
    x = x.transpose(0, 1).contiguous()
    fx = functional.relu(nets.phi_x(x))
    h, mean, scale, fz = _states(nets, fx, torch.randn(*x.shape[:2], nets.z_dim))
    terms = _kl(mean, scale, *nets.prior(h)) + _cross_entropy(nets.decode(fz, h), x)
    mask = torch.arange(len(x)).unsqueeze(-1) < length
    return (terms * mask).sum() / length.sum()


def _states(nets: Networks, fx: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
    width = nets.hidden
    weight, gates = nets.body.weight, nets.gru.weight_ih
    of_x = functional.linear(fx, weight[:, :width], nets.body.bias)
    gates_of_x = functional.linear(fx, gates[:, :width], nets.gru.bias_ih)
    of_h, gates_of_z, gates_of_h = (
        weight[:, width:].t(),
        gates[:, width:].t(),
        nets.gru.weight_hh.t(),
    )
    h, by_step = fx.new_zeros(fx.shape[1], width), []
    for a, g, e in zip(of_x.unbind(0), gates_of_x.unbind(0), noise.unbind(0), strict=True):
        mean, scale = _gaussian(nets.head(functional.relu(torch.addmm(a, h, of_h))))
        fz = functional.relu(nets.phi_z(torch.addcmul(mean, scale, e)))
        by_step.append((h, mean, scale, fz))
        r, u, n = torch.addmm(g, fz, gates_of_z).chunk(3, -1)
        r_h, u_h, n_h = torch.addmm(nets.gru.bias_hh, h, gates_of_h).chunk(3, -1)
        new = torch.tanh(n + torch.sigmoid(r + r_h) * n_h)
        h = new + torch.sigmoid(u + u_h) * (h - new)
    return tuple(torch.stack(values) for values in zip(*by_step, strict=True))


def _kl(mean: Tensor, scale: Tensor, p_mean: Tensor, p_scale: Tensor) -> Tensor:
    ratio = (scale.square() + (mean - p_mean).square()) / (2 * p_scale.square())
    return (torch.log(p_scale / scale) + ratio - 0.5).sum(-1)


def _cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
