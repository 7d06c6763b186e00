"""A figure that cannot be drawn is left out by itself, and its line says why."""

from pathlib import Path

import numpy as np
import pytest

import vaezoo
from vaezoo.plots.figures import plot_run

SHAPES = {"volumes": (1, 4, 4, 4), "four colours last": (4, 4, 4, 3), "five channels": (5, 4, 4)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shapes_that_are_no_pictures(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, *shape)).astype("float32")
    run = vaezoo.fit("vae-gaussian", x, config={"z_dim": 2}, training={"steps": 2}, out=tmp_path)
    lines: list[str] = []
    assert plot_run(run, notify=lines.append) == ["curves.png", "latents.png"]
    assert [line.split(": ")[1] for line in lines] == [
        "figures/samples.png",
        "figures/reconstructions.png",
    ]
    assert vaezoo.sample(run, 2).shape == (2, *shape)
