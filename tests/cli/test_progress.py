"""How long work is shown: bars on a terminal, nothing elsewhere."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from vaezoo.cli import _progress
from vaezoo.cli._progress import Lines, Reading, in_minutes, rows_bar, steps_bar


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


def test_slow_reading_has_a_line_and_none_when_it_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Reading("preparing x: reading y", 0.0) as reading:
        reading.timer.join()
    with Reading("preparing x: reading z", 3600.0) as done:
        pass
    done.timer.join()
    assert capsys.readouterr().err.splitlines() == ["preparing x: reading y"]


def lines_of(seconds_per_step: float, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Lines of a run of 100 steps, with a clock on which each step takes so long."""
    clock = SimpleNamespace(now=0.0)

    def tick() -> float:
        clock.now += seconds_per_step
        return clock.now

    monkeypatch.setattr(_progress.time, "monotonic", tick)
    lines = Lines()
    run: Any = SimpleNamespace(name="r", device="cpu", info={})
    lines.on_prepare(run)
    lines.on_start(run, 100, 1)
    for step in range(1, 31):
        lines.on_step(step, 1.5)
    return lines


def test_long_epochs_have_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_of(1.0, monkeypatch)
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["preparing r on cpu", "training r on cpu: 100 steps"]
    assert said[2] == "step      6 of 100  loss 1.50  94 s left"
    assert len([line for line in said if line.startswith("step ")]) == 5
    assert "100 steps take about 99 s" in said


def test_slow_steps_are_not_waited_for_to_tell_the_whole_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_of(20.0, monkeypatch)
    said = capsys.readouterr().err.splitlines()
    assert said[2] == "100 steps take about 33 min"


def test_short_trainings_need_no_such_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_of(0.01, monkeypatch)
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "says"), [(7.2, "7 s"), (500, "8 min"), (20_000, "5.6 h"), (99.4, "99 s")]
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float, says: str) -> None:
    assert in_minutes(seconds) == says
