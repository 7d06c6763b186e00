"""Splits, transforms, batches, and the contract between data and likelihood."""

import math
from typing import Literal

import numpy as np
import pytest
import torch

from vaezoo import RequestError, build_model, get_model
from vaezoo.data import (
    Data,
    Transform,
    choose_transform,
    epoch_order,
    from_arrays,
    from_sequences,
    summarize,
)
from vaezoo.data.batches import Batches
from vaezoo.data.transform import standardization

CPU = torch.device("cpu")
GREY = np.random.default_rng(0).integers(0, 256, (60, 4, 3)).astype(np.uint8)
REAL = np.random.default_rng(1).normal(3.0, 2.0, (60, 5)).astype(np.float32)


def batches_of(data: Data, transform: Transform | None = None) -> Batches:
    return Batches(data, transform or Transform(data.scale), ("x",), CPU)


def fixed(batches: Batches, split: str = "test") -> torch.Tensor:
    return torch.cat([x for (x,) in batches.fixed(split)])


def bernoulli_pair(shape: tuple[int, ...]) -> torch.nn.Module:
    return build_model(get_model("vae-bernoulli"), {"hidden": [4], "z_dim": 2}, shape)


def gaussian_pair(shape: tuple[int, ...]) -> torch.nn.Module:
    return build_model(get_model("vae-gaussian"), {"hidden": [4], "z_dim": 2}, shape)


def test_splits_share_no_row_and_leave_none() -> None:
    data = from_arrays(GREY)
    rows = np.concatenate(list(data.splits.values()))
    assert sorted(rows) == list(range(60))
    assert [len(data.splits[name]) for name in ("train", "validation", "test")] == [48, 6, 6]


def test_a_seed_fixes_the_split() -> None:
    one, two, other = (from_arrays(GREY, seed=seed).splits["test"] for seed in (0, 0, 1))
    assert (one == two).all()
    assert (one != other).any()


