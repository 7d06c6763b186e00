"""A table: each column by the family of its kind.

===============  ========================  ========================================
kind             what a column holds       p(x | z)
===============  ========================  ========================================
``real``         numbers                   Gaussian, of standardised values
``binary``       0 and 1                   Bernoulli
``count:M``      counts, M their mean      negative binomial
``category:K``   0 ... K - 1               categorical
``one-of:NAME``  1 for one of those of     categorical, one for each NAME
                 this NAME, 0 for others
===============  ========================  ========================================
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.distributions.columns import ByColumn, Group
from vaezoo.errors import RequestError
from vaezoo.parts.axes import LIKELIHOODS, FromData
from vaezoo.parts.likelihoods.counts import negative_binomial
from vaezoo.parts.networks import DecoderNet, GaussianHead

__all__ = ["ColumnFeatures", "ColumnHeads", "ColumnKinds", "Columns", "places_of"]

_KINDS = ("real", "binary", "count", "category")
_ONE_OF = "one-of"
# What is read as it is, as a logarithm, and as one-hot.
_READ = {"numbers": ("real", "binary", _ONE_OF), "counts": ("count",), "codes": ("category",)}


def _check_kind(value: str) -> str:
    kind, _, number = value.partition(":")
    if kind == _ONE_OF and number:
        return value
    needs_number = kind in ("count", "category")
    try:
        fits = float(number) > 0 if needs_number else not number
    except ValueError:
        fits = False
    if kind not in _KINDS or not fits:
        raise ValueError("expected real, binary, count:MEAN, category:NUMBER or one-of:NAME")
    return value


ColumnKind = Annotated[str, AfterValidator(_check_kind)]
ColumnKinds = Annotated[tuple[ColumnKind, ...] | None, FromData("columns")]


def places_of(columns: Sequence[str]) -> Mapping[str, Tensor]:
    """Return the places of the columns of each kind that there is, and of each NAME of one-of.

    Examples
    --------
    >>> places_of(["real", "one-of:job", "one-of:job", "real"])
    {'real': tensor([0, 3]), 'job': tensor([1, 2])}
    """
    kinds = [c if c.startswith(_ONE_OF) else c.partition(":")[0] for c in columns]
    each = (*_KINDS, *dict.fromkeys(kind for kind in kinds if kind.startswith(_ONE_OF)))
    places = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in each}
    return {kind.removeprefix(f"{_ONE_OF}:"): torch.tensor(p) for kind, p in places.items() if p}


def _numbers(columns: Sequence[str], kind: str) -> list[float]:
    pairs = (column.partition(":") for column in columns)
    return [float(number) for name, _, number in pairs if name == kind]


class ColumnHeads(nn.Module):
    """The distribution of the columns of each kind, of the features of a decoder.

    Parameters
    ----------
    net
        The decoder.
    columns
        The kind of each column.
    floor
        Smallest standard deviation of reals.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> heads = ColumnHeads(Decoder(2, [32], (3,)), ["real", "category:3", "real"])
    >>> {kind: fn.batch_shape for kind, (places, fn) in heads(torch.zeros(5, 2)).items()}
    {'real': torch.Size([5, 2]), 'category': torch.Size([5, 1])}
    """

    log_means: Tensor
    absent: Tensor

    def __init__(self, net: DecoderNet, columns: Sequence[str], floor: float = 0.05) -> None:
        super().__init__()
        self.net = net
        places = places_of(columns)
        self.names = [*places]
        for index, some in enumerate(places.values()):
            self.register_buffer(f"places_{index}", some, persistent=False)
        size = {kind: len(some) for kind, some in places.items()}
        self.one_of = nn.ModuleDict({n: net.head(k) for n, k in size.items() if n not in _KINDS})
        if "real" in size:
            self.real = GaussianHead(lambda: net.head(size["real"]), floor)
        if "binary" in size:
            self.binary = net.head(size["binary"])
        if "count" in size:
            log_means = torch.tensor(_numbers(columns, "count")).log()
            self.register_buffer("log_means", log_means, persistent=False)
            self.count = net.head(size["count"])
            self.log_r = nn.Parameter(torch.zeros(size["count"]))
        if "category" in size:
            levels = torch.tensor(_numbers(columns, "category"))
            absent = torch.arange(int(levels.max())) >= levels.unsqueeze(-1)
            self.register_buffer("absent", absent, persistent=False)
            self.category = net.head(absent.numel())

    def forward(self, *inputs: Tensor) -> dict[str, Group]:
        h = self.net(*inputs)
        places = [self.get_buffer(f"places_{index}") for index in range(len(self.names))]
        return {n: (at, self._of(n, h)) for n, at in zip(self.names, places, strict=True)}

    def _of(self, kind: str, h: Tensor) -> dist.TorchDistribution:
        if kind in self.one_of:
            return dist.OneHotCategorical(logits=self.one_of[kind](h))
        if kind == "real":
            return dist.Normal(*self.real(h))
        if kind == "binary":
            return dist.Bernoulli(logits=self.binary(h))
        if kind == "count":
            return negative_binomial(self.log_means + self.count(h), self.log_r)
        logits = self.category(h).unflatten(-1, self.absent.shape)
        return dist.Categorical(logits=logits.masked_fill(self.absent, -1e4))


@LIKELIHOODS.register("columns")
class Columns(nn.Module):
    """p(x | z) = prod_d p_d(x_d | z), each column of a table by its kind; nan is left out.

    Parameters
    ----------
    net
        The decoder, of rows ``(D,)``.
    columns
        The kind of each column: ``real``, ``binary``, ``count:MEAN``, ``category:NUMBER``,
        ``one-of:NAME``. By default read off the data: 0 and 1 are binary, text is one of its
        values, whole numbers up to 20 are categories, other whole numbers from 0 counts. Without
        data all are real.
    floor
        Smallest standard deviation of reals, in units of the (standardised) data.

    Examples
    --------
    >>> from vaezoo.parts.networks import Decoder
    >>> likelihood = Columns(Decoder(2, [32], (3,)), columns=("real", "category:3", "binary"))
    >>> likelihood(torch.zeros(5, 2)).log_prob(torch.tensor([0.3, 2.0, torch.nan])).shape
    torch.Size([5])
    """

    def __init__(
        self, net: DecoderNet, *, columns: ColumnKinds = None, floor: float = 0.05
    ) -> None:
        super().__init__()
        if len(net.x_shape) != 1:
            raise RequestError(
                f"the likelihood 'columns' explains rows of a table, of shape (D,), not "
                f"{net.x_shape}; use `likelihood='gaussian'`"
            )
        self.net = net
        self.heads = ColumnHeads(net, columns or ["real"] * net.x_shape[0], floor)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        return ByColumn(self.heads(*inputs))


class ColumnFeatures(nn.Module):
    """What an encoder reads of a row: numbers, logarithms of counts, categories as one-hot.

    Parameters
    ----------
    columns
        The kind of each column.

    Examples
    --------
    >>> features = ColumnFeatures(["real", "category:3"])
    >>> features(torch.tensor([[0.5, 2.0]]), torch.ones(1, 2)), features.num_features
    (tensor([[0.5000, 0.0000, 0.0000, 1.0000, 1.0000, 1.0000]]), 6)
    """

    log_means: Tensor

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__()
        self.levels = [int(number) for number in _numbers(columns, "category")]
        means = [math.log1p(number) for number in _numbers(columns, "count")]
        self.register_buffer("log_means", torch.tensor(means), persistent=False)
        kinds = [column.partition(":")[0] for column in columns]
        for name, members in _READ.items():
            some = torch.tensor([i for i, kind in enumerate(kinds) if kind in members]).long()
            self.register_buffer(name, some, persistent=False)
        one_hot = torch.eye(max(self.levels, default=1))
        self.register_buffer("one_hot", one_hot, persistent=False)
        self.num_features = 2 * len(columns) - len(self.levels) + sum(self.levels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return features of ``x (B, D)``, 0 where ``mask (B, D)`` is, and the mask."""
        there = mask.to(x.dtype)
        numbers, counts, codes = (self.get_buffer(name) for name in _READ)
        logs = x[:, counts].clamp(min=0).log1p() - self.log_means
        one_hot = self.get_buffer("one_hot")
        categories = one_hot[x[:, codes].long().clamp(0, len(one_hot) - 1)]
        categories = categories * there[:, codes].unsqueeze(-1)
        each = [categories[:, i, :number] for i, number in enumerate(self.levels)]
        return torch.cat([x[:, numbers], logs * there[:, counts], *each, there], -1)
