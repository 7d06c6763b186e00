"""Pictures of sequences: each kind of data has its own, and it shows what is there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaezoo.data import Transform
from vaezoo.models.vae_linear import VAELinear
from vaezoo.models.vrnn import VRNN
from vaezoo.plots.bands import Band, plot_bands
from vaezoo.plots.panels import Panel, plot_panels
from vaezoo.plots.sequences import plot_sequence_pairs, plot_sequences, without_end
from vaezoo.plots.style import Style, sequence_style
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training

INK, NEW = (0, 0, 0), (196, 78, 31)


def run_on(name: str, width: int, *, columns: tuple[str, ...] = (), time: bool = True) -> Run:
    shapes = {"x": (5, width), **({"length": ()} if time else {})}
    pair = VRNN(x_shape=(width,), z_dim=1, hidden=2) if time else VAELinear(x_shape=(width,))
    settings = DataSettings(name=name)
    info = {"columns": list(columns)}
    return Run(pair, "vrnn", {}, settings, Training(), Transform(), shapes, info=info)


@pytest.mark.parametrize(
    ("name", "width", "columns", "picture"),
    [
        ("jsb", 88, (), "roll"),
        ("nottingham", 88, (), "roll"),
        ("pendigits", 3, (), "pen"),
        ("spoken-digits", 200, (), "sound"),
        ("digits-rows", 8, (), "image"),
        ("mine.csv", 3, ("dx", "dy", "pen"), "pen"),
        ("mine.npz", 88, (), "roll"),
        ("mine.csv", 3, ("a", "b", "c"), "lines"),
    ],
)
def test_picture_of_data(name: str, width: int, columns: tuple[str, ...], picture: str) -> None:
    style = sequence_style(run_on(name, width, columns=columns))
    assert style is not None
    assert style.picture == picture


def test_sound_has_its_rate() -> None:
    style = sequence_style(run_on("spoken-digits", 200))
    assert style is not None
    assert style.rate == 8000


def test_what_is_no_sequence_has_no_style() -> None:
    assert sequence_style(run_on("digits", 64, time=False)) is None


def share(path: Path, colour: tuple[int, int, int]) -> float:
    """Share of the pixels that have about a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return float((np.abs(pixels - colour).sum(-1) < 60).mean())


def test_notes_are_black_on_white(tmp_path: Path) -> None:
    quiet, loud = np.zeros((10, 88)), np.zeros((10, 88))
    loud[:, 40:60] = 1
    for name, x in (("quiet", quiet), ("loud", loud)):
        plot_panels([Panel(x)], tmp_path / f"{name}.png", Style("roll"))
    assert share(tmp_path / "loud.png", INK) > share(tmp_path / "quiet.png", INK) + 0.2


def test_a_lifted_pen_leaves_nothing(tmp_path: Path) -> None:
    """Of a square, two sides are left."""
    sides = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0.0]])
    lifted = sides.copy()
    lifted[[0, 2], 2] = 1
    for name, x in (("down", sides), ("lifted", lifted)):
        plot_panels([Panel(x)], tmp_path / f"{name}.png", Style("pen"))
    down, up = (share(tmp_path / f"{name}.png", INK) for name in ("down", "lifted"))
    assert up == pytest.approx(down / 2, rel=0.15)


@pytest.mark.parametrize("picture", ["image", "roll", "sound", "pen", "lines"])
def test_what_the_model_added_is_set_apart(tmp_path: Path, picture: str) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(12, 3)))
    x[:, 2] = 0
    style = Style(picture)  # type: ignore[arg-type]
    plot_panels([Panel(x, "title")], tmp_path / "whole.png", style)
    plot_panels([Panel(x, "title", begun=4)], tmp_path / "begun.png", style)
    assert share(tmp_path / "begun.png", NEW) > share(tmp_path / "whole.png", NEW) + 1e-4


@pytest.mark.parametrize("picture", ["image", "roll", "sound", "pen", "lines"])
def test_grids_are_plotted_of_sequences_of_all_lengths(tmp_path: Path, picture: str) -> None:
    x = np.random.default_rng(0).random((70, 9, 4))
    x[0, 2:] = x[3, 1:] = np.nan
    style = Style(picture)  # type: ignore[arg-type]
    plot_sequences(x, tmp_path / "x.png", style)
    plot_sequence_pairs(x, x, tmp_path / "pairs.png", style)
    for name in ("x", "pairs"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png")).std() > 1


def test_the_frames_behind_the_end_are_left_out() -> None:
    x = np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, np.nan]])
    assert len(without_end(x)) == 2


@pytest.mark.parametrize("picture", ["sound", "lines"])
def test_bands_hold_the_quantiles(tmp_path: Path, picture: str) -> None:
    quantiles = np.linspace(-1, 1, 5)[:, None, None] * np.ones((5, 6, 3))
    bands = [Band(np.zeros((4, 3)), width * quantiles, np.zeros((6, 3))) for width in (1, 2)]
    plot_bands(bands, tmp_path / "bands.png", Style(picture))  # type: ignore[arg-type]
    assert np.asarray(Image.open(tmp_path / "bands.png")).std() > 1
