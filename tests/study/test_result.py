"""Claims are judged by the rule that they state."""

import numpy as np
import pytest

from vaezoo.study import Claim
from vaezoo.study.result import judged

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(2, 5, 200))


def values(shift: float) -> dict[tuple[str, str, str], np.ndarray]:
    return {("toy", "few", "elbo"): NOISE[0], ("toy", "many", "elbo"): NOISE[1] + shift}


@pytest.mark.parametrize(
    ("relation", "by", "shift", "state"),
    [
        ("larger", 0.0, 3.0, "holds"),
        ("larger", 0.0, -3.0, "refuted"),
        ("larger", 0.0, 0.0, "open"),
        ("larger", 5.0, 3.0, "refuted"),
        ("smaller", 0.0, -3.0, "holds"),
        ("smaller", 5.0, -3.0, "refuted"),
        ("same", 1.0, 0.0, "holds"),
        ("same", 1.0, 3.0, "refuted"),
        ("same", 1e-6, 0.0, "open"),
    ],
)
def test_a_claim_is_judged_by_its_interval(
    relation: str, by: float, shift: float, state: str
) -> None:
    claim = Claim("said", "elbo", "many", "few", relation, by)  # type: ignore[arg-type]
    assert judged(claim, "toy", values(shift)).state == state  # type: ignore[union-attr]


def test_one_seed_with_one_number_decides_nothing() -> None:
    single = {
        ("toy", name, "elbo"): np.array([[value]]) for name, value in (("a", 1.0), ("b", 9.0))
    }
    outcome = judged(Claim("said", "elbo", "b", "a"), "toy", single)
    assert outcome is not None
    assert outcome.state == "open"


def test_a_claim_about_a_number() -> None:
    single = {("toy", "a", "probe"): np.array([[0.9], [0.91], [0.92]])}
    outcome = judged(Claim("said", "probe", "a", 0.5), "toy", single)
    assert outcome is not None
    assert (outcome.state, round(outcome.difference.value, 2)) == ("holds", 0.41)


def test_open_claims_are_rare_enough_to_mean_something() -> None:
    """Of two variants that are alike, a claim is decided in at most 5 of 100 cases.

    600 cases; a rate of 0.05 gives more than 47 in less than 1 of 1,000 runs.
    """
    rng = np.random.default_rng(1)
    decided = 0
    for _ in range(600):
        first, second = rng.normal(size=(2, 3, 1)) + rng.normal(size=(2, 3, 40))
        both = {("toy", "a", "m"): first, ("toy", "b", "m"): second}
        outcome = judged(Claim("said", "m", "b", "a"), "toy", both)
        assert outcome is not None
        decided += outcome.state != "open"
    assert decided <= 47
