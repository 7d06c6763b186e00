"""Codes that are moved, where what comes out is known: a linear decoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vaezoo
from vaezoo.cli import main
from vaezoo.data import from_sequences
from vaezoo.errors import RequestError
from vaezoo.observations.predictions import prior_predictive
from vaezoo.predict.latents import classes
from vaezoo.predict.latents.interpolation import _along_sphere, _score
from vaezoo.predict.latents.traversal import _change
from vaezoo.runs import Run


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("linear") / "run"
    return vaezoo.fit("vae-linear", config={"z_dim": 3}, training={"steps": 300}, out=folder)


@pytest.fixture(scope="module")
def autoencoder() -> Run:
    return vaezoo.fit("ae", config={"z_dim": 3, "hidden": [16]}, training={"steps": 30})


@pytest.fixture(scope="module")
def sequences() -> Run:
    return vaezoo.fit("dmm", config={"z_dim": 3, "hidden": 8}, training={"steps": 3})


def columns(run: Run) -> np.ndarray:
    """Return W of x = W z + b in units of the data, ``(D, L)``."""
    codes = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    x = prior_predictive(run.pair, run.placeholder(4), x="mean", latents={"z": codes})["x"]
    x = run.transform.invert(x).flatten(1).numpy()
    return (x[1:] - x[0]).T


def test_a_linear_decoder_moves_by_a_column_of_its_matrix(linear: Run) -> None:
    moved = vaezoo.traverse(linear, rows=(2,), num_values=4, most=3)
    for place, unit in enumerate(moved.units):
        steps = np.diff(moved.x[0, place].reshape(4, -1), axis=0)
        expected = np.outer(np.diff(moved.values[place]), columns(linear)[:, unit.index])
        np.testing.assert_allclose(steps, expected, atol=1e-4)


def test_latents_come_by_their_kl(linear: Run) -> None:
    kl = [unit.kl for unit in vaezoo.traverse(linear).units]
    assert kl == sorted(kl, reverse=True)


def test_a_latent_takes_the_range_of_the_codes(linear: Run) -> None:
    codes = vaezoo.encode(linear)["z"]
    unit = vaezoo.traverse(linear, latents=["z[1]"]).units[0]
    assert (unit.low, unit.high) == pytest.approx(np.quantile(codes[:, 1], (0.025, 0.975)))


def test_without_kl_terms_those_come_first_that_change_most(autoencoder: Run) -> None:
    moved = vaezoo.traverse(autoencoder, most=2)
    assert len(moved.units) == 2
    assert moved.change[0] >= moved.change[1] > 0
    assert {unit.kl for unit in moved.units} == {None}


def test_what_is_not_there_has_no_column(autoencoder: Run) -> None:
    heads = vaezoo.traverse(autoencoder, most=2).cells()[0]
    assert heads == ("latent", "range", "change, units of x")
    assert vaezoo.latents(autoencoder, limit=20).cells()[0] == (
        *("latent", "lost, nats", "variance of codes", "moves x by"),
    )


@pytest.fixture(scope="module")
def tables() -> tuple[Run, Run]:
    """The same rows, and with one column in thousandths of its unit: standardised, all the same."""
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    wide = x * np.float32([1, 1024, 1])
    settings = {"standardize": True}
    runs = [
        vaezoo.fit("vae-linear", rows, training={"steps": 20}, data_settings=settings)
        for rows in (x, wide)
    ]
    return runs[0], runs[1]


def test_the_unit_of_a_column_changes_no_score(tables: tuple[Run, Run]) -> None:
    moved, of_wide = (vaezoo.traverse(run, most=2) for run in tables)
    np.testing.assert_allclose(moved.change, of_wide.change, rtol=1e-4)
    assert moved.unit == "deviations of x"
    way, wide_way = (vaezoo.interpolate(run, 0, 1).score for run in tables)
    assert way.distance == pytest.approx(wide_way.distance, rel=1e-4)
    assert way.largest_step == pytest.approx(wide_way.largest_step, rel=1e-4)


def test_frames_behind_the_end_change_nothing() -> None:
    x = np.array([[[0.0, 5.0], [2.0, np.nan]]] * 3)[..., None]  # (N, S, T, D)
    assert _change(x) == pytest.approx(np.sqrt(2 / 3))


def test_all_frames_of_a_sequence_move_by_as_much(sequences: Run) -> None:
    moved = vaezoo.traverse(sequences, rows=(0, 1), latents=["2"], num_values=3)
    assert moved.x.shape == (2, 1, 3, 8, 8)


def test_between_codes_of_a_linear_decoder_the_way_is_straight(linear: Run) -> None:
    way = vaezoo.interpolate(linear, 0, 7, num_values=5)
    np.testing.assert_allclose(way.x, way.straight, atol=1e-4)
    assert way.score.mean_step == pytest.approx(way.score.largest_step, rel=1e-4)


def test_the_way_ends_at_what_is_made_of_the_two(linear: Run) -> None:
    way = vaezoo.interpolate(linear, 4, 7, path="spherical")
    _, made = vaezoo.reconstruct(linear, limit=8)
    np.testing.assert_allclose(way.x[[0, -1]], made[[4, 7]], atol=1e-4)


def test_a_datum_is_at_no_distance_from_itself() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    run = vaezoo.fit("vae-gaussian", x, training={"steps": 3}, data_settings={"standardize": False})
    way = vaezoo.interpolate(run, 0, 0, x, num_values=3)
    nearest = np.linalg.norm(x - way.x[1], axis=1).min() / 2
    assert way.score.distance == pytest.approx(nearest, rel=1e-4)


def test_on_the_sphere_angles_are_equal_and_norms_go_over() -> None:
    start, end = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    way = _along_sphere(start, end, torch.tensor([[0.0], [1 / 3], [1.0]]))
    angle = torch.atan2(way[:, 1], way[:, 0])
    torch.testing.assert_close(angle, torch.tensor([0.0, torch.pi / 6, torch.pi / 2]))
    torch.testing.assert_close(way.norm(dim=1), torch.tensor([2.0, 2 + 2 / 3, 4.0]))


def test_opposite_codes_leave_the_straight_way() -> None:
    start = torch.tensor([[1.0, 0.0]])
    middle = _along_sphere(start, -start, torch.tensor([[0.5]]))
    torch.testing.assert_close(middle, torch.zeros(1, 2))


def test_what_tells_two_labels_apart_is_the_difference_of_mean_codes(linear: Run) -> None:
    codes = vaezoo.encode(linear, split="train")
    sides = [codes["z"][codes["label"] == label] for label in (1, 0)]
    moved = vaezoo.arithmetic(linear, plus=1, minus=0)
    move = sides[0].mean(0) - sides[1].mean(0)
    error = np.sqrt(sum((side.var(0, ddof=1) / len(side)).sum() for side in sides))
    assert moved.direction.length == pytest.approx(np.linalg.norm(move), rel=1e-4)
    assert moved.direction.standard_error == pytest.approx(error, rel=1e-4)
    shift = (moved.x - moved.data).reshape(len(moved.x), -1)
    np.testing.assert_allclose(shift, np.tile(columns(linear) @ move, (len(shift), 1)), atol=1e-3)


def test_a_linear_decoder_keeps_what_tells_a_datum_from_its_class(linear: Run) -> None:
    moved = vaezoo.arithmetic(linear, plus=1, minus=0)
    assert moved.kept == pytest.approx(1.0, abs=1e-4)
    assert moved.flipped > moved.flipped_before == 0.0


def test_moved_by_nothing_nothing_changes(linear: Run) -> None:
    moved = vaezoo.arithmetic(linear, plus=1, minus=0, scale=0.0)
    np.testing.assert_array_equal(moved.x, moved.data)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: vaezoo.traverse(run, latents=["z[9]"]), "there is no latent 'z[9]'"),
        (lambda run: vaezoo.traverse(run, rows=(0, 999)), "there is no row 999"),
        (lambda run: vaezoo.traverse(run, rows=()), "name at least one"),
        (lambda run: vaezoo.interpolate(run, 0, -1), "rows of the test data, 0 to"),
        (lambda run: vaezoo.interpolate(run, 0, 1, num_values=2), "at least 3, not 2"),
        (lambda run: vaezoo.interpolate(run, 0, 1, path="round"), "`path`"),
        (lambda run: vaezoo.arithmetic(run, plus=11, minus=0), "0 training rows have the label 11"),
    ],
)
def test_what_cannot_be_is_refused(linear: Run, ask: object, said: str) -> None:
    with pytest.raises(RequestError) as refusal:
        ask(linear)  # type: ignore[operator]
    assert said in str(refusal.value)


@pytest.mark.parametrize("model", ["mixture", "vae-sphere", "independent"])
def test_latents_that_cannot_be_moved_are_refused(model: str) -> None:
    run = vaezoo.fit(model, training={"steps": 2})
    with pytest.raises(RequestError, match="moving codes needs"):
        vaezoo.traverse(run)


def test_missing_entries_are_no_distance() -> None:
    """A row that has the first column only is as far as that is."""
    rows = np.array([[3.0, np.nan], [9.0, 9.0], [np.nan, np.nan]], np.float32)
    way = np.array([[0.0, 0.0], [1.0, 50.0], [2.0, 0.0]])
    assert _score(way, rows).distance == pytest.approx(2.0)


def test_labels_of_sequences_of_other_lengths_are_told_apart() -> None:
    """The longest row of the test data has fewer frames than that of the training."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    rows = [
        rng.normal(3.0 * kind, 0.1, (9 if place < 50 else 6, 2)).astype(np.float32)
        for place, kind in enumerate(label)
    ]
    splits = {"train": np.arange(40), "validation": np.arange(40, 50), "test": np.arange(50, 60)}
    data = from_sequences(rows, label=label, splits=splits)
    config = {"z_dim": 2, "hidden": 8, "likelihood": "gaussian"}
    run = vaezoo.fit("dmm", data, config=config, training={"steps": 2})
    moved = vaezoo.arithmetic(run, plus=1, minus=0)
    assert moved.x.shape[:2] == moved.data.shape[:2] == (5, 6)


