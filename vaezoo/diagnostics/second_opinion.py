"""Level full: a second opinion, which shares nothing with the check of a posterior but the model.

Long chains say whether they agree. Data that are not trusted are annealed, twice, with other
particles: where both agree in log p(x), their particles are draws from the posterior. A classifier
says whether draws of the guide can be told from those of the chains, and on data that the model
made, annealing from both sides says how far off it is itself.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.comparison import Comparison, compare_draws
from vaezoo.diagnostics.costs import CHAINS, LONG, SHARE_ANNEALED, AnalysisPlan
from vaezoo.inference.annealing import Annealing, Bounds, annealed_evidence, bidirectional_bounds
from vaezoo.inference.hmc import Convergence, HMCResult, convergence, hmc
from vaezoo.inference.importance import importance_weights, resample
from vaezoo.pairs.sites import Args

__all__ = ["SecondOpinion", "consult"]

AGREE = 0.5
FEWEST_ANNEALED = 10
DRAWS_COMPARED = 1000
MANY = Annealing(num_particles=256)


@dataclass(frozen=True)
class SecondOpinion:
    """What slower methods say of B data.

    Attributes
    ----------
    chains
        Long HMC chains of all data.
    convergence
        R-hat and effective sample sizes of these.
    comparison
        Of draws of the guide with the chains.
    annealed
        Places of the data that were annealed, since they were not trusted.
    log_evidence
        log p(x) of these by two annealings, ``(2, number)``, in nats.
    bounds
        Of log p(x) from both sides, on data that the model made.
    seconds
        What it took.
    """

    chains: HMCResult
    convergence: Convergence
    comparison: Comparison
    annealed: Tensor
    log_evidence: Tensor
    bounds: Bounds
    seconds: float


def consult(
    pair: nn.Module, args: Args, check: PosteriorCheck, plan: AnalysisPlan, seed: int
) -> tuple[PosteriorCheck, SecondOpinion]:
    """Ask for a second opinion; data that annealing repairs get its draws and its log p(x).

    Parameters
    ----------
    pair
        A pair with real latents.
    args
        The batch that was checked.
    check
        What the check of its posteriors says.
    plan
        How much is done.
    seed
        Seed of everything.

    Returns
    -------
    tuple
        The check, with what was repaired, and the opinion.
    """
    begun = time.perf_counter()
    chains = hmc(
        pair,
        args,
        num_chains=CHAINS,
        num_samples=LONG.num_samples,
        num_warmup=LONG.num_warmup,
        seed=seed,
    )
    of_guide = importance_weights(pair, args, DRAWS_COMPARED, seed=seed).latents
    of_chains = _thinned(chains.latents)
    bounds = _bounds(pair, args, plan.num_bidirectional, seed)
    repaired, places, log_evidence = _anneal(pair, args, check, seed, bounds)
    opinion = SecondOpinion(
        chains,
        convergence(chains),
        compare_draws(of_guide, of_chains, seed=seed),
        places,
        log_evidence,
        bounds,
        time.perf_counter() - begun,
    )
    return repaired, opinion


def _thinned(latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return about as many draws of the chains as there are of the guide, evenly spaced."""
    thin = max(1, CHAINS * LONG.num_samples // DRAWS_COMPARED)
    return {name: z.flatten(0, 1)[::thin] for name, z in latents.items()}


def _bounds(pair: nn.Module, args: Args, number: int, seed: int) -> Bounds:
    """Return bounds on as many data of the model as planned, shaped as rows of the batch."""
    like = tuple(_repeated(arg, number) for arg in args)
    return bidirectional_bounds(pair, like, seed=seed)


def _to_anneal(check: PosteriorCheck) -> Tensor:
    """Return places of data that are not trusted; not many more than was planned for."""
    most = max(FEWEST_ANNEALED, int(SHARE_ANNEALED * len(check.verdict)))
    return torch.nonzero(check.verdict == 2).flatten()[:most]


def _anneal(
    pair: nn.Module, args: Args, check: PosteriorCheck, seed: int, bounds: Bounds
) -> tuple[PosteriorCheck, Tensor, Tensor]:
    """Return the repaired check, places of what was annealed, and its log p(x) by two runs."""
    places = _to_anneal(check)
    if not len(places):
        return check, places, torch.zeros(2, 0)
    some = tuple(arg[places.to(arg.device)] for arg in args)
    runs = [annealed_evidence(pair, some, MANY, seed=seed + i) for i in (1, 2)]
    log_evidence = torch.stack([run.log_evidence.cpu().double() for run in runs])
    number = len(next(iter(check.draws.values())))
    better = resample(runs[0].latents, runs[0].log_weights, number, seed=seed)
    # A mean, and not the largest: single bounds are noisy. What is not a number is no proof.
    if bounds.mean_gap < AGREE:
        check = _repaired(check, places, log_evidence, better)
    return check, places, log_evidence


def _repaired(
    check: PosteriorCheck, places: Tensor, log_evidence: Tensor, better: Mapping[str, Tensor]
) -> PosteriorCheck:
    """Take draws and log p(x) from annealing where its two runs agree."""
    agree = _range(log_evidence) < AGREE
    good = places[agree]
    draws = dict(check.draws)
    for name, z in better.items():
        draws[name] = draws[name].clone()
        draws[name][:, good.to(z.device)] = z[:, agree.to(z.device)]
    error = 0.5 * _range(log_evidence)[agree]
    return replace(
        check,
        draws=draws,
        verdict=check.verdict.index_fill(0, good, 1),
        log_evidence=check.log_evidence.index_copy(0, good, log_evidence.mean(0)[agree]),
        standard_error=check.standard_error.index_copy(0, good, error),
    )


def _range(values: Tensor) -> Tensor:
    return (values[0] - values[1]).abs()


def _repeated(arg: Tensor, number: int) -> Tensor:
    """Return so many rows, from the first again where there are fewer."""
    return arg[torch.arange(number, device=arg.device) % len(arg)]