def test_grey_levels_are_found() -> None:
    assert from_arrays(GREY).scale == 255.0
    assert from_arrays(GREY > 9).scale == 1.0
    assert from_arrays(GREY.astype(float)).scale == from_arrays(GREY.astype(int)).scale == 255.0
    assert from_arrays(GREY + 0.5).scale == from_arrays(GREY.reshape(len(GREY), -1)).scale == 1.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([["a", "b"]])}, "holds <U1, not numbers"),
        ({"x": np.zeros(4)}, r"x has shape \(4,\); expected \(N, D\)"),
        ({"x": np.zeros((0, 3))}, "there are no data"),
        ({"x": np.zeros((3, 2)), "label": np.zeros(2)}, "rows differ"),
        ({"x": np.zeros((2, 3)), "length": np.array([1, 1])}, r"need x of shape \(N, T, D\)"),
        ({"x": np.zeros((2, 3, 1)), "length": np.array([4, 1])}, "sequence 0 has length 4"),
        ({"x": np.zeros((2, 3, 1)), "length": np.array([1, 0])}, "sequence 1 has length 0"),
    ],
)
def test_arrays_that_no_pair_can_use_are_refused(
    arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        from_arrays(**arrays)


def test_fixed_binarisation_does_not_depend_on_the_batch() -> None:
    transform = Transform(255.0, "dynamic")
    data = from_arrays(GREY)
    whole = fixed(batches_of(data, transform))
    (chosen,) = next(batches_of(data, transform).fixed("test", positions=torch.tensor([4, 1])))
    assert torch.equal(chosen, whole[[4, 1]])


def test_fixed_binarisation_follows_the_grey_level() -> None:
    """Failure rate below 1e-6: the share of ones lies within 5 standard errors of the level."""
    data = from_arrays(np.full((400, 10, 10), 51, np.uint8), scale=255.0)
    ones = fixed(batches_of(data, Transform(255.0, "dynamic")), "train").mean()
    assert float(ones) == pytest.approx(0.2, abs=5 * math.sqrt(0.16 / 32000))


def test_dynamic_binarisation_is_drawn_afresh_and_static_is_not() -> None:
    data, positions = from_arrays(GREY), torch.arange(20)
    for binarize, same in (("dynamic", False), ("static", True)):
        batches = batches_of(data, Transform(255.0, binarize))
        one, two = (batches.train("train", positions)[0] for _ in range(2))
        assert torch.equal(one, two) is same
        assert set(one.unique().tolist()) == {0.0, 1.0}


def test_a_seed_fixes_dynamic_binarisation() -> None:
    batches = batches_of(from_arrays(GREY), Transform(255.0, "dynamic"))
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(batches.train("train", torch.arange(20))[0])
    assert torch.equal(*draws)


def test_grey_levels_stay_small_on_the_device() -> None:
    batches = batches_of(from_arrays(GREY))
    fixed(batches, "train")
    assert batches._resident["train"]["x"].dtype == torch.uint8


@pytest.mark.parametrize("rows", [1, 7, 60, 100])
def test_pieces_are_all_rows_in_order(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaezoo.data.dataset._ROWS_AT_A_TIME", rows)
    holed = np.where(np.arange(60)[:, None] == 41, np.nan, REAL)
    starts, pieces, valid = zip(*from_arrays(holed).pieces(), strict=True)
    assert list(starts) == list(range(0, 60, rows))
    np.testing.assert_array_equal(np.concatenate(pieces), holed)
    assert np.concatenate(valid).all()
    assert summarize(from_arrays(holed)).first_missing == (41,)


def test_pieces_of_sequences_tell_frames_from_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaezoo.data.dataset._ROWS_AT_A_TIME", 2)
    walks = [np.full((length, 2), float(length)) for length in (3, 1, 2)]
    walks[2][1, 0] = np.inf
    data = from_sequences(walks)
    assert [valid.sum(1).tolist() for _, _, valid in data.pieces()] == [[3, 1], [2]]
    summary = summarize(data)
    assert (summary.low, summary.high, summary.first_infinite) == (1.0, 3.0, (2, 1))


def test_standardised_training_rows_have_mean_0_and_deviation_1() -> None:
    data = from_arrays(REAL)
    mean, std = standardization(data)
    x = fixed(batches_of(data, Transform(1.0, "none", mean, std)), "train")
    torch.testing.assert_close(x.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(5), atol=1e-4, rtol=0)


def test_standardisation_leaves_out_what_is_missing() -> None:
    x = REAL.astype(np.float64)
    holed = np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.nan, x)
    holed[:, 4] = np.nan
    data = from_arrays(holed)
    rows = holed[data.rows("train")][:, :4]
    mean, std = standardization(data)
    np.testing.assert_allclose(mean, [*np.nanmean(rows, 0), 0.0])
    np.testing.assert_allclose(std, [*np.nanstd(rows, 0), 1.0])


def test_standardisation_in_pieces_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = standardization(from_arrays(REAL))
    monkeypatch.setattr("vaezoo.data.transform._LARGEST_AT_ONCE", 8 * 5 * 7)
    for ours, theirs in zip(standardization(from_arrays(REAL)), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_an_offset_is_taken_off_before_values_are_cast() -> None:
    x = REAL.astype(np.float64)
    ours, theirs = (
        fixed(batches_of(data, Transform(1.0, "none", *standardization(data))), "train")
        for data in (from_arrays(x + np.array([1e9, 0, 0, 0, 0])), from_arrays(x))
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_an_offset_comes_back() -> None:
    data = from_arrays(REAL.astype(np.float64) + 1e9)
    transform = Transform(1.0, "none", *standardization(data))
    x = transform.invert(fixed(batches_of(data, transform), "train"))
    np.testing.assert_allclose(x.numpy(), data.x[data.rows("train")], rtol=0, atol=1e-4)


@pytest.mark.parametrize("binarize", ["dynamic", "static"])
def test_what_is_missing_is_not_binarised(binarize: Literal["dynamic", "static"]) -> None:
    grey = np.where(REAL > 4, np.nan, 0.5)
    batches = batches_of(from_arrays(grey), Transform(1.0, binarize))
    for x in (batches.train("train", torch.arange(20))[0], fixed(batches, "train")[:20]):
        missing = np.isnan(grey[batches.data.rows("train")[:20]])
        np.testing.assert_array_equal(x.isnan().numpy(), missing)
        assert set(x[~x.isnan()].tolist()) == {0.0, 1.0}


def test_invert_undoes_the_transform() -> None:
    data = from_arrays(REAL)
    transform = Transform(2.0, "none", *standardization(data))
    x = torch.from_numpy(REAL)
    torch.testing.assert_close(transform.invert(transform.continuous(x)), x)


def test_a_transform_survives_being_stored() -> None:
    transform = Transform(2.0, "none", *standardization(from_arrays(REAL)))
    again = Transform.from_dict(transform.to_dict())
    x = torch.from_numpy(REAL)
    assert torch.equal(again.continuous(x), transform.continuous(x))


def test_log_volume_is_the_change_of_a_density() -> None:
    """x -> x / a adds D log a to a log-density (per element, log a)."""
    scale, std = 5.0, np.array([2.0, 4.0])
    transform = Transform(scale, "none", np.zeros(2), std)
    assert transform.log_volume == pytest.approx(np.log(scale * std).mean())


def test_standardisation_ignores_padding_and_constant_columns() -> None:
    x = np.full((10, 3, 2), 1e6, np.float32)
    x[:, 0] = np.array([7.0, 3.0])
    data = from_arrays(x, length=np.ones(10, np.int64))
    mean, std = standardization(data)
    assert mean.tolist() == [7.0, 3.0]
    assert std.tolist() == [1.0, 1.0]


def test_summary_ignores_padding() -> None:
    x = np.full((4, 3, 1), np.nan, np.float32)
    x[:, 0] = 0.5
    summary = summarize(from_arrays(x, length=np.ones(4, np.int64)))
    assert (summary.low, summary.high, summary.num_missing) == (0.5, 0.5, 0)


def test_grey_levels_are_binarised_for_a_bernoulli() -> None:
    transform = choose_transform(bernoulli_pair((4, 3)), from_arrays(GREY))
    assert (transform.scale, transform.binarize) == (255.0, "dynamic")


def test_grey_levels_are_left_as_they_are_for_a_gaussian() -> None:
    transform = choose_transform(gaussian_pair((4, 3)), from_arrays(GREY))
    assert (transform.scale, transform.binarize) == (255.0, "none")


def test_binary_data_need_no_transform() -> None:
    transform = choose_transform(bernoulli_pair((4, 3)), from_arrays(GREY > 99))
    assert transform == Transform()


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (REAL, {}, "explains 0 and 1 only; use `likelihood='gaussian'`$"),
        (np.abs(np.sin(REAL)), {}, "use `binarize='dynamic'` or `likelihood='gaussian'`"),
        (REAL, {"binarize": "dynamic"}, "cannot be probabilities: `binarize='dynamic'` needs 0"),
        (REAL > 3, {"standardize": True}, "explains 0 and 1 only"),
        (GREY[:, :, 0].astype(int).repeat(2, 1)[:, :5] + 300, {}, "='negative-binomial'`$"),
        (REAL, {"standardize": True, "binarize": "static"}, "exclude each other"),
        (np.where(REAL > 5, np.inf, REAL), {}, "values of x are infinite, the first in row"),
        (np.full_like(REAL, np.nan), {}, "all entries of x are missing"),
    ],
)
def test_data_that_do_not_fit_are_refused_with_the_setting_to_use(
    x: np.ndarray, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        choose_transform(bernoulli_pair((5,)), from_arrays(x), **options)


def test_a_model_of_sequences_refuses_images_and_the_reverse() -> None:
    with pytest.raises(RequestError, match="the model takes 'length', but array has only x"):
        Batches(from_arrays(GREY), Transform(), ("x", "length"), CPU)
    sequences = from_arrays(GREY, length=np.full(60, 4))
    with pytest.raises(RequestError, match="holds sequences, but the model takes no 'length'"):
        Batches(sequences, Transform(), ("x",), CPU)


def test_every_row_is_visited_once_an_epoch() -> None:
    order = epoch_order(100, seed=3, epoch=5)
    assert sorted(order.tolist()) == list(range(100))
    assert torch.equal(order, epoch_order(100, seed=3, epoch=5))
    assert not torch.equal(order, epoch_order(100, seed=3, epoch=6))


def test_a_large_memory_map_is_read_batch_by_batch(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{tmp_path}/x.npy"
    np.save(path, REAL)
    data = from_arrays(np.load(path, mmap_mode="r"))
    monkeypatch.setattr("vaezoo.data.batches._LARGEST_IN_MEMORY", 100)
    batches = batches_of(data)
    torch.testing.assert_close(fixed(batches), fixed(batches_of(from_arrays(REAL))))
    assert not batches._resident.get("test")
    batches.train("train", torch.arange(3))
    assert batches._resident["train"] == {}


def test_a_few_rows_of_a_memory_map_move_nothing_else(tmp_path: object) -> None:
    path = f"{tmp_path}/x.npy"
    np.save(path, REAL)
    batches = batches_of(from_arrays(np.load(path, mmap_mode="r")))
    batches.whole("train", limit=3)
    assert not batches._resident.get("train")
    batches.train("train", torch.arange(3))
    assert list(batches._resident["train"]) == ["x"]
