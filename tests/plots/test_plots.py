"""Pictures hold what they should, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaezoo import RequestError
from vaezoo.plots.curves import plot_curves, plot_iwae, plot_kl
from vaezoo.plots.grids import plot_grid, plot_grid_pairs
from vaezoo.predict.bounds import Bound


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_grid_holds_every_image(tmp_path: Path) -> None:
    x = np.arange(4)[:, None, None] * np.ones((4, 300, 300)) * 85
    plot_grid(x, tmp_path / "grid.png", scale=255.0)
    picture = pixels(tmp_path / "grid.png")
    assert picture.shape == (603, 603)
    corners = picture[[150, 150, 450, 450], [150, 450, 150, 450]]
    assert corners.tolist() == [0, 85, 170, 255]


def test_small_images_are_enlarged(tmp_path: Path) -> None:
    plot_grid(np.ones((4, 8, 8)), tmp_path / "grid.png")
    assert min(pixels(tmp_path / "grid.png").shape) > 100


def test_colour_images_keep_their_colours(tmp_path: Path) -> None:
    x = np.zeros((1, 3, 700, 700))
    x[:, 0] = 1.0
    plot_grid(x, tmp_path / "grid.png")
    assert pixels(tmp_path / "grid.png")[300, 300].tolist() == [255, 0, 0]


def test_values_outside_the_range_are_cut(tmp_path: Path) -> None:
    plot_grid(np.full((1, 700, 700), 1.3), tmp_path / "grid.png")
    assert pixels(tmp_path / "grid.png")[300, 300] == 255


def test_real_data_span_their_own_range(tmp_path: Path) -> None:
    """Each column from its least to its greatest value."""
    x = np.array([[-5.0, 1000.0], [5.0, 1000.0], [0.0, 3000.0]])
    plot_grid(x, tmp_path / "grid.png")
    picture = pixels(tmp_path / "grid.png")
    zoom = picture.shape[0] // 3
    assert picture[::zoom, ::zoom].tolist() == [[0, 0], [255, 0], [128, 255]]


def test_vectors_are_rows(tmp_path: Path) -> None:
    plot_grid(np.eye(3), tmp_path / "grid.png")
    picture = pixels(tmp_path / "grid.png")
    zoom = picture.shape[0] // 3
    assert (picture[::zoom, ::zoom] == 255 * np.eye(3)).all()


def test_reconstructions_lie_below_their_data(tmp_path: Path) -> None:
    plot_grid_pairs(np.zeros((2, 300, 300)), np.ones((2, 300, 300)), tmp_path / "pairs.png")
    picture = pixels(tmp_path / "pairs.png")
    assert (picture[150, 150], picture[450, 150]) == (0, 255)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no picture shows data of shape"):
        plot_grid(np.zeros((2, 5, 8, 8)), tmp_path / "grid.png")


def test_a_penalty_that_is_none_has_no_panel(tmp_path: Path) -> None:
    for penalty in (0.0, 0.5):
        values = {"reconstruction": -1.0, "penalty": penalty}
        path = tmp_path / f"{penalty}.png"
        plot_curves([{"epoch": 1, "train": values, "validation": values}], path)
    widths = [pixels(tmp_path / f"{penalty}.png").shape[1] for penalty in (0.0, 0.5)]
    assert widths == [540, 1080]


def test_figures_are_written(tmp_path: Path) -> None:
    values = {"elbo": -1.0, "recon": -0.5, "kl": 0.5}
    plot_curves([{"epoch": 1, "train": values, "validation": values}], tmp_path / "curves.png")
    plot_kl({"z": [0.5, 0.0], "w": [0.1]}, tmp_path / "latents.png")
    plot_iwae([Bound(1, -2.0, 0.1), Bound(10, -1.9, 0.1)], -2.0, tmp_path / "iwae.png")
    for name in ("curves", "latents", "iwae"):
        assert pixels(tmp_path / f"{name}.png").std() > 1
