"""Points of a latent space: what is decoded is what the pair makes of exactly these latents."""

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import RequestError
from vaezoo.data import from_arrays
from vaezoo.explorer.exploring import Explorer
from vaezoo.explorer.grid import grid_of
from vaezoo.explorer.looks import Looks
from vaezoo.explorer.space import LatentSpace, Point
from vaezoo.observations.predictions import prior_predictive
from vaezoo.pairs.sites import trace_pair
from vaezoo.predict.latents.plane import plane_of
from vaezoo.runs import Run


def fitted(model: str, **config: object) -> Run:
    return vaezoo.fit(model, config=config, training={"steps": 5})


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    return vaezoo.explore(fitted("vae-bernoulli", z_dim=4), limit=40)


@pytest.fixture(scope="module")
def space(explorer: Explorer) -> LatentSpace:
    return explorer.space


@pytest.fixture(scope="module")
def sequences() -> LatentSpace:
    x = np.random.default_rng(0).integers(0, 2, size=(12, 5, 2))
    data = from_arrays(x, length=np.arange(12) % 3 + 3)
    run = vaezoo.fit("vrnn", data, config={"hidden": 4, "z_dim": 3}, training={"steps": 1})
    return vaezoo.explore(run, split="all").space


def frames_of_four(model: str, **config: object) -> LatentSpace:
    x = np.random.default_rng(0).integers(0, 2, size=(12, 4, 2))
    data = from_arrays(x, length=np.full(12, 4))
    run = vaezoo.fit(model, data, config=config, training={"steps": 1})
    return vaezoo.explore(run, split="all").space


def test_decodes_what_the_pair_does(space: LatentSpace) -> None:
    values = (0.5, -1.25, 2.0, 0.0)
    z = torch.zeros(1, 4)
    for unit, value in zip(space.units, values, strict=True):
        z[0, unit.index] = value
    args = tuple(arg[:1] for arg in space.codes.args)
    made = prior_predictive(space.run.pair, args, x="mean", latents={"z": z})["x"]
    decoded = space.decode(Point(0, values=values))
    assert np.array_equal(decoded.x, space.run.transform.invert(made)[0].numpy())
    assert decoded.values.tolist() == list(values)


def test_codes_as_they_are_are_reconstructed(space: LatentSpace) -> None:
    made = vaezoo.reconstruct(space.run, limit=40).x
    np.testing.assert_allclose(space.decode(Point(7)).x, np.asarray(made)[7], rtol=1e-5)


def test_a_walk_is_the_interpolation(space: LatentSpace) -> None:
    way = vaezoo.interpolate(space.run, 2, 9, path="spherical", num_values=5)
    x = space.decode(Point(2, to=9, at=0.25, path="spherical")).x
    np.testing.assert_allclose(x, way.x[1], atol=1e-5)


def test_values_of_a_sequence_are_means_over_its_frames(sequences: LatentSpace) -> None:
    moved = sequences.decode(Point(1, values=(1.0, 0.5, -2.0)))
    np.testing.assert_allclose(moved.values, [1.0, 0.5, -2.0], atol=1e-5)
    assert moved.x.shape == sequences.datum(1).shape


def test_one_frame_moves_alone(sequences: LatentSpace) -> None:
    values = (1.0, 0.5, -2.0)
    before, after = (sequences.codes_at(Point(1, values=v, frame=2)) for v in (None, values))
    index = [unit.index for unit in sequences.units]
    for frame in (0, 1, 3):
        assert torch.equal(after.reals[f"z_{frame}"], before.reals[f"z_{frame}"])
    assert after.reals["z_2"][0, index].tolist() == list(values)


def test_frames_before_the_one_that_moves_stay(sequences: LatentSpace) -> None:
    point = Point(1, values=(9.0, 9.0, 9.0), frame=2)
    moved, plain = sequences.decode(point), sequences.decode(Point(1))
    assert np.array_equal(moved.x[:2], plain.x[:2])
    assert (moved.x[2] != plain.x[2]).any()
    assert moved.values.tolist() == [9.0, 9.0, 9.0]


def test_a_path_goes_through_the_codes_of_each_frame(sequences: LatentSpace) -> None:
    path = sequences.path(2)
    assert path.shape == (5, 2)
    np.testing.assert_allclose(path[3], sequences.decode(Point(2, frame=3)).place, atol=1e-6)
    np.testing.assert_allclose(path.mean(0), sequences.plane.points[2], atol=1e-6)


def test_the_spread_of_a_frame_of_a_gaussian_guide(sequences: LatentSpace) -> None:
    """That of the first frame, which no draw comes before: fails once in 1e6."""
    args = sequences.codes.at([0]).args
    q = trace_pair(sequences.run.pair, args, z="mean").latents["z_0"][1]["fn"]
    index = [unit.index for unit in sequences.units]
    exact = float((sequences.plane.axes**2 @ q.variance[0, index].detach().numpy()).sum())
    spreads = sequences.spreads(0)
    assert spreads.shape == (3, 2, 2)
    assert abs(np.trace(spreads[0]) / exact - 1) < 5 * np.sqrt(2 / 64)


def test_the_shorter_of_two_sequences_says_how_many_frames(sequences: LatentSpace) -> None:
    assert (sequences.frames_of(2), sequences.frames_of(2, 0)) == (5, 3)
    with pytest.raises(RequestError, match="there are frames 0 to 2, and not 3"):
        sequences.decode(Point(2, to=0, at=0.5, frame=3))