def test_of_many_rows_some_of_all_labels_are_taken(
    linear: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vaezoo.arithmetic(linear, plus=1, minus=0).direction
    monkeypatch.setattr(classes, "MOST_LABELLED", 200)
    some = vaezoo.arithmetic(linear, plus=1, minus=0).direction
    assert 20 <= some.num_plus + some.num_minus <= 60 < whole.num_plus + whole.num_minus


def test_data_without_labels_have_no_arithmetic() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    run = vaezoo.fit("vae-gaussian", x, training={"steps": 3})
    with pytest.raises(RequestError, match="needs data with a label"):
        vaezoo.arithmetic(run, plus=1, minus=0)


@pytest.mark.parametrize(
    ("words", "figure"),
    [
        (["traverse"], "traversal"),
        (["interpolate", "--from", "0", "--to", "5"], "interpolation"),
        (["arithmetic", "--plus", "label=1", "--minus", "0"], "arithmetic"),
    ],
)
def test_commands_draw_into_the_run(linear: Run, words: list[str], figure: str) -> None:
    result = CliRunner().invoke(main, [words[0], str(linear.path), *words[1:]])
    assert result.exit_code == 0, result.stderr
    assert Path(linear.path or "", "figures", f"{figure}.png").stat().st_size > 1_000


def test_a_label_that_is_none_is_refused(linear: Run) -> None:
    words = ["arithmetic", str(linear.path), "--plus", "hat=1", "--minus", "0"]
    result = CliRunner().invoke(main, words)
    assert "data have a 'label' and no 'hat'" in result.stderr
