"""What a training leaves in its run folder on the way: states, and the best weights."""

import copy
import time
from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.engine.groups import Optimizers
from vaezoo.errors import RequestError
from vaezoo.runs import Run
from vaezoo.runs.weights import STATE, WEIGHTS, set_weights
from vaezoo.runtime.storage import inside
from vaezoo.runtime.tensors import load_tensors
from vaezoo.training.checkpoint import State, save_checkpoint
from vaezoo.training.good import Good

__all__ = ["Saver"]

CHECKPOINT_SECONDS = 2.0
LARGEST_SHARE_OF_SAVING = 0.05


class Saver:
    """Writes into the folder of a run; nothing for a run without one.

    Parameters
    ----------
    run
        The run that is trained.
    optimizer, networks
        Whose state, and that of what the objective owns, is a part of what is saved.
    good
        The best weights.
    """

    def __init__(self, run: Run, optimizer: Optimizers, networks: nn.Module, good: Good) -> None:
        self.run = run
        self.optimizer = optimizer
        self.networks = networks
        self.good = good
        self.saved_at = time.monotonic()
        self.save_after = CHECKPOINT_SECONDS
        self.best_written = -1

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
        self.write_best(state)
        path = inside(self.run.path, STATE)
        save_checkpoint(
            path,
            self.run.pair,
            self.optimizer,
            state,
            self.run.device,
            best=self.good.best,
            networks=self.networks,
            run=self.run.id,
        )
        self.saved_at = time.monotonic()
        took = self.saved_at - began
        self.save_after = max(CHECKPOINT_SECONDS, took / LARGEST_SHARE_OF_SAVING)

    def write_best(self, state: State) -> None:
        """Write the best weights where they are not those that lie there."""
        best = self.good.best
        if self.run.path is not None and best and self.best_written != state.best_epoch:
            self._write(state, best)
            self.best_written = state.best_epoch

    def _write(self, state: State, best: Mapping[str, Tensor]) -> None:
        values = {"epoch": state.best_epoch, "step": state.best_step}
        self.run.save_weights(best, {**values, "validation_score": state.best_score})

    def mend_best(self, state: State) -> str:
        """Write the best weights of a state where their own file cannot be used; say so."""
        path = self.run.folder() / WEIGHTS
        try:
            tensors, _ = load_tensors(path, run=self.run.id)
            set_weights(copy.deepcopy(self.run.pair), tensors, path)
        except RequestError as error:
            if not self.good.best and self.run.info.get("status") != "finished":
                return ""  # there were none yet
            self._write(state, self.good.best or self.good.weights())
            return f"{error}; they are taken from the last state"
        return ""