def test_a_latent_of_the_whole_sequence_moves_with_a_frame() -> None:
    space = frames_of_four("dsae", f_dim=2, z_dim=3)
    values = tuple(range(5))
    codes = space.codes_at(Point(0, values=values, frame=1))
    at = {unit.name: value for unit, value in zip(space.units, values, strict=True)}
    assert codes.reals["f"][0].tolist() == [at["f[0]"], at["f[1]"]]
    assert codes.reals["z_1"][0].tolist() == [at["z[0]"], at["z[1]"], at["z[2]"]]
    assert torch.equal(codes.reals["z_2"], space.codes_at(Point(0)).reals["z_2"])


def test_a_latent_of_all_frames_at_once_has_no_path() -> None:
    space = frames_of_four("gp-vae")
    assert not space.has_frames
    with pytest.raises(RequestError, match="'gp-vae' has no latents of frames"):
        space.decode(Point(0, frame=0))


def test_a_place_on_the_map_is_that_of_its_values(space: LatentSpace) -> None:
    decoded = space.decode(Point(3))
    np.testing.assert_allclose(decoded.place, space.plane.points[3], atol=1e-5)


def test_the_grid_decodes_the_plane(space: LatentSpace) -> None:
    place = np.array([[0.4, -0.7]])
    values = space.plane.centre + place @ space.plane.axes
    x = space.decode(Point(0, values=tuple(values[0].tolist()))).x
    np.testing.assert_allclose(space.over_plane(place, 0)[0], x, atol=1e-4)


def test_the_spread_of_a_gaussian_guide(space: LatentSpace) -> None:
    q = trace_pair(space.run.pair, space.codes.at([7]).args, z="mean").latents["z"][1]["fn"]
    variance = q.variance[0, [unit.index for unit in space.units]].detach().numpy()
    axes = space.plane.axes
    np.testing.assert_allclose(space.spread(7), axes @ np.diag(variance) @ axes.T, rtol=1e-5)


def test_an_autoencoder_has_no_spread() -> None:
    space = vaezoo.explore(fitted("ae", z_dim=2), limit=10).space
    np.testing.assert_allclose(space.spread(0), np.zeros((2, 2)), atol=1e-12)
    assert space.used


def test_two_latents_make_the_map(space: LatentSpace) -> None:
    chosen = vaezoo.explore(space.run, limit=10, latents=["z[2]", "0"]).space.plane
    assert chosen.names == ("z[2]", "z[0]")


def test_one_latent_makes_a_line() -> None:
    space = vaezoo.explore(fitted("vae-bernoulli", z_dim=1), limit=10, num_values=4)
    assert (space.space.plane.points[:, 1] == 0).all()
    assert grid_of(space.space, space.looks, 4, 0).x.shape == (1, 4, 8, 8)


def test_principal_components_do_not_depend_on_rotation() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(50, 3)) * [3.0, 1.0, 0.1]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    first, second = (plane_of(c, ["a", "b", "c"]).points for c in (codes, codes @ turn))
    np.testing.assert_allclose(np.abs(first), np.abs(second), atol=1e-9)


def test_a_datum_of_a_sequence_ends_where_it_does(sequences: LatentSpace) -> None:
    lengths = [len(sequences.decode(Point(row)).x) for row in range(3)]
    assert lengths == sequences.codes.length[:3].tolist()
    assert len(set(lengths)) > 1


def test_a_grid_says_how_many_curves_are_drawn() -> None:
    x = np.random.default_rng(0).normal(size=(60, 50)).astype("float32")
    run = vaezoo.fit("vae-gaussian", x, config={"z_dim": 2}, training={"steps": 2})
    page = vaezoo.explore(run, num_values=6).page()
    assert "6 x 6 points, 3 x 3 of them drawn" in page


def test_levels_of_a_grid_come_back(explorer: Explorer) -> None:
    grid = grid_of(explorer.space, explorer.looks, 3, 0)
    tile = grid.levels()[2 * 9 : 2 * 9 + 8, 9:17] / 255 * 16.0  # lowest row, second column
    np.testing.assert_allclose(tile, grid.x[0, 1], atol=16 / 255)


@pytest.mark.parametrize("model", ["cvae", "vae-gumbel"])
def test_other_structures_are_explored(model: str) -> None:
    explorer = vaezoo.explore(fitted(model), limit=5, num_values=2)
    assert explorer.looks.kind == "image"
    assert np.isfinite(explorer.space.decode(Point(1)).x).all()


def test_rows_of_a_table_have_names_and_ranges() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    looks = vaezoo.explore(vaezoo.fit("vae-gaussian", x, training={"steps": 2}), x).looks
    assert (looks.kind, looks.names) == ("table", ("x0", "x1", "x2"))
    assert len(looks.low) == 3
    assert isinstance(looks, Looks)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fsq", "'z' takes the entries of a table"),
        ("independent", "has none"),
        ("vae-sphere", "needs latents that can be carried to the reals"),
    ],
)
def test_latents_that_cannot_be_moved_are_refused(model: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        vaezoo.explore(fitted(model))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"row": 999}, "`row` is one of 0 to 39"),
        ({"latents": ["z[9]", "z[0]"]}, r"there is no latent 'z\[9\]'"),
        ({"latents": ["z[0]"]}, "the two of the map, and not 1"),
        ({"num_values": 0}, "`num_values` takes at least one"),
        ({"limit": 2}, "a map of codes needs 3 data, and there are 2"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    space: LatentSpace, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        vaezoo.explore(space.run, **{"limit": 40, **asked})  # type: ignore[arg-type]
