"""A plane of codes, where what is decoded can be computed by hand: a linear decoder."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import vaezoo as vz
from vaezoo.data import from_arrays
from vaezoo.errors import RequestError
from vaezoo.predict.latents.regions import Regions
from vaezoo.runs import Run

SIZE = 7


@pytest.fixture(scope="module")
def run() -> Run:
    """Three groups far apart in a plane of three dimensions, labelled."""
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=600)
    centres = np.array([[6.0, 0, 0], [-6.0, 0, 0], [0, 8.0, 0]])
    x = centres[label] + 0.5 * rng.standard_normal((600, 3))
    data = from_arrays(x.astype("float32"), label=label)
    training, as_it_is = {"steps": 250, "lr": 0.05}, {"standardize": False}
    return vz.fit(
        "vae-linear", data, config={"z_dim": 3}, training=training, data_settings=as_it_is
    )


@pytest.fixture(scope="module")
def seen(run: Run) -> Regions:
    return vz.regions(run, size=SIZE)


def test_groups_that_lie_apart_have_regions_of_their_own(seen: Regions) -> None:
    assert seen.labels.tolist() == [0, 1, 2]
    assert seen.accuracy == 1
    assert seen.agreement > 0.95
    assert seen.share.sum() == pytest.approx(1)
    assert (seen.share > 0.05).all()


def test_a_linear_decoder_makes_an_even_grid(seen: Regions) -> None:
    along, up = np.diff(seen.x, axis=1), np.diff(seen.x, axis=0)
    np.testing.assert_allclose(along, np.broadcast_to(along[:1, :1], along.shape), atol=1e-4)
    np.testing.assert_allclose(up, np.broadcast_to(up[:1, :1], up.shape), atol=1e-4)


def test_the_place_of_a_code_is_near_its_datum(run: Run, seen: Regions) -> None:
    """Two components hold nearly all of the plane in which the groups lie."""
    _, made = vz.reconstruct(run, limit=None)
    steps = [values[1] - values[0] for values in seen.values]
    inside = [
        (seen.plane.points[:, d] >= seen.values[d][0] - steps[d] / 2)
        & (seen.plane.points[:, d] <= seen.values[d][-1] + steps[d] / 2)
        for d in range(2)
    ]
    place = [np.abs(seen.plane.points[:, [d]] - seen.values[d]).argmin(1) for d in range(2)]
    error = np.abs(seen.x[place[1], place[0]] - np.asarray(made)).max(1)
    cell = np.abs(np.diff(seen.x, axis=0)).max() + np.abs(np.diff(seen.x, axis=1)).max()
    assert (error[inside[0] & inside[1]] < cell).mean() > 0.95


def test_a_named_plane_moves_its_elements_alone(run: Run) -> None:
    seen = vz.regions(run, size=3, plane=("z[2]", "z[0]"))
    assert seen.plane.names == ("z[2]", "z[0]")
    codes = vz.encode(run)["z"]
    ends = np.quantile(codes[:, 2], (0.005, 0.995))
    assert seen.values[0][[0, -1]] == pytest.approx(ends, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"plane": ("z[0]",)}, "`plane` takes two latents, not 1"),
        ({"plane": ("z[0]", "z[9]")}, r"no latent 'z\[9\]'"),
        ({"size": 0}, "`size`"),
    ],
)
def test_a_plane_that_there_is_not_is_refused(run: Run, options: dict, line: str) -> None:
    with pytest.raises(RequestError, match=line):
        vz.regions(run, **options)


def test_data_without_labels_are_refused() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3)).astype("float32")
    bare = vz.fit("vae-linear", x, config={"z_dim": 2}, training={"steps": 1})
    with pytest.raises(RequestError, match="a plane of classes needs data with a label"):
        vz.regions(bare)


def test_sequences_are_refused() -> None:
    walk = vz.fit("dmm", config={"z_dim": 2, "hidden": 4}, training={"steps": 1})
    with pytest.raises(RequestError, match="needs one code for each datum"):
        vz.regions(walk)


def test_the_command_draws_regions(vaezoo: Callable[..., Result], run_folder: Path) -> None:
    done = vaezoo("latents", run_folder, "--regions", "--json", "-n", "50")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert [one["label"] for one in facts["labels"]] == list(range(10))
    assert sum(one["share_of_plane"] for one in facts["labels"]) == pytest.approx(1)
    assert (run_folder / "figures" / "regions.png").is_file()


def test_a_plane_needs_regions(vaezoo: Callable[..., Result], run_folder: Path) -> None:
    done = vaezoo("latents", run_folder, "--plane", "z[0],z[1]")
    assert (done.exit_code, "--plane takes --regions with it" in done.output) == (2, True)
