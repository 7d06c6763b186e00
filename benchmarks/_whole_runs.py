"""Whole trainings on MNIST, everything included: vaezoo by its tiers, and pythae."""

import io
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _hand_written import Networks
from _nets import NETS
from _timing import cache_in

from vaezoo import Callback, Data, VaezooError, load_data
from vaezoo.data import from_arrays
from vaezoo.runs.ownership import made
from vaezoo.training.admission import prepare
from vaezoo.training.trainer import Trainer

__all__ = ["PYTHAE_IS_MISSING", "Timeline", "in_turn", "mnist", "whole_runs"]

PYTHAE_IS_MISSING = (
    "pythae is not installed; for its row: pip install --no-deps pythae==0.1.2 cloudpickle"
)


@dataclass
class Timeline:
    """When what happened in a training.

    Attributes
    ----------
    ends
        Seconds from the call to the end of each epoch, its validation included.
    trained
        Seconds of each epoch, for its steps alone; of vaezoo only.
    seconds
        From the call to its return.
    tier
        On which the last steps ran.
    """

    began: float = field(default_factory=time.perf_counter)
    ends: list[float] = field(default_factory=list)
    trained: list[float] = field(default_factory=list)
    seconds: float = 0.0
    tier: str = ""

    def end_epoch(self) -> None:
        """Take note of the end of an epoch."""
        self.ends.append(time.perf_counter() - self.began)

    def end(self) -> "Timeline":
        """Take note of the end."""
        self.seconds = time.perf_counter() - self.began
        return self

    @property
    def epoch(self) -> float:
        """Seconds of an epoch after the first, validation included."""
        return median(np.diff(self.ends[len(self.ends) // 2 - 1 :]))

    def extended(self, num_epochs: int) -> float:
        """Return what a longer training takes that goes on like the last epochs of this one."""
        return self.seconds + (num_epochs - len(self.ends)) * self.epoch


def mnist() -> Data:
    """Return MNIST, binarised once, or made-up rows where its files are not to be had."""
    generator = np.random.default_rng(0)
    try:
        data = load_data("mnist")
    except VaezooError:
        return from_arrays(
            generator.integers(0, 2, (62_500, 28, 28), np.uint8), name="made-up rows"
        )
    binary = generator.integers(0, 255, data.x.shape, np.uint8) < data.x
    arrays = {"x": binary.astype(np.uint8)}
    return replace(data, name="binarised MNIST", arrays=arrays, scale=1.0)


class Record(Callback):
    """Takes note of the epochs of a training."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        self.timeline.end_epoch()
        self.timeline.trained.append(record["seconds"] - sum(self.timeline.trained))


def whole_runs(
    names: Sequence[str], data: Data, device: str, *, lengths: Sequence[int]
) -> dict[str, dict[int, Timeline]]:
    """Return trainings of net (a) for some numbers of epochs, by tier or ``pythae``, by turns.

    More than five are trained by ``auto`` alone: what the others do then is what they did before.
    """
    runs: dict[str, dict[int, Timeline]] = {name: {} for name in names}
    for num_epochs in lengths:
        for name in names:
            if num_epochs > 5 and name != "auto":
                continue
            if name == "pythae":
                timeline = train_pythae(data, num_epochs)
            else:
                timeline = train_vaezoo(name, data, num_epochs, device=device)
            runs[name][num_epochs] = timeline
            print(f"{name}, {num_epochs} epochs: {timeline.seconds:.1f} s", flush=True)
    return runs


def in_turn(data: Data, num_epochs: int) -> dict[str, list[float]]:
    """Return the seconds of the steps of epochs of vaezoo, compiled, and of pythae, by turns."""
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder, _quietly():
        other = _pythae_trainer(data, num_epochs, folder)
        other.prepare_training()

        class Between(Callback):
            """Has pythae train an epoch after each of vaezoo."""

            def on_epoch(self, record: Mapping[str, Any]) -> None:
                began = time.perf_counter()
                other.train_step(record["epoch"])
                theirs.append(time.perf_counter() - began)

        ours = train_vaezoo("compiled", data, num_epochs, callbacks=[Between()])
    return {"vaezoo, compiled": ours.trained, "pythae": theirs}


def train_vaezoo(
    engine: str,
    data: Data,
    num_epochs: int,
    *,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
) -> Timeline:
    """Train as :func:`vaezoo.fit` does, the cache of the compiler empty."""
    training = {"epochs": num_epochs, "engine": engine, "device": device, "patience": 0}
    with tempfile.TemporaryDirectory() as folder, cache_in(Path(folder) / "cache"):
        timeline = Timeline()
        run, _ = prepare(
            "vae-bernoulli", data, preset="paper-mnist", training=training, out=f"{folder}/run"
        )
        trainer = Trainer(run, data, [Record(timeline), *callbacks])
        trainer.train(made(run))
        timeline.end()
    tiers = trainer.engine.calls_by_tier
    timeline.tier = max(tiers, key=lambda tier: tiers[tier])
    return timeline


def train_pythae(data: Data, num_epochs: int) -> Timeline:
    """Train by pythae's own loop and data loader, at their defaults."""
    with tempfile.TemporaryDirectory() as folder, _quietly():
        timeline = Timeline()
        trainer = _pythae_trainer(data, num_epochs, folder)
        evaluate = trainer.eval_step

        def evaluate_and_note(epoch: int) -> Any:
            loss = evaluate(epoch)
            timeline.end_epoch()
            return loss

        trainer.eval_step = evaluate_and_note
        trainer.train()
        return timeline.end()


def _pythae_trainer(data: Data, num_epochs: int, folder: str) -> Any:
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    train, validation = (
        BaseDataset(torch.from_numpy(data.x[rows]).flatten(1), torch.zeros(len(rows)))
        for rows in (data.rows("train"), data.rows("validation"))
    )
    config = BaseTrainerConfig(
        output_dir=folder,
        num_epochs=num_epochs,
        learning_rate=1e-3,
        per_device_train_batch_size=100,
        per_device_eval_batch_size=100,
        no_cuda=True,
    )
    return BaseTrainer(_pythae_model(), train, validation, config)


def _pythae_model() -> Any:
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    networks = Networks(NETS["a"])

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = networks.encoder

        def forward(self, x: torch.Tensor) -> Any:
            loc, log_var = self.net(x)
            return ModelOutput(embedding=loc, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = networks.decoder

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=(784,), latent_dim=20, reconstruction_loss="bce")
    return VAE(config, Encoder(), Decoder())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the log and the progress bars of pythae."""
    logging.disable(logging.INFO)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
