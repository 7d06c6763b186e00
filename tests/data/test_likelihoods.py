"""Which likelihood? Families compared on held-out rows."""

import numpy as np
import pandas as pd
import pytest

from vaezoo import RequestError
from vaezoo.data import as_data, explain_likelihood, from_arrays, from_sequences

RNG = np.random.default_rng(0)


def test_the_family_that_made_the_data_is_first() -> None:
    counts = RNG.negative_binomial(2, 0.2, size=(600, 5))
    (comparison,) = explain_likelihood(from_arrays(counts))
    assert comparison.scores[0].family == "negative-binomial"
    assert not any(score.is_density for score in comparison.scores)


def test_columns_of_a_table_are_compared_by_kind() -> None:
    table = pd.DataFrame(
        {
            "smokes": RNG.integers(0, 2, 300),
            "visits": RNG.poisson(3, 300),
            "height": RNG.normal(170, 10, 300),
        }
    )
    columns = [comparison.columns for comparison in explain_likelihood(as_data(table))]
    assert columns == [("smokes",), ("visits",), ("height",)]


def test_a_mixture_takes_ten_rows_of_each_component() -> None:
    scores = explain_likelihood(from_arrays(RNG.normal(size=(60, 2))))[0].scores
    assert scores[0].mixture is None


def test_frames_of_sequences_are_rows_and_padding_is_none() -> None:
    walks = [
        RNG.integers(0, 2, size=(n, 3)).astype(np.uint8) for n in (2, 9, 4, 5, 6, 7, 8, 3, 2, 4)
    ]
    data = from_sequences(walks)
    (comparison,) = explain_likelihood(data)
    assert data.length is not None
    assert comparison.num_train == data.length[data.rows("train")].sum()
    assert [score.family for score in comparison.scores] == ["bernoulli"]


def test_missing_entries_are_left_out() -> None:
    x = RNG.normal(size=(200, 2)).astype(np.float32)
    x[::3, 1] = np.nan
    assert np.isfinite(explain_likelihood(from_arrays(x))[0].scores[0].independent)


def test_data_without_rows_to_score_are_refused() -> None:
    data = from_arrays(RNG.normal(size=(20, 2)), splits={"train": range(20)})
    with pytest.raises(RequestError, match="no rows for validation"):
        explain_likelihood(data)
