"""Small versions of pairs of the literature over rows of numbers: one mechanism each."""

from typing import Any, ClassVar

import torch
from pyro import distributions as dist
from pyro import factor, plate, poutine, sample
from pyro.distributions import transforms
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

SUMMED = {"enumerate": "parallel"}
CLASSES = 3


def normal(h: Tensor) -> dist.Independent:
    """Return N(loc, scale) of the two halves of h."""
    loc, scale = h.chunk(2, -1)
    return dist.Normal(loc, softplus(scale) + 0.1).to_event(1)


class Pair(nn.Module):
    """The VAE that the others change: a prior, a likelihood, and a posterior by methods."""

    width: ClassVar[int] = 2  # outputs of the encoder for each latent
    outputs: ClassVar[int] = 2  # and of the decoder for each element of x
    extra: ClassVar[int] = 0  # inputs of both beside x, beside z

    def __init__(self, *, x_shape: tuple[int, ...], z_dim: int = 2) -> None:
        super().__init__()
        self.z_dim, self.size = z_dim, x_shape[0]
        self.enc = self.net(self.size + self.extra, self.width * z_dim)
        self.dec = self.net(z_dim + self.extra, self.outputs * self.size)
        self.build()

    @staticmethod
    def net(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))

    def build(self) -> None:
        """What a pair has beside its two networks."""

    def prior(self, x: Tensor) -> Any:
        return dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1)

    def likelihood(self, h: Tensor) -> Any:
        return normal(h)

    def posterior(self, x: Tensor) -> Any:
        return normal(self.enc(x))

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", self.prior(x))
            sample("x", self.likelihood(self.dec(z)), obs=x)

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x)):
            sample("z", self.posterior(x))


class Vamp(Pair):
    """Prior of Tomczak and Welling (2018, arXiv:1705.07120): the guide at pseudo-inputs."""

    def build(self) -> None:
        self.u = nn.Parameter(torch.randn(3, self.size))

    def prior(self, x: Tensor) -> Any:
        weights = dist.Categorical(logits=x.new_zeros(len(self.u)))
        return dist.MixtureSameFamily(weights, self.posterior(self.u))


class MixturePrior(Pair):
    def build(self) -> None:
        self.loc = nn.Parameter(torch.randn(3, self.z_dim))
        self.logits = nn.Parameter(torch.zeros(3))

    def prior(self, x: Tensor) -> Any:
        parts = dist.Normal(self.loc, 1.0).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), parts)


class FlowPosterior(Pair):
    """Kingma et al. (2016, arXiv:1606.04934), by Pyro's flow."""

    def build(self) -> None:
        self.flow = transforms.affine_autoregressive(self.z_dim, [8])

    def posterior(self, x: Tensor) -> Any:
        return dist.TransformedDistribution(normal(self.enc(x)), [self.flow])


class FullRank(Pair):
    width = 3

    def posterior(self, x: Tensor) -> Any:
        h = self.enc(x).unflatten(-1, (self.z_dim, 3))
        scales = torch.diag_embed(softplus(h[..., 1]) + 0.1)
        return dist.MultivariateNormal(h[..., 0], scale_tril=scales + h[..., 1:].tril(-1))


class Ladder(Pair):
    """Two layers, guide from the top (Sonderby et al. 2016, arXiv:1602.02282)."""

    def build(self) -> None:
        self.top, self.second = self.net(2, 2 * self.z_dim), self.net(2 + self.size, 4)

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z2 = sample("z2", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            z1 = sample("z1", normal(self.top(z2)))
            sample("x", normal(self.dec(z1)), obs=x)

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z2 = sample("z2", normal(self.enc(x)))
            sample("z1", normal(self.second(torch.cat([x, z2], -1))))


class BottomUp(Ladder):
    """The guide draws in another order than the model."""

    def build(self) -> None:
        self.top, self.second = self.net(2, 2 * self.z_dim), self.net(self.z_dim, 4)

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z1 = sample("z1", normal(self.enc(x)))
            sample("z2", normal(self.second(z1)))


class OfLabel(Pair):
    """Conditional VAE of Sohn et al. (2015), by a label."""

    extra = CLASSES

    def condition(self, label: Tensor) -> Tensor:
        return one_hot(label, CLASSES).float()

    def model(self, x: Tensor, label: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", self.prior(x))
            h = self.dec(torch.cat([z, self.condition(label)], -1))
            sample("x", normal(h), obs=x)

    def guide(self, x: Tensor, label: Tensor) -> None:
        with plate("data", len(x)):
            sample("z", normal(self.enc(torch.cat([x, self.condition(label)], -1))))


class OfNumbers(OfLabel):
    """The same by real values c."""

    extra = 2

    def model(self, x: Tensor, c: Tensor) -> None:
        super().model(x, c)

    def guide(self, x: Tensor, c: Tensor) -> None:
        super().guide(x, c)

    def condition(self, label: Tensor) -> Tensor:
        return label


class Classes(Pair):
    """M2 of Kingma et al. (2014, arXiv:1406.5298) without labels: the class is summed out."""

    extra = CLASSES
    marks: ClassVar[dict[str, str]] = SUMMED

    def build(self) -> None:
        self.classify = self.net(self.size, CLASSES)

    def join(self, values: Tensor, y: Tensor) -> Tensor:
        classes = torch.eye(CLASSES, device=y.device)[y.long()]
        shape = torch.broadcast_shapes(values.shape[:-1], classes.shape[:-1])
        return torch.cat([values.expand(*shape, -1), classes.expand(*shape, -1)], -1)

    def explain(self, x: Tensor, y: Tensor) -> None:
        z = sample("z", self.prior(x))
        sample("x", normal(self.dec(self.join(z, y))), obs=x)

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            y = sample("y", dist.Categorical(logits=x.new_zeros(CLASSES)), infer=self.marks)
            self.explain(x, y)

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x)):
            y = sample("y", dist.Categorical(logits=self.classify(x)), infer=self.marks)
            sample("z", normal(self.enc(self.join(x, y))))


