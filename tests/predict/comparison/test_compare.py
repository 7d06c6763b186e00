"""Runs side by side, and those that no number puts side by side."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vaezoo
from vaezoo import RequestError, Run
from vaezoo.cli import main
from vaezoo.predict.comparison.agreement import seeds_agree
from vaezoo.predict.comparison.over_runs import over_runs

X = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32) * 3 + 1


def fit(model: str = "vae-linear", x: object = X, **how: object) -> Run:
    training = {"steps": 40, **how.pop("training", {})}  # type: ignore[dict-item]
    return vaezoo.fit(model, x, training=training, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "seeds"
    vaezoo.fit("vae-linear", training={"steps": 60}, seeds=range(3), out=out)
    return out


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "longer"
    vaezoo.fit("vae-linear", training={"steps": 600}, out=out)
    return out


def test_a_run_is_the_same_as_itself() -> None:
    run = fit()
    sides = vaezoo.compare([run, run], num_samples=5).sides
    assert [side.verdict for side in sides] == ["best", "the same within noise"]
    assert sides[1].difference is not None
    assert sides[1].difference.interval == (0.0, 0.0)


@pytest.mark.parametrize("standardize", [False, True])
def test_values_are_those_of_evaluate_in_units_of_the_data(standardize: bool) -> None:
    run = fit(data_settings={"standardize": standardize})
    other = fit(data_settings={"standardize": standardize}, training={"seed": 1})
    result = vaezoo.evaluate(run, iwae=(20,))
    expected = result.in_units.get("IWAE 20", result.iwae[0].value)
    compared = vaezoo.compare([run, other], num_samples=20)
    values = {side.seeds: side.value for side in compared.sides}
    assert values[run.training.seed,] == pytest.approx(expected, abs=1e-4)


def test_standardised_values_stand_beside_others_in_units_of_the_data() -> None:
    runs = [
        fit(data_settings={"standardize": s}, training={"steps": 300, "lr": 0.05})
        for s in (False, True)
    ]
    values = [side.value for side in vaezoo.compare(runs).sides]
    assert values[0] - values[1] < 1.0  # 4.3 nats of log-volume are accounted for
    assert vaezoo.compare(runs).differing["data.standardize"]


def test_differences_are_those_of_the_values() -> None:
    runs = [fit(training={"steps": steps}) for steps in (5, 300)]
    result = vaezoo.compare(runs, num_samples=10)
    best, worse = result.values
    assert result.sides[1].difference is not None
    assert result.sides[1].difference.value == pytest.approx(float((worse - best).mean()))
    assert result.sides[1].verdict == "lower"
    assert result.differing == {"steps": ("300", "5")}


def test_a_folder_of_seeds_is_one_side(seeds: Path, longer: Path) -> None:
    result = vaezoo.compare([seeds, longer], num_samples=5)
    assert {side.name: side.seeds for side in result.sides} == {"seeds": (0, 1, 2), "longer": (0,)}
    assert result.sides[0].name == "longer"


def refused() -> Sequence[tuple[list[Run], str]]:
    binary = (X > 0).astype(np.float32)
    return [
        ([fit()], "name two runs or more"),
        ([fit(), fit(x=X + 1)], "ask both about the same by `data`"),
        ([fit(), fit("ae")], "there is no density"),
        ([fit("vae-bernoulli", binary), fit(x=binary)], "has a probability, and"),
        ([fit("vae-bernoulli", None), fit(x=None)], "explains bits that are drawn from them"),
        ([fit(), fit(training={"seed": 1}, data_settings={"split_seed": 3})], "rows are not the"),
    ]


def test_what_no_number_compares_is_refused() -> None:
    for runs, said in refused():
        with pytest.raises(RequestError) as refusal:
            vaezoo.compare(runs)
        assert said in str(refusal.value)


def test_means_over_runs_are_means(seeds: Path) -> None:
    results = [vaezoo.evaluate(folder, iwae=(3,)) for folder in sorted(seeds.glob("seed-*"))]
    estimate = over_runs(results)["IWAE 3"]
    assert estimate.value == pytest.approx(np.mean([r.iwae[0].value for r in results]))


def test_means_over_other_rows_are_refused(seeds: Path) -> None:
    results = [vaezoo.evaluate(seeds / "seed-0", iwae=(1,), limit=n) for n in (5, 6)]
    with pytest.raises(RequestError, match="on other rows"):
        over_runs(results)


def test_evaluate_takes_the_folder_of_seeds(seeds: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", str(seeds), "--iwae", "2", "--json"])
    facts = json.loads(result.stdout)
    assert len(facts["runs"]) == 3
    assert facts["over_runs"]["ELBO"]["interval"][0] < facts["over_runs"]["ELBO"]["value"]


def test_evaluate_has_no_means_of_unlike_runs(seeds: Path, longer: Path) -> None:
    words = ["evaluate", str(seeds / "seed-0"), str(longer), "--iwae", "2"]
    result = CliRunner().invoke(main, words)
    assert "no means: the runs differ in steps" in result.stdout


@pytest.mark.parametrize("ending", ["png", "csv"])
def test_compare_writes_what_is_asked(
    seeds: Path, longer: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"out.{ending}"
    words = ["compare", str(seeds), str(longer), "-k", "3", "-o", str(out)]
    result = CliRunner().invoke(main, words)
    assert "lower" in result.stdout
    assert out.stat().st_size > 1_000
    if ending == "csv":
        rows = list(csv.reader(out.read_text(encoding="utf-8").splitlines()))
        assert (len(rows), len(rows[0])) == (181, 5)


def test_seeds_of_an_exact_model_agree(tmp_path: Path) -> None:
    """Probabilistic PCA is known up to a rotation of z, on which the mean of x does not depend."""
    training = {"steps": 600, "lr": 0.05}
    runs = vaezoo.fit("vae-linear", X, training=training, seeds=range(3))
    agreement = seeds_agree(runs)
    assert agreement is not None
    assert agreement.upper < 1.1


def test_seeds_that_were_hardly_trained_do_not() -> None:
    sides = [vaezoo.fit("vae-linear", X, training={"steps": 2}, seeds=range(3)), fit()]
    of_seeds, of_one = sorted(
        vaezoo.compare(sides, num_samples=2).sides, key=lambda s: -len(s.seeds)
    )
    assert of_one.agreement is None
    assert of_seeds.agreement is not None
    assert of_seeds.agreement.median > 1.5


def test_compare_says_how_far_seeds_agree(seeds: Path, longer: Path) -> None:
    result = CliRunner().invoke(main, ["compare", str(seeds), str(longer), "-k", "2"])
    assert "nested R-hat of E[x | z]" in result.stdout


def test_a_single_run_has_nobody_to_agree_with() -> None:
    with pytest.raises(RequestError, match="name two or more"):
        seeds_agree([fit()])
