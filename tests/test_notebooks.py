"""What a notebook shows of data, runs and results: small tables, whose texts are escaped."""

import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

import vaezoo
from vaezoo import Run
from vaezoo.data import from_arrays

Make = Callable[[Run], object]
MAKE: dict[str, Make] = {
    "run": lambda run: run,
    "data": lambda run: run.fitted_to,
    "evaluation": lambda run: vaezoo.evaluate(run, iwae=(1,), limit=10),
    "comparison": lambda run: vaezoo.compare([run, run], num_samples=2, limit=10),
    "report": lambda run: vaezoo.analyse(run, limit=2, level="quick"),
    "latents": lambda run: vaezoo.latents(run, limit=10),
    "traversal": lambda run: vaezoo.traverse(run),
    "interpolation": lambda run: vaezoo.interpolate(run, 0, 1),
    "arithmetic": lambda run: vaezoo.arithmetic(run, plus=1, minus=0),
    "probe": lambda run: vaezoo.probe(run, split="train"),
}


@cache
def trained() -> Run:
    """A run on data with a name that would be a tag; not to be changed."""
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    data = from_arrays(x, name="<script>", label=np.arange(60) % 2)
    return vaezoo.fit("vae-linear", data, config={"z_dim": 2}, training={"steps": 5})


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_result_is_a_table(make: Make) -> None:
    content = make(trained())._repr_html_()  # type: ignore[attr-defined]
    assert content.count("<table>") == content.count("</table>") == 1
    assert "<script" not in content
    rows = re.findall(r"<tr>(.*?)</tr>", content)
    assert len(rows) > 1
    assert {len(re.findall(r"<t[hd] ", row)) for row in rows} <= {2, 3, 4, 5, 6}


def test_numbers_of_an_evaluation_are_its_own() -> None:
    result = vaezoo.evaluate(trained(), iwae=(1, 10), limit=10)
    content = result._repr_html_()
    for value in (result.metrics.elbo, result.iwae[1].value, result.floors["independent"]):
        assert f"{value:.3f}" in content
