"""Variational autoencoders of data in two modalities, each of which a row may lack.

    p(x1, x2, z) = N(z; 0, I) p(x1; y1(z)) p(x2; y2(z)),   two decoders of their own
    e_m(z)       = N(z; mu_m(x_m), diag sigma_m(x_m)^2),   the expert of modality m = 1, 2
    q_S(z)      ~= N(z; 0, I) prod_m in S e_m(z),          a product of experts: precisions add up

    q(z | x)      = q_S(z),                                in `mvae`: S what the row has
    q(z | x)      = 1 / K sum_T q_T(z),                    in `mopoe`: T the K subsets of S but {}

====  ============  ==================================================================
site  event shape   meaning
====  ============  ==================================================================
z     ``(z_dim,)``  latent, what both modalities share
x1    ``(split,)``  observed, the first ``split`` elements of x, flat
x2    ``(rest,)``   observed, the others
====  ============  ==================================================================

x holds both modalities, one after the other: the upper and the lower half of pictures, if nothing
is said, two groups of columns of a table (``split``, how many belong to the first), or pictures and
their label: the last ``num_labels`` elements, one-hot, of which p(x2 | z) is a categorical. Entries
that are nan are missing, and a modality all of whose entries are has no expert: without any, q(z |
x) is the prior. ``vaezoo impute`` draws one modality given the other.

The bound of whole rows tells the experts their product alone, and not how sure each is by itself:
`mvae` follows the sum of the bounds of both modalities and of each alone (the objective
``sub-sampled``), and `mopoe` has them in its mixture.

Reference
    Wu & Goodman 2018, *Multimodal Generative Models for Scalable Weakly-Supervised Learning*,
    arXiv:1802.05335; Sutter, Daunhawer & Vogt 2021, *Generalized Multimodal ELBO*,
    arXiv:2105.02470.

Differs from the papers
    Two modalities, with nets of one size, and one weight. The bound of `mopoe` has the density of
    the mixture itself, and path derivatives through it, instead of the mean of the KLs of its
    components, a looser one. In both the KL term comes in over 1,000 steps.
"""

import math
from typing import Annotated

import pyro
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.distributions.mixture_of_normals import DiagonalMixture

__all__ = ["MVAE", "MoPoE", "product_of_experts"]

_NEVER = -1e4  # log weight of a subset with a modality that a row lacks


