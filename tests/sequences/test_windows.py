"""Windows of sequences: an update for each, the state carried on and its gradient not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaezoo import Callback, RequestError, Run, SequencePair, fit, resume
from vaezoo.config import build_model
from vaezoo.data import as_data
from vaezoo.data.batches import Batches
from vaezoo.data.transform import Transform
from vaezoo.engine.recurrence.planned import Planned
from vaezoo.objectives import ELBO
from vaezoo.pairs.lengths import frames_from
from vaezoo.registry import get_model
from vaezoo.sequences import PathPair, read
from vaezoo.sequences.unrolled import Recurrence, loop
from vaezoo.sequences.windows import Updates, carry_of, num_updates
from vaezoo.settings import Training
from vaezoo.training.remarks import remarks

Args = tuple[Tensor, Tensor]
FRAMES, WINDOW = 11, 4
FILTERING = ["vrnn", "vrnn-lstm", "storn", "rnn"]


def batch() -> Args:
    """Four sequences: with four latents a step draws 16 numbers, the unit of torch's generator."""
    x = torch.bernoulli(torch.full((4, FRAMES, 5), 0.4, dtype=torch.float64))
    return x, torch.tensor([FRAMES, 1, 3, 7])


def pair_of(name: str) -> SequencePair:
    settings = {} if name == "rnn" else {"z_dim": 4}
    pair = build_model(get_model(name), {"hidden": 6, **settings}, (5,))
    assert isinstance(pair, SequencePair)
    return pair.double()


def windows_of(form: PathPair, args: Args) -> list[tuple[Tensor, int]]:
    """Return the loss of each window, in nats per frame, and how many frames it has."""
    carry = carry_of(form, ELBO(), args, len(args[0]))
    torch.manual_seed(1)
    losses = []
    for start in range(0, FRAMES, WINDOW):
        carry.go_on(is_first=start == 0)
        x, length = frames_from({"x": args[0], "length": args[1]}, start, WINDOW).values()
        losses.append((ELBO().loss(form, (x, length)), int(length.sum())))
    return losses


def whole_loss(form: PathPair, args: Args) -> Tensor:
    torch.manual_seed(1)
    return ELBO().loss(form, args)


@pytest.mark.parametrize("recurrence", [loop, Planned()], ids=["loop", "plan"])
@pytest.mark.parametrize("name", FILTERING)
def test_losses_of_windows_add_up_to_that_of_the_whole(name: str, recurrence: Recurrence) -> None:
    args, pair = batch(), pair_of(name)
    windows = windows_of(PathPair(pair, recurrence), args)
    total = sum(loss.item() * frames for loss, frames in windows)
    assert total == pytest.approx(whole_loss(PathPair(pair), args).item() * 22, rel=1e-10)


@pytest.mark.parametrize("name", ["vrnn", "storn", "rnn", "srnn", "dmm"])
def test_a_first_window_of_all_frames_is_the_whole(name: str) -> None:
    args, pair = batch(), pair_of(name)
    form = PathPair(pair)
    expected = whole_loss(form, args)
    carry_of(form, ELBO(), args, 4)
    assert torch.equal(whole_loss(form, args), expected)


def test_the_state_of_the_whole_is_carried() -> None:
    args, form = batch(), PathPair(pair_of("rnn"))
    windows_of(form, args)
    unrolled = PathPair(form.pair)._begin(*args, []).through({"z": args[0][..., :0]})
    before_last = form.get_submodule("carry").get_buffer("before_h")
    torch.testing.assert_close(before_last, unrolled.h.unflatten(0, (FRAMES, 4))[2 * WINDOW])


def test_an_lstm_hands_on_both_of_its_states() -> None:
    args, form = batch(), PathPair(pair_of("vrnn-lstm"))
    windows_of(form, args)
    hidden, cell = form.get_submodule("carry").get_buffer("behind_h").chunk(2, -1)
    assert hidden.shape == cell.shape == (4, 6)
    assert not torch.equal(hidden, cell)
    assert bool((hidden.abs() <= cell.tanh().abs()).all())  # o * tanh(c), 0 < o < 1


