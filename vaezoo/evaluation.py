"""How good a trained pair is: ELBO, importance-weighted log-likelihood, latents in use."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data import Data
from vaezoo.data.batches import Batches
from vaezoo.device import seeded
from vaezoo.errors import RequestError
from vaezoo.metrics import Metrics, measure
from vaezoo.objectives import units_per_row
from vaezoo.runs import Run
from vaezoo.sites import Args, argument_names, log_weights, run_guide, sample_sites

__all__ = [
    "Bound",
    "Evaluation",
    "evaluate",
    "evaluate_on",
    "iwae_bounds",
    "mutual_information",
]

MOST_ROWS_FOR_INFORMATION = 2000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bound:
    """The importance-weighted bound on log p(x) with K draws, and its standard error over data.

    There is no error for a single datum.
    """

    num_samples: int
    value: float
    standard_error: float | None


@dataclass(frozen=True)
class Evaluation:
    """Estimates on held-out data, in nats per datum (per frame for sequences).

    Attributes
    ----------
    split, num_rows
        What was evaluated.
    metrics
        ELBO, its terms, KL and activity per latent.
    iwae
        Bounds on log p(x), one for each K, from the same draws.
    information
        Estimate of the mutual information of z and x under the guide, at most log N for
        ``information_rows = N`` data (Hoffman & Johnson 2016); None where the guide does not allow
        it.
    """

    split: str
    num_rows: int
    metrics: Metrics
    iwae: tuple[Bound, ...]
    information: float | None
    information_rows: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    run: Run,
    data: str | Data | None = None,
    *,
    split: str = "test",
    iwae: Sequence[int] = (1, 10, 100),
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a run on a split of its data, or of other data of the same shape.

    Parameters
    ----------
    run
        A trained run.
    data
        A name, a path or a data set; by default the data of the run.
    split
        ``test``, ``validation`` or ``train``.
    iwae
        Numbers of draws K of the importance-weighted bound (Burda et al. 2016, arXiv:1509.00519,
        eq. 8).
    limit
        Only the first so many rows.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.
    progress
        Is told how many rows are done, and of how many.

    Raises
    ------
    RequestError
        When the data do not fit the run, or a K is not positive.
    """
    if not iwae or min(iwae) < 1:
        raise RequestError("--iwae takes positive numbers of draws, as 1,10,100")
    batches = run.batches(data, data_dir=data_dir)
    return evaluate_on(
        run.pair, batches, split=split, iwae=iwae, limit=limit, seed=seed, progress=progress
    )


def evaluate_on(
    pair: nn.Module,
    batches: Batches,
    *,
    split: str = "test",
    iwae: Sequence[int] = (1, 10, 100),
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate any pair on batches, as :func:`evaluate` does a run."""
    pair.eval()
    with seeded(seed, batches.device):
        metrics = measure(pair, batches.fixed(split, limit=limit), batches.transform)
        bounds = iwae_bounds(
            pair, batches, split, sorted(set(iwae)), limit=limit, progress=progress
        )
        information, rows = _information(pair, batches, split, limit)
    return Evaluation(split, batches.size(split, limit), metrics, bounds, information, rows)


def iwae_bounds(
    pair: nn.Module,
    batches: Batches,
    split: str,
    ks: Sequence[int],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> tuple[Bound, ...]:
    """Return importance-weighted bounds for several K from one set of draws per datum.

    With the largest K draws, the bound of a smaller k averages over the K // k groups of k draws.
    """
    estimates: dict[int, list[Tensor]] = {k: [] for k in ks}
    units: list[Tensor] = []
    for args in batches.fixed(split, limit=limit):
        weights = log_weights(pair, args, max(ks)).cpu().double()
        for k in ks:
            groups = weights[: len(weights) // k * k].reshape(-1, k, weights.shape[1])
            estimates[k].append((groups.logsumexp(1) - math.log(k)).mean(0))
        units.append(units_per_row(pair, args).cpu().double())
        if progress:
            progress(sum(map(len, units)), batches.size(split, limit))
    size = torch.cat(units)
    return tuple(_bound(k, torch.cat(estimates[k]), size) for k in ks)


def _bound(k: int, values: Tensor, units: Tensor) -> Bound:
    """Average per unit with the standard error of a ratio of means."""
    average = values.sum() / units.sum()
    if len(values) == 1:
        return Bound(k, float(average), None)
    residual = values - average * units
    error = residual.std(correction=1) * math.sqrt(len(values)) / units.sum()
    return Bound(k, float(average), float(error))


def _information(
    pair: nn.Module, batches: Batches, split: str, limit: int | None
) -> tuple[float | None, int]:
    if "length" in argument_names(pair):
        return None, 0
    rows = min(batches.size(split, limit), MOST_ROWS_FOR_INFORMATION)
    parts = list(batches.fixed(split, limit=rows))
    args = tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return mutual_information(pair, args), rows


@torch.no_grad()
def mutual_information(pair: nn.Module, args: Args) -> float | None:
    """Estimate the mutual information of x and z under the guide, in nats.

    ``E[log q(z | x) - log 1/N sum_j q(z | x_j)]`` over the N data given (Hoffman & Johnson 2016,
    *ELBO surgery*), at most log N. None for guides with several latent sites.
    """
    sites = list(sample_sites(run_guide(pair, args)).values())
    if len(sites) != 1 or "length" in argument_names(pair):
        return None
    fn, z = sites[0]["fn"], sites[0]["value"]
    pairwise = torch.cat([fn.log_prob(chunk.unsqueeze(1)) for chunk in z.split(100)])
    own = pairwise.diagonal()
    aggregate = pairwise.logsumexp(1) - math.log(len(z))
    return float((own - aggregate).mean())
