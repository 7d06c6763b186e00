"""Progress where Python runs: one output of a notebook that is replaced, or a few lines."""

from typing import Any

import pytest

import vaezoo
from vaezoo.training import callbacks

CELL = """
import vaezoo
run = vaezoo.fit("vae-linear", training={"steps": 400}, callbacks=[vaezoo.ProgressBar(0)])
"""


class Output:
    """An output of a notebook that keeps what it showed."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(content)


def trained(bar: vaezoo.ProgressBar) -> None:
    vaezoo.fit("vae-linear", training={"epochs": 2}, callbacks=[bar])


def test_notebook_shows_the_step_and_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output()
    monkeypatch.setattr(callbacks, "_notebook_output", lambda: output)
    trained(vaezoo.ProgressBar(seconds=0))
    assert len(output.shown) == 26  # of each of 24 steps, of the start and of the end
    last = output.shown[-1]
    assert '<progress value="24" max="24">' in last["text/html"]
    assert "vae-linear: step 24 of 24, epoch 2, validation ELBO " in last["text/plain"]


def test_quick_training_leaves_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    trained(vaezoo.ProgressBar(seconds=1e6))
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if not line.startswith("warning: ")]
    assert len(lines) == 2
    assert lines[0].startswith("vae-linear: step 0 of 24, 0 s")
    assert lines[1].startswith("vae-linear: step 24 of 24, epoch 2, ")


@pytest.mark.slow
def test_kernel_keeps_one_output() -> None:
    """In a kernel as Jupyter starts it, without widgets."""
    client = pytest.importorskip("nbclient")
    nbformat: Any = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    client.NotebookClient(notebook, timeout=300).execute()
    outputs = notebook.cells[0].outputs
    (shown,) = [output for output in outputs if output.output_type == "display_data"]
    assert "step 400 of 400, epoch" in shown.data["text/plain"]
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "vae-linear: " not in said  # no line for each step
