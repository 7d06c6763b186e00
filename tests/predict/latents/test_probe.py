"""Scores of codes where they are known: codes that are the factors, and mixtures of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vaezoo
from vaezoo.cli import main
from vaezoo.data import from_arrays
from vaezoo.errors import RequestError
from vaezoo.predict.latents.disentanglement import (
    Factored,
    beta_vae_score,
    dci,
    entropies,
    factor_vae_score,
    information_with,
    mig,
    modularity,
    sap,
)
from vaezoo.predict.latents.labels import label_scores
from vaezoo.predict.latents.probe import _as_rows
from vaezoo.runs import Run

GRID = np.stack(np.meshgrid(range(4), range(4)), -1).reshape(-1, 2).repeat(10, 0)
BITS = np.stack(np.meshgrid(range(2), range(2)), -1).reshape(-1, 2).repeat(50, 0)
FACTORS = GRID.astype(float)
SUM_AND_DIFFERENCE = GRID @ np.array([[1.0, 1.0], [1.0, -1.0]])


def mig_of(codes: np.ndarray, factors: np.ndarray = GRID) -> float:
    return mig(information_with(Factored(codes, factors)), entropies(factors))


def test_mig_of_the_factors_themselves_is_one() -> None:
    assert mig_of(FACTORS) == pytest.approx(1, abs=1e-9)


def test_mig_is_blind_to_order_and_scale_of_elements() -> None:
    assert mig_of(FACTORS[:, ::-1] * [-3, 0.1]) == pytest.approx(1, abs=1e-9)


def test_two_copies_of_an_element_leave_no_gap() -> None:
    assert mig_of(FACTORS[:, [0, 0, 1]]) == pytest.approx(0.5, abs=1e-9)


def test_factors_that_are_turned_by_45_degrees_have_no_mig() -> None:
    assert mig_of(SUM_AND_DIFFERENCE) == pytest.approx(0, abs=1e-9)


def test_mig_of_a_noisy_channel_is_its_capacity() -> None:
    flipped = BITS.copy()
    for block in range(4):  # one bit in ten, in each corner of the square
        flipped[block * 50 : block * 50 + 5, 0] ^= 1
    lost = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
    assert mig_of(flipped.astype(float), BITS) == pytest.approx((1 - lost + 1) / 2, abs=1e-9)


def test_sap_of_two_bits_is_what_is_above_guessing() -> None:
    rows = Factored(BITS.astype(float), BITS)
    assert sap(rows, rows) == pytest.approx(0.5)


def test_dci_of_the_factors_themselves_is_one() -> None:
    rows = Factored(FACTORS, GRID)
    disentanglement, completeness, informativeness = dci(rows, rows)
    assert min(disentanglement, completeness) > 0.8  # trees are grown on rows drawn at random
    assert informativeness == 1


def test_dci_of_turned_factors_is_informative_only() -> None:
    rows = Factored(SUM_AND_DIFFERENCE, GRID)
    disentanglement, completeness, informativeness = dci(rows, rows)
    assert max(disentanglement, completeness) < 0.1
    assert informativeness == 1


def test_modularity_of_an_element_that_knows_one_factor_is_one() -> None:
    assert modularity(np.array([[0.7, 0.0, 0.0]])) == pytest.approx(1)


def test_modularity_of_an_element_that_knows_all_alike_is_none() -> None:
    assert modularity(np.array([[0.7, 0.7, 0.7]])) == pytest.approx(0)


def test_modularity_counts_squares() -> None:
    assert modularity(np.array([[1.0, 0.5, 0.0]])) == pytest.approx(1 - 0.25 / 2)


def test_scores_of_shared_factors_are_one_for_the_factors_themselves() -> None:
    rows = Factored(FACTORS, GRID)
    assert factor_vae_score(rows, rows) == 1
    assert beta_vae_score(rows, rows) == 1


def test_codes_that_know_nothing_tell_shared_factors_by_chance() -> None:
    """800 points: off by six standard errors, 0.5 / sqrt(800) each, once in 5e8."""
    rows = Factored(np.random.default_rng(0).permutation(FACTORS), GRID)
    assert abs(beta_vae_score(rows, rows) - 0.5) < 6 * 0.5 / np.sqrt(800)


def test_collapsed_codes_know_nothing() -> None:
    rows = Factored(np.zeros((len(GRID), 2)), GRID)
    assert mig_of(rows.codes) == factor_vae_score(rows, rows) == 0
    assert sap(rows, rows) == 0


def clusters(distance: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    label = np.arange(400) % 2
    return rng.standard_normal((400, 2)) + distance * label[:, None], label


def test_linear_accuracy_is_that_of_two_gaussians() -> None:
    """Phi(d / 2), d the distance; off by 4 of its standard errors, 0.018, once in 16,000."""
    from scipy.stats import norm

    codes, label = clusters(1.0)
    scores = label_scores(codes[:200], codes[200:], label[:200], label[200:])
    expected = norm.cdf(np.sqrt(2) / 2)
    assert abs(scores.linear - expected) < 4 * scores.linear_error + 0.02  # of the fitted line
    assert scores.linear_chance == scores.few_chance == 0.5


def test_far_clusters_are_pure_and_silhouetted() -> None:
    codes, label = clusters(1e6)
    scores = label_scores(codes, codes, label, label)
    assert scores.purity == scores.few == 1
    assert scores.silhouette == pytest.approx(1, abs=1e-4)


def test_purity_by_chance_is_that_of_labels_in_any_order() -> None:
    rng = np.random.default_rng(2)
    codes, label = rng.standard_normal((1000, 2)), rng.integers(0, 3, 1000)
    scores = label_scores(codes, codes, label, label)
    assert abs(scores.purity - scores.purity_chance) < 5 * scores.purity_error


def test_rows_without_a_label_are_left_out() -> None:
    codes, label = clusters(1e6)
    partly = np.where(np.arange(400) < 100, -1, label)
    assert label_scores(codes, codes, partly, label).num_classes == 2


@pytest.fixture(scope="module")
def of_bars(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on pictures of a bar that is dark or light, at one of four heights."""
    shade, height = GRID.T
    x = np.zeros((len(GRID), 4, 4), np.float32)
    x[np.arange(len(GRID)), height] = (shade[:, None] + 1) / 4
    data = from_arrays(x, label=height, shade=shade, height=height, place=height / 3)
    folder = tmp_path_factory.mktemp("bars") / "run"
    config = {"z_dim": 2}
    return vaezoo.fit("vae-gaussian", data, config=config, training={"steps": 5}, out=folder)


