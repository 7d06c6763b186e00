"""Bounds by products in bfloat16, and by log weights that are captured."""

import pytest
import torch

import vaezoo
from vaezoo.predict import bounds
from vaezoo.runs import Run


@pytest.fixture(scope="module")
def run() -> Run:
    return vaezoo.fit("vae-bernoulli", training={"steps": 20})


def test_bf16_is_off_by_hundredths_of_a_nat(run: Run) -> None:
    """The same draws, with products rounded to 8 bits."""
    high, low = (
        vaezoo.evaluate(run, iwae=(10,), limit=50, precision=precision).iwae[0].value
        for precision in ("float32", "bf16")
    )
    assert high != low
    assert low == pytest.approx(high, abs=0.1)


def test_captured_weights_are_those_of_the_pair(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    values = []
    for fewest in (10**9, 1):
        monkeypatch.setattr(bounds, "FEWEST_CALLS", fewest)
        torch.manual_seed(0)
        batches = run.batches()
        values.append(bounds.iwae_bounds(run.pair.eval(), batches, "test", [1, 50], limit=40))
    assert [b.value for b in values[1]] == pytest.approx([b.value for b in values[0]], rel=1e-5)


def test_the_record_says_the_precision(run: Run) -> None:
    vaezoo.evaluate(run, iwae=(1,), limit=5, precision="bf16")
    assert any(record["asked"]["precision"] == "bf16" for record in run.evaluations)
