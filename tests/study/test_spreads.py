"""Spreads over settings: which of two models is harder to tune."""

from vaezoo.study.result import Result, Row
from vaezoo.study.spreads import spread_of, spreads
from vaezoo.study.winners import Task

VALUES = {"ae": 0.90, "ae, lr 0.01": 0.88, "vae": 0.93, "vae, lr 0.01": 0.63}


def result(error: float | None = 0.01) -> Result:
    rows = [Row("toy", name, "probe", "", 5, value, error) for name, value in VALUES.items()]
    return Result("toy", "smoke", 5, "?", "", tuple(rows), (), (), "")


def test_spread_is_the_largest_minus_the_smallest() -> None:
    spread = spread_of(result(), Task("probe"), "toy", "vae")
    assert spread is not None
    size, worst = spread
    assert (round(size.value, 6), worst) == (0.3, "lr 0.01")
    assert size.interval is not None
    assert [round(end, 4) for end in size.interval] == [0.2576, 0.3424]


def test_where_less_is_better_the_largest_is_worst() -> None:
    spread = spread_of(result(), Task("probe", "smaller"), "toy", "vae")
    assert spread is not None
    assert spread[1] == "usual settings"


def test_a_model_without_the_measure_has_no_spread() -> None:
    assert spread_of(result(), Task("log p(x)"), "toy", "vae") is None


def test_the_larger_spread_is_harder_to_tune() -> None:
    text = spreads(result(), [Task("probe"), Task("MSE")], ["ae", "vae"], [("ae", "vae")])
    assert text == (
        "vae is harder to tune than ae: probe (toy). "
        "Spread of probe (toy): ae 0.020 [-0.022, 0.062], worst with lr 0.01; "
        "vae 0.300 [0.258, 0.342], worst with lr 0.01."
    )


def test_one_seed_decides_nothing() -> None:
    text = spreads(result(None), [Task("probe")], ["ae", "vae"], [("ae", "vae")])
    assert text.startswith("ae and vae are as hard to tune as each other: probe (toy)")
