"""The user's own sequences: from arrays, from files of arrays, and from long tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vaezoo import build_model, get_model
from vaezoo.data import (
    as_data,
    choose_transform,
    from_arrays,
    from_sequences,
    load_file,
    standardization,
)
from vaezoo.data.batches import Batches, epoch_order
from vaezoo.data.padding import clear_padding, pad
from vaezoo.data.summary import in_words, summarize
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError
from vaezoo.testing import scaffold

RNG = np.random.default_rng(0)
LENGTHS = (3, 1, 5, 2)
WALKS = [RNG.standard_normal((length, 2)) for length in LENGTHS]
X = RNG.standard_normal((4, 5, 2)).astype(np.float32)
LENGTH = np.array(LENGTHS)


# Arrays of different lengths


def test_sequences_are_padded_with_zeros() -> None:
    data = from_sequences(WALKS)
    assert (data.kind, data.x.shape, data.x_shape) == ("sequences", (4, 5, 2), (2,))
    assert data.arrays["length"].tolist() == list(LENGTHS)
    for x, walk in zip(data.x, WALKS, strict=True):
        assert np.array_equal(x[: len(walk)], walk)
        assert not x[len(walk) :].any()


def test_sequences_have_labels_beside_them() -> None:
    assert from_sequences(WALKS, label=np.arange(4)).arrays["label"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.bool_])
def test_padding_keeps_the_type(dtype: type) -> None:
    assert pad([walk > 0 for walk in WALKS], "x")[0].dtype == np.bool_
    assert pad([walk.astype(dtype) for walk in WALKS], "x")[0].dtype == dtype


def test_bytes_of_sequences_are_numbers() -> None:
    assert from_sequences([np.full((2, 3), 200, np.uint8)] * 4).scale == 1.0


UNUSABLE = {
    "none": ([], "there are no sequences"),
    "ragged widths": ([*WALKS, np.ones((2, 3))], "sequence 4 has frames of 3 values, sequence 0"),
    "ragged frames": ([*WALKS, [[1, 2], [3]]], "sequence 4 has frames of different widths"),
    "no frames": ([WALKS[0], np.ones((0, 2))], "sequence 1 has no frames"),
    "one dimension": ([WALKS[0], np.ones(2)], r"sequence 1 has shape \(2,\).* write s\[:, None\]"),
    "images": ([WALKS[0], np.ones((2, 3, 3))], r"sequence 1 has shape .* expected \(T, D\)$"),
    "text": ([WALKS[0], np.array([["a", "b"]])], "sequence 1 holds <U1, not numbers"),
    "objects": ([np.array([[None, 1]])], "sequence 0 holds object, not numbers"),
    "too long": ([np.broadcast_to(0.0, (2**58, 1))] * 8, "8 sequences padded .* cut the longest"),
}


@pytest.mark.parametrize(("sequences", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_sequences_are_one_line(sequences: list[np.ndarray], message: str) -> None:
    with pytest.raises(RequestError, match=message) as failure:
        from_sequences(sequences, name="walks")
    assert str(failure.value).startswith("walks: ")
    assert "\n" not in str(failure.value)


def test_list_of_arrays_is_sent_to_from_sequences() -> None:
    with pytest.raises(RequestError, match="for sequences use from_sequences"):
        from_arrays(WALKS)


# Padded arrays


def test_padding_becomes_zero_and_frames_stay() -> None:
    x = X.copy()
    x[0, 3:], x[1, 1:] = np.nan, 1e9
    data = from_arrays(x, length=LENGTH)
    for row, sequence, end in zip(data.x, X, LENGTHS, strict=True):
        assert np.array_equal(row[:end], sequence[:end])
        assert not row[end:].any()


def test_array_of_the_user_is_not_changed() -> None:
    x = X.copy()
    from_arrays(x, length=LENGTH)
    assert np.array_equal(x, X)


def test_clear_padding_is_not_copied() -> None:
    x = clear_padding(X, LENGTH)
    assert clear_padding(x, LENGTH) is x


def test_grey_levels_in_the_padding_do_not_count() -> None:
    x = np.full((4, 5, 2), 9, np.uint8)
    x[:, 0] = 1
    assert from_arrays(x, length=np.ones(4, np.int64)).scale == 1.0


@pytest.mark.parametrize("key", ["length", "lengths"])
def test_npz_of_padded_sequences(npz: Callable[..., Path], key: str) -> None:
    x = X.copy()
    x[1, 1:] = np.nan
    data = load_file(npz(x=x, label=np.arange(4), **{key: LENGTH}))
    assert data.kind == "sequences"
    assert np.array_equal(data.x[1], [X[1, 0], *np.zeros((4, 2))])
    assert data.arrays["label"].tolist() == [0, 1, 2, 3]


WRONG_LENGTHS = {
    "too long": ([3, 6, 5, 2], "sequence 1 has length 6, outside 1 ... 5"),
    "zero": ([3, 1, 0, 2], "sequence 2 has length 0, outside 1 ... 5"),
    "negative": ([3, 1, 5, -2], "sequence 3 has length -2, outside 1 ... 5"),
    "too few": ([3, 1], "rows differ"),
    "real": ([3.0, 1.0, 5.0, 2.5], "one whole number per sequence"),
    "by frame": ([[1] * 5] * 4, "one whole number per sequence"),
}


@pytest.mark.parametrize(("length", "message"), WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_wrong_lengths_are_one_line(
    npz: Callable[..., Path], length: list[Any], message: str
) -> None:
    path = npz(x=X, length=np.array(length))
    with pytest.raises(RequestError, match=message) as failure:
        load_file(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_one_value_a_frame_needs_an_axis(npz: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match=r"write x\[:, :, None\]"):
        load_file(npz(x=X[..., 0], length=LENGTH))


def test_arrays_of_different_lengths_in_a_file_are_refused(tmp_path: Path) -> None:
    ragged = np.empty(4, object)
    ragged[:] = WALKS
    np.savez(tmp_path / "x.npz", x=ragged)
    with pytest.raises(RequestError, match="padded to one length with 'length' beside them"):
        load_file(tmp_path / "x.npz")


def test_first_missing_value_is_named_by_sequence_and_frame() -> None:
    x = X.copy()
    x[2, 3:, 1], x[3, 0] = np.nan, np.inf
    summary = summarize(from_arrays(x, length=LENGTH))
    assert (summary.num_missing, summary.first_missing) == (2, (2, 3))
    assert (summary.num_infinite, summary.first_infinite) == (2, (3, 0))
    assert in_words(summary.first_missing) == "sequence 2, frame 3"


def test_infinite_values_in_sequences_are_refused(tmp_path: Path) -> None:
    scaffold.write(tmp_path / "my_rnn.py", sequence=True)
    pair = build_model(get_model(f"{tmp_path / 'my_rnn.py'}"), {"hidden": 4}, (2,))
    broken = WALKS[2].copy()
    broken[4] = np.inf
    with pytest.raises(RequestError, match=r"2 values .* first in sequence 2, frame 4; remove"):
        choose_transform(pair, from_sequences([*WALKS[:2], broken]))


def test_standardisation_takes_frames_of_training_only() -> None:
    x = X.copy()
    data = from_arrays(x, length=LENGTH)
    train = np.concatenate([x[row, : LENGTH[row]] for row in data.rows("train")])
    mean, std = standardization(data)
    assert mean == pytest.approx(train.mean(0, dtype=float))
    assert std == pytest.approx(train.std(0, dtype=float))


# Long tables


LONG = """id,time,dx,dy
b,2,5,6
a,0.5,1,2
b,1,3,4
a,-1,-1,0
b,10,7,8
"""
BY_HAND = [[[3, 4], [5, 6], [7, 8]], [[-1, 0], [1, 2], [0, 0]]]


def test_long_table_becomes_sequences_sorted_by_time(csv: Callable[[str], Path]) -> None:
    data = load_file(csv(LONG))
    assert data.x.tolist() == BY_HAND
    assert (data.x.dtype, data.columns) == (np.float32, ("dx", "dy"))
    assert data.arrays["length"].tolist() == [3, 2]


def test_order_of_the_rows_does_not_matter(csv: Callable[[str], Path]) -> None:
    head, *rows = LONG.splitlines()
    shuffled = "\n".join([head, rows[0], *sorted(rows[1:])])
    assert load_file(csv(shuffled)).x.tolist() == BY_HAND


def test_order_of_the_columns_does_not_matter(csv: Callable[[str], Path]) -> None:
    table = pd.read_csv(csv(LONG))[["dx", "time", "dy", "id"]]
    path = csv("")
    table.to_csv(path)
    assert load_file(path).x.tolist() == BY_HAND


def test_long_parquet_has_dates(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    day = pd.Timestamp("2024-01-31", tz="Europe/Oslo")
    times = [day + pd.Timedelta(hours=hours) for hours in (2, 0, 1)]
    table = pd.DataFrame({"id": [7, 7, 7], "time": times, "v": [3.0, 1.0, None]})
    table.to_parquet(tmp_path / "x.parquet")
    x = load_file(tmp_path / "x.parquet").x
    assert np.array_equal(x, [[[1], [np.nan], [3]]], equal_nan=True)


def test_dates_as_text_are_sorted(csv: Callable[[str], Path]) -> None:
    text = "id,time,v\n1,2024-02-01,3\n1,2024-01-31T23:00,2\n1,2023-12-01 08:00,1\n"
    assert load_file(csv(text)).x.tolist() == [[[1], [2], [3]]]


def test_large_whole_times_are_told_apart(csv: Callable[[str], Path]) -> None:
    first = 2**53
    assert load_file(csv(f"id,time,v\n1,{first + 1},2\n1,{first},1\n")).x.tolist() == [[[1], [2]]]


@pytest.mark.parametrize(("values", "codes"), [("xyx", [0, 1, 0]), ("202", [2, 0, 2])])
def test_label_of_a_sequence(csv: Callable[[str], Path], values: str, codes: list[int]) -> None:
    rows = "".join(f"{n},{t},0.5,{v}\n" for n, v in enumerate(values) for t in range(2))
    data = load_file(csv(f"id,time,v,label\n{rows}"))
    assert data.columns == ("v",)
    assert data.arrays["label"].tolist() == codes


def test_coordinate_named_y_is_data(csv: Callable[[str], Path]) -> None:
    data = load_file(csv("id,time,x,y\n0,0,1,2\n0,1,3,4\n1,0,5,6\n"))
    assert data.columns == ("x", "y")
    assert "label" not in data.arrays


def test_table_with_one_of_the_two_columns_has_one_row_a_datum(csv: Callable[[str], Path]) -> None:
    assert load_file(csv("id,v\n0,1.5\n1,2.5\n2,3.5\n")).kind == "vectors"


MALFORMED = {
    "repeated time": (
        "id,time,v\nu,1,5\nw,1,5\nw,3,5\nu,2,6\nw,3,7\n",
        "sequence w has more than one frame at time 3; keep one",
    ),
    "no id": ("id,time,v\n0,0,1\n,1,2\n", "no id in row 1; fill or drop it"),
    "no time": ("id,time,v\n0,0,1\n0,,2\n", "no time in row 1; fill or drop it"),
    "text": ("id,time,city\n0,0,Rome\n0,1,Rome\n", "no columns are left"),
    "no order": ("id,time,v\n0,early,1\n0,late,2\n", "time holds neither numbers nor dates"),
    "no columns": ("id,time\n0,0\n0,1\n", "there are no data"),
    "no rows": ("id,time,v\n", "has no rows"),
    "no label": ("id,time,v,label\n0,0,1,a\n1,0,2,\n", "no label in sequence 1"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_long_table_is_one_line(
    csv: Callable[[str], Path], text: str, message: str
) -> None:
    path = csv(text)
    with pytest.raises(RequestError, match=message) as failure:
        load_file(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_table_arrays_and_list_make_the_same_data(tmp_path: Path, npz: Callable[..., Path]) -> None:
    walks = [walk.astype(np.float32) for walk in WALKS]
    table = pd.concat(
        pd.DataFrame(walk, columns=["a", "b"]).assign(id=n, time=range(len(walk)))
        for n, walk in enumerate(walks)
    )
    table.to_csv(tmp_path / "x.csv", index=False)
    padded, length = pad(walks, "x")
    of_table, of_npz = load_file(tmp_path / "x.csv"), load_file(npz(x=padded, length=length))
    of_list = from_sequences(walks)
    for data in (of_npz, of_list):
        assert np.array_equal(data.arrays["length"], of_table.arrays["length"])
        torch.testing.assert_close(torch.tensor(data.x), torch.tensor(of_table.x))


def test_a_pen_is_not_standardised() -> None:
    """What is 0 or 1 in every frame stays so; the offsets get mean 0 and deviation 1."""
    rng = np.random.default_rng(0)
    offsets = rng.normal(3, 7, (9, 5, 2))
    x = np.concatenate([offsets, rng.integers(0, 2, (9, 5, 1))], -1)
    mean, std = standardization(from_sequences(list(x)))
    assert (mean[2], std[2]) == (0.0, 1.0)
    assert (std[:2] > 3).all()


def batches_of(lengths: list[int]) -> Batches:
    data = from_sequences([np.full((n, 1), n, np.float32) for n in lengths])
    return Batches(data, Transform(), ("x", "length"), torch.device("cpu"))


def frames_computed(batches: Batches, order: torch.Tensor, size: int) -> int:
    return sum(batches.gather("train", part)[0].shape[:2].numel() for part in order.split(size))


def test_batches_have_sequences_of_like_lengths() -> None:
    """Of lengths spread over two octaves: at most 1.4 frames computed for each that is there."""
    batches = batches_of(np.random.default_rng(0).integers(20, 80, size=400).tolist())
    order = batches.order("train", 320, 16, seed=0, epoch=3)
    assert sorted(order.tolist()) == list(range(320))
    assert frames_computed(batches, order, 16) < 1.4 * batches.num_units("train")
    plain = epoch_order(320, seed=0, epoch=3)
    assert frames_computed(batches, plain, 16) > 1.5 * batches.num_units("train")


def test_batches_are_others_in_each_epoch_and_the_same_again() -> None:
    batches = batches_of([20, 60] * 50)
    orders = [batches.order("train", 80, 16, seed=0, epoch=epoch) for epoch in (0, 1, 0)]
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    members = [{frozenset(p.tolist()) for p in order.split(16)} for order in orders[:2]]
    assert members[0] != members[1]


def test_the_short_batch_is_now_of_one_length_and_now_of_another() -> None:
    batches = batches_of([20, 60] * 50)
    last = [batches.order("train", 80, 32, seed=0, epoch=epoch)[64:] for epoch in range(20)]
    lengths = {int(batches.gather("train", part)[1].max()) for part in last}
    assert lengths == {20, 60}


def test_rows_of_one_length_keep_their_order() -> None:
    batches = batches_of([30] * 50)
    order = batches.order("train", 40, 16, seed=4, epoch=2)
    assert torch.equal(order, epoch_order(40, seed=4, epoch=2))


def test_a_row_that_is_left_out_is_another_one_each_time() -> None:
    batches = batches_of([20, 60] * 50)
    left = [
        set(range(80)) - set(batches.order("train", 79, 16, seed=0, epoch=epoch).tolist())
        for epoch in range(5)
    ]
    assert len(set(map(tuple, left))) > 1


def test_times_of_a_table_count_from_the_first_frame_of_each_sequence() -> None:
    table = pd.DataFrame({"id": [1, 1, 2], "time": [5.5, 5.0, 9.0], "x": [1.0, 2.0, 3.0]})
    data = as_data(table)
    assert data.arrays["times"].tolist() == [[0.0, 0.5], [0.0, 0.0]]
    table["time"] = ["2024-01-02 12:00", "2024-01-01", "2024-03-01"]
    assert as_data(table).arrays["times"].tolist() == [[0.0, 1.5], [0.0, 0.0]]
