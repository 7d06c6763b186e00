"""What the library says of arguments, in the flags of the command that runs."""

import click
import pytest

from vaezoo.cli import main
from vaezoo.cli._flags import in_flags


def command(*names: str) -> click.Command:
    return main.get_command(click.Context(main), names[0]) or pytest.fail(names[0])


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("drop `free_bits`", "drop --free-bits"),
        ("use `objective='iwae'`", "use --objective iwae"),
        ("try `likelihood.sigma='shared'`", "try --sigma shared"),
        ("bounded by `likelihood.floor`", "bounded by --sigma-floor"),
        ("use `net='mlp'`", "use --set net=mlp"),
        ("use `likelihood.components=3`", "use --set likelihood.components=3"),
        ("use `standardize=True`", "use --standardize"),
        (
            "use `vaezoo.evaluate('runs/a', fivo=[5, 100])`",
            "use vaezoo evaluate runs/a --fivo 5,100",
        ),
        (
            "`binarize='dynamic'` or `likelihood='gaussian'`",
            "--binarize dynamic or --likelihood gaussian",
        ),
        ("nothing in `Backticks` or ``two``", "nothing in `Backticks` or ``two``"),
        ("no Python: `beta=in words`", "no Python: --beta in words"),
    ],
)
def test_arguments_are_flags(message: str, says: str) -> None:
    assert in_flags(message, command("train")) == says


def test_pair_of_frames_is_a_range() -> None:
    assert in_flags("`gap=(10, 20)` holds none", command("impute")) == "--gap 10:20 holds none"


def test_what_no_command_has_is_still_a_flag() -> None:
    """A run is judged, and the advice is for its training."""
    assert in_flags("train it with a smaller `clip_norm`", command("analyse")).endswith(
        "--clip-norm"
    )
    assert in_flags("drop `free_bits`") == "drop --free-bits"
