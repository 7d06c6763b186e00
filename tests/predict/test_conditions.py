"""Arguments that are no data: conditions, controls, and several observed arguments."""

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from click.testing import CliRunner
from pyro import distributions as dist
from torch import Tensor, nn

import vaezoo
from vaezoo.cli import main
from vaezoo.data import load_file
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings
from vaezoo.testing.check import made_up_batch

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 3, 60)
C = RNG.normal(size=(60, 2)).astype(np.float32)
X = (10 * LABEL[:, None] + C + 0.1 * RNG.normal(size=(60, 2))).astype(np.float32)


class Conditional(nn.Module):
    """x ~ N(10 label + c + z, 0.1^2), z ~ N(0, 0.1^2): the conditions say nearly all of x."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def model(self, x: Tensor, label: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(c), 0.1).to_event(1))
            loc = 10.0 * label.unsqueeze(-1) + c + z
            pyro.sample("x", dist.Normal(loc, 0.1).to_event(1), obs=x)

    def guide(self, x: Tensor, label: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros_like(c), self.scale.abs()).to_event(1))


class TwoSites(nn.Module):
    """z ~ N(0, 1); a part of x, and w, observe it."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def model(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("real", dist.Normal(z, 0.1).to_event(1), obs=x[:, :1])
            pyro.sample("bit", dist.Bernoulli(logits=5 * z).to_event(1), obs=x[:, 1:])
            pyro.sample("w", dist.Normal(2 * z.expand(-1, 3), 0.1).to_event(1), obs=w)

    def guide(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, :1], self.scale.abs()).to_event(1))