def product_of_experts(loc: Tensor, scale: Tensor, is_in: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of N(z; 0, I) prod_m N(z; mu_m, sigma_m^2), normalised.

    Wu & Goodman 2018, arXiv:1802.05335: T = 1 + sum_m T_m, mu = sum_m T_m mu_m / T,
    with T_m = 1 / sigma_m^2.

    Parameters
    ----------
    loc, scale
        Of the experts, ``(B, M, z_dim)``.
    is_in
        1 for the experts that take part, else 0, ``(B, M)``.

    Returns
    -------
    tuple
        Two tensors ``(B, z_dim)``; 0 and 1, the prior, where no expert takes part.

    Examples
    --------
    >>> loc, scale = torch.tensor([[[2.0], [5.0]]]), torch.ones(1, 2, 1)
    >>> product_of_experts(loc, scale, torch.tensor([[1.0, 0.0]]))[0]  # half way to the prior
    tensor([[1.]])
    """
    each = is_in.unsqueeze(-1) * scale.reciprocal().square()
    precision = 1.0 + each.sum(-2)
    return (each * loc).sum(-2) / precision, precision.rsqrt()


@register(
    "mvae",
    data="images",
    reference="arXiv:1802.05335",
    presets={"default": {"training": {"objective": "sub-sampled", "lr": 2e-3, "kl_warmup": 1_000}}},
    tags=("missing",),
)
class MVAE(nn.Module):
    """Multimodal variational autoencoder: two modalities, a product of experts."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 20,
        hidden: tuple[PositiveInt, ...] = (200,),
        activation: parts.Activation = "relu",
        split: PositiveInt | None = None,
        num_labels: NonNegativeInt = 0,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        sizes = _sizes(math.prod(x_shape), split, num_labels)
        self.split = sizes[0]
        self.prior = parts.StandardNormal(z_dim)  # p(z)
        nets = [parts.Decoder(z_dim, hidden[::-1], (n,), activation=activation) for n in sizes]
        kinds = (likelihood, parts.OneHot if num_labels else likelihood)
        of_each = zip(kinds, nets, strict=True)
        self.decoders = nn.ModuleList(kind(net) for kind, net in of_each)  # p(x1 | z), p(x2 | z)
        readers = [parts.Encoder((2 * n,), hidden, activation=activation) for n in sizes]
        self.experts = nn.ModuleList(parts.DiagonalNormal(net, z_dim) for net in readers)

    def model(self, x: Tensor, mask: Tensor) -> None:
        """p(z) p(x1 | z) p(x2 | z) of ``x (B, *x_shape)``, ``mask`` true for what is there."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            sides = zip(("x1", "x2"), self.decoders, self._parts(x), strict=True)
            for name, decoder, values in sides:
                pyro.sample(name, decoder(z), obs=values)

    def guide(self, x: Tensor, mask: Tensor) -> None:
        """q(z | x, mask) of ``x (B, *x_shape)``, 0 where an entry is missing."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(*self.opinions(x, mask)))

    def opinions(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and sigma of each expert ``(B, 2, z_dim)``, and 1 where it has any data."""
        there = mask.to(x.dtype)
        pairs = list(zip(self._parts(x), self._parts(there), strict=True))
        each = [expert(*pair) for expert, pair in zip(self.experts, pairs, strict=True)]
        is_in = torch.stack([present.amax(-1) for _, present in pairs], -1)
        return (
            torch.stack([q.mean for q in each], 1),
            torch.stack([q.stddev for q in each], 1),
            is_in,
        )

    def posterior(self, loc: Tensor, scale: Tensor, is_in: Tensor) -> dist.TorchDistribution:
        """The product of the experts that have data."""
        return dist.Normal(*product_of_experts(loc, scale, is_in)).to_event(1)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        return flat[:, : self.split], flat[:, self.split :]


@register(
    "mopoe",
    data="images",
    reference="arXiv:2105.02470",
    presets={"default": {"training": {"lr": 2e-3, "kl_warmup": 1_000}}},
    tags=("missing",),
)
class MoPoE(MVAE):
    """Mixture of products of experts: each modality alone, and both, must find the same latents."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: Annotated[int, Field(ge=2)] = 20,  # a mixture has path derivatives from two on
        hidden: tuple[PositiveInt, ...] = (200,),
        activation: parts.Activation = "relu",
        split: PositiveInt | None = None,
        num_labels: NonNegativeInt = 0,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__(
            x_shape=x_shape,
            z_dim=z_dim,
            hidden=hidden,
            activation=activation,
            split=split,
            num_labels=num_labels,
            likelihood=likelihood,
        )

    def guide(self, x: Tensor, mask: Tensor) -> None:
        """q(z | x, mask), a mixture over what is there of ``x (B, *x_shape)``."""
        loc, scale, is_in = self.opinions(x, mask)
        ones = torch.ones_like(is_in[:, 0])
        first, second = is_in.unbind(-1)
        # Of subsets with a modality that a row lacks none counts; of a row without any, the prior.
        neither = (1.0 - first) * (1.0 - second)
        weights = torch.stack([first, second, first * second + neither], -1)
        subsets = [torch.stack(pair, -1) for pair in ((ones, 0 * ones), (0 * ones, ones))]
        each = [product_of_experts(loc, scale, s) for s in (*subsets, is_in)]
        locs, scales = (torch.stack(some, -2) for some in zip(*each, strict=True))
        with pyro.plate("data", len(x)):
            pyro.sample("z", DiagonalMixture(locs, scales, (1.0 - weights) * _NEVER))


def _sizes(x_dim: int, split: int | None, num_labels: int) -> tuple[int, int]:
    """Return how many elements the two modalities have."""
    if split and num_labels:
        raise ValueError(
            f"`split={split}` and `num_labels={num_labels}` both say where the second modality "
            "begins; drop one"
        )
    first = x_dim - num_labels if num_labels else split or x_dim // 2
    if not 0 < first < x_dim:
        raise ValueError(
            f"`split={first}` leaves nothing for one of two modalities: x has {x_dim} elements; "
            "take another"
        )
    return first, x_dim - first
