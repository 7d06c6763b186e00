"""Whatever form data are handed in, it is the same data set that comes of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from vaezoo import RequestError
from vaezoo.data import DataLike, as_data, from_arrays, from_sequences, load_data

X = np.random.default_rng(0).random((20, 3)).astype(np.float32)
WALKS = [np.full((n, 2), n, np.float32) for n in (3, 1, 5)]
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


class Endless(IterableDataset[torch.Tensor]):
    """Items one after the other, without end."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from iter(torch.zeros, None)


@pytest.mark.parametrize(
    "value",
    [
        *(X, torch.from_numpy(X), torch.from_numpy(X).requires_grad_(), {"x": X}, FRAME),
        TensorDataset(torch.from_numpy(X)),
    ],
    ids=["array", "tensor", "leaf", "mapping", "frame", "dataset"],
)
def test_values_of_any_form_are_one_data_set(value: DataLike) -> None:
    data, same = as_data(value, seed=3), from_arrays(X, seed=3)
    assert np.array_equal(data.x, same.x)
    assert data.checksum == same.checksum
    assert all(np.array_equal(rows, same.splits[name]) for name, rows in data.splits.items())


def test_rows_of_numbers_are_an_array() -> None:
    assert as_data([[0, 1], [1, 0], [1, 1]]).x.tolist() == [[0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    "value",
    [WALKS, [torch.from_numpy(walk) for walk in WALKS], [walk.tolist() for walk in WALKS]],
    ids=["arrays", "tensors", "lists"],
)
def test_a_list_of_arrays_is_sequences(value: DataLike) -> None:
    data, same = as_data(value), from_sequences(WALKS)
    assert np.array_equal(data.x, same.x)
    assert data.arrays["length"].tolist() == [3, 1, 5]


def test_a_mapping_names_the_arguments() -> None:
    label = np.arange(3)
    data = as_data({"x": WALKS, "label": torch.from_numpy(label)})
    assert sorted(data.arrays) == ["label", "length", "x"]
    assert data.arrays["label"].tolist() == [0, 1, 2]


def test_items_of_a_dataset_may_have_labels() -> None:
    data = as_data(TensorDataset(torch.from_numpy(X), torch.arange(20)))
    assert data.arrays["label"].tolist() == list(range(20))


def test_items_of_a_dataset_may_have_lengths_of_their_own() -> None:
    class Walks(Dataset[np.ndarray]):
        def __len__(self) -> int:
            return len(WALKS)

        def __getitem__(self, row: int) -> np.ndarray:
            return WALKS[row]

    assert as_data(Walks()).arrays["length"].tolist() == [3, 1, 5]


def test_a_frame_is_read_as_the_same_table_in_a_file(tmp_path: Path) -> None:
    frame = FRAME.assign(label=["n", "m"] * 10)
    frame.to_csv(tmp_path / "x.csv", index=False)
    data, file = as_data(frame), load_data(tmp_path / "x.csv")
    assert data.columns == file.columns == ("a", "b", "c")
    assert np.allclose(data.x, file.x)
    assert np.array_equal(data.arrays["label"], file.arrays["label"])


def test_a_frame_with_id_and_time_is_sequences() -> None:
    frame = pd.DataFrame({"id": [7, 7, 8], "time": [1, 0, 0], "v": [3.0, 1.0, 2.0]})
    data = as_data(frame)
    assert data.arrays["length"].tolist() == [2, 1]
    assert data.x[0, :, 0].tolist() == [1.0, 3.0]


def test_a_frame_without_names_has_no_columns() -> None:
    assert as_data(pd.DataFrame(X)).columns == ()


@pytest.mark.parametrize("value", ["digits", from_arrays(X)], ids=["name", "data"])
def test_data_with_splits_keep_them(value: Any) -> None:
    assert len(as_data(value, whole=True).rows("test")) < len(as_data(value).x)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_whole_values_have_all_rows_in_every_split(split: str) -> None:
    assert as_data(X, whole=True).rows(split).tolist() == list(range(20))


def test_scale_is_that_of_the_units() -> None:
    assert as_data(X, scale=16.0).scale == 16.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"y": X}, "the arrays y; name the data 'x'"),
        ({"x": X, 3: X}, "3 names no array"),
        ({"x": X, "c": X[:3]}, "rows differ"),
        ([], "there are no sequences"),
        ([np.zeros(3), np.zeros(2)], r"write s\[:, None\] for one value a frame"),
        ([[0.0, 1.0], [1.0]], "its parts have different shapes"),
        (np.array(["a", "b"]), "not numbers"),
        (pd.DataFrame({"a": ["x", "x"]}), "'frame': no columns are left"),
        (pd.DataFrame(), "'frame' has no rows"),
        (Endless(), "a Dataset without a length cannot be split"),
    ],
)
def test_what_is_no_data_is_refused(value: DataLike, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        as_data(value)
