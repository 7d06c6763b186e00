"""Are verdicts on posteriors right? On pairs whose posteriors are known, in 1 to 200 dimensions.

``--seeds`` runs each family with so many seeds; ``--family`` those whose name has some words in it;
``--write`` writes the table into docs/results.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from _confusion import COLUMNS, WRONG_NATS, counts, row
from _known import (
    Case,
    bent,
    cauchy,
    conjugate,
    funnel,
    linear,
    mixture_prior,
    shell,
    squares,
    walk,
)
from _report import markdown, write
from torch import Tensor

from vaezoo.diagnostics.checking import PosteriorCheck, check_posteriors
from vaezoo.inference.importance import importance_weights

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--seeds", type=int, default=2)
parser.add_argument("--family", default="")
parser.add_argument("--write", action="store_true")

FAMILIES: Sequence[tuple[str, Sequence[Callable[[], Case]]]] = [
    ("far modes, guide has one, d 2-3", [lambda: squares(2), lambda: squares(3, 2)]),
    ("d 5-12", [lambda: squares(5), lambda: squares(10, 2), lambda: squares(12, 3)]),
    ("d 20-50", [lambda: squares(20), lambda: squares(20, 3), lambda: squares(50)]),
    ("far modes, guide has both", [lambda: squares(10, both=True), lambda: squares(30, both=True)]),
    (
        "mixture prior of 2, guide has one, d 2-50",
        [
            lambda: mixture_prior(2),
            lambda: mixture_prior(10, (0.7, 0.3)),
            lambda: mixture_prior(50),
        ],
    ),
    (
        "mixture prior of 8, guide has the best, d 2-50",
        [partial(mixture_prior, d, (1 / 8,) * 8, best=True) for d in (2, 10, 50)],
    ),
    (
        "shells, banana, sine",
        [
            lambda: shell(2),
            lambda: shell(3),
            lambda: shell(5),
            lambda: bent("banana"),
            lambda: bent("sine"),
        ],
    ),
    (
        "linear-Gaussian, guide exact, d 2-50",
        [
            lambda: linear(2, 0.3),
            lambda: linear(10, 0.5),
            lambda: linear(50, 0.5),
            lambda: linear(5, 1e-3),
            lambda: linear(2, 1e-4),
        ],
    ),
    (
        "linear-Gaussian, guide exact, d 100-200",
        [lambda: linear(100, 0.5), lambda: linear(200, 0.5), lambda: walk(100)],
    ),
    (
        "linear-Gaussian, guide wrong, d 2-20",
        [
            lambda: linear(2, 0.3, "diagonal"),
            lambda: linear(10, 0.5, "diagonal"),
            lambda: linear(20, 0.5, change=0.7),
            lambda: linear(20, 0.5, change=1.3),
        ],
    ),
    (
        "Cauchy prior",
        [lambda: cauchy(1, 0.5), lambda: cauchy(2, 1.0), lambda: cauchy(5, 0.3)],
    ),
    ("log scales", [lambda: funnel(3), lambda: funnel(10)]),
    (
        "conjugate, guide exact",
        [
            lambda: conjugate("gamma", 2.0, "exact"),
            lambda: conjugate("gamma", 0.05, "exact"),
            lambda: conjugate("beta", 1.0, "exact"),
            lambda: conjugate("beta", 0.1, "exact"),
        ],
    ),
    (
        "conjugate, guide wrong",
        [
            lambda: conjugate("gamma", 2.0, "log-normal"),
            lambda: conjugate("gamma", 0.5, "log-normal"),
            lambda: conjugate("beta", 1.0, "narrow"),
            lambda: conjugate("beta", 0.1, "narrow"),
        ],
    ),
]
TEXT = """\
Pairs whose posteriors are known in closed form or from a grid; level standard, 4,000 draws. *Wrong*
is a log p(x) that is off by more than 0.2 nats, a mean by more than 0.3 sd, an sd by more than a
factor of 1.3, or a distribution function by more than 0.15, in the worst latent; *fine* is a guide
that is off by less than half of all that, also along the directions in which its width is off
most."""
FAR = """\
How far what is relied on is off, in the worst latent of a datum: draws of the guide of *trusted*
data, and checked draws (1,000) of *repaired* ones; half of the data, and 99 of 100, stay below."""
FAR_HEADER = [
    "verdict", "data", "log p(x), nats", "mean, sds", "sd, factor", "distribution function"
]  # fmt: skip
WRONG = (WRONG_NATS, 0.3, math.log(1.3), 0.15)
HEADER = ["family", *COLUMNS]


def errors(draws: Tensor, exact: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return shift in sds, log ratio of sds, and distance of distribution functions, ``(B,)``."""
    sd = exact.std(0).clamp(min=1e-12)
    # In single precision draws near an edge are equal that are not: none of these is an error.
    draws, exact = ((z.double() / sd * 1e5).round() for z in (draws, exact))
    sd = exact.std(0).clamp(min=1.0)
    shift = ((draws.mean(0) - exact.mean(0)) / sd).abs().amax(-1)
    ratio = (draws.std(0).clamp(min=1e-3) / sd).log().abs().amax(-1)
    draws, exact = (z.flatten(1).T.contiguous().sort().values for z in (draws, exact))
    at = exact[:, :: len(exact[0]) // 40].contiguous()
    below, right = (torch.searchsorted(z, at, side="right") / len(z[0]) for z in (draws, exact))
    return shift, ratio, (below - right).abs().amax(-1).reshape(sd.shape).amax(-1)


def all_errors(off: Tensor, draws: Tensor, exact: Tensor) -> Tensor:
    """Return how far log p(x) is off, in nats, and what :func:`errors` returns, ``(4, B)``."""
    return torch.stack([off.abs(), *errors(draws, exact)])


def worst(of_each: Tensor) -> Tensor:
    """Return the largest of errors ``(4, B)``, in units of those that are wrong, ``(B,)``."""
    return (of_each / torch.tensor(WRONG, dtype=of_each.dtype)[:, None]).amax(0)


def go_together(draws: Tensor, exact: Tensor) -> tuple[Tensor, Tensor]:
    """Return draws and exact ones along the directions in which their widths differ most.

    Directions are those of half of the draws, and what is compared is the other half.
    """
    covariance, right = (_covariance(z[::2]) for z in (draws, exact))
    factor = torch.linalg.cholesky(right)
    white = torch.linalg.solve_triangular(factor, covariance, upper=False)
    white = torch.linalg.solve_triangular(factor, white.mT, upper=False)
    axes = torch.linalg.eigh(white).eigenvectors[..., [0, -1]]
    onto = torch.linalg.solve_triangular(factor.mT, axes, upper=True)
    one, other = (torch.einsum("sbl,blk->sbk", z[1::2].double(), onto) for z in (draws, exact))
    return one, other


def _covariance(draws: Tensor) -> Tensor:
    centred = draws.double() - draws.double().mean(0)
    covariance = torch.einsum("sbl,sbm->blm", centred, centred) / len(draws)
    least = covariance.diagonal(dim1=-2, dim2=-1).mul(1e-9).clamp(min=1e-12)
    return covariance + torch.diag_embed(least)


@dataclass
class Tally:
    """Counts in the order of ``HEADER``, seconds last, and errors of what is relied on."""

    counts: Sequence[float] = (0.0,) * (len(HEADER) - 1)
    trusted: Tensor = field(default_factory=lambda: torch.zeros(4, 0, dtype=torch.float64))
    repaired: Tensor = field(default_factory=lambda: torch.zeros(4, 0, dtype=torch.float64))

    def __add__(self, other: "Tally") -> "Tally":
        sums = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        trusted = torch.cat([self.trusted, other.trusted], 1)
        return Tally(sums, trusted, torch.cat([self.repaired, other.repaired], 1))


def judge(case: Case, seed: int) -> Tally:
    """Return what came out of a case."""
    begun = time.process_time()
    check: PosteriorCheck = check_posteriors(case.pair, (case.x,), split_gap=False, seed=seed)
    seconds = time.process_time() - begun
    with torch.random.fork_rng():
        # Of few latents more: the sd of a skewed one takes many draws.
        number = 40_000 if case.exact.shape[-1] <= 2 else 4000
        guide = importance_weights(case.pair, (case.x,), number, seed=seed + 99).latents["z"]
    off, exact, guide = (check.iwae - case.log_evidence).double(), case.exact, case.features(guide)
    of_guide = all_errors(off, guide, exact)
    checked = case.features(check.draws["z"])
    of_checked = all_errors((check.log_evidence - case.log_evidence).double(), checked, exact)
    together = all_errors(off, *go_together(guide, exact))
    fine = (worst(of_guide) < 0.5) & (worst(together) < 0.5)
    numbers = counts(check.verdict, off, worst(of_guide) > 1, worst(of_checked) > 1, fine, seconds)
    trusted, repaired = check.verdict == 0, check.verdict == 1
    return Tally(numbers, of_guide[:, trusted], of_checked[:, repaired])


def table(seeds: int, word: str) -> tuple[list[list[object]], Tally]:
    """Return a row for each family, and what came out of all."""
    rows: list[list[object]] = []
    total = Tally()
    for family, cases in FAMILIES:
        if word not in family:
            continue
        tally = Tally()
        for seed in range(seeds):
            for make in cases:
                torch.manual_seed(seed)
                case = make()
                each = judge(case, seed)
                print(f"{case.family:45}", *(f"{v:6.1f}" for v in each.counts), flush=True)
                tally += each
        total += tally
        rows.append(row(family, tally.counts))
    return [*rows, row("all", total.counts)], total


def how_far(total: Tally) -> list[list[object]]:
    """Return the errors that half, and that 99 of 100, of what is relied on stay below."""
    rows: list[list[object]] = [FAR_HEADER]
    for name, of_each in (("trusted", total.trusted), ("repaired", total.repaired)):
        for share in (0.5, 0.99):
            if of_each.shape[1]:
                nats, shift, ratio, distance = of_each.quantile(share, 1).tolist()
                sd = f"{math.exp(ratio):.2f}"
                rows.append(
                    [name, f"{share:.0%}", f"{nats:.3f}", f"{shift:.2f}", sd, f"{distance:.3f}"]
                )
    return rows


def main() -> None:
    """Run the families."""
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    rows, total = table(arguments.seeds, arguments.family)
    far = markdown(how_far(total))
    if arguments.write:
        seeds = f"Seeds 0 to {arguments.seeds - 1}, 24 data of each pair."
        text = f"{TEXT} {seeds}\n\n{FAR}\n\n{far}"
        write("verdicts", "Verdicts against the truth", text, [HEADER, *rows], began)
    else:
        print(f"{markdown([HEADER, *rows])}\n\n{far}")


if __name__ == "__main__":
    main()
