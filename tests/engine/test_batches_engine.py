"""Batches as the engine takes them: gathered as they are stored, finished inside the step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaezoo
from vaezoo.data import Data, from_arrays, from_sequences
from vaezoo.data.batches import Batches, bucket
from vaezoo.data.transform import Transform, standardization
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO
from vaezoo.registry import get_model

CPU = torch.device("cpu")
TEMPLATE = Path(vaezoo.__file__).parent / "testing" / "templates" / "sequence_pair.py"
SequenceVae: Any = get_model(str(TEMPLATE))
Plain: Any = get_model(str(Path(__file__).parent / "pairs" / "plain.py"))


@pytest.fixture
def grey() -> Data:
    """40 images of 2 x 3 grey levels, stored as bytes."""
    values = np.random.default_rng(0).integers(0, 256, size=(40, 2, 3), dtype=np.uint8)
    return from_arrays(values)


@pytest.fixture
def sequences() -> Data:
    """30 binary sequences of 1 to 21 frames; the longest is in the training rows."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 22, size=30)
    return from_sequences([rng.integers(0, 2, size=(n, 3)).astype(np.float32) for n in lengths])


def of(data: Data, **transform: Any) -> Batches:
    names = ("x", "length") if "length" in data.arrays else ("x",)
    return Batches(data, Transform(**transform), names, CPU)


def transforms(data: Data) -> dict[str, dict[str, Any]]:
    mean, std = standardization(data)
    return {
        "as-stored": {},
        "scaled": {"scale": 255.0},
        "standardized": {"scale": 255.0, "mean": mean, "std": std},
        "static": {"scale": 255.0, "binarize": "static"},
        "dynamic": {"scale": 255.0, "binarize": "dynamic"},
    }


@pytest.mark.parametrize("case", ["as-stored", "scaled", "standardized", "static", "dynamic"])
def test_gathered_and_finished_are_the_rows_for_training(case: str, grey: Data) -> None:
    batches = of(grey, **transforms(grey)[case])
    positions = torch.tensor([3, 0, 3, 7])
    torch.manual_seed(1)
    expected = batches.train("train", positions)[0].clone()
    torch.manual_seed(1)
    (x,) = batches.finish(batches.gather("train", positions))
    assert torch.equal(x, expected)
    assert x.dtype is torch.float32
    assert x.shape == (4, 2, 3)


def test_rows_are_gathered_as_they_are_stored(grey: Data) -> None:
    (raw,) = of(grey, scale=255.0).gather("train", torch.tensor([2, 5]))
    assert raw.dtype is torch.uint8
    assert raw.tolist() == grey.x[grey.rows("train")[[2, 5]]].tolist()


def test_values_are_those_of_the_arrays(grey: Data) -> None:
    (x,) = of(grey, scale=255.0).train("train", torch.tensor([2, 5]))
    expected = grey.x[grey.rows("train")[[2, 5]]].astype(np.float32) / 255
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-6)


def test_a_gathered_batch_is_filled_again(grey: Data) -> None:
    """The step of a GPU reads from one place."""
    batches = of(grey, scale=255.0)
    (first,) = batches.gather("train", torch.tensor([0, 1]))
    before = first.clone()
    (second,) = batches.gather("train", torch.tensor([2, 3]))
    assert second.data_ptr() == first.data_ptr()
    assert not torch.equal(first, before)


def test_batches_of_other_sizes_have_their_own_place(grey: Data) -> None:
    batches = of(grey, scale=255.0)
    (first,) = batches.gather("train", torch.tensor([0, 1]))
    before = first.clone()
    batches.gather("train", torch.tensor([2, 3, 4]))
    assert torch.equal(first, before)


def test_fixed_rows_are_left_alone_by_training(grey: Data) -> None:
    batches = of(grey, scale=255.0)
    (kept,) = next(batches.fixed("train", limit=2))
    before = kept.clone()
    batches.gather("train", torch.tensor([4, 5]))
    assert torch.equal(kept, before)


def test_static_binarisation_is_one_draw(grey: Data) -> None:
    batches = of(grey, scale=255.0, binarize="static")
    positions = torch.tensor([3, 1])
    first = batches.train("train", positions)[0].clone()
    torch.manual_seed(99)
    assert torch.equal(batches.train("train", positions)[0], first)
    assert set(first.flatten().tolist()) <= {0.0, 1.0}
    (fixed,) = next(batches.fixed("train", positions=positions))
    assert torch.equal(fixed, first)


def test_dynamic_binarisation_is_a_draw_of_the_step(grey: Data) -> None:
    """With the grey level as probability; means of 4,000 draws lie within 6 standard errors.

    Failure rate below 1e-7.
    """
    batches = of(grey, scale=255.0, binarize="dynamic")
    raw = batches.gather("train", torch.arange(4))
    draws = torch.stack([batches.finish(raw)[0] for _ in range(4000)])
    p = raw[0].float() / 255
    error = (p * (1 - p) / 4000).sqrt()
    assert bool(((draws.mean(0) - p).abs() <= 6 * error + 1e-7).all())


def engine_for(pair: Any, batches: Batches, tier: Any, **options: Any) -> Engine:
    objective = ELBO()
    objective.prepare(pair, next(batches.fixed("train", limit=3)))
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.0)
    return Engine(pair, objective, optimizer, engine=tier, prepare=batches.finish, **options)


