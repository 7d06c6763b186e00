"""Models of tables and of counts: what they read off the data, and what they recover."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import RequestError, fit, impute
from vaezoo.config import build_model, resolve
from vaezoo.data import from_arrays, load_data
from vaezoo.data.summary import FACTS
from vaezoo.distributions.columns import ByColumn
from vaezoo.models.miwae import MIWAE
from vaezoo.models.vae_counts import ProdLDA, VAECounts
from vaezoo.models.vae_tabular import VAETabular
from vaezoo.parts.likelihoods.columns import Columns
from vaezoo.parts.networks import Decoder

RNG = np.random.default_rng(0)
N = 120
KINDS = ("real", "binary", "count:30", "category:4")
TABLE = np.stack(
    [RNG.normal(50, 9, N), RNG.integers(0, 2, N), RNG.poisson(30, N), RNG.integers(0, 4, N)], 1
).astype(np.float32)
TABLE[0] = (50.5, 1, 45, 3)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """A table with text, and a gap in every sixth row."""
    path, jobs = tmp_path / "table.csv", ("clerk", "nurse", "sailor")
    lines = ["wage,owns,age,kids,job"]
    for i, (wage, owns, age, kids) in enumerate(TABLE.tolist()):
        gap = "" if i % 6 == 5 else f"{age:.0f}"
        lines.append(f"{wage:.2f},{owns:.0f},{gap},{kids:.0f},{jobs[i % 3]}")
    path.write_text("\n".join(lines))
    return path


def test_kinds_of_columns_are_read_off_the_data() -> None:
    kinds = FACTS["columns"](from_arrays(TABLE))
    assert [kind.partition(":")[0] for kind in kinds] == [k.partition(":")[0] for k in KINDS]


def test_text_is_one_of_its_values(csv: Path) -> None:
    kinds = FACTS["columns"](load_data(str(csv)))
    assert kinds[-3:] == ("one-of:job",) * 3


def test_text_of_two_values_is_binary(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [f"{wage:.2f},{'ab'[i % 2]}" for i, wage in enumerate(TABLE[:, 0])]
    path.write_text("\n".join(["wage,team", *rows]))
    assert FACTS["columns"](load_data(str(path))) == ("real", "binary")
    run = fit("vae-tabular", str(path), training={"epochs": 1})
    assert list(run.info["observed"]) == ["real", "binary"]


def test_text_that_is_missing_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    jobs = ("clerk", "nurse", "sailor", "")
    rows = [f"{wage:.2f},{jobs[i % 4]}" for i, wage in enumerate(TABLE[:, 0])]
    path.write_text("\n".join(["wage,job", *rows]))
    run = fit("vae-tabular", str(path), training={"epochs": 2})
    table = impute(run, str(path), num_samples=8).arguments["x"]
    gaps = np.arange(N) % 4 == 3
    assert table.missing[:, 1:].all(1).tolist() == gaps.tolist()
    np.testing.assert_allclose(table.draws[:, gaps, 1:].sum(-1), 1)
    assert set(np.unique(table.draws[:, gaps, 1:])) <= {0.0, 1.0}


def test_a_table_trains_by_itself(csv: Path) -> None:
    run = fit("vae-tabular", str(csv), training={"epochs": 2})
    assert list(run.info["observed"]) == ["real", "binary", "count", "category", "job"]
    assert np.isfinite(vaezoo.evaluate(run, iwae=(1,)).metrics.elbo)
    assert run.transform.mean is not None
    assert run.transform.mean[1:].tolist() == [0.0] * 6


def test_gaps_of_a_table_are_filled_with_what_a_column_holds(csv: Path) -> None:
    run = fit("vae-tabular", str(csv), training={"epochs": 2})
    table = impute(run, split="all", num_samples=8).arguments["x"]
    ages = table.draws[:, table.missing[:, 2], 2]
    assert ages.size
    assert (ages == ages.round()).all()
    assert (ages >= 0).all()


def columns(kinds: tuple[str, ...] = KINDS) -> Any:
    torch.manual_seed(0)
    return Columns(Decoder(2, [8], (len(kinds),)), columns=kinds)(torch.randn(5, 2))


def test_the_density_of_a_row_is_the_sum_of_its_columns() -> None:
    fn, x = columns(), torch.tensor([0.3, 1.0, 28.0, 2.0])
    alone = [
        fn.log_prob(torch.where(torch.arange(4) == i, x, torch.nan)) for i in range(len(KINDS))
    ]
    torch.testing.assert_close(fn.log_prob(x), torch.stack(alone).sum(0))


def test_probabilities_of_one_column_sum_to_one() -> None:
    fn = columns()
    rows = torch.full((4, 1, 4), torch.nan)
    rows[:, 0, 3] = torch.arange(4.0)
    torch.testing.assert_close(fn.log_prob(rows).logsumexp(0), torch.zeros(5))


def test_draws_of_a_row_stand_in_their_columns() -> None:
    x = columns().sample((500,))
    assert x.shape == (500, 5, 4)
    assert set(x[..., 1].unique().tolist()) <= {0.0, 1.0}
    assert bool((x[..., 2] == x[..., 2].round()).all())
    assert bool((x[..., 2].mean() > 10) & (x[..., 3] <= 3).all())


def test_a_row_of_text_is_one_of_its_values() -> None:
    fn = columns(("one-of:job", "real", "one-of:job"))
    assert isinstance(fn, ByColumn)
    x = fn.sample((50,))
    torch.testing.assert_close(x[..., 0] + x[..., 2], torch.ones(50, 5))
    assert fn.mean.shape == (5, 3)


@pytest.mark.parametrize("kind", ["text", "count", "count:0", "category:x", "real:3"])
def test_wrong_kinds_are_refused(kind: str) -> None:
    with pytest.raises(RequestError, match="expected real, binary, count:MEAN, category:NUMBER"):
        resolve(VAETabular, {"columns": [kind]})


def test_gaps_do_not_move_the_guide() -> None:
    """Whatever stands where nothing is, the guide sees 0."""
    pair: Any = build_model(VAETabular, {"columns": list(KINDS)}, (4,))
    x, mask = torch.from_numpy(TABLE[:3]), torch.ones(3, 4, dtype=torch.bool)
    mask[:, 2:] = False
    zeros = torch.where(mask, x, 0.0)
    features = pair.features(zeros, mask)
    assert features.shape == (3, pair.features.num_features)
    assert bool((features[:, 2:7] == 0).all())


def test_shares_of_a_cell_and_its_size_make_its_mean() -> None:
    """E x = (1 - g) exp(l) rho: the shares sum to 1."""
    pair: Any = build_model(VAECounts, {"noise": "negative-binomial"}, (6,))
    fn = pair.likelihood(torch.randn(4, 10), torch.full((4, 1), 3.0))
    torch.testing.assert_close(fn.mean.sum(-1), torch.full((4,), 3.0).exp())


def test_library_sizes_are_those_of_the_data() -> None:
    counts = RNG.poisson(5.0, (N, 8))
    run = fit("vae-counts", counts, training={"steps": 1})
    logs = np.log(counts.sum(1))
    assert run.config["log_total"] == pytest.approx([logs.mean(), logs.std()], abs=1e-3)


def test_prior_of_topics_is_the_laplace_approximation_of_a_dirichlet() -> None:
    """Srivastava & Sutton 2017, eq. 2: (1 / a)(1 - 2 / K) + K (1 / a) / K^2 of equal a."""
    pair: Any = build_model(ProdLDA, {"num_topics": 5, "alpha": 0.2}, (7,))
    expected = (1 - 2 / 5) / 0.2 + 5 / 0.2 / 25
    assert pair.deviation**2 == pytest.approx(expected)


def test_topics_are_shares_of_words() -> None:
    pair: Any = build_model(ProdLDA, {"num_topics": 5}, (7,))
    torch.testing.assert_close(pair.topics().exp().sum(-1), torch.ones(5))


def test_miwae_counts_what_is_there() -> None:
    """A row without its second half has the density of the first half."""
    run = fit("miwae", np.where(RNG.random((60, 4)) < 0.3, np.nan, RNG.normal(size=(60, 4))),
              config={"hidden": [8], "z_dim": 2}, training={"steps": 2})  # fmt: skip
    assert isinstance(run.pair, MIWAE)
    assert run.training.num_particles == 20
    assert np.isfinite(vaezoo.evaluate(run, iwae=(5,)).iwae[0].value)
