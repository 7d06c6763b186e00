"""Pairs whose networks hold every kind of layer, parameter and buffer: one small pair each."""

import torch
from pyro import distributions as dist
from pyro import plate, sample
from pyro.distributions import transforms
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint


class Pair(nn.Module):
    """A VAE of vectors; what others replace are its layers, its encoder and its decoder."""

    def __init__(self, *, x_shape: tuple[int, ...], z_dim: int = 2) -> None:
        super().__init__()
        self.z_dim, size = z_dim, x_shape[0]
        self.enc = nn.Sequential(self.layer(size, 16), nn.Tanh(), nn.Linear(16, 2 * z_dim))
        self.dec = nn.Sequential(self.layer(z_dim, 16), nn.Tanh(), nn.Linear(16, size))
        self.build()

    def layer(self, a: int, b: int) -> nn.Module:
        return nn.Linear(a, b)

    def build(self) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        return self.enc(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z)

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            sample("x", dist.Normal(self.decode(z), 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        loc, raw = self.encode(x).chunk(2, -1)
        with plate("data", len(x)):
            sample("z", dist.Normal(loc, nn.functional.softplus(raw) + 1e-3).to_event(1))


class BatchNorm1d(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b))


class BatchNorm2d(Pair):
    def build(self) -> None:
        norm = nn.BatchNorm2d(4)
        self.conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), norm, nn.Flatten())
        self.out = nn.Linear(24, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.enc(x) + self.out(self.conv(x.reshape(-1, 1, 2, 3)))


class CumulativeBatchNorm(Pair):
    """Counts its batches in Python: it cannot be captured."""

    def layer(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b, momentum=None))


class OtherNorms(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.GroupNorm(4, b), nn.PReLU(b))


class WeightNorm(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return parametrizations.weight_norm(nn.Linear(a, b))


class SpectralNorm(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return parametrizations.spectral_norm(nn.Linear(a, b))


class Orthogonal(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return parametrizations.orthogonal(nn.Linear(a, b))


class Exponential(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.exp()

    def right_inverse(self, y: Tensor) -> Tensor:
        return y.abs().log()


class OwnParametrization(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        layer = nn.Linear(a, b)
        parametrize.register_parametrization(layer, "weight", Exponential())
        return layer


class SharedBuffers(Pair):
    """Two names for one buffer, and a third for a part of it."""

    def build(self) -> None:
        scale = torch.ones(6)
        for name, value in (("one", scale), ("same", scale), ("part", scale[:3])):
            self.register_buffer(name, value)

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z) * self.one


class UnsavedBuffer(Pair):
    """A constant, which is not in the file of weights."""

    def build(self) -> None:
        self.register_buffer("ramp", torch.arange(6.0), persistent=False)

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z) + self.ramp


class OddBuffers(Pair):
    """Indices, a mask, a complex constant, a transposed one, and none."""

    def build(self) -> None:
        self.register_buffer("index", torch.arange(5, -1, -1))
        self.register_buffer("mask", torch.ones(6, dtype=torch.bool))
        self.register_buffer("phase", torch.ones(6, dtype=torch.complex64))
        self.register_buffer("turned", torch.ones(3, 2).t())
        self.register_buffer("absent", None)
        self.register_parameter("nothing", None)

    def decode(self, z: Tensor) -> Tensor:
        return (self.dec(z)[..., self.index] * self.mask * self.phase).real * self.turned.sum()


class Counter(Pair):
    """A buffer that changes in training, as the averages of a codebook do."""

    def build(self) -> None:
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def encode(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.detach().mean(0), 0.1)
                self.count += 1
        return self.enc(x - self.mean)


class TiedWeights(Pair):
    def build(self) -> None:
        self.weight = self.enc[0].weight
        self.again = self.dec

    def decode(self, z: Tensor) -> Tensor:
        return self.again(z) + torch.tanh(self.dec[0](z)) @ self.weight


class NeighboursInMemory(Pair):
    """Two parameters that are halves of one tensor, and one that is a transpose."""

    def build(self) -> None:
        both = torch.full((12,), 0.1)
        self.scale, self.shift = nn.Parameter(both[:6]), nn.Parameter(both[6:])
        self.mix = nn.Parameter(torch.eye(6).t())

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z) @ self.mix * (1 + self.scale) + self.shift


class Lists(Pair):
    def build(self) -> None:
        self.shifts = nn.ParameterList([torch.zeros(6), torch.zeros(6)])
        self.scales = nn.ParameterDict({"one": torch.ones(6)})

    def decode(self, z: Tensor) -> Tensor:
        return (self.dec(z) + self.shifts[0] + self.shifts[1]) * self.scales["one"]


class FrozenTrunk(Pair):
    def build(self) -> None:
        self.trunk = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)).requires_grad_(False).eval()

    def encode(self, x: Tensor) -> Tensor:
        return self.enc(self.trunk(x))


class Dropout(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Linear(a, b), nn.Dropout(0.2))


