"""Data of studies: factors are known and independent, what is dequantised has a density."""

import numpy as np

from vaezoo.study.toys import CLASSES, dequantised, shapes, without_class


def test_factors_of_shapes_are_seen_in_the_pictures() -> None:
    data = shapes()
    x = data.x - data.x.min()
    grid = np.arange(x.shape[1])
    middle = (x.sum(2) * grid).sum(1) / x.sum((1, 2))
    by_row = [middle[data.arrays["row"] == k].mean() for k in range(CLASSES["row"])]
    assert (np.diff(by_row) > 0).all()
    by_width = [x[data.arrays["width"] == k].sum() for k in range(CLASSES["width"])]
    assert (np.diff(by_width) > 0).all()


def test_factors_of_shapes_are_independent() -> None:
    arrays = shapes().arrays
    own = np.corrcoef([arrays[name] for name in CLASSES])
    assert np.abs(own - np.eye(len(CLASSES))).max() < 0.08  # 4 / sqrt(3000): once in 16,000


def test_dequantised_data_are_greys_with_less_than_one_of_noise() -> None:
    import vaezoo

    greys, data = vaezoo.load_data("digits"), dequantised("digits", limit=50)
    assert [len(rows) for rows in data.splits.values()] == [50, 50, 50]
    own = np.concatenate([greys.x[rows[:50]] for rows in greys.splits.values()])
    assert np.array_equal(np.floor(data.x * 17), own)


def test_a_class_is_away_from_training_and_all_in_the_test() -> None:
    data = without_class(dequantised("digits"), 8)
    label, is_held = data.arrays["label"], data.arrays["held_out"]
    assert not is_held[data.splits["train"]].any()
    assert not is_held[data.splits["validation"]].any()
    assert is_held[data.splits["test"]].sum() == (label == 8).sum()
