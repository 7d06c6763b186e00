"""Approximate posteriors q(z | x): distributions over the latents, made by an encoder.

Each is built from an encoder and the number of latents, owns the encoder, and maps what the encoder
reads to a distribution with batch shape ``(B,)`` and event shape ``(z_dim,)``. h are the features
of x, and every parameter is a linear layer of them. All are reparameterised.

==============  ==========================================  ===========================
name            q(z | x)                                    KL(q || N(0, I))
==============  ==========================================  ===========================
``diagonal``    N(mu(h), diag sigma(h)^2)                   closed form
``mean-only``   N(mu(h), sigma^2 I), mu linear or tanh      closed form
``noise-only``  N(0, I), whatever x is                      0
``full-rank``   N(mu(h), L(h) L(h)^T)                       closed form
``low-rank``    N(mu(h), W(h) W(h)^T + diag sigma(h)^2)     closed form
``student-t``   independent, heavy tails                    from the draw
``mixture``     sum_k pi_k(h) N(mu_k(h), diag sigma_k^2)    from the draw
``iaf``         an inverse autoregressive flow              from the draw
``flow``        a flow of splines (:mod:`.flows`)           from the draw
``delta``       one value: of autoencoders                  infinite
==============  ==========================================  ===========================
"""

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.distributions.mixture_of_normals import DiagonalMixture
from vaezoo.errors import RequestError
from vaezoo.parts.axes import POSTERIORS
from vaezoo.parts.networks import EncoderNet, GaussianHead, sigma_of

__all__ = [
    "Delta",
    "DiagonalNormal",
    "FullRankNormal",
    "LowRankNormal",
    "MeanOnly",
    "NoiseOnly",
    "NormalMixture",
    "StudentTPosterior",
]


@POSTERIORS.register("diagonal")
class DiagonalNormal(nn.Module):
    """q(z | x) = N(z; mu(h), diag sigma(h)^2) of the features h of x.

    Kingma & Welling 2014, arXiv:1312.6114, App. C.2 with z and x swapped.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    floor
        Smallest standard deviation.

    Examples
    --------
    >>> import torch
    >>> from vaezoo.parts.networks import Encoder
    >>> posterior = DiagonalNormal(Encoder((8, 8), [32]), 2)
    >>> posterior(torch.zeros(5, 8, 8)).batch_shape, posterior(torch.zeros(5, 8, 8)).event_shape
    (torch.Size([5]), torch.Size([2]))
    """

    def __init__(self, net: EncoderNet, z_dim: int, *, floor: NonNegativeFloat = 1e-4) -> None:
        super().__init__()
        self.net = net
        self.head = GaussianHead(lambda: net.head(z_dim), floor)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(self.net(*inputs))
        return dist.Normal(loc, scale).to_event(1)


@POSTERIORS.register("mean-only")
class MeanOnly(nn.Module):
    """q(z | x) = N(z; mu(h), sigma^2 I): z = mu + sigma eps, where the noise never goes.

    With ``mean="tanh"`` and sigma 1, mu_j is between -1 and 1, so that KL(q || N(0, I)) =
    mu_j^2 / 2 is below half a nat for each latent, whatever x is: a ceiling of the rate.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    mean
        ``linear``, or ``tanh`` of the same layer.
    sigma
        The deviation of all, for each datum; towards 0 it is an autoencoder whose codes are small.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> q = MeanOnly(Encoder((4,)), 2, mean="tanh")(1000 * torch.randn(5, 4))
    >>> bool((0.5 * q.mean.square() <= 0.5).all()), q.variance.unique()
    (True, tensor([1.]))
    """

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        *,
        mean: Literal["linear", "tanh"] = "linear",
        sigma: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.net = net
        self.loc = net.head(z_dim)
        self.mean, self.sigma = mean, sigma

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc = self.loc(self.net(*inputs))
        loc = loc.tanh() if self.mean == "tanh" else loc
        return dist.Normal(loc, torch.full_like(loc, self.sigma)).to_event(1)


@POSTERIORS.register("noise-only")
class NoiseOnly(nn.Module):
    """q(z | x) = N(z; 0, I): z knows nothing of x. A control, whose KL from N(0, I) is 0.

    The encoder is asked for the shape of the batch, and has no parameters here.

    Parameters
    ----------
    net
        The encoder, which is not kept.
    z_dim
        Number of latents.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> posterior = NoiseOnly(Encoder((8, 8), [32]), 2)
    >>> posterior(torch.ones(5, 8, 8)).mean.shape, list(posterior.parameters())
    (torch.Size([5, 2]), [])
    """

    def __init__(self, net: EncoderNet, z_dim: int) -> None:
        super().__init__()
        self.x_shape = net.x_shape
        self.z_dim = z_dim

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        x = inputs[0]
        zeros = x.new_zeros(*x.shape[: x.dim() - len(self.x_shape)], self.z_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)


