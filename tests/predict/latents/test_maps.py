"""Maps of codes that bend: what they keep, what is drawn on them, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

import vaezoo
from vaezoo.cli import main
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.plots.latents.codes import _map
from vaezoo.plots.paper import new_figure
from vaezoo.predict.latents.overview import LatentOverview
from vaezoo.predict.latents.plane import Embedding, embedding_of, plane_of
from vaezoo.runs import Run


@pytest.fixture(scope="module")
def run() -> Run:
    return vaezoo.fit("vae-linear", config={"z_dim": 3}, training={"steps": 5})


@pytest.fixture(scope="module")
def seen(run: Run) -> LatentOverview:
    return vaezoo.latents(run, limit=60)


def purity(points: Array, label: Array) -> float:
    """Return the share of the 10 nearest neighbours that have the same label."""
    near = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(return_distance=False)
    return float((label[near] == label[:, None]).mean())


def test_a_map_keeps_neighbours_that_a_plane_loses() -> None:
    """Of digits a map has nearly the purity of all 64 dimensions, and a seed has one map."""
    pytest.importorskip("umap")
    pixels, label = load_digits(return_X_y=True)
    codes = pixels[:600].astype(np.float32)
    seen = embedding_of(codes)
    assert seen.rows.tolist() == list(range(600))
    whole = purity(codes, label[:600])
    assert purity(seen.points, label[:600]) > whole - 0.05
    assert purity(plane_of(codes, [""] * 64).points, label[:600]) < whole - 0.2
    np.testing.assert_array_equal(embedding_of(codes).points, seen.points)


def test_of_many_codes_some_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("umap")
    monkeypatch.setattr("vaezoo.predict.latents.plane.MOST_EMBEDDED", 21)
    seen = embedding_of(np.random.default_rng(0).normal(size=(41, 3)).astype(np.float32))
    assert seen.rows.tolist() == list(range(0, 41, 2))
    assert seen.points.shape == (21, 2)


def test_the_first_plane_is_that_of_the_codes(seen: LatentOverview) -> None:
    np.testing.assert_array_equal(seen.map.points, plane_of(seen.codes, ["a", "b", "c"]).points)


def test_only_a_plane_has_ellipses(seen: LatentOverview) -> None:
    rows = np.arange(0, 60, 2)
    bent = replace(seen, map=Embedding(seen.map.points[rows], rows))
    _, (flat, curved) = new_figure(1, 2)
    _map(flat, seen)
    _map(curved, bent)
    assert len(flat.patches) == 2 * len(seen.some)
    assert len(curved.patches) == 0
    assert curved.get_title().startswith("30 of the codes, by label\ndistances")


@pytest.mark.parametrize(
    ("shape", "words"),
    [((40, 2), "two latents are a map already"), ((15, 3), "more than 15 codes, not 15")],
)
def test_what_needs_no_map_is_refused(shape: tuple[int, int], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        embedding_of(np.zeros(shape, np.float32))


def test_a_map_without_umap_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(RequestError, match=r"not installed: pip install 'vaezoo\[umap\]'$"):
        vaezoo.latents(run, limit=60, map="umap")


def test_regions_are_of_a_plane(run: Run) -> None:
    words = ["latents", "vae-bernoulli.digits", "--map", "umap", "--regions"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "--map umap has no plane to decode" in done.stderr
