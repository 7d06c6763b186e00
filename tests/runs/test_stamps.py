"""Pictures say of which step they are, and those of older weights go."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from vaezoo import RunError, fit, load_run, resume
from vaezoo.plots.figures import plot_run
from vaezoo.runs.stamps import (
    Stamp,
    read_stamp,
    stamp_of_records,
    stamp_of_weights,
    stamped,
    stamps_in,
)

Vaezoo = Callable[..., Result]


def picture(size: tuple[int, int], mode: str) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size, "white").save(content, "png")
    return content.getvalue()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    run = fit("vae-linear", config={"z_dim": 2}, training={"epochs": 2}, out=tmp_path / "run")
    plot_run(run)
    return tmp_path / "run"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("size", [(300, 40), (5, 5)])
def test_a_stamp_comes_back_and_is_seen(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    stamp = Stamp("4f2a", 3, 120)
    (tmp_path / "x.png").write_bytes(stamped(picture(size, mode), stamp))
    assert read_stamp(tmp_path / "x.png") == stamp
    with Image.open(tmp_path / "x.png") as image:
        strip = np.asarray(image.convert("L"))[size[1] :]
    assert strip.shape[1] >= size[0]
    assert (strip < 200).sum() > 50


@pytest.mark.parametrize("content", [b"", b"text", picture((5, 5), "L")])
def test_other_files_have_no_stamp(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert read_stamp(tmp_path / "x.png") is None
    assert read_stamp(tmp_path / "missing.png") is None


def test_figures_of_training_have_the_stamps_of_what_they_show(run_folder: Path) -> None:
    run = load_run(run_folder)
    stamps = {path.name: stamp for path, stamp in stamps_in(run_folder)}
    assert stamps["samples.png"] == stamps["reconstructions.png"] == stamp_of_weights(run)
    assert stamps["curves.png"] == stamps["latents.png"] == stamp_of_records(run)
    assert stamp_of_weights(run).step == run.info["best_step"] > 0


def test_pictures_of_older_weights_go(run_folder: Path) -> None:
    (run_folder / "figures" / "mine.png").write_bytes(picture((5, 5), "L"))
    before = stamp_of_weights(load_run(run_folder))
    after = stamp_of_weights(resume(run_folder, epochs=4))
    assert after.step > before.step
    assert [path.name for path in (run_folder / "figures").iterdir()] == ["mine.png"]


def test_commands_stamp_what_they_draw_in_the_run(vaezoo: Vaezoo, run_folder: Path) -> None:
    for path in (run_folder / "figures").iterdir():
        path.unlink()
    for command in ("sample", "reconstruct", "evaluate"):
        assert vaezoo(command, "run").exit_code == 0, command
    stamps = {path.name: stamp.step for path, stamp in stamps_in(run_folder)}
    names = {"samples.png", "reconstructions.png", "iwae.png"}
    assert names <= stamps.keys()
    assert set(stamps.values()) == {load_run(run_folder).info["best_step"]}


def test_nothing_is_drawn_where_a_link_leads(run_folder: Path, tmp_path: Path) -> None:
    (run_folder / "figures").rename(tmp_path / "victim")
    (run_folder / "figures").symlink_to(tmp_path / "victim")
    before = {path: path.read_bytes() for path in (tmp_path / "victim").iterdir()}
    with pytest.raises(RunError, match="figures is a link"):
        plot_run(load_run(run_folder))
    resume(run_folder, epochs=4)
    assert before == {path: path.read_bytes() for path in (tmp_path / "victim").iterdir()}
