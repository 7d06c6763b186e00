"""The training loop: steps, epochs, validation, schedules, saved states."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from vaezoo.alarms import alarms
from vaezoo.callbacks import Callback, Interrupted
from vaezoo.checkpoint import load_checkpoint, save_checkpoint
from vaezoo.config import Training
from vaezoo.data import Data
from vaezoo.data.batches import Batches, epoch_order
from vaezoo.device import seeded, set_rng_state
from vaezoo.engine import Eager, NonFiniteError, make_optimizer
from vaezoo.errors import RequestError
from vaezoo.metrics import Metrics, measure
from vaezoo.objectives import OBJECTIVES, kl_weight
from vaezoo.runs import STATE, Run
from vaezoo.sites import Args, argument_names, isolated, repeat_rows

__all__ = ["Trainer", "num_steps"]

DEFAULT_EPOCHS = 100
CHECKPOINT_SECONDS = 2.0
LARGEST_SHARE_OF_SAVING = 0.05
MOST_ROWS_MEASURED = 10_000
FEWEST_DRAWS_MEASURED = 1_000


@dataclass
class State:
    """Where training stands; with weights, optimiser and random states, all that is needed.

    ``epoch`` counts whole epochs, ``position`` the rows already seen of the next one, and
    ``loss_sum`` the losses of its steps.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    epoch_steps: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_epoch: int = 0
    since_best: int = 0
    since_decay: int = 0
    best_train_elbo: float = -math.inf
    warned: str = ""


def num_steps(training: Training, num_rows: int) -> int:
    """Return the number of optimiser steps that a schedule takes."""
    if training.steps:
        return training.steps
    return (training.epochs or DEFAULT_EPOCHS) * math.ceil(num_rows / training.batch_size)


