"""What is measured of an epoch: the same whether its terms are captured or not."""

import pytest
import torch

import vaezoo
from vaezoo.data.transform import Transform
from vaezoo.observations.roles import Observation
from vaezoo.training.measuring.batch import CapturedTerms, TermsOf
from vaezoo.training.measuring.rows import Rows


def metrics_of(model: str, engine: str) -> list[dict]:
    run = vaezoo.fit(model, training={"epochs": 2, "batch_size": 500, "engine": engine})
    return [record["validation"] for record in run.metrics]


@pytest.mark.parametrize("model", ["vae-bernoulli", "vae-gaussian"])
def test_captured_terms_are_those_of_the_pair(model: str) -> None:
    for ours, theirs in zip(metrics_of(model, "graph"), metrics_of(model, "eager"), strict=True):
        assert ours["elbo"] == pytest.approx(theirs["elbo"], rel=1e-4)
        assert ours["kl_per_latent"]["z"] == pytest.approx(theirs["kl_per_latent"]["z"], rel=1e-3)


def test_captured_terms_have_all_parts() -> None:
    pair = vaezoo.build_model(vaezoo.get_model("vae-gaussian"), {}, (4, 4)).eval()
    x = torch.rand(3, 4, 4)
    ours, theirs = CapturedTerms(pair)((x,)), TermsOf(pair)((x,))
    assert ours.facts == theirs.facts
    assert ours.tensors().keys() == theirs.tensors().keys()


def test_rows_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    rows = Rows((x,), ("x",), Transform())
    counts = rows.num_missing, rows.entries("x", Observation("x"))
    monkeypatch.setattr(torch.Tensor, "isnan", None)
    assert (rows.num_missing, rows.entries("x", Observation("x"))) == counts == (1, (3.0, 0.0))


def test_weights_that_are_not_finite_are_told_by_the_pair() -> None:
    """Captured terms are nan where a distribution would refuse its parameters."""
    run = vaezoo.fit("vae-gaussian", training={"epochs": 1, "batch_size": 500, "engine": "graph"})
    with torch.no_grad():
        next(run.pair.parameters()).fill_(float("nan"))
    terms = CapturedTerms(run.pair)
    x = run.batches().whole("test", limit=4)
    with pytest.raises(ValueError, match="to satisfy the constraint"):
        terms(x)
