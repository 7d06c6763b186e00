"""Which distribution is chosen: p(z), q(z | x), p(x | z), or all? And does it matter?

Asked: only normal and Bernoulli distributions are to be seen in examples; which of the three is it
that one chooses, may all be others, and is there a comparison?

Hypothesis
    All three are choices, and most triples train. On greys what p(x | z) says of them matters by
    tens of nats, prior and posterior by a few at most.

Refuted by
    A prior or a posterior that gains as much over the normal one as the best p(x | z) does.

Limits
    Digits in 0 ... 1 with noise of their grey step, one axis changed at a time; all p(x | z)
    are densities of the same greys, so that their log p(x) compare. Which triples have no meaning
    is asked of the library when the answer is made, and trains nothing.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from vaezoo.study import Claim, Result, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.density import bounds
from vaezoo.study.toys import noisy_digits

__all__ = ["study"]

NORMAL = "all normal"
# Of each axis, beside the normal one, from which scale on.
PRIORS = {"laplace": 0, "mog": 1, "vamp": 1, "flow": 2, "student-t": 2}
POSTERIORS = {"full-rank": 0, "mean-only": 1, "iaf": 1, "mixture": 2, "student-t": 2}
LIKELIHOODS = {
    "laplace": 0, "student-t": 1, "gaussian-mixture": 1, "continuous-bernoulli": 1, "beta": 2
}  # fmt: skip


def _variants(axis: str, title: str, names: dict[str, int]) -> Iterator[Variant]:
    for name, first in names.items():
        config = {"z_dim": 10, "hidden": [200], axis: name}
        yield Variant(f"{title} {name}", "vae-gaussian", config, scales=SCALES[first:])


def refused() -> dict[str, str]:
    """Return why triples of distributions have no meaning, by prior and posterior."""
    from vaezoo.config import resolve
    from vaezoo.errors import RequestError
    from vaezoo.parts.axes import POSTERIORS as QS
    from vaezoo.parts.axes import PRIORS as PS
    from vaezoo.registry import get_model

    reasons = {}
    for prior, posterior in product(sorted(PS.choices), sorted(QS.choices)):
        try:
            resolve(get_model("vae-gaussian"), {"prior": prior, "posterior": posterior})
        except RequestError as error:
            reasons[f"{prior} and {posterior}"] = str(error)
    return reasons


def answer(result: Result) -> str:
    """Say what the best of each axis gains, and what is refused, in the library's words."""
    sentences = []
    for title in ("p(x | z)", "p(z)", "q(z | x)"):
        rows: list[Any] = [
            row for row in result.rows
            if row.measure == "log p(x)" and row.variant.startswith(title) and row.difference
        ]  # fmt: skip
        if rows:
            best = max(rows, key=lambda row: row.difference.value)
            low, high = best.difference.interval or (float("nan"),) * 2
            sentences.append(
                f"{title} may be chosen: the best other one is{best.variant.removeprefix(title)}, "
                f"{best.difference.value:+.1f} nats [{low:.1f}, {high:.1f}] beside a normal one."
            )
    reasons = refused()
    kinds = {text.partition(";")[0] for text in reasons.values()}
    why = "; ".join(sorted(kinds))
    sentences.append(f"{len(reasons)} pairs of a prior and a posterior are refused: {why}.")
    return " ".join(sentences)


study = Study(
    name="distributions",
    rows=("1-46", "1-47", "4-14"),
    variants=[
        Variant(NORMAL, "vae-gaussian", {"z_dim": 10, "hidden": [200]}),
        *_variants("likelihood", "p(x | z)", LIKELIHOODS),
        *_variants("prior", "p(z)", PRIORS),
        *_variants("posterior", "q(z | x)", POSTERIORS),
    ],
    data={"digits": noisy_digits},
    measures=[bounds(50)],
    claims=[
        Claim("A normal p(x | z) is as good as a Laplace one", "log p(x)", "p(x | z) laplace",
              NORMAL, "same", 0.5, ("1-47",)),
        Claim("A mixture of normals for each pixel tells more", "log p(x)",
              "p(x | z) gaussian-mixture", NORMAL, "larger", 0.5, ("1-47", "4-14")),
        Claim("A normal p(z) is as good as a mixture", "log p(x)", "p(z) mog", NORMAL, "same",
              0.5, ("1-46", "1-47")),
        Claim("A posterior with all correlations is better than a diagonal one", "log p(x)",
              "q(z | x) full-rank", NORMAL, "larger", 0.5, ("4-14",)),
        Claim("A flow as the posterior is better than a diagonal one", "log p(x)",
              "q(z | x) iaf", NORMAL, "larger", 0.5, ("4-14",)),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 10, "engine": "eager"}, limit=40),
        "quick": Scale(4, 3, {"steps": 600, "lr": 2e-3}, limit=180),
        "full": Scale(10, 240, {"steps": 20000, "lr": 1e-3}),
    },
    answer=answer,
)  # fmt: skip