class Trainer:
    """Trains the pair of a run.

    Parameters
    ----------
    run
        The run, at its start or reopened.
    data
        Its data.
    callbacks
        Are told how it goes.
    """

    def __init__(self, run: Run, data: Data, callbacks: Sequence[Callback] = ()) -> None:
        self.run = run
        self.pair = run.pair
        self.training = run.training
        self.device = run.device
        self.callbacks = callbacks
        self.batches = Batches(data, run.transform, argument_names(run.pair), self.device)
        self.optimizer = make_optimizer(self.training.optimizer, self.pair, self.training.lr)
        self.objective = OBJECTIVES[self.training.objective](
            num_particles=self.training.num_particles
        )
        self.step = Eager(self.pair, self.objective, self.optimizer, self.training.clip_norm)
        self.total = num_steps(self.training, self.batches.size("train"))
        self.state = State()
        self.rng: dict[str, Tensor] | None = None
        self.measured: dict[str, list[Args]] = {}
        self.measured_at = -1
        self.best: dict[str, Tensor] = {}
        self.best_written = -1
        self.stop_requested = False
        self.saved_at = time.monotonic()
        self.save_after = CHECKPOINT_SECONDS

    def train(self) -> Run:
        """Train to the end and return the run with its best weights.

        Raises
        ------
        NonFiniteError
            When loss or gradients are NaN or infinite; the state before that step is saved.
        Interrupted
            On Ctrl-C or a termination signal; the state is saved.
        """
        if self.state.step == 0:
            self._create_folder()
        try:
            self._tell(lambda callback: callback.on_start(self.run, self.total, self.state.step))
            with seeded(self.training.seed, self.device), isolated(), self._signals():
                self._prepare()
                while not self._is_done():
                    self._epoch()
                self._finish()
        finally:
            self._tell(lambda callback: callback.on_end(self.run))
        return self.run

    def restore(self) -> None:
        """Go back to the last saved state of the run."""
        path = self.run.folder() / STATE
        checkpoint = load_checkpoint(path, self.pair, self.optimizer)
        self.rng, self.best = checkpoint.rng, checkpoint.best
        self.state = State(**checkpoint.state)
        ended = self.state.step == self.total or self._stops_early()
        if self.state.step > self.total or (self.run.info.get("status") == "finished" and ended):
            raise RequestError(
                f"{self.run.folder()} has finished, after {self.state.step} steps; to train "
                "longer, give more --epochs or --steps"
            )
        self.run.rewind_metrics(self.state.epoch)

    def save_state(self) -> None:
        """Save all that is needed to go on; nothing for a run without a folder."""
        if self.run.path is None:
            return
        began = time.monotonic()
        self._write_best()
        save_checkpoint(
            self.run.path / STATE,
            self.pair,
            self.optimizer,
            asdict(self.state),
            self.device,
            best=self.best,
        )
        self.saved_at = time.monotonic()
        took = self.saved_at - began
        self.save_after = max(CHECKPOINT_SECONDS, took / LARGEST_SHARE_OF_SAVING)

    def _is_time_to_save(self) -> bool:
        return time.monotonic() - self.saved_at >= self.save_after

    def _write_best(self) -> None:
        state = self.state
        if self.best and self.best_written != state.best_epoch:
            values = {"epoch": state.best_epoch, "validation_score": state.best_score}
            self.run.save_weights(self.best, values)
            self.best_written = state.best_epoch

    def _is_done(self) -> bool:
        """Whether the steps are taken and measured; early, when nothing improves any more."""
        if self.state.position:
            return self.measured_at == self.state.step
        return self.state.step >= self.total or self._stops_early()

    @property
    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _tell(self, tell: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            tell(callback)

    def _create_folder(self) -> None:
        if self.run.path is None:
            return
        try:
            self.run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(
                f"cannot create {self.run.path}: {error.strerror}; choose another --out"
            ) from error
        self.run.save_config()
        self.run.save_info()

    def _prepare(self) -> None:
        """Look at the pair once, then set the generators to where training begins."""
        first = next(self.batches.fixed("train", limit=2))
        self.objective.prepare(self.pair, first)
        _refuse_global_parameters(set(self.pair.parameters()))
        if self.rng is not None:
            set_rng_state(self.rng, self.device)
        else:
            torch.manual_seed(self.training.seed)

    def _epoch(self) -> None:
        state, began = self.state, time.monotonic()
        size = self.training.batch_size
        order = epoch_order(self.batches.size("train"), seed=self.training.seed, epoch=state.epoch)
        self.pair.train()
        left = min(math.ceil((len(order) - state.position) / size), self.total - state.step)
        for positions in torch.split(order[state.position :], size)[:left]:
            self._one_step(positions)
            if self.stop_requested:
                state.seconds += time.monotonic() - began
                self._stop()
            if self._is_time_to_save():
                self.save_state()
        state.seconds += time.monotonic() - began
        self._end_epoch(complete=state.position == len(order))

    def _one_step(self, positions: Tensor) -> None:
        state, training = self.state, self.training
        beta = kl_weight(state.step, beta=training.beta, warmup=training.kl_warmup)
        try:
            loss = self.step(self.batches.train("train", positions), beta)
        except NonFiniteError as error:
            raise self._failure(error) from error
        state.step += 1
        state.epoch_steps += 1
        state.position += len(positions)
        state.loss_sum += loss
        self._tell(lambda callback: callback.on_step(state.step, loss))

    def _end_epoch(self, *, complete: bool) -> None:
        """Measure, log, and save; an epoch cut short by ``steps`` can be resumed in its middle."""
        state = self.state
        self.measured_at = state.step
        if not complete:
            self.save_state()
        record = self._measure(state.epoch + 1)
        self.run.log(record)
        self._tell(lambda callback: callback.on_epoch(record))
        if not complete:
            return
        state.epoch += 1
        state.position = state.epoch_steps = 0
        state.loss_sum = 0.0
        self._schedule()
        if state.epoch == 1 or self._is_time_to_save():
            self.save_state()

    def _measure(self, epoch: int) -> dict[str, Any]:
        self.pair.eval()
        with seeded(self.training.seed, self.device):
            train = measure(self.pair, self._measured("train"), self.run.transform)
            validation = measure(self.pair, self._measured("validation"), self.run.transform)
        self._keep_best(validation, epoch)
        self._warn(train, validation)
        state, training = self.state, self.training
        return {
            "epoch": epoch,
            "step": state.step,
            "loss": state.loss_sum / max(1, state.epoch_steps),
            "beta": kl_weight(state.step, beta=training.beta, warmup=training.kl_warmup),
            "lr": self._lr,
            "seconds": round(state.seconds, 3),
            "train": train.to_dict(),
            "validation": validation.to_dict(),
        }

    def _measured(self, split: str) -> list[Args]:
        """The rows that an epoch is judged by: validation, and as many of the training rows.

        Few rows are measured several times. Every epoch is judged by the same noise.
        """
        if split not in self.measured:
            size = min(self.batches.size("validation"), MOST_ROWS_MEASURED)
            generator = torch.Generator().manual_seed(0)
            positions = torch.randperm(self.batches.size(split), generator=generator)[:size]
            times = math.ceil(FEWEST_DRAWS_MEASURED / size)
            batches = self.batches.fixed(split, positions=positions)
            self.measured[split] = [repeat_rows(args, times) for args in batches]
        return self.measured[split]

    def _keep_best(self, validation: Metrics, epoch: int) -> None:
        score = validation.score(self.training.beta)
        if score > self.state.best_score:
            self.state.best_score, self.state.best_epoch = score, epoch
            self.state.since_best = self.state.since_decay = -1
            self.best = self._weights()

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.pair.state_dict().items()}

    def _schedule(self) -> None:
        """Halve the learning rate on a plateau; nothing counts during a KL warm-up."""
        state, training = self.state, self.training
        if state.step < training.kl_warmup:
            state.since_best = state.since_decay = 0
            return
        state.since_best += 1
        state.since_decay += 1
        if training.plateau and state.since_decay >= training.plateau:
            state.since_decay = 0
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.5

    def _stops_early(self) -> bool:
        patience = self.training.patience
        return bool(patience) and self.state.since_best >= patience

    def _warn(self, train: Metrics, validation: Metrics) -> None:
        state = self.state
        found = alarms(
            train,
            validation,
            fallen=state.best_score - validation.score(self.training.beta),
            best_score=state.best_score,
            train_rises=train.elbo > state.best_train_elbo,
            is_late=state.step >= max(self.training.kl_warmup, self.total // 2),
        )
        state.best_train_elbo = max(state.best_train_elbo, train.elbo)
        for name, message in found.items():
            self._warn_once(name, message)

    def _warn_once(self, name: str, message: str) -> None:
        if name not in self.state.warned.split():
            self.state.warned = f"{self.state.warned} {name}".strip()
            self._tell(lambda callback: callback.on_warning(message))

    def _failure(self, error: NonFiniteError) -> NonFiniteError:
        self.best = self.best or self._weights()
        self.save_state()
        kept = ""
        if self.run.path is not None:
            self.run.save_info(status="failed")
            kept = f"; the last good weights are in {self.run.path}"
        return NonFiniteError(
            f"training stopped at step {self.state.step + 1}: {error}{kept}; "
            "try a smaller --lr or --clip-norm, or scale the data (--standardize)"
        )

    def _stop(self) -> None:
        self.save_state()
        if self.run.path is not None:
            self.run.save_info(status="interrupted")
        raise Interrupted(self.run, self.state.step)

    def _finish(self) -> None:
        """Save the last state, unless it was saved before an epoch that ``steps`` cut short."""
        self.best = self.best or self._weights()
        if self.state.position == 0:
            self.save_state()
        if self.run.path is not None:
            self._write_best()
            self.run.save_info(
                status="finished",
                finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                steps=self.state.step,
                seconds=round(self.state.seconds, 1),
                best_epoch=self.state.best_epoch,
            )
        self.pair.load_state_dict(self.best)
        self.pair.eval()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let the step that is under way end before a signal stops training."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(number: int, frame: object) -> None:
            if self.stop_requested:
                raise KeyboardInterrupt
            self.stop_requested = True

        numbers = [signal.SIGINT, signal.SIGTERM]
        before = [signal.signal(number, request) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _refuse_global_parameters(own: set[torch.nn.Parameter]) -> None:
    for name, value in pyro.get_param_store().named_parameters():
        if not any(value is parameter for parameter in own):
            raise RequestError(
                f"parameter '{name}' lives in Pyro's global store; make it an nn.Parameter (or a "
                "PyroParam) of the pair, so that it is saved and two models never share it"
            )