def test_gradients_end_where_a_window_begins() -> None:
    """Those of a pair that begins with the state that was carried, as a constant."""
    args, form = batch(), PathPair(pair_of("vrnn"))
    loss, _ = windows_of(form, args)[-1]
    parameters = list(form.pair.parameters())
    ours = torch.autograd.grad(loss, parameters)
    start = form.get_submodule("carry").get_buffer("before_h").clone()
    later = PathPair(form.pair)
    later.pair.initial = lambda x: start[: len(x)]  # type: ignore[method-assign]
    objective = ELBO()
    objective.prepare(later, args)
    torch.manual_seed(1)
    torch.randn(2 * WINDOW, 4, 4, dtype=torch.float64)  # of the windows before
    x, length = frames_from({"x": args[0], "length": args[1]}, 2 * WINDOW, WINDOW).values()
    theirs = torch.autograd.grad(objective.loss(later, (x, length)), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_an_evaluation_may_be_repeated() -> None:
    """A trial, or a recording, does not go on to the next window."""
    (x, length), form = batch(), PathPair(pair_of("vrnn"))
    carry = carry_of(form, ELBO(), (x, length), 4)
    whole_loss(form, (x, length))
    carry.go_on(is_first=False)
    assert torch.equal(whole_loss(form, (x, length)), whole_loss(form, (x, length)))


def test_a_measured_pair_sees_whole_sequences() -> None:
    args, form = batch(), PathPair(pair_of("vrnn"))
    expected = whole_loss(form.eval(), args)
    windows_of(form.train(), args)
    assert torch.equal(whole_loss(form.eval(), args), expected)


def test_several_draws_of_each_datum_are_carried_apart() -> None:
    args, form, objective = batch(), PathPair(pair_of("vrnn")), ELBO(num_particles=3)
    objective.prepare(form, args)
    assert carry_of(form, objective, args, 4).get_buffer("before_h").shape == (12, 6)


def test_a_cell_can_be_read_before_each_frame() -> None:
    cell, x = nn.GRUCell(3, 5), torch.randn(2, 4, 3)
    after, before = read(cell, x), read(cell, x, before=True)
    torch.testing.assert_close(before[:, 1:], after[:, :-1])
    assert not before[:, 0].any()


# Updates of an epoch

LENGTHS = [30, 25, 17, 9, 40, 33, 21, 8, 12, 50, 6]


def sequences() -> Any:
    generator = np.random.default_rng(0)
    return as_data([(generator.random((n, 4)) < 0.3).astype(np.float32) for n in 2 * LENGTHS])


def updates_of(truncate: int) -> Updates:
    batches = Batches(sequences(), Transform(), ("x", "length"), torch.device("cpu"))
    training = Training(truncate=truncate, epochs=3)
    return Updates(batches, training, batches.size("train"), 4)


def test_every_frame_is_seen_once_in_an_epoch() -> None:
    updates = updates_of(10)
    seen = sum(int(updates.gather(update)[1].sum()) for update in updates.of_epoch(0))
    assert seen == updates.batches.num_units("train")


def test_windows_of_long_batches_have_one_shape() -> None:
    updates = updates_of(10)
    shapes = {updates.gather(u)[0].shape[1] for u in updates.of_epoch(1) if u.frames}
    assert shapes == {10}


def test_all_updates_are_counted() -> None:
    updates = updates_of(10)
    assert updates.total() == sum(len(updates.of_epoch(epoch)) for epoch in range(3))


def test_short_sequences_have_one_window() -> None:
    updates = updates_of(50)
    assert [u.frames for u in updates.of_epoch(0)] == [0] * 5
    assert updates.lengths is None


def test_updates_are_estimated_from_lengths() -> None:
    assert num_updates(4, 2, [100, 8, 9, 41], truncate=40) == 3 + 1


@pytest.mark.parametrize(("truncate", "said"), [(0, True), (200, False)])
def test_very_long_sequences_get_a_word(truncate: int, said: bool) -> None:
    data = as_data([np.zeros((n, 1), np.float32) for n in (9, 9, 6_000, 6_000, 9)])
    batches = Batches(data, Transform(), ("x", "length"), torch.device("cpu"))
    updates = Updates(batches, Training(truncate=truncate, steps=1), batches.size("train"), 4)
    updates.can_be_cut = True
    lines = dict(remarks(updates, {}, ""))
    assert ("long sequences" in lines) is said


# Whole trainings

CONFIG = {"hidden": 8, "z_dim": 3}


def train(callback: Callback | None = None, *, out: Path | None = None, **training: Any) -> Run:
    asked = {"epochs": 2, "batch_size": 4, **training}
    callbacks = [callback] if callback else []
    return fit("vrnn", sequences(), config=CONFIG, training=asked, out=out, callbacks=callbacks)


def same_weights(one: Run, other: Run) -> bool:
    theirs = other.pair.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.pair.state_dict().items())


def test_one_window_is_plain_training() -> None:
    assert same_weights(train(truncate=50), train())


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_training_takes_a_step_after_each_window(engine: str) -> None:
    run = train(truncate=10, engine=engine)
    assert run.info["steps"] == updates_of(10).total() * 2 / 3
    assert list(run.info["steps_by_engine"]) == [engine]


@pytest.mark.parametrize("steps", [3, 7])
def test_it_is_resumed_between_windows_bit_by_bit(steps: int, tmp_path: Path) -> None:
    train(truncate=10, epochs=None, steps=steps, out=tmp_path / "run")
    resumed = resume(tmp_path / "run", steps=20, data=sequences())
    assert same_weights(resumed, train(truncate=10, epochs=None, steps=20))


def test_pairs_of_another_form_are_refused() -> None:
    with pytest.raises(RequestError, match=r"`truncate` carries .* VAEBernoulli is none; drop it"):
        fit("vae-bernoulli", training={"truncate": 8, "steps": 1})


def test_objectives_of_whole_sequences_are_refused() -> None:
    with pytest.raises(RequestError, match=r"'iwae' weighs whole sequences; use `objective='elbo'"):
        train(truncate=10, objective="iwae")


def test_a_warm_up_may_be_longer_than_the_batches() -> None:
    """Updates are counted, of which there are more than batches."""
    assert train(truncate=10, kl_warmup=12).training.kl_warmup == 12
