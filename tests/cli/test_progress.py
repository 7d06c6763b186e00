"""How long work is shown: bars on a terminal, nothing elsewhere."""

import sys

import pytest

from vaezoo.cli._progress import rows_bar, steps_bar


def test_nothing_is_shown_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with rows_bar() as rows, steps_bar() as steps:
        assert rows is None
        assert steps is None
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_how_much_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with rows_bar() as rows:
        assert rows is not None
        rows(3, 10)
    assert "3/10" in capsys.readouterr().err
    with steps_bar() as steps:
        assert steps is not None
        steps("calibration", 2, 5)
    shown = capsys.readouterr().err
    assert "2/5" in shown
    assert "calibration" in shown
