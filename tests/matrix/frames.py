"""Small versions of pairs of the literature over sequences ``(B, T, D)``."""

from typing import Any

import torch
from pyro import distributions as dist
from pyro import plate, poutine, sample
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus


def normal(h: Tensor) -> dist.Independent:
    """Return N(loc, scale) of the two halves of h."""
    loc, scale = h.chunk(2, -1)
    return dist.Normal(loc, softplus(scale) + 0.1).to_event(1)


def before_end(t: int, length: Tensor) -> Any:
    return poutine.mask(mask=t < length)  # type: ignore[call-overload]


class TwoPerStep(nn.Module):
    """w_t | w_{t-1} and z_t | w_t; x_t | z_t."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        size = x_shape[0]
        self.pw, self.pz, self.px = nn.Linear(2, 4), nn.Linear(2, 4), nn.Linear(2, 2 * size)
        self.qw, self.qz = nn.Linear(size + 2, 4), nn.Linear(size + 2, 4)

    def model(self, x: Tensor, length: Tensor) -> None:
        w = x.new_zeros(len(x), 2)
        with plate("data", len(x)):
            for t in range(x.shape[1]):
                with before_end(t, length):
                    w = sample(f"w_{t}", normal(self.pw(w)))
                    z = sample(f"z_{t}", normal(self.pz(w)))
                    sample(f"x_{t}", normal(self.px(z)), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor) -> None:
        w = x.new_zeros(len(x), 2)
        with plate("data", len(x)):
            for t in range(x.shape[1]):
                with before_end(t, length):
                    w = sample(f"w_{t}", normal(self.qw(torch.cat([x[:, t], w], -1))))
                    sample(f"z_{t}", normal(self.qz(torch.cat([x[:, t], w], -1))))


class StaticAndDynamic(nn.Module):
    """f of the sequence, z_t of its frames (Li and Mandt 2018, arXiv:1803.02991)."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        size = x_shape[0]
        self.pz, self.px = nn.Linear(2, 4), nn.Linear(4, 2 * size)
        self.qf, self.qz = nn.Linear(size, 4), nn.Linear(size + 4, 4)

    def model(self, x: Tensor, length: Tensor) -> None:
        z = x.new_zeros(len(x), 2)
        with plate("data", len(x)):
            f = sample("f", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            for t in range(x.shape[1]):
                with before_end(t, length):
                    z = sample(f"z_{t}", normal(self.pz(z)))
                    sample(f"x_{t}", normal(self.px(torch.cat([z, f], -1))), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor) -> None:
        z, there = x.new_zeros(len(x), 2), torch.arange(x.shape[1]) < length[:, None]
        mean = (x * there[..., None]).sum(1) / length[:, None]
        with plate("data", len(x)):
            f = sample("f", normal(self.qf(mean)))
            for t in range(x.shape[1]):
                with before_end(t, length):
                    z = sample(f"z_{t}", normal(self.qz(torch.cat([x[:, t], z, f], -1))))


class Steered(nn.Module):
    """z_t | z_{t-1}, u_t: actions u ``(B, T, U)`` are an argument."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        size = x_shape[0]
        self.pz, self.px = nn.Linear(4, 4), nn.Linear(2, 2 * size)
        self.qz = nn.Linear(size + 4, 4)

    def model(self, x: Tensor, length: Tensor, u: Tensor) -> None:
        z = x.new_zeros(len(x), 2)
        with plate("data", len(x)):
            for t in range(x.shape[1]):
                with before_end(t, length):
                    z = sample(f"z_{t}", normal(self.pz(torch.cat([z, u[:, t]], -1))))
                    sample(f"x_{t}", normal(self.px(z)), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor, u: Tensor) -> None:
        z = x.new_zeros(len(x), 2)
        with plate("data", len(x)):
            for t in range(x.shape[1]):
                with before_end(t, length):
                    z = sample(f"z_{t}", normal(self.qz(torch.cat([x[:, t], z, u[:, t]], -1))))


class Switching(nn.Module):
    """A switching linear system: s_t | s_{t-1} discrete, z_t | z_{t-1}, s_t."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        size = x_shape[0]
        self.logits = nn.Parameter(torch.zeros(2, 2))
        self.moves = nn.Parameter(0.5 * torch.randn(2, 2, 2))
        self.px, self.qs, self.qz = (
            nn.Linear(2, 2 * size),
            nn.Linear(size, 2),
            nn.Linear(size + 4, 4),
        )

    def model(self, x: Tensor, length: Tensor) -> None:
        z, s = x.new_zeros(len(x), 2), torch.zeros(len(x), dtype=torch.long)
        with plate("data", len(x)):
            for t in range(x.shape[1]):
                with before_end(t, length):
                    s = sample(f"s_{t}", dist.Categorical(logits=self.logits[s]))
                    loc = (self.moves[s] @ z[..., None])[..., 0]
                    z = sample(f"z_{t}", dist.Normal(loc, 1.0).to_event(1))
                    sample(f"x_{t}", normal(self.px(z)), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor) -> None:
        z = x.new_zeros(len(x), 2)
        with plate("data", len(x)):
            for t in range(x.shape[1]):
                with before_end(t, length):
                    s = sample(f"s_{t}", dist.Categorical(logits=self.qs(x[:, t])))
                    inputs = torch.cat([x[:, t], z, one_hot(s, 2).float()], -1)
                    z = sample(f"z_{t}", normal(self.qz(inputs)))


class Path(nn.Module):
    """One site for z, and one for x, of all frames."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        size = x_shape[0]
        self.px, self.qz = nn.Linear(2, 2 * size), nn.Linear(size, 4)
        self.build()

    def build(self) -> None:
        """What a pair has beside its two networks."""

    def frames(self, x: Tensor, length: Tensor) -> Tensor:
        return torch.arange(x.shape[1], device=x.device) < length[:, None]

    def observe(self, x: Tensor, length: Tensor, z: Tensor) -> None:
        there = self.frames(x, length)
        sample("x", normal(self.px(z)).mask(there).to_event(1), obs=x)


class GaussianProcess(Path):
    """A process over time for each latent (Fortuin et al. 2020, arXiv:1907.04155)."""

    def model(self, x: Tensor, length: Tensor) -> None:
        t = torch.arange(x.shape[1], dtype=x.dtype)
        gram = (-0.5 * ((t[:, None] - t) / 2) ** 2).exp() + 0.01 * torch.eye(len(t))
        # Beyond the end z is independent noise, so that more padding changes nothing.
        there = self.frames(x, length)
        both = (there[:, :, None] & there[:, None, :])[:, None]
        gram = torch.where(both, gram, torch.eye(len(t)))
        with plate("data", len(x)):
            prior = dist.MultivariateNormal(x.new_zeros(len(x), 2, len(t)), gram)
            self.observe(x, length, sample("z", prior.to_event(1)).mT)

    def guide(self, x: Tensor, length: Tensor) -> None:
        there = self.frames(x, length)[..., None]
        q = normal(self.qz(x * there)).base_dist
        loc, scale = torch.where(there, q.loc, 0.0), torch.where(there, q.scale, 1.0)
        with plate("data", len(x)):
            sample("z", dist.Normal(loc.mT, scale.mT).to_event(2))


class Equation(Path):
    """z_0 and a differential equation, by Euler's steps (Rubanova et al. 2019)."""

    def build(self) -> None:
        self.slope = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))

    def model(self, x: Tensor, length: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            states = [z]
            for _ in range(x.shape[1] - 1):
                states.append(states[-1] + 0.2 * self.slope(states[-1]))
            self.observe(x, length, torch.stack(states, -2))

    def guide(self, x: Tensor, length: Tensor) -> None:
        mean = (x * self.frames(x, length)[..., None]).sum(1) / length[:, None]
        with plate("data", len(x)):
            sample("z", normal(self.qz(mean)))


class Attention(Path):
    """Each frame looks at the z of all frames."""

    def build(self) -> None:
        self.look = nn.MultiheadAttention(2, 1, batch_first=True)

    def model(self, x: Tensor, length: Tensor) -> None:
        there = self.frames(x, length)
        with plate("data", len(x)):
            prior = dist.Normal(x.new_zeros(x.shape[1], 2), 1.0).to_event(1)
            z = sample("z", prior.mask(there).to_event(1))
            h = self.look(z, z, z, key_padding_mask=~there, need_weights=False)[0]
            self.observe(x, length, h)

    def guide(self, x: Tensor, length: Tensor) -> None:
        there = self.frames(x, length)
        with plate("data", len(x)):
            z = normal(self.qz(x * there[..., None]))
            sample("z", z.mask(there).to_event(1))