class Labelled(nn.Module):
    """x is noise around z, and z says which label a row has."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.classifier = nn.Linear(2, 3)

    def model(self, x: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 10.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
            pyro.sample("label", dist.Categorical(logits=self.classifier(z)), obs=label)

    def guide(self, x: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))


@pytest.fixture(scope="module")
def conditional() -> vaezoo.Run:
    data = {"x": X, "label": LABEL, "c": C}
    return vaezoo.fit(Conditional, data, training={"steps": 2})


@pytest.fixture(scope="module")
def two_sites() -> vaezoo.Run:
    z = RNG.normal(size=(60, 1)).astype(np.float32)
    x = np.concatenate([z, z > 0], 1).astype(np.float32)
    return vaezoo.fit(TwoSites, {"x": x, "w": 2 * z.repeat(3, 1)}, training={"steps": 2})


def test_samples_follow_the_conditions_that_are_given(conditional: vaezoo.Run) -> None:
    samples = vaezoo.sample(conditional, 5, given={"label": 2, "c": [0.0, 1.0]})
    np.testing.assert_allclose(samples, np.tile([20.0, 21.0], (5, 1)), atol=0.6)


def test_each_sample_may_have_its_own_condition(conditional: vaezoo.Run) -> None:
    samples = vaezoo.sample(conditional, 3, given={"label": [0, 1, 2], "c": np.zeros((3, 2))})
    np.testing.assert_allclose(np.asarray(samples)[:, 0], [0.0, 10.0, 20.0], atol=0.6)


def test_conditions_of_random_data_stay_together(conditional: vaezoo.Run) -> None:
    args = dict(zip(("x", "label", "c"), conditional.placeholder(50), strict=True))
    rows = {(int(n), *row.tolist()) for n, row in zip(LABEL, C, strict=True)}
    assert {(int(n), *c.tolist()) for n, c in zip(args["label"], args["c"], strict=True)} <= rows


def test_reconstructions_under_other_conditions(conditional: vaezoo.Run) -> None:
    _, x = vaezoo.reconstruct(conditional, limit=4, given={"label": 1})
    c = C[conditional.find_data().rows("test")[:4]]
    np.testing.assert_allclose(x, 10 + c, atol=0.5)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"lable": 1}, "'lable' is no condition of the model; did you mean 'label'"),
    "shape": ({"c": [1.0, 2.0, 3.0]}, r"'c' has shape \(5, 3\); give one of shape \(2,\)"),
    "rows": ({"label": [1, 2]}, "'label' has 2 rows, and 5 are wanted"),
    "observed": ({"x": 1.0}, "'x' is no condition"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_given_wrongly_is_refused(conditional: vaezoo.Run, name: str) -> None:
    given, message = WRONG[name]
    with pytest.raises(RequestError, match=message):
        vaezoo.sample(conditional, 5, given=given)


QUESTIONS: dict[str, Any] = {
    "reconstruct": lambda run, **of: vaezoo.reconstruct(run, **of),
    "encode": lambda run, **of: vaezoo.encode(run, **of),
    "evaluate": lambda run, **of: vaezoo.evaluate(run, iwae=(1,), **of),
    "draw_posterior": lambda run, **of: vaezoo.draw_posterior(run, num_samples=8, **of),
    "analyse": lambda run, **of: vaezoo.analyse(run, level="quick", **of),
    "impute": lambda run, **of: vaezoo.impute(run, fraction=0.5, num_samples=2, burn_in=1, **of),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_takes_conditions_and_refuses_others(
    conditional: vaezoo.Run, question: str
) -> None:
    assert QUESTIONS[question](conditional, limit=4, given={"label": 1, "c": np.zeros((4, 2))})
    with pytest.raises(RequestError, match="'lable' is no condition of the model; did you mean"):
        QUESTIONS[question](conditional, limit=4, given={"lable": 1})
    with pytest.raises(RequestError, match=r"'c' has 3 rows, and 4 are wanted"):
        QUESTIONS[question](conditional, limit=4, given={"c": np.zeros((3, 2))})


def test_a_bound_under_the_conditions_of_the_data_is_the_same(conditional: vaezoo.Run) -> None:
    rows = conditional.find_data().rows("test")[:5]
    own = {"label": LABEL[rows], "c": C[rows]}
    of_data, same, other = (
        vaezoo.evaluate(conditional, iwae=(10,), limit=5, given=given).iwae[0].value
        for given in (None, own, {"label": LABEL[rows] + 1})
    )
    assert of_data == same
    assert other < of_data - 100


def test_draws_of_the_prior_follow_the_conditions_too(conditional: vaezoo.Run) -> None:
    given = {"label": [0, 1], "c": [0.0, 0.0]}
    tree = vaezoo.draw_posterior(conditional, limit=2, num_samples=8, groups="all", given=given)
    x = np.asarray(tree["prior_predictive"]["x"]).reshape(8, 2)
    np.testing.assert_allclose(x, 10.0 * np.tile([0, 1], 4)[:, None].repeat(2, 1), atol=0.8)


@pytest.mark.parametrize("value", [1.5, "three"])
def test_a_condition_is_of_its_type(conditional: vaezoo.Run, value: Any) -> None:
    with pytest.raises(RequestError, match="'label' takes"):
        vaezoo.sample(conditional, 5, given={"label": value})


def test_missing_entries_are_drawn_under_what_is_given(conditional: vaezoo.Run) -> None:
    """x given label and c is 10 label + c, with an sd of 0.14: 200 draws. Failure rate 1e-6."""
    conditions = {"label": 1, "c": [0.5, -0.5]}
    options = {"fraction": 1.0, "num_samples": 200, "limit": 4}
    filled = vaezoo.impute(conditional, given=conditions, **options)
    np.testing.assert_allclose(filled.mean, np.tile([10.5, 9.5], (4, 1)), atol=0.2)


def test_several_observed_arguments_are_drawn_by_name(two_sites: vaezoo.Run) -> None:
    samples = vaezoo.sample(two_sites, 20, x="sample")
    assert isinstance(samples, dict)
    assert {name: rows.shape for name, rows in samples.items()} == {"x": (20, 2), "w": (20, 3)}
    assert set(np.unique(samples["x"][:, 1])) <= {0.0, 1.0}
    np.testing.assert_allclose(samples["w"], 2 * samples["x"][:, :1].repeat(3, 1), atol=1.0)


def test_several_observed_arguments_are_reconstructed(two_sites: vaezoo.Run) -> None:
    data, x = vaezoo.reconstruct(two_sites, limit=5)
    assert isinstance(data, dict)
    assert isinstance(x, dict)
    np.testing.assert_allclose(x["x"][:, 0], data["x"][:, 0], atol=1e-5)
    np.testing.assert_allclose(x["w"], data["w"], atol=1e-5)


def test_one_number_a_row_is_drawn_as_one() -> None:
    run = vaezoo.fit(Labelled, {"x": X, "label": LABEL}, training={"steps": 2})
    samples = vaezoo.sample(run, 4)
    assert isinstance(samples, dict)
    assert samples["label"].shape == (4,)


def test_a_file_keeps_all_arrays_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    names = np.array(["a", "b"])
    np.savez(path, x=X, c=C, seen=LABEL > 0, batch=LABEL.astype(str), names=names)
    arrays = load_file(path).arrays
    assert {name: array.shape for name, array in arrays.items()} == {
        "x": (60, 2),
        "c": (60, 2),
        "seen": (60,),
        "batch": (60,),
    }


def test_given_at_the_command_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=X, label=LABEL, c=C)
    pair = tmp_path / "pair.py"
    source = Path(__file__).read_text(encoding="utf-8")
    cls = source.partition("class Conditional")[2].partition("class TwoSites")[0]
    imports = "import pyro\nimport torch\nfrom pyro import distributions as dist\n"
    pair.write_text(f"{imports}from torch import Tensor, nn\n\n\nclass Conditional{cls}")
    run, out = str(tmp_path / "run"), str(tmp_path / "samples.npz")
    data = str(tmp_path / "rows.npz")
    words = ["train", str(pair), "--data", data, "--steps", "2", "--out", run]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    np.save(tmp_path / "c.npy", np.zeros((4, 2)))
    given = ["--given", "label=1", "--given", f"c={tmp_path / 'c.npy'}"]
    words = ["sample", run, "-n", "4", "-o", out, *given]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    with np.load(out) as stored:
        np.testing.assert_allclose(stored["x"], 10.0, atol=0.6)
        assert stored["label"] == 1
    codes = str(tmp_path / "codes.npz")
    for words in (["evaluate", run, "--iwae", "1"], ["encode", run, "-o", codes]):
        assert CliRunner().invoke(main, [*words, "-n", "4", *given]).exit_code == 0
        result = CliRunner().invoke(main, [*words, "--given", "lable=1"])
        assert result.exit_code == 2
        assert "'lable' is no condition of the model; did you mean 'label'" in result.output


@pytest.mark.parametrize("width", [2, 5])
def test_data_are_made_up_for_any_argument(width: int) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(width, 3)

        def model(self, x: Tensor, u: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.layer(u), 1.0).to_event(1), obs=x)

        def guide(self, x: Tensor, u: Tensor) -> None:
            pass

    assert made_up_batch(Wide(), (3,))[1].shape == (7, width)


def test_training_names_the_arrays_that_are_not_used() -> None:
    data: dict[str, Any] = {"x": X, "label": LABEL, "c": C, "w": C}
    run = vaezoo.fit(Conditional, data, training={"steps": 1})
    assert run.info["notes"] == ["not used: 'w', since the model takes x, label, c only"]


def test_columns_of_a_table_are_found_again(tmp_path: Path) -> None:
    table = np.column_stack([X, C, LABEL])
    path = tmp_path / "x.csv"
    np.savetxt(path, table, delimiter=",", header="a,b,age,income,kind", comments="")
    data = DataSettings(name=str(path), columns={"c": ("age", "income"), "label": "kind"})
    vaezoo.fit(Conditional, data, training={"steps": 1}, out=tmp_path / "run")
    (batch, *_) = vaezoo.load_run(tmp_path / "run").batches().fixed("test")
    assert [arg.shape[1:] for arg in batch] == [(2,), (), (2,)]
