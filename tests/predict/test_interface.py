"""What is asked of a run or its folder, of data in any form, with the command's words."""

import inspect
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_equal

import vaezoo
from vaezoo import Data, RequestError, Run, fit, load_run, resume
from vaezoo.cli import main
from vaezoo.data import SPLITS, from_arrays, from_sequences

SMALL: dict[str, Any] = {"z_dim": 2, "hidden": [8]}
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
WALKS = [np.random.default_rng(n).normal(size=(4 + n % 3, 2)) for n in range(20)]

CALLS: dict[str, Callable[..., Any]] = {
    "sample": lambda run, data: vaezoo.sample(run, 3),
    "reconstruct": lambda run, data: vaezoo.reconstruct(run, data, limit=5),
    "encode": lambda run, data: vaezoo.encode(run, data, limit=5),
    "evaluate": lambda run, data: vaezoo.evaluate(run, data, limit=5, iwae=[2]).to_dict(),
    "analyse": lambda run, data: (
        vaezoo.analyse(run, data, limit=10, level="quick").trees["q"]["posterior"]["z"].to_numpy()
    ),
    "impute": lambda run, data: (
        vaezoo.impute(run, data, fraction=0.3, num_samples=2, burn_in=1, split="test", limit=5).x
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return fit("vae-gaussian", X, config=SMALL, training={"steps": 3}, out=folder)


@pytest.fixture(scope="module")
def walker() -> Run:
    return fit("vrnn", WALKS, config={"likelihood": "gaussian"}, training={"steps": 1})


@pytest.mark.parametrize("name", CALLS)
def test_a_folder_is_as_good_as_its_run(run: Run, name: str) -> None:
    assert_equal(CALLS[name](str(run.path), X), CALLS[name](run, X))


@pytest.mark.parametrize("name", [name for name in CALLS if name != "sample"])
def test_data_of_any_form_give_the_same(run: Run, name: str) -> None:
    rows = np.arange(len(X))
    whole = Data("rows", {"x": X}, dict.fromkeys(SPLITS, rows))
    forms = (torch.from_numpy(X), pd.DataFrame(X), {"x": X}, whole)
    for form in forms:
        assert_equal(CALLS[name](run, form), CALLS[name](run, X))


def test_all_rows_of_an_array_are_taken(run: Run) -> None:
    assert vaezoo.encode(run, X[:7])["z"].shape == (7, 2)
    assert vaezoo.evaluate(run, X[:7], split="train", iwae=[1]).num_rows == 7


def test_forecasts_take_sequences(walker: Run) -> None:
    tree = vaezoo.forecast(walker, WALKS[:3], horizon=2, num_samples=2)
    assert tree["predictions"].sizes["datum"] == 3


def test_samples_continue_sequences(walker: Run) -> None:
    x = vaezoo.sample(walker, 2, prefix=3, steps=2, data=WALKS)
    assert x.shape == (2, 5, 2)
    assert np.allclose(x[:, :3], np.stack([walk[:3] for walk in WALKS[:2]]), atol=1e-5)


def test_data_without_a_prefix_are_refused(walker: Run) -> None:
    with pytest.raises(RequestError, match="`data` takes `prefix`"):
        vaezoo.sample(walker, data=WALKS)


untyped: Any = vaezoo  # what the annotations forbid, on purpose

REFUSALS: dict[str, tuple[Callable[[Run, Run], object], str]] = {
    "no run": (lambda run, walker: untyped.evaluate(None), "a run or its folder, not NoneType"),
    "a pair": (lambda run, walker: untyped.encode(run.pair), "not VAEGaussian"),
    "no rows": (lambda run, walker: untyped.encode(run, limit=0), "`limit` takes at least one row"),
    "z": (
        lambda run, walker: untyped.encode(run, z="both"),
        "`z` takes mean or sample, not 'both'",
    ),
    "x": (lambda run, walker: untyped.reconstruct(run, x="median"), "`x` takes mean"),
    "x of samples": (lambda run, walker: untyped.sample(run, x="median"), "`x` takes mean"),
    "no samples": (lambda run, walker: untyped.sample(run, 0), "`num_samples` takes at least one"),
    "no draws": (
        lambda run, walker: untyped.impute(run, fraction=0.2, num_samples=0),
        "`num_samples` takes at least one",
    ),
    "one number": (lambda run, walker: untyped.evaluate(run, iwae=10), r"as `iwae=\[1, 10, 100\]`"),
    "a value": (lambda run, walker: untyped.encode(run, 3), "a single value"),
    "a prefix in words": (
        lambda run, walker: untyped.forecast(walker, horizon=2, prefix="some"),
        "half or all, not 'some'",
    ),
    "a prefix of samples in words": (
        lambda run, walker: untyped.sample(walker, prefix="half"),
        "`prefix` takes a whole number, not 'half'",
    ),
    "rows of an analysis in words": (
        lambda run, walker: untyped.analyse(run, limit="3"),
        "`limit` takes a whole number, not '3'",
    ),
    "free frames in words": (
        lambda run, walker: untyped.evaluate(walker, free_running="3"),
        "`free_running` takes a whole number, not '3'",
    ),
    "rows in words": (
        lambda run, walker: untyped.encode(run, limit="10"),
        "`limit` takes a whole number, not '10'",
    ),
    "a gap in words": (
        lambda run, walker: untyped.impute(walker, gap="1:3"),
        r"write it as `gap=\(10, 20\)`",
    ),
    "sequences without lengths": (
        lambda run, walker: untyped.impute(walker, np.zeros((3, 5, 2)), gap=(1, 2)),
        "has no 'length'",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_makes_no_sense_is_refused_in_words_of_python(
    run: Run, walker: Run, name: str
) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(RequestError, match=message):
        call(run, walker)


# The data that a run was fitted to


def test_a_run_remembers_its_data(run: Run) -> None:
    assert vaezoo.evaluate(run, iwae=[1]).num_rows == 4
    assert "fitted_to" not in repr(run)


def test_a_loaded_run_says_which_array_to_pass(run: Run) -> None:
    loaded = load_run(run.folder())
    checksum = from_arrays(X).checksum[:12]
    with pytest.raises(RequestError, match=rf"fitted to array \(40, 3\), sha256 {checksum}"):
        vaezoo.evaluate(loaded)
    assert vaezoo.evaluate(loaded, from_arrays(X), iwae=[1]).num_rows == 4


def test_resuming_takes_the_array_again(run: Run) -> None:
    with pytest.raises(RequestError, match="which is not saved"):
        resume(run.folder(), steps=4)
    with pytest.raises(RequestError, match="not on this array"):
        resume(run.folder(), steps=4, data=X[1:])
    assert resume(run.folder(), steps=4, data=X).info["steps"] == 4


def test_settings_say_what_kind_of_values_they_were(walker: Run) -> None:
    assert walker.data.name == from_sequences(WALKS).name == "sequences"


# The command line has the same defaults


def command_defaults(name: str) -> dict[str, Any]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return {p.name: p.default for p in command.params if isinstance(p.default, int | float | str)}


def as_option(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", [*CALLS, "forecast"])
def test_defaults_are_those_of_the_command(name: str) -> None:
    parameters = inspect.signature(getattr(vaezoo, name)).parameters
    shared = {n: value for n, value in command_defaults(name).items() if n in parameters}
    assert shared == {n: as_option(parameters[n].default) for n in shared}
    assert "seed" in shared