def test_the_graph_binarises_anew_in_every_step(grey: Data) -> None:
    """Noise of the latents is switched off: what is left is that of the data."""
    pair = VAEBernoulli(x_shape=(2, 3), z_dim=2, hidden=(4,))
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.zero_()
        pair.decoder.logits[0].bias.fill_(1.0)
    batches = of(grey, scale=255.0, binarize="dynamic")
    step = engine_for(pair, batches, "graph")
    losses = {float(step(batches.gather("train", torch.arange(8)))) for _ in range(5)}
    assert len(losses) > 2
    assert step.calls_by_tier == {"graph": 5}


@pytest.mark.parametrize("case", ["scaled", "standardized", "static", "dynamic"])
def test_the_graph_finishes_batches_as_the_eager_engine_does(case: str, grey: Data) -> None:
    losses = {}
    for tier in ("eager", "graph"):
        torch.manual_seed(0)
        pair = VAEBernoulli(x_shape=(2, 3), z_dim=2, hidden=(4,))
        batches = of(grey, **transforms(grey)[case])
        step = engine_for(pair, batches, tier)
        torch.manual_seed(1)
        order = torch.arange(32).split(8)
        losses[tier] = [float(step(batches.gather("train", rows))) for rows in order]
        assert step.calls_by_tier == {tier: 4}
    assert losses["graph"] == losses["eager"]


# Sequences


def test_sequences_are_cut_to_a_bucket(sequences: Data) -> None:
    batches = of(sequences)
    lengths = sequences.arrays["length"][sequences.rows("train")]
    short = torch.from_numpy(np.argsort(lengths)[:4].copy())
    x, length = batches.gather("train", short)
    assert length.tolist() == sorted(lengths)[:4]
    assert x.shape == (4, bucket(max(length.tolist()), sequences.x.shape[1]), 3)
    assert x.shape[1] < sequences.x.shape[1]


def test_the_longest_sequence_is_whole(sequences: Data) -> None:
    batches = of(sequences)
    lengths = sequences.arrays["length"][sequences.rows("train")]
    x, length = batches.gather("train", torch.tensor([int(np.argmax(lengths)), 0]))
    assert int(length.max()) == int(lengths.max())
    assert x.shape[1] >= int(lengths.max())


def test_the_cut_changes_neither_loss_nor_gradients(sequences: Data) -> None:
    """Nothing is drawn: the noise of padding would shift that of the frames."""
    torch.manual_seed(0)
    pair = SequenceVae(x_shape=(3,), z_dim=2, hidden=4)
    lengths = sequences.arrays["length"][sequences.rows("train")]
    short = torch.from_numpy(np.argsort(lengths)[:5].copy())
    cut = of(sequences).train("train", short)
    x = torch.from_numpy(sequences.x[sequences.rows("train")[short.numpy()]])
    whole = (x, cut[1])
    assert cut[0].shape[1] < whole[0].shape[1]
    outcomes = [loss_and_gradients_of_means(pair, args) for args in (cut, whole)]
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=1e-5, atol=1e-6)


def loss_and_gradients_of_means(pair: nn.Module, args: tuple[Tensor, ...]) -> list[Tensor]:
    """The negative ELBO at the means of the posterior, and its gradients."""
    from vaezoo.pairs.accounting import elbo_terms
    from vaezoo.pairs.sites import trace_pair

    terms = elbo_terms(pair, args, trace=trace_pair(pair, args, z="mean"))
    loss = -terms.elbo.sum() / args[1].sum()
    parameters = list(pair.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return [loss.detach(), *gradients]


def test_every_bucket_is_a_kind_of_its_own(sequences: Data) -> None:
    """Short batches are filled up, so that there are no more kinds than buckets."""
    torch.manual_seed(0)
    pair = SequenceVae(x_shape=(3,), z_dim=2, hidden=4)
    batches = of(sequences)
    lengths = sequences.arrays["length"][sequences.rows("train")]
    by_length = torch.from_numpy(np.argsort(lengths).copy())
    step = engine_for(pair, batches, "eager", batch_size=4)
    for rows in (*by_length.split(4), *by_length.split(3)):
        step(batches.gather("train", rows))
    num_frames = [shape[1] for key in step._kinds for shape, _ in list(key)[1:] if len(shape) == 3]
    assert len(num_frames) == len(set(num_frames)) > 2


# Buckets


@pytest.mark.parametrize("longest", [1, 5, 8, 29, 160, 1000])
def test_a_bucket_holds_its_sequence_and_never_exceeds_the_longest(longest: int) -> None:
    assert all(n <= bucket(n, longest) <= longest for n in range(1, longest + 1))


def test_buckets_grow_with_the_length() -> None:
    sizes = [bucket(n, 10_000) for n in range(1, 10_001)]
    assert sizes == sorted(sizes)


def test_a_bucket_is_its_own_bucket() -> None:
    assert all(bucket(bucket(n, 5000), 5000) == bucket(n, 5000) for n in range(1, 5001))


def test_at_most_a_fifth_of_a_bucket_is_padding() -> None:
    """From 8 frames on, which the smallest bucket holds."""
    shares = [1 - n / bucket(n, 10**6) for n in range(8, 5000)]
    assert max(shares) <= 0.2


def test_there_are_four_buckets_to_an_octave() -> None:
    sizes = {bucket(n, 10**6) for n in range(9, 1025)}
    assert len(sizes) == 4 * 7
