"""Are verdicts on posteriors right? On pairs whose posteriors are known, in 1 to 200 dimensions.

``--seeds`` runs each family with so many seeds; ``--family`` those whose name has some words in it;
``--write`` writes the table into docs/results.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
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
WRONG_NATS = 0.2
WRONG = (WRONG_NATS, 0.3, math.log(1.3), 0.15)
HEADER = [
    "family",
    "data",
    "trusted",
    "repaired",
    "not",
    "log p wrong",
    "caught",
    "wrongly trusted",
    "wrongly repaired",
    "fine",
    "of these not trusted",
    "s / 100",
]


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


def wrong_and_fine(off: Tensor, draws: Tensor, exact: Tensor) -> tuple[Tensor, Tensor]:
    """Return which log p(x) or draws are wrong, and which are right by a wide margin, ``(B,)``."""
    parts = (off.abs(), *errors(draws, exact))
    worst = torch.stack([part / most for part, most in zip(parts, WRONG, strict=True)]).amax(0)
    return worst > 1, worst < 0.5


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


def judge(case: Case, seed: int) -> dict[str, float]:
    """Return the counts of a case."""
    begun = time.process_time()
    check: PosteriorCheck = check_posteriors(case.pair, (case.x,), split_gap=False, seed=seed)
    seconds = time.process_time() - begun
    with torch.random.fork_rng():
        # Of few latents more: the sd of a skewed one takes many draws.
        number = 40_000 if case.exact.shape[-1] <= 2 else 4000
        guide = importance_weights(case.pair, (case.x,), number, seed=seed + 99).latents["z"]
    of_guide = (check.iwae - case.log_evidence).double()
    of_check = (check.log_evidence - case.log_evidence).double()
    guide, checked = case.features(guide), case.features(check.draws["z"])
    guide_wrong, fine = wrong_and_fine(of_guide, guide, case.exact)
    check_wrong, _ = wrong_and_fine(of_check, checked, case.exact)
    fine &= wrong_and_fine(of_guide, *go_together(guide, case.exact))[1]
    trusted, repaired, refused = (check.verdict == place for place in range(3))
    missed = of_guide.abs() > WRONG_NATS
    counts = [
        trusted, repaired, refused, missed, missed & ~trusted, trusted & guide_wrong,
        repaired & check_wrong, fine, fine & ~trusted,
    ]  # fmt: skip
    return dict(
        zip(HEADER[1:], [len(case.x), *(int(c.sum()) for c in counts), seconds], strict=True)
    )


def table(seeds: int, word: str) -> list[list[object]]:
    """Return a row for each family, and one of all."""
    rows: list[list[object]] = []
    totals = dict.fromkeys(HEADER[1:], 0.0)
    for family, cases in FAMILIES:
        if word not in family:
            continue
        sums = dict.fromkeys(HEADER[1:], 0.0)
        for seed in range(seeds):
            for make in cases:
                torch.manual_seed(seed)
                case = make()
                counts = judge(case, seed)
                print(f"{case.family:45}", *(f"{v:6.1f}" for v in counts.values()), flush=True)
                sums = {name: sums[name] + counts[name] for name in sums}
        totals = {name: totals[name] + sums[name] for name in totals}
        rows.append(_row(family, sums))
    return [*rows, _row("all", totals)]


def _row(name: str, sums: dict[str, float]) -> list[object]:
    *counts, seconds = sums.values()
    return [name, *(int(c) for c in counts), f"{100 * seconds / max(1, counts[0]):.1f}"]


def main() -> None:
    """Run the families."""
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    rows = [HEADER, *table(arguments.seeds, arguments.family)]
    if arguments.write:
        write("verdicts", "Verdicts against the truth", TEXT, rows, began)
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