@POSTERIORS.register("full-rank")
class FullRankNormal(nn.Module):
    """q(z | x) = N(z; mu(h), L(h) L(h)^T), L lower triangular: latents correlate given x.

    It has the posterior of a linear decoder whatever its weights are, where a diagonal one has it
    for orthogonal weights only.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents L; the layer of the covariance has L (L - 1) / 2 outputs beside sigma.
    floor
        Smallest diagonal entry of L(h).

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> FullRankNormal(Encoder((8, 8), [32]), 3)(torch.zeros(5, 8, 8)).covariance_matrix.shape
    torch.Size([5, 3, 3])
    """

    def __init__(self, net: EncoderNet, z_dim: int, *, floor: NonNegativeFloat = 1e-4) -> None:
        super().__init__()
        self.net = net
        self.head = GaussianHead(lambda: net.head(z_dim), floor)
        self.below = net.head(max(1, z_dim * (z_dim - 1) // 2))
        self.z_dim = z_dim
        self.register_buffer("place", _places_below(z_dim), persistent=False)

    place: Tensor

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        loc, scale = self.head(h)
        # The entry below the diagonal that stands at each place of a matrix, 0 where none does.
        below = torch.nn.functional.pad(self.below(h), (1, 0))[..., self.place]
        tril = below.unflatten(-1, (self.z_dim, self.z_dim)) + torch.diag_embed(scale)
        return dist.MultivariateNormal(loc, scale_tril=tril)


def _places_below(size: int) -> Tensor:
    """Return the number of each entry below the diagonal, from 1, flat; 0 elsewhere."""
    place = torch.zeros(size, size, dtype=torch.int64)
    row, column = torch.tril_indices(size, size, -1)
    place[row, column] = torch.arange(1, len(row) + 1)
    return place.flatten()


@POSTERIORS.register("low-rank")
class LowRankNormal(nn.Module):
    """q(z | x) = N(z; mu(h), W(h) W(h)^T + diag sigma(h)^2), W of few columns.

    It grows with the number of latents as a diagonal one does (Ong, Nott & Smith 2018,
    arXiv:1701.03208, eq. 3).

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    rank
        Columns of W.
    floor
        Smallest sigma.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> LowRankNormal(Encoder((8, 8), [32]), 3, rank=1)(torch.zeros(5, 8, 8)).cov_factor.shape
    torch.Size([5, 3, 1])
    """

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        *,
        rank: PositiveInt = 2,
        floor: NonNegativeFloat = 1e-4,
    ) -> None:
        super().__init__()
        self.net = net
        self.head = GaussianHead(lambda: net.head(z_dim), floor)
        self.factor = net.head(z_dim * rank)
        self.rank = rank

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        loc, scale = self.head(h)
        factor = self.factor(h).unflatten(-1, (-1, self.rank))
        return dist.LowRankMultivariateNormal(loc, factor, scale.square())


@POSTERIORS.register("student-t")
class StudentTPosterior(nn.Module):
    """q(z | x) = prod_j StudentT(z_j; df, mu_j(h), sigma_j(h)): heavy tails.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    df
        Degrees of freedom, the same for all.
    floor
        Smallest sigma.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> StudentTPosterior(Encoder((8, 8), [32]), 2, df=4.0)(torch.zeros(5, 8, 8)).event_shape
    torch.Size([2])
    """

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        *,
        df: PositiveFloat = 5.0,
        floor: NonNegativeFloat = 1e-4,
    ) -> None:
        super().__init__()
        self.net = net
        self.head = GaussianHead(lambda: net.head(z_dim), floor)
        self.df = df

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(self.net(*inputs))
        return dist.StudentT(torch.full_like(loc, self.df), loc, scale).to_event(1)


@POSTERIORS.register("mixture")
class NormalMixture(nn.Module):
    """q(z | x) = sum_k pi_k(h) N(z; mu_k(h), diag sigma_k(h)^2): a posterior of several modes.

    Draws carry pathwise gradients, those of the weights included (Jankowiak & Karaletsos 2019,
    arXiv:1806.01856), which need two latents or more.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    num_components
        K.
    floor
        Smallest standard deviation.

    Raises
    ------
    RequestError
        For one latent.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> q = NormalMixture(Encoder((8, 8), [32]), 2, num_components=3)(torch.zeros(5, 8, 8))
    >>> q.mean.shape, q.rsample().shape
    (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        *,
        num_components: PositiveInt = 5,
        floor: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        if z_dim < 2:
            raise RequestError(
                "the posterior 'mixture' has gradients of two latents or more; use `z_dim=2`, or "
                "`posterior='flow'`"
            )
        self.net = net
        self.logits = net.head(num_components)
        self.head = GaussianHead(lambda: net.head(num_components * z_dim))
        self.num_components = num_components
        self.floor = floor

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        shape = (self.num_components, -1)
        loc = self.head.loc(h).unflatten(-1, shape)
        scale = sigma_of(self.head.log_var(h), self.floor).unflatten(-1, shape)
        return DiagonalMixture(loc, scale, self.logits(h))


@POSTERIORS.register("delta")
class Delta(nn.Module):
    """q(z | x) = delta(z - mu(h)): one code for each x, as an autoencoder has.

    KL(q || p) is infinite for any density p(z), so that there is no ELBO: it goes with
    ``prior="flat"`` alone.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    keep
        Elements of a code that are kept, those of the largest size, the others being 0
        (Makhzani & Frey 2014, arXiv:1312.5663); all by default.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> Delta(Encoder((8, 8), [32]), 2)(torch.zeros(5, 8, 8)).variance.unique()
    tensor([0.])
    """

    def __init__(
        self, net: EncoderNet, z_dim: int, *, keep: PositiveInt | Literal["all"] = "all"
    ) -> None:
        super().__init__()
        self.net = net
        self.loc = net.head(z_dim)
        self.keep = z_dim if keep == "all" else min(keep, z_dim)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc = self.loc(self.net(*inputs))
        if self.keep < loc.shape[-1]:
            smallest = loc.abs().topk(self.keep).values[..., -1:]
            loc = torch.where(loc.abs() >= smallest, loc, 0.0)
        return dist.Delta(loc).to_event(1)
