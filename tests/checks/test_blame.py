"""Something that goes wrong in a pair is blamed on a line of its author, not of a library."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pyro
import pytest
import torch
from torch import Tensor, nn

import vaezoo
from vaezoo.checks.blame import (
    calling_line,
    class_of,
    is_library,
    line_of,
    line_that_sets,
    location,
    one_line,
    raised_at,
    repair_of,
)
from vaezoo.models.vae_linear import VAELinear
from vaezoo.sequences import PathPair
from vaezoo.testing.sequence_pairs import LinearRecurrence

ROOT = Path(vaezoo.__file__).parent


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.scale = 1.0

    def model(self, x: Tensor) -> None:
        self.seen.append(len(x))

    def guide(self, x: Tensor) -> None:
        torch.zeros(2) @ torch.zeros(3)


def line(words: str) -> str:
    """Return where some words stand in this file, the first time."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    number = next(i for i, text in enumerate(lines, 1) if words in text)
    return location(__file__, number)


@pytest.mark.parametrize("file", [pyro.__file__, torch.__file__, "<string>"])
def test_libraries_are_not_to_blame(file: str) -> None:
    assert is_library(file)


def test_of_vaezoo_only_the_models_are() -> None:
    for path in ROOT.rglob("*.py"):
        assert is_library(str(path)) == (path.relative_to(ROOT).parts[0] != "models"), path


def test_tests_are() -> None:
    assert not is_library(__file__)


def test_a_line_that_sets_an_attribute() -> None:
    assert line_that_sets(Counting, "scale") == line("self.scale = 1.0")
    assert line_that_sets(Counting, "seen") == line("self.seen: list[int] = []")
    assert line_that_sets(Counting, "nowhere") == line("class Counting")


def test_a_line_that_changes_one_later() -> None:
    assert line_that_sets(Counting, "seen", after_init=True) == line("self.seen.append(len(x))")
    # What only __init__ sets is blamed on the line there.
    assert line_that_sets(Counting, "scale", after_init=True) == line("self.scale = 1.0")


def test_an_exception_of_torch_is_raised_at_the_line_that_called_it() -> None:
    with pytest.raises(RuntimeError) as error:
        Counting().guide(torch.zeros(3))
    assert raised_at(error.value, Counting) == line("torch.zeros(2) @ torch.zeros(3)")


def test_an_exception_that_never_met_the_class_is_blamed_on_it() -> None:
    assert raised_at(ValueError("made up"), Counting) == line("class Counting")


def test_the_calling_line_is_the_innermost_of_a_file() -> None:
    def called(where: Callable[[], str]) -> str:
        return where()

    assert called(lambda: calling_line()) == line("called(lambda: calling_line())")
    inside = called(lambda: calling_line(below=called.__code__))
    assert inside == line("below=called.__code__)")


def test_a_pair_in_another_form_is_that_of_its_author() -> None:
    pair = LinearRecurrence()
    assert class_of(PathPair(pair)) is LinearRecurrence
    assert class_of(VAELinear(x_shape=(2,))) is VAELinear


def test_a_line_is_relative_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert location(str(tmp_path / "my_vae.py"), 3) == "my_vae.py:3"
    assert location("/elsewhere/my_vae.py", 3) == "/elsewhere/my_vae.py:3"
    start = inspect.getsourcelines(Counting)[1]
    assert line_of(Counting, full=True) == f"{inspect.getfile(Counting)}:{start}"


def test_a_message_is_one_line() -> None:
    error = ValueError("at site z:\n  expected (3,)\nTrace Shapes:\n Param Sites:")
    assert one_line(error) == "ValueError: at site z: expected (3,)"


DTYPE_ERRORS: dict[str, Callable[[Tensor], object]] = {
    "linear": lambda x: nn.Linear(3, 2).double()(x),
    "product": lambda x: x @ torch.ones(3, 2, dtype=torch.float64),
    "convolution": lambda x: nn.Conv1d(4, 2, 2).double()(x[None]),
    "recurrent": lambda x: nn.GRU(3, 2).double()(x),
}


@pytest.mark.parametrize("name", DTYPE_ERRORS)
def test_weights_of_float64_are_told_how_to_get_their_data(name: str) -> None:
    with pytest.raises((RuntimeError, ValueError)) as failure:
        DTYPE_ERRORS[name](torch.ones(4, 3))
    assert "x = x.double()" in repair_of(failure.value)
