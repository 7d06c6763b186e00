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
from _known import Case, bent, conjugate, funnel, linear, mixture_prior, shell, squares
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
        ],
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
that is off by less than half of all that."""
WRONG_NATS, WRONG_SHIFT, WRONG_RATIO, WRONG_DISTRIBUTION = 0.2, 0.3, math.log(1.3), 0.15
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
    draws, exact = (z.float().double() for z in (draws, exact))  # as files hold them
    sd = exact.std(0).clamp(min=1e-12)
    shift = ((draws.mean(0) - exact.mean(0)) / sd).abs().amax(-1)
    ratio = (draws.std(0).clamp(min=1e-12) / sd).log().abs().amax(-1)
    levels = torch.linspace(0.025, 0.975, 39, dtype=exact.dtype)
    at = (
        exact.quantile(levels, 0)
        if exact[:, :, 0].numel() * exact.shape[-1] < 1.6e7
        else exact[:4000].quantile(levels, 0)
    )
    # Compared with the share of exact draws, and not with the level: values may be equal.
    below, right = (torch.stack([(z <= q).double().mean(0) for q in at]) for z in (draws, exact))
    return shift, ratio, (below - right).abs().amax((0, -1))


def is_wrong(off: Tensor, draws: Tensor, exact: Tensor, factor: float = 1.0) -> Tensor:
    """Return which log p(x), or which draws, are wrong, ``(B,)``."""
    shift, ratio, distance = errors(draws, exact)
    wrong = (off.abs() > factor * WRONG_NATS) | (shift > factor * WRONG_SHIFT)
    return wrong | (ratio > factor * WRONG_RATIO) | (distance > factor * WRONG_DISTRIBUTION)


def judge(case: Case, seed: int) -> dict[str, float]:
    """Return the counts of a case."""
    begun = time.process_time()
    check: PosteriorCheck = check_posteriors(case.pair, (case.x,), split_gap=False, seed=seed)
    seconds = time.process_time() - begun
    with torch.random.fork_rng():
        guide = importance_weights(case.pair, (case.x,), 4000, seed=seed + 99).latents["z"]
    of_guide = (check.iwae - case.log_evidence).double()
    of_check = (check.log_evidence - case.log_evidence).double()
    guide, checked = case.features(guide), case.features(check.draws["z"])
    guide_wrong = is_wrong(of_guide, guide, case.exact)
    check_wrong = is_wrong(of_check, checked, case.exact)
    fine = ~is_wrong(of_guide, guide, case.exact, 0.5)
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
