"""What is completed from source text is what there is."""

import click

from vaezoo.cli import main
from vaezoo.cli._shared import complete_data, complete_model
from vaezoo.data import SOURCES
from vaezoo.registry import list_models

CONTEXT = click.Context(main)
PARAMETER = click.Argument(["word"])


def test_all_data_sets_are_completed() -> None:
    names = [item.value for item in complete_data(CONTEXT, PARAMETER, "")]
    assert sorted(names) == sorted(SOURCES)


def test_all_models_are_completed() -> None:
    assert [item.value for item in complete_model(CONTEXT, PARAMETER, "")] == list_models()


def test_what_is_no_name_may_be_a_file() -> None:
    (item,) = complete_data(CONTEXT, PARAMETER, "./my")
    assert (item.value, item.type) == ("./my", "file")
