"""``vaezoo show``: sites, parameters and differences of models, and their graph."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Vaezoo = Callable[..., Result]


def test_sites_and_sides_are_shown(vaezoo: Vaezoo) -> None:
    lines = [" ".join(line.split()) for line in vaezoo("show", "vae-bernoulli").output.splitlines()]
    assert "z (20,) Normal Normal closed form" in lines
    assert "x (8, 8) Bernoulli observed" in lines
    assert "theta, of the model 42,564 decoder 42,564" in lines


def test_only_what_differs_is_shown(vaezoo: Vaezoo) -> None:
    output = vaezoo("show", "vae-bernoulli", "--diff", "vae-gaussian", "--json").stdout
    difference = json.loads(output)
    assert difference["likelihood"] == ["bernoulli", "gaussian"]
    assert difference["likelihood.sigma"] == [None, "per-pixel"]
    assert "activation" not in difference


def test_a_model_does_not_differ_from_itself(vaezoo: Vaezoo) -> None:
    output = vaezoo("show", "vae-bernoulli", "--diff", "vae-bernoulli").output
    assert "have the same sites, settings and presets" in output


def test_the_graph_names_every_site(vaezoo: Vaezoo, tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    assert vaezoo("show", "ladder-vae", "--graph", str(path)).exit_code == 0
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")


def test_a_graph_of_another_kind_is_refused(vaezoo: Vaezoo, tmp_path: Path) -> None:
    result = vaezoo("show", "vae-bernoulli", "--graph", str(tmp_path / "graph.docx"))
    assert result.exit_code == 2
    assert "--graph writes .svg, .png, .pdf, not 'graph.docx'" in result.output


def test_a_pair_that_runs_on_nothing_made_up_is_shown_without_sites(
    vaezoo: Vaezoo, tmp_path: Path
) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        "from torch import nn\n\n\nclass Odd(nn.Module):\n"
        "    def __init__(self, *, x_shape):\n        super().__init__()\n\n"
        "    def model(self, x):\n        raise ValueError('needs a moon')\n\n"
        "    def guide(self, x):\n        pass\n",
        encoding="utf-8",
    )
    result = vaezoo("show", str(file))
    assert result.exit_code == 0
    assert "Its sites are not shown" in result.output
