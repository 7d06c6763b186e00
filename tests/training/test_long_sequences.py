"""Before the first step nothing is computed for all frames of long sequences."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaezoo
from vaezoo.data.batches import Batches
from vaezoo.data.transform import Transform
from vaezoo.testing.sequence_pairs import LinearRecurrence
from vaezoo.training.callbacks import Callback


class Counted(LinearRecurrence):
    """Counts the frames that it is asked for."""

    frames = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        Counted.frames += 1
        return self.weight * super().transition(f, z, h)


class AtFirstStep(Callback):
    """Notes how many frames were computed when the first step was taken."""

    frames = 0

    def on_step(self, step: int, loss: float) -> None:
        self.frames = self.frames or Counted.frames


def frames_before_first_step(*lengths: int) -> int:
    Counted.frames = 0
    noted = AtFirstStep()
    data = [np.random.default_rng(n).normal(size=(n, 1)).astype(np.float32) for n in lengths]
    vaezoo.fit(Counted, data, training={"steps": 1, "batch_size": 4}, callbacks=[noted])
    return noted.frames


def test_a_first_step_costs_no_more_than_two_steps_of_any_length() -> None:
    """A frame is computed by model and guide together once, and read in the data by nothing."""
    short, long = (frames_before_first_step(*[length] * 20) for length in (40, 140))
    assert long - short <= 2 * (140 - 40)


def test_one_long_sequence_among_short_ones_is_no_trap() -> None:
    lengths = [20] * 30
    assert frames_before_first_step(*lengths, 500) <= frames_before_first_step(*lengths) + 2 * 500


def test_few_frames_are_those_at_the_start() -> None:
    data = vaezoo.data.as_data([np.full((n, 1), n, np.float32) for n in (3, 12, 20)] * 4)
    batches = Batches(data, Transform(), ("x", "length"), torch.device("cpu"))
    x, length = batches.few_frames(batches.gather("train", torch.arange(5)))
    assert x.shape[1] == 8
    assert set(length.tolist()) <= {3, 8}


def test_images_have_no_frames() -> None:
    data: Any = vaezoo.data.load_data("digits")
    batches = Batches(data, Transform(), ("x",), torch.device("cpu"))
    (x,) = batches.gather("train", torch.arange(2))
    (few,) = batches.few_frames((x,))
    assert few is x
    assert batches.times_few == pytest.approx(1)
