"""What is optional is left out with its reason; a full disk and Ctrl-C pass."""

import pytest

from vaezoo.errors import NonFiniteError, RequestError, RunError
from vaezoo.runtime.optional import attempt


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RequestError("no mean"), "no mean"),
        (NonFiniteError("the loss is nan"), "the loss is nan"),
        (NotImplementedError("no bijection\nat all"), "NotImplementedError: no bijection"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_failure_becomes_one_line(error: Exception, reason: str) -> None:
    lines: list[str] = []
    with attempt("a picture", lines.append):
        raise error
    assert lines == [f"left out: a picture: {reason}"]


@pytest.mark.parametrize("error", [RunError("the disk is full"), KeyboardInterrupt()])
def test_some_failures_pass(error: BaseException) -> None:
    with pytest.raises(type(error)), attempt("a picture", print):
        raise error


def test_without_a_failure_nothing_is_said() -> None:
    lines: list[str] = []
    with attempt("a picture", lines.append):
        pass
    assert not lines
