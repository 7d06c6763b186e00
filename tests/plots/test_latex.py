"""A ``matplotlibrc`` of a stranger starts no program."""

from pathlib import Path

import matplotlib
import pytest
from matplotlib.texmanager import TexManager

from vaezoo.plots.paper import new_figure, write_figure


def test_figures_are_drawn_without_latex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "_run_checked_subprocess"
    monkeypatch.setattr(TexManager, start, lambda *_, **__: pytest.fail("LaTeX was started"))
    with matplotlib.rc_context({"text.usetex": True}):
        figure, axes = new_figure()
        axes.plot([0, 1], label="x_1 & y")
        axes.set_title("100 % of x_1")
        axes.legend()
        write_figure(figure, tmp_path / "a.png", note="step #1")
    assert (tmp_path / "a.png").stat().st_size > 1000
