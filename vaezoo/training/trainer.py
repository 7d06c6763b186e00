"""The training loop: steps, epochs, validation, schedules, saved states."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor

from vaezoo.data import Data
from vaezoo.data.batches import Batches
from vaezoo.distributed.processes import ALONE, Processes
from vaezoo.distributed.shared_step import SharedStep
from vaezoo.engine.recurrence.planned import planned_form
from vaezoo.engine.tiers import Engine
from vaezoo.errors import NonFiniteError, RunError
from vaezoo.options import EngineName
from vaezoo.pairs.sites import argument_names
from vaezoo.runs import Run
from vaezoo.runs.summary import best_record
from vaezoo.runtime.device import seeded, set_rng_state
from vaezoo.runtime.isolation import isolated
from vaezoo.runtime.signals import asked_to_stop
from vaezoo.runtime.threads import threads_for
from vaezoo.sequences.windows import Update, Updates
from vaezoo.training.alarms import alarms_of, failure
from vaezoo.training.callbacks import Callback, FinishedError, Interrupted
from vaezoo.training.checkpoint import State
from vaezoo.training.good import Good
from vaezoo.training.optimised import engine_for, operations_of, prepared
from vaezoo.training.remarks import first_remarks, last_remarks, rows_of_an_epoch
from vaezoo.training.saving import Saver
from vaezoo.training.schedule import (
    advance,
    batch_size_of,
    is_out_of_patience,
    kl_weight,
    objective_of,
)
from vaezoo.training.validation import Validation

__all__ = ["Trainer"]

LOSSES_READ_AT_ONCE = 50


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
    processes
        Those that train it together; each has a run of its own, of which only the first is written.
    """

    def __init__(
        self, run: Run, data: Data, callbacks: Sequence[Callback] = (), processes: Processes = ALONE
    ) -> None:
        self.run, self.processes = run, processes
        self.pair = run.pair
        self.training = run.training
        self.device = run.device
        self.callbacks = callbacks
        self.batches = Batches(data, run.transform, argument_names(run.pair), self.device)
        self.batch_size = batch_size_of(self.training, self.batches.size("train"))
        self.num_rows = rows_of_an_epoch(run.pair, self.batches, self.batch_size)
        self.updates = Updates(self.batches, self.training, self.num_rows, self.batch_size)
        self.total = self.updates.total()
        self.form = planned_form(
            run.pair_for(self.batches),
            engine=self.training.engine,
            num_steps=self.total,
            notify=self._warn_once,
        )
        self.state = State()
        self.losses: list[Tensor] = []
        few = self.batches.few_frames(next(self.batches.fixed("train", limit=2)))
        self.optimised = prepared(
            objective_of(self.training, type(run.pair)),
            self.form,
            few,
            pair=run.pair,
            training=self.training,
            num_data=self.batches.num_units("train"),
            notify=self._warn_once,
        )
        self.updates.carry_states(self.form, self.optimised.objective, few)
        self.optimizer = self.optimised.optimizers(self.training)
        shared_by = (self.optimised.whole, self.optimizer, self.training)
        self.shared = SharedStep(processes, self.batches, *shared_by)
        self.engine = self._make_engine(self.training.engine)
        self.rng: dict[str, Tensor] | None = None
        judged_by = (run.transform, self.optimised.objective, self.training, self.total)
        self.validation = Validation(self.form, self.batches, *judged_by)
        self.measured_at = -1
        self.stop_requested: Callable[[], bool] = lambda: False
        # From an update to its loss; of many seeds somebody else takes the steps.
        self.take_step: Callable[[Update], Tensor] = self._step_alone
        self.good = Good(run.pair, self.optimised.networks)
        self.saver = Saver(
            run, self.optimizer, self.optimised.networks, self.updates.carry, self.good
        )

    def _make_engine(self, engine: EngineName) -> Engine:
        return engine_for(
            self.optimised,
            self.optimizer,
            self.training.model_copy(update={"engine": engine}),
            self.batches,
            self.shared,
            num_rows=self.num_rows,
            batch_size=self.batch_size,
            num_steps=self.total,
            notify=self._warn_once,
        )

    def train(self, folder: AbstractContextManager[None] | None = None) -> Run:
        """Train to the end and return the run with its best weights.

        Parameters
        ----------
        folder
            What makes the run folder and owns it, entered when the pair can be trained.

        Raises
        ------
        NonFiniteError
            When loss or gradients are NaN or infinite; the state before that step is saved.
        Interrupted
            On Ctrl-C or a termination signal; the state is saved. When it came after the last
            step, the run has finished all the same.
        """
        flops = self.look_at_pair()
        with folder or nullcontext():
            try:
                self.begin()
                with (
                    seeded(self.training.seed, self.device),
                    isolated(),
                    asked_to_stop() as stop_requested,
                    threads_for(flops),
                ):
                    self.stop_requested = self.shared.agreeing(stop_requested)
                    self.set_generators()
                    for _ in self.steps():
                        pass
                if self.stop_requested():
                    raise Interrupted(self.run, self.state.step)
            finally:
                self.tell_end()
        return self.run

    def begin(self) -> None:
        """Take note of where training begins, and say what is special about it."""
        self.shared.begin()
        self.saver.begin()
        self._tell(lambda callback: callback.on_start(self.run, self.total, self.state.step))
        self._say_what_is_special()

    def tell_end(self) -> None:
        """Tell that training has ended, however it did."""
        self._tell(lambda callback: callback.on_end(self.run))

    def restore(self) -> None:
        """Go back to the last saved state of the run."""
        checkpoint, mended = self.processes.of_first(self.saver.load)
        self.rng, self.state = checkpoint.rng, checkpoint.state
        self.good.restore(checkpoint.best)
        if mended:
            self._warn(mended)
        if self.state.compiled and self.training.engine == "auto":
            self.engine = self._make_engine("compiled")
        if self.state.compiled_steps:
            self.engine.compile_steps()
        self.engine.num_calls = self.state.step
        ended = self.state.step == self.total or is_out_of_patience(self.state, self.training)
        if self.state.step > self.total or (self.run.info.get("status") == "finished" and ended):
            raise FinishedError(
                f"{self.run.folder()} has finished, after {self.state.step} steps; to train "
                "longer, give more `epochs` or `steps`"
            )
        rewound = self.processes.of_first(lambda: self.saver.rewound(self.state, self._warn))
        self.run.records = rewound

    def save_state(self) -> None:
        """Save all that is needed to go on; nothing for a run without a folder."""
        if self.run.path is None:
            return
        self._read_losses()
        self.state.compiled = "compiled" in self.engine.calls_by_tier
        self.state.compiled_steps = self.engine.has_compiled_steps
        self.saver.save(self.state)

    def _is_done(self) -> bool:
        """Whether the steps are taken and measured; early, when nothing improves any more."""
        if self.state.epoch_steps:
            return self.measured_at == self.state.step
        return self.state.step >= self.total or is_out_of_patience(self.state, self.training)

    def _tell(self, tell: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            tell(callback)

    def look_at_pair(self) -> int | None:
        """Refuse what cannot be trained, and return the operations of a step if they matter."""
        with seeded(self.training.seed, self.device), isolated():
            return operations_of(self.engine, self.batches, self.batch_size)

    def _say_what_is_special(self) -> None:
        with seeded(self.training.seed, self.device):
            lines = first_remarks(self.run, self.engine, self.form, self.updates, self.batch_size)
        for name, line in (*lines, *self.shared.remarks(self.form, self.optimised.objective)):
            self._warn_once(name, line)

    def set_generators(self) -> None:
        """Set torch's generators to where training begins, or goes on."""
        if self.rng is not None:
            set_rng_state(self.rng, self.device)
        else:
            torch.manual_seed(self.training.seed)

    def steps(self) -> Iterator[Update]:
        """Train to the end: each step is yielded before it is taken, and what follows it after."""
        try:
            while not self._is_done():
                yield from self._epoch()
            self._finish()
        except NonFiniteError as error:
            raise self._failure(error) from error
        except RunError as error:
            with self.saver.moving(error):
                self.save_state()

    def _epoch(self) -> Iterator[Update]:
        state, began = self.state, time.monotonic()
        updates = self.updates.of_epoch(state.epoch)
        self.form.train()
        self.optimised.networks.train()
        for update in updates[state.epoch_steps :][: self.total - state.step]:
            state.seconds += time.monotonic() - began
            yield update  # others may go on meanwhile
            began = time.monotonic()
            self._one_step(update)
            if self.stop_requested():
                state.seconds += time.monotonic() - began
                self._stop()
            if self.saver.is_due:
                self.save_state()
        state.seconds += time.monotonic() - began
        self._end_epoch(complete=state.epoch_steps == len(updates))

    def _one_step(self, update: Update) -> None:
        state = self.state
        self.losses.append(self.take_step(update))
        state.step += 1
        state.epoch_steps += 1
        if self.device.type == "cpu" or len(self.losses) == LOSSES_READ_AT_ONCE:
            self._read_losses()

    def _step_alone(self, update: Update) -> Tensor:
        raw = self.updates.gather(self.shared.part(update))
        self.shared.set_noise(self.state.step)
        return self.engine(raw, self.kl_weight)

    def _read_losses(self) -> None:
        """Take note of the losses since the last time; on a GPU this waits for their steps."""
        if not self.losses:
            return
        if self.device.type != "cpu":
            self._check_steps()
        losses = torch.stack(self.losses).reshape(len(self.losses), -1).tolist()  # one wait
        self.losses.clear()
        self.state.add_losses(losses)
        for step, (loss, *_) in enumerate(losses, self.state.step - len(losses) + 1):
            for callback in self.callbacks:
                callback.on_step(step, loss)

    def _check_steps(self) -> None:
        """Go back to the last step that was finite when one was not: it is the state there is."""
        try:
            self.engine.check()
        except NonFiniteError:
            missed = self.state.step - int(self.optimizer.step)
            self.state.step -= missed
            self.state.epoch_steps -= missed
            self.losses.clear()
            raise

    def _end_epoch(self, *, complete: bool) -> None:
        """Measure, log, and save; an epoch cut short by ``steps`` can be resumed in its middle."""
        self._read_losses()
        state = self.state
        self.measured_at = state.step
        self.good.require_finite()
        if not complete:
            self.save_state()
        record = self._measure(state.epoch + 1)
        self.saver.log(record)
        self._tell(lambda callback: callback.on_epoch(record))
        if not complete:
            return
        state.epoch += 1
        state.epoch_steps = 0
        state.loss_sums = []
        if advance(state, self.training):
            self.optimizer.scale_lr(0.5)
        if state.epoch == 1 or self.saver.is_due:
            self.save_state()

    def _measure(self, epoch: int) -> dict[str, Any]:
        state, beta = self.state, self.training.beta
        self.optimised.networks.eval()
        train, validation, score = self.processes.of_first(lambda: self.validation.judge(beta))
        self.good.note(state, score, epoch)
        is_late = state.step >= max(self.training.kl_warmup, self.total // 2)
        lines = alarms_of(self.run, state, train, validation, score, is_late=is_late)
        for name, line in lines.items():
            self._warn_once(name, line)
        return {
            "epoch": epoch,
            "step": state.step,
            **state.mean_losses(self.optimizer.groups),
            "beta": self.kl_weight,
            "lr": float(self.optimizer.lr),
            "seconds": round(state.seconds, 3),
            "train": train.to_dict(),
            "validation": validation.to_dict(),
        }

    @property
    def kl_weight(self) -> float:
        """Weight of the KL term at the next step."""
        asked = self.training
        return kl_weight(
            self.state.step, beta=asked.beta, warmup=asked.kl_warmup, cycle=asked.kl_cycle
        )

    def _warn(self, message: str) -> None:
        self._tell(lambda callback: callback.on_warning(message))

    def _warn_once(self, name: str, message: str) -> None:
        if name not in self.state.warned.split():
            self.state.warned = f"{self.state.warned} {name}".strip()
            self._warn(message)

    def _failure(self, error: NonFiniteError) -> NonFiniteError:
        """Save what is good, finite that is, and return the failure that says where it is."""
        with suppress(NonFiniteError):  # one of the steps before has come to light
            self._read_losses()
        self.save_state()
        self.good.keep_last(self.state, self.validation, self.training.beta)
        self.saver.write_best(self.state)
        self.run.save_info(status="failed")
        x, *_ = self.batches.finish(self.batches.first("train", self.batch_size))
        return failure(self.run, self.shared.agreed(error), x, self.state, self.measured_at)

    def _stop(self) -> None:
        self.good.require_finite()
        self.save_state()
        self.run.save_info(status="interrupted")
        raise Interrupted(self.run, self.state.step)

    def _finish(self) -> None:
        """Save the last state, unless it was saved before an epoch that ``steps`` cut short."""
        if not self.good.best:
            raise NonFiniteError("no epoch had a finite validation score")
        if self.state.epoch_steps == 0:
            self.save_state()
        self.saver.write_best(self.state)
        self.pair.load_state_dict(self.good.best)
        self.pair.eval()
        best = best_record(self.run.metrics, self.state.best_epoch)
        floor = self.validation.unlearned(best["validation"].get("elbo", math.inf))
        for name, line in last_remarks(self.run, best, floor):
            self._warn_once(name, line)
        self.run.save_info(
            status="finished",
            finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            steps=self.state.step,
            seconds=round(self.state.seconds, 1),
            best_epoch=self.state.best_epoch,
            best_step=self.state.best_step,
            unlearned_floor=floor,
            steps_by_engine=self.engine.calls_by_tier,
        )