def test_factors_are_whole_numbers_beside_the_label(of_bars: Run) -> None:
    result = vaezoo.probe(of_bars, split="train")
    assert result.factors is not None
    assert result.factors.names == ("shade", "height")
    assert result.factors.information.shape == (2, 2)


def test_a_factor_of_reals_can_be_named(of_bars: Run) -> None:
    result = vaezoo.probe(of_bars, split="train", factors=["shade", "place"])
    assert result.factors is not None
    assert result.factors.entropy == pytest.approx(np.log([4, 4]), abs=0.05)


def test_codes_are_those_of_encode(trained: Path) -> None:
    sides = [vaezoo.encode(trained, split=split) for split in ("train", "test")]
    codes, labels = [s["z"] for s in sides], [s["label"] for s in sides]
    alone, result = label_scores(*codes, *labels), vaezoo.probe(trained).label
    assert result is not None
    assert (result.purity, result.linear) == pytest.approx((alone.purity, alone.linear), abs=0.01)


def test_the_code_of_a_sequence_is_the_mean_over_its_frames() -> None:
    z = torch.arange(12.0).reshape(2, 3, 2)
    rows = _as_rows(z, {"x": torch.zeros(2, 3, 5), "length": torch.tensor([3, 1])})
    assert rows.tolist() == [[2, 3], [6, 7]]


def test_the_command_prints_both_tables(of_bars: Run, tmp_path: Path) -> None:
    shade, height = GRID.T
    x = np.random.default_rng(0).random((len(GRID), 4, 4), np.float32)
    np.savez(tmp_path / "x.npz", x=x, shade=shade, height=height, label=shade)
    words = ["probe", str(of_bars.path), "--data", str(tmp_path / "x.npz"), "--few", "3"]
    printed = CliRunner().invoke(main, words, catch_exceptions=False).output
    assert "3 labels of each class" in printed
    assert "factors shade, height" in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.slow
def test_sources_are_found_by_ica_and_not_by_a_model_that_is_blind_to_rotations() -> None:
    rng = np.random.default_rng(0)
    sources = 3 * rng.choice([-1, 0, 1], (3000, 3), p=[0.1, 0.8, 0.1])
    x = sources @ rng.standard_normal((3, 6)) + 0.1 * rng.standard_normal((3000, 6))
    a, b, c = sources.T
    data = from_arrays(x.astype(np.float32), a=a, b=b, c=c)
    training = {"steps": 1000, "lr": 0.01}
    ica, ppca = (
        vaezoo.probe(vaezoo.fit(name, data, config={"z_dim": 3}, training=training)).factors
        for name in ("ica", "ppca")
    )
    assert ica is not None
    assert ppca is not None
    assert ica.codes.mig > 0.6 > ppca.codes.mig


@pytest.mark.parametrize("factors", [["shade"], ["shade", "shape"], ["shade", "x"]])
def test_what_are_no_factors_is_refused(of_bars: Run, factors: list[str]) -> None:
    with pytest.raises(RequestError, match=r"factor|no array"):
        vaezoo.probe(of_bars, factors=factors)


def test_few_rows_are_refused(of_bars: Run) -> None:
    with pytest.raises(RequestError, match="16 rows are scored"):
        vaezoo.probe(of_bars)


def test_data_without_labels_are_refused() -> None:
    run = vaezoo.fit("vae-linear", np.zeros((200, 3)), training={"steps": 1})
    with pytest.raises(RequestError, match="has neither"):
        vaezoo.probe(run)