class ScoredClasses(Classes):
    """The same without a mark: a score-function gradient."""

    marks: ClassVar[dict[str, str]] = {}


class SomeLabels(Classes):
    """M2 with labels of some rows, by Pyro's ``obs_mask``; -1 is no label."""

    def model(self, x: Tensor, label: Tensor) -> None:
        there, prior = label >= 0, dist.Categorical(logits=x.new_zeros(CLASSES))
        with plate("data", len(x)):
            y = sample("y", prior, obs=label.clamp(min=0), obs_mask=there)
            self.explain(x, y)

    def guide(self, x: Tensor, label: Tensor) -> None:
        there = label >= 0
        with plate("data", len(x)):
            fn = dist.Categorical(logits=self.classify(x)).mask(~there)
            y = torch.where(there, label, sample("y_unobserved", fn))
            sample("z", normal(self.enc(self.join(x, y))))


class Relaxed(Pair):
    """Concrete latents (Maddison et al. 2017, arXiv:1611.00712)."""

    width = 1

    def relaxed(self, logits: Tensor) -> Any:
        return dist.RelaxedOneHotCategorical(torch.tensor(1.0), logits=logits)

    def prior(self, x: Tensor) -> Any:
        return self.relaxed(x.new_zeros(self.z_dim))

    def posterior(self, x: Tensor) -> Any:
        return self.relaxed(self.enc(x))


class Rounded(Relaxed):
    """The same straight-through: draws are one-hot, and their density is of what they were."""

    def relaxed(self, logits: Tensor) -> Any:
        return dist.RelaxedOneHotCategoricalStraightThrough(torch.tensor(1.0), logits=logits)


class Autoencoder(Pair):
    """A code and no density of it."""

    width = 1

    def prior(self, x: Tensor) -> Any:
        return dist.ImproperUniform(dist.constraints.real, (), (self.z_dim,))

    def posterior(self, x: Tensor) -> Any:
        return dist.Delta(self.enc(x)).to_event(1)


class Sparse(Autoencoder):
    """A Laplace prior: the L1 norm of the code."""

    def prior(self, x: Tensor) -> Any:
        return dist.Laplace(x.new_zeros(self.z_dim), 1.0).to_event(1)


class Quantised(Autoencoder):
    """VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937): a codebook, its terms by a factor."""

    def build(self) -> None:
        self.book = nn.Parameter(torch.randn(4, self.z_dim))

    def guide(self, x: Tensor) -> None:
        code = self.enc(x)
        word = self.book[torch.cdist(code, self.book).argmin(-1)]
        penalty = (code.detach() - word).square() + 0.25 * (code - word.detach()).square()
        with plate("data", len(x)):
            sample("z", dist.Delta(code + (word - code).detach()).to_event(1))
            factor("codebook", penalty.sum(-1), has_rsample=True)


class Counts(Pair):
    outputs = 1

    def likelihood(self, h: Tensor) -> Any:
        return dist.Poisson(softplus(h) + 1e-3).to_event(1)

    def posterior(self, x: Tensor) -> Any:
        return normal(self.enc(x.float().log1p()))


class StudentT(Pair):
    def likelihood(self, h: Tensor) -> Any:
        loc, scale = h.chunk(2, -1)
        return dist.StudentT(4.0, loc, softplus(scale) + 0.1).to_event(1)


class Shares(Pair):
    def likelihood(self, h: Tensor) -> Any:
        return dist.Beta(*(softplus(h) + 0.5).chunk(2, -1)).to_event(1)