class Recurrent(Pair):
    def build(self) -> None:
        self.gru, self.lstm = (cell(1, 4, batch_first=True) for cell in (nn.GRU, nn.LSTM))

    def encode(self, x: Tensor) -> Tensor:
        steps = x[..., None]
        return self.enc(x) + self.gru(steps)[0][:, -1] + self.lstm(steps)[0][:, -1]


class DeepRecurrent(Pair):
    def build(self) -> None:
        self.lstm = nn.LSTM(1, 2, 2, bidirectional=True, dropout=0.1, batch_first=True)

    def encode(self, x: Tensor) -> Tensor:
        return self.enc(x) + self.lstm(x[..., None])[0].mean(1)


class Attention(Pair):
    def build(self) -> None:
        self.embed = nn.Linear(1, 4)
        self.attend = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.1)

    def encode(self, x: Tensor) -> Tensor:
        return self.enc(x) + self.attend(self.embed(x[..., None])).mean(1)


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


class StraightThrough(Pair):
    """A gradient of its own, and activations that are computed again."""

    def decode(self, z: Tensor) -> Tensor:
        return checkpoint(self.dec, Round.apply(4 * z) / 4, use_reentrant=False)


class Compiled(Pair):
    def build(self) -> None:
        self.dec = torch.compile(self.dec)


class Scripted(Pair):
    def build(self) -> None:
        self.dec = torch.jit.script(self.dec)


class Hooked(Pair):
    def build(self) -> None:
        self.dec.register_forward_hook(lambda module, inputs, output: 2 * output)


class Float64(Pair):
    def build(self) -> None:
        self.register_buffer("shift", torch.zeros(6))
        self.double()

    def model(self, x: Tensor) -> None:
        super().model(x.double())

    def guide(self, x: Tensor) -> None:
        super().guide(x.double())


class PartlyFloat64(Pair):
    def build(self) -> None:
        self.dec.double()

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z.double())


class PartlyBfloat16(Pair):
    def build(self) -> None:
        self.dec.bfloat16()

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z.bfloat16()).float()


class Lazy(Pair):
    def layer(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(b), nn.LazyBatchNorm1d())


class LazyConvolution(Pair):
    def build(self) -> None:
        self.conv = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(4))

    def encode(self, x: Tensor) -> Tensor:
        return self.enc(x) + self.conv(nn.functional.pad(x.reshape(-1, 1, 2, 3), (1, 1, 1, 1)))


class Expanded(Pair):
    """A buffer and a parameter whose elements are one in memory."""

    def build(self) -> None:
        self.register_buffer("scale", torch.ones(1).expand(6))
        self.shift = nn.Parameter(torch.zeros(1).expand(6))

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z) * self.scale + self.shift


class Scale(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.scale = PyroParam(torch.tensor(0.5), constraint=dist.constraints.positive)

    def forward(self) -> Tensor:
        return self.scale


class PyroParams(Pair):
    """Two modules whose parameters have one name."""

    def build(self) -> None:
        self.one, self.two = Scale(), Scale()

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z) * self.one() / self.two()


class LatePyroParam(PyroModule):
    """A pair that is a PyroModule, with a parameter that is made when it is used."""

    def __init__(self, *, x_shape: tuple[int, ...], z_dim: int = 2) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.enc = PyroModule[nn.Linear](x_shape[0], z_dim)
        self.dec = PyroModule[nn.Linear](z_dim, x_shape[0])

    @PyroParam(constraint=dist.constraints.positive)
    def scale(self) -> Tensor:
        return torch.tensor(0.7)

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            sample("x", dist.Normal(self.dec(z), self.scale).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x)):
            sample("z", dist.Normal(self.enc(x), 0.5).to_event(1))


class OldSpectralNorm(Pair):
    """Its weight is a plain tensor, which each call computes anew."""

    def layer(self, a: int, b: int) -> nn.Module:
        return nn.utils.spectral_norm(nn.Linear(a, b))


class Flow(Pair):
    """Pyro's autoregressive transforms, whose networks keep masks that nobody reads again."""

    def build(self) -> None:
        flows = (transforms.affine_autoregressive(self.z_dim, hidden_dims=[8]) for _ in range(2))
        self.flows = nn.ModuleList(flows)

    def guide(self, x: Tensor) -> None:
        loc, raw = self.encode(x).chunk(2, -1)
        base = dist.Normal(loc, nn.functional.softplus(raw) + 1e-3)
        with plate("data", len(x)):
            sample("z", dist.TransformedDistribution(base, list(self.flows)))


class RelaxedDraw(Pair):
    """A latent on the simplex with a path derivative and no mean."""

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            prior = dist.RelaxedOneHotCategorical(x.new_tensor(0.5), logits=x.new_zeros(2))
            sample("x", dist.Normal(self.decode(sample("z", prior)), 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        logits, unused = self.encode(x).chunk(2, -1)
        with plate("data", len(x)):
            temperature = x.new_tensor(0.5)
            sample("z", dist.RelaxedOneHotCategorical(temperature, logits=logits + unused))
