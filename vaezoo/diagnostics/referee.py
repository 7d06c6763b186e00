"""Level full: referees that share nothing with the check of a posterior but the model.

Long chains say whether they agree. Data that are not trusted are annealed, twice, with other
particles: where both agree in log p(x), their particles are draws from the posterior. A classifier
says whether draws of the guide can be told from those of the chains, and on data that the model
made, annealing from both sides says how far off it is itself.
"""

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.checking import CHAINS, PosteriorCheck
from vaezoo.diagnostics.comparison import Comparison, compare_draws
from vaezoo.diagnostics.costs import LONG, SHARE_ANNEALED, Plan
from vaezoo.inference.annealing import Annealing, Bounds, annealed_evidence, bidirectional_bounds
from vaezoo.inference.hmc import Convergence, HMCResult, convergence, hmc
from vaezoo.inference.importance import importance_weights, resample
from vaezoo.pairs.sites import Args

__all__ = ["Referee", "consult"]

AGREE = 0.5
FEWEST_ANNEALED = 10
DRAWS_COMPARED = 1000
MANY = Annealing(num_particles=256)


@dataclass(frozen=True)
class Referee:
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
    pair: nn.Module, args: Args, found: PosteriorCheck, plan: Plan, seed: int
) -> tuple[PosteriorCheck, Referee]:
    """Ask the referees; data that annealing repairs get its draws and its log p(x)."""
    begun = time.perf_counter()
    chains = hmc(
        pair,
        args,
        num_chains=CHAINS,
        num_samples=LONG.num_samples,
        num_warmup=LONG.num_warmup,
        seed=seed,
    )
    drawn = importance_weights(pair, args, DRAWS_COMPARED, seed=seed).latents
    thin = max(1, CHAINS * LONG.num_samples // DRAWS_COMPARED)
    reference = {name: z.flatten(0, 1)[::thin] for name, z in chains.latents.items()}
    made = tuple(_repeated(arg, plan.num_bidirectional) for arg in args)
    places = _to_anneal(found)
    repaired, log_evidence = _anneal(pair, args, found, places, seed)
    referee = Referee(
        chains,
        convergence(chains),
        compare_draws(drawn, reference, seed=seed),
        places,
        log_evidence,
        bidirectional_bounds(pair, made, seed=seed),
        time.perf_counter() - begun,
    )
    return repaired, referee


def _to_anneal(found: PosteriorCheck) -> Tensor:
    """Return places of data that are not trusted; not many more than was planned for."""
    most = max(FEWEST_ANNEALED, int(SHARE_ANNEALED * len(found.verdict)))
    return torch.nonzero(found.verdict == 2).flatten()[:most]


def _anneal(
    pair: nn.Module, args: Args, found: PosteriorCheck, places: Tensor, seed: int
) -> tuple[PosteriorCheck, Tensor]:
    if not len(places):
        return found, torch.zeros(2, 0)
    some = tuple(arg[places.to(arg.device)] for arg in args)
    runs = [annealed_evidence(pair, some, MANY, seed=seed + i) for i in (1, 2)]
    log_evidence = torch.stack([run.log_evidence.cpu().double() for run in runs])
    agree = _range(log_evidence) < AGREE
    number = len(next(iter(found.draws.values())))
    better = resample(runs[0].latents, runs[0].log_weights, number, seed=seed)
    good = places[agree]
    draws = dict(found.draws)
    for name, z in better.items():
        draws[name] = draws[name].clone()
        draws[name][:, good.to(z.device)] = z[:, agree.to(z.device)]
    error = 0.5 * _range(log_evidence)[agree]
    repaired = replace(
        found,
        draws=draws,
        verdict=found.verdict.index_fill(0, good, 1),
        log_evidence=found.log_evidence.index_copy(0, good, log_evidence.mean(0)[agree]),
        standard_error=found.standard_error.index_copy(0, good, error),
    )
    return repaired, log_evidence


def _range(values: Tensor) -> Tensor:
    return (values[0] - values[1]).abs()


def _repeated(arg: Tensor, number: int) -> Tensor:
    """Return so many rows, from the first again where there are fewer."""
    return arg[torch.arange(number, device=arg.device) % len(arg)]