class DiscretisedLogistic(dist.TorchDistribution):
    """Levels 0, 1/4, ... 1, each the share of a logistic around it; no rsample, no variance."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = dist.constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiscretisedLogistic":
        return DiscretisedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        above = torch.sigmoid((value + 0.125 - self.loc) / self.scale).masked_fill(value > 0.9, 1)
        below = torch.sigmoid((value - 0.125 - self.loc) / self.scale).masked_fill(value < 0.1, 0)
        return (above - below).clamp(min=1e-7).log()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        u = torch.rand(self.shape(sample_shape)).clamp(1e-5, 1 - 1e-5)
        return ((self.loc + self.scale * u.logit()).detach() * 4).round().clamp(0, 4) / 4


class Levels(Pair):
    def likelihood(self, h: Tensor) -> Any:
        loc, scale = h.chunk(2, -1)
        return DiscretisedLogistic(loc.sigmoid(), softplus(scale) + 0.1).to_event(1)


class TwoViews(Pair):
    """Two observed arguments and one code (Wu and Goodman 2018, arXiv:1802.05335)."""

    def build(self) -> None:
        self.enc, self.view = self.net(self.size + 3, 2 * self.z_dim), self.net(self.z_dim, 6)

    def model(self, x: Tensor, w: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", self.prior(x))
            sample("x", normal(self.dec(z)), obs=x)
            sample("w", normal(self.view(z)), obs=w)

    def guide(self, x: Tensor, w: Tensor) -> None:
        with plate("data", len(x)):
            sample("z", normal(self.enc(torch.cat([x, w], -1))))


class MixedColumns(Pair):
    """A site for each kind of column (Nazabal et al. 2020, arXiv:1807.03653)."""

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            h = self.dec(sample("z", self.prior(x)))
            sample("real", normal(h[..., :4]), obs=x[:, :2])
            sample("count", dist.Poisson(softplus(h[..., 4:5]) + 0.01).to_event(1), obs=x[:, 2:3])
            sample("bit", dist.Bernoulli(logits=h[..., 5:6]).to_event(1), obs=x[:, 3:])


class Bayesian(Pair):
    """The weights of the decoder have a posterior that all data share."""

    def build(self) -> None:
        self.loc = nn.Parameter(torch.zeros(self.z_dim, self.size))
        self.log_scale = nn.Parameter(torch.full((self.z_dim, self.size), -2.0))
        self.dec = nn.Identity()

    def model(self, x: Tensor) -> None:
        w = sample("w", dist.Normal(torch.zeros_like(self.loc), 1.0).to_event(2))
        with plate("data", len(x)):
            z = sample("z", self.prior(x))
            sample("x", dist.Normal(z @ w, 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        sample("w", dist.Normal(self.loc, self.log_scale.exp()).to_event(2))
        super().guide(x)


class Loadings(Bayesian):
    """The same with a guide of Pyro for what all data share."""

    def build(self) -> None:
        super().build()
        self.shared = AutoNormal(poutine.block(self.model, expose=["w"]))

    def guide(self, x: Tensor) -> None:
        self.shared(x)
        Pair.guide(self, x)


class Gaps(Pair):
    """MIWAE (Mattei and Frellsen 2019, arXiv:1812.02633): nan in x is missing."""

    def build(self) -> None:
        self.enc = self.net(2 * self.size, 2 * self.z_dim)

    def model(self, x: Tensor, mask: Tensor) -> None:
        super().model(x)

    def guide(self, x: Tensor, mask: Tensor) -> None:
        with plate("data", len(x)):
            sample("z", normal(self.enc(torch.cat([x, mask.to(x.dtype)], -1))))


class Sphere(Pair):
    """Directions (after Davidson et al. 2018, arXiv:1804.00891)."""

    width = 1

    def prior(self, x: Tensor) -> Any:
        return dist.ProjectedNormal(x.new_zeros(self.z_dim))

    def posterior(self, x: Tensor) -> Any:
        return dist.ProjectedNormal(self.enc(x))


class Simplex(Sphere):
    """Shares of topics (Srivastava and Sutton 2017, arXiv:1703.01488), by a Dirichlet."""

    def prior(self, x: Tensor) -> Any:
        return dist.Dirichlet(x.new_full((self.z_dim,), 0.5))

    def posterior(self, x: Tensor) -> Any:
        return dist.Dirichlet(softplus(self.enc(x)) + 0.1)


class Plated(Pair):
    """A plate of the elements inside the plate of the data, which is the leftmost dimension."""

    def model(self, x: Tensor) -> None:
        with plate("data", len(x), dim=-2):
            z = sample("z", dist.Normal(x.new_zeros(1, self.z_dim), 1.0).to_event(1))
            loc, scale = self.dec(z[:, 0]).chunk(2, -1)
            with plate("elements", self.size, dim=-1):
                sample("x", dist.Normal(loc, softplus(scale) + 0.1), obs=x)

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x), dim=-2):
            sample("z", normal(self.enc(x)[:, None]))


class Auxiliary(Pair):
    """An auxiliary latent with a reverse density (Maaloe et al. 2016, arXiv:1602.05473)."""

    def build(self) -> None:
        self.aux = self.net(self.size, 2)
        self.enc = self.net(self.size + 1, 2 * self.z_dim)
        self.back = self.net(self.size + self.z_dim, 2)

    def model(self, x: Tensor) -> None:
        with plate("data", len(x)):
            z = sample("z", self.prior(x))
            x = sample("x", normal(self.dec(z)), obs=x)
            sample("a", normal(self.back(torch.cat([x, z], -1))))

    def guide(self, x: Tensor) -> None:
        with plate("data", len(x)):
            a = sample("a", normal(self.aux(x)))
            sample("z", normal(self.enc(torch.cat([x, a], -1))))
