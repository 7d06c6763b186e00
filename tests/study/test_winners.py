"""Winners of tasks: the simplest family that none beats beyond the noise."""

from typing import Any

import pytest

from vaezoo.study.result import Result, Row
from vaezoo.study.winners import Task, winner_of, winners

FAMILIES = {"an autoencoder": ("ae", "rae"), "a VAE": ("vae",)}


def result(*values: tuple[str, float, float | None], measure: str = "probe") -> Result:
    rows = [Row("toy", variant, measure, "", 5, value, error) for variant, value, error in values]
    return Result("toy", "smoke", 5, "?", "", tuple(rows), (), (), "")


@pytest.mark.parametrize(
    ("vae", "better", "family", "is_enough"),
    [
        (0.95, "larger", "a VAE", False),
        (0.82, "larger", "an autoencoder", True),
        (0.50, "larger", "an autoencoder", False),
        (0.50, "smaller", "a VAE", False),
    ],
)
def test_the_simplest_that_none_beats_wins(
    vae: float, better: Any, family: str, is_enough: bool
) -> None:
    own = result(("ae", 0.80, 0.01), ("rae", 0.70, 0.01), ("vae", vae, 0.01))
    winner = winner_of(own, Task("probe", better), "toy", FAMILIES)
    assert winner is not None
    assert (winner.family, winner.is_enough) == (family, is_enough)


def test_one_seed_decides_nothing() -> None:
    own = result(("ae", 0.1, None), ("vae", 0.9, None))
    winner = winner_of(own, Task("probe"), "toy", FAMILIES)
    assert winner is not None
    assert winner.is_enough


def test_a_task_of_one_family_has_no_winner() -> None:
    assert winner_of(result(("vae", 0.9, 0.1)), Task("probe"), "toy", FAMILIES) is None


def test_winners_are_said_by_family() -> None:
    own = result(("ae", 0.80, 0.01), ("vae", 0.95, 0.01))
    text = winners(own, [Task("probe"), Task("MIG")], FAMILIES)
    assert text == "A VAE is best in 1 of 1: probe (toy)."
