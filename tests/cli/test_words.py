"""The same words on both sides: an option of a command is an argument of the public function."""

import inspect
from collections.abc import Callable
from typing import Any

import click
import pytest

import vaezoo
from vaezoo.cli import main
from vaezoo.cli._reading import READING
from vaezoo.settings import DataSettings, Training, texts_of_fields

NAMES = ("sample", "reconstruct", "encode", "evaluate", "analyse", "forecast", "impute")
FUNCTIONS: dict[str, Callable[..., Any]] = {name: getattr(vaezoo, name) for name in NAMES}
# How a run is loaded, and where results go: no business of the functions.
OF_THE_COMMAND = {"device", "model", "out", "as_json", "fail_on", "rate"}
REQUIRED = {"forecast": ("--horizon", "2"), "encode": ("-o", "z.npz")}
OF_TREES = {"num_samples", "groups", "max_gib"}  # encode writes draws of the posterior, too


def command(name: str) -> click.Command:
    return main.get_command(click.Context(main), name) or pytest.fail(name)


def options_of(name: str) -> dict[str, click.Option]:
    return {str(o.name): o for o in command(name).params if isinstance(o, click.Option)}


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "function"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_options_are_arguments(name: str, function: Callable[..., Any]) -> None:
    arguments = set(inspect.signature(function).parameters)
    more = OF_THE_COMMAND | OF_TREES if name == "encode" else OF_THE_COMMAND
    assert set(options_of(name)) - more <= arguments


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_same(name: str) -> None:
    words = ["run", *REQUIRED.get(name, ())]
    group = main.make_context("vaezoo", [name])  # without it click keeps an option --help alone
    typed = command(name).make_context(name, words, parent=group).params
    arguments = inspect.signature(FUNCTIONS[name]).parameters.values()
    defaults = {
        a.name: a.default for a in arguments if a.name in typed and a.default is not a.empty
    }
    assert defaults.items() <= {n: as_tuple(value) for n, value in typed.items()}.items()


@pytest.mark.parametrize(("name", "function"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_every_argument_is_an_option(name: str, function: Callable[..., Any]) -> None:
    arguments = set(inspect.signature(function).parameters) - {
        "run",
        "progress",
        "notify",
        "correct",
    }
    assert arguments <= set(options_of(name))


@pytest.mark.parametrize("kind", [Training, DataSettings])
def test_every_setting_is_an_option_of_train(kind: type[Training | DataSettings]) -> None:
    options, texts = options_of("train"), texts_of_fields(kind)
    for name, field in kind.model_fields.items():
        if name in ("name", "dir", "objective_options", *READING):
            # --data, --data-dir, --set, and the columns of a table, which a person types by comma
            continue
        assert options[name].help == texts[name]
        assert options[name].get_default(click.Context(click.Command("x"))) == field.default


def test_flags_are_the_words_of_the_arguments() -> None:
    for name in FUNCTIONS:
        for word, option in options_of(name).items():
            if word not in ("as_json",):
                assert f"--{word.replace('_', '-')}" in option.opts


def test_what_is_trained_is_named_alike() -> None:
    arguments = set(inspect.signature(vaezoo.fit).parameters)
    assert {"config", "preset", "data", "out"} <= arguments & set(options_of("train"))
