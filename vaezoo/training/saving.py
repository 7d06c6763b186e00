"""What a training leaves in its run folder on the way: states, and the best weights."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from vaezoo.distributed.processes import LostProcessError
from vaezoo.engine.groups import Optimizers
from vaezoo.errors import RequestError, RunError, VaezooError, source_of
from vaezoo.runs import Run
from vaezoo.runs.ownership import made
from vaezoo.runs.records import (
    Record,
    digest_of_records,
    flush_records,
    rewind,
    write_records,
)
from vaezoo.runs.stamps import stamps_in
from vaezoo.runs.weights import STATE, WEIGHTS, require_weights_of
from vaezoo.runtime.storage import inside
from vaezoo.runtime.tensors import load_tensors
from vaezoo.training.checkpoint import Checkpoint, State, load_checkpoint, save_checkpoint
from vaezoo.training.good import Good

__all__ = ["Saver"]

NEEDED = ("config.toml", "run.json")
CHECKPOINT_SECONDS = 2.0
LARGEST_SHARE_OF_SAVING = 0.05


class Saver:
    """Writes into the folder of a run; nothing for a run without one.

    Parameters
    ----------
    run
        The run that is trained.
    optimizer, networks, carry
        Whose state, that of what the objective owns, and that which a window of sequences hands on,
        are a part of what is saved.
    good
        The best weights.
    """

    def __init__(
        self,
        run: Run,
        optimizer: Optimizers,
        networks: nn.Module,
        carry: nn.Module,
        good: Good,
    ) -> None:
        self.run = run
        self.optimizer = optimizer
        self.networks = networks
        self.carry = carry
        self.good = good
        self.saved_at = time.monotonic()
        self.save_after = CHECKPOINT_SECONDS
        self.best_written = -1
        self.folder: os.stat_result | None = None

    def begin(self) -> None:
        """Take note of the weights and the folder, to know them again."""
        self.good.begin()
        self.folder = self.run.path.stat() if self.run.path else None

    @property
    def has_folder(self) -> bool:
        """Whether the folder is still there, and is what it was; True for a run without one."""
        if self.run.path is None or self.folder is None:
            return True
        try:
            is_same = os.path.samestat(self.run.path.stat(), self.folder)
        except OSError:
            return False
        return is_same and all((self.run.path / name).is_file() for name in NEEDED)

    def require_folder(self) -> None:
        """Fail when the folder has been removed, or what makes it one of a run.

        Raises
        ------
        RunError
            Also when another folder has its name now.
        """
        if not self.has_folder:
            raise RunError(f"{self.run.path} was removed, renamed or emptied while it was trained")

    @contextmanager
    def moving(self, error: RunError) -> Iterator[None]:
        """Make another folder beside one that is gone, to save in; the failure says where.

        After the loss of another process, it is saved where it belongs.

        Parameters
        ----------
        error
            What has failed: when the folder is there, it is raised again at once.

        Raises
        ------
        RunError
            At the end in any case.
        """
        if self.run.path is not None and isinstance(error, LostProcessError):
            yield
            self.run.save_info(status="interrupted")
            raise LostProcessError(f"{error}; {self._go_on}") from error
        if self.run.path is None or self.has_folder:
            raise error
        gone, self.run.info["status"] = self.run.path, "interrupted"
        self.run.path = gone.with_name(f"{gone.name}-rescued")
        try:
            with made(self.run, numbered=True):
                self.begin()
                self.best_written = -1
                write_records(self.run.path, self.run.metrics)
                yield
        except VaezooError as failure:
            raise RunError(f"{gone} is gone, and nothing could be saved: {failure}") from error
        raise RunError(
            f"{gone} was removed, renamed or emptied while it was trained; all of it was saved "
            f"in {self.run.path}; {self._go_on}"
        ) from error

    @property
    def _go_on(self) -> str:
        return f"go on with `vaezoo.resume({source_of(str(self.run.path))})`"

    def log(self, record: Record) -> None:
        """Keep a record of an epoch."""
        self.require_folder()
        self.run.log(record)

    @property
    def is_due(self) -> bool:
        """Whether the last state was saved long ago, in view of how long saving takes."""
        return time.monotonic() - self.saved_at >= self.save_after

    def save(self, state: State) -> None:
        """Save all that is needed to go on, unless the last state is the better one to keep.

        What is not finite could not be gone on with.
        """
        if self.run.path is None or self.good.first_not_finite():
            return
        began = time.monotonic()
        self.require_folder()
        self.write_best(state)
        path = inside(self.run.path, STATE)
        state.records = digest_of_records(self.run.metrics, state.epoch)
        save_checkpoint(
            path,
            self.run.pair,
            self.optimizer,
            state,
            self.run.device,
            best=self.good.best,
            networks=self.networks,
            carry=self.carry,
            run=self.run.id,
        )
        self.saved_at = time.monotonic()
        took = self.saved_at - began
        self.save_after = max(CHECKPOINT_SECONDS, took / LARGEST_SHARE_OF_SAVING)

    def write_best(self, state: State) -> None:
        """Write the best weights where they are not those that lie there, after the records."""
        best = self.good.best
        self.require_folder()
        if self.run.path is not None:
            flush_records(self.run.path)
        if self.run.path is not None and best and self.best_written != state.best_epoch:
            self._write(state, best)
            self.best_written = state.best_epoch

    def _write(self, state: State, best: Mapping[str, Tensor]) -> None:
        values = {"epoch": state.best_epoch, "step": state.best_step}
        self.run.save_weights(best, {**values, "validation_score": state.best_score})
        for path, stamp in stamps_in(self.run.folder()):  # of older weights
            if stamp.run == self.run.id and stamp.step != state.best_step:
                path.unlink(missing_ok=True)

    def load(self) -> tuple[Checkpoint, str]:
        """Set all to the last saved state; return the rest of it, and a line on what was mended."""
        path = self.run.folder() / STATE
        checkpoint = load_checkpoint(
            path,
            self.run.pair,
            self.optimizer,
            networks=self.networks,
            carry=self.carry,
            run=self.run.id,
        )
        self.good.restore(checkpoint.best)
        return checkpoint, self._mend_best(checkpoint.state)

    def rewound(self, state: State, notify: Callable[[str], object]) -> list[Record]:
        """Go back to the records of a state, and return them."""
        return rewind(
            self.run.folder(),
            epoch=state.epoch,
            step=state.step,
            digest=state.records,
            notify=notify,
        )

    def _mend_best(self, state: State) -> str:
        """Write the best weights of a state where their own file cannot be used; say so."""
        path = self.run.folder() / WEIGHTS
        try:
            tensors, _ = load_tensors(path, run=self.run.id)
            require_weights_of(self.run.pair, tensors, path)
        except RequestError as error:
            if not self.good.best and self.run.info.get("status") != "finished":
                return ""  # there were none yet
            self._write(state, self.good.best or self.good.weights())
            return f"{error}; they are taken from the last state"
        return ""
