"""What a training leaves in its run folder on the way: states, and the best weights."""

import time
from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.engine.groups import Optimizers
from vaezoo.runs import Run
from vaezoo.runs.weights import STATE
from vaezoo.runtime.storage import inside
from vaezoo.training.checkpoint import State, save_checkpoint

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
    """

    def __init__(self, run: Run, optimizer: Optimizers, networks: nn.Module) -> None:
        self.run = run
        self.optimizer = optimizer
        self.networks = networks
        self.saved_at = time.monotonic()
        self.save_after = CHECKPOINT_SECONDS
        self.best_written = -1

    @property
    def is_due(self) -> bool:
        """Whether the last state was saved long ago, in view of how long saving takes."""
        return time.monotonic() - self.saved_at >= self.save_after

    def save(self, state: State, best: Mapping[str, Tensor]) -> None:
        """Save all that is needed to go on."""
        if self.run.path is None:
            return
        began = time.monotonic()
        self.write_best(state, best)
        path = inside(self.run.path, STATE)
        save_checkpoint(
            path,
            self.run.pair,
            self.optimizer,
            state,
            self.run.device,
            best=best,
            networks=self.networks,
        )
        self.saved_at = time.monotonic()
        took = self.saved_at - began
        self.save_after = max(CHECKPOINT_SECONDS, took / LARGEST_SHARE_OF_SAVING)

    def write_best(self, state: State, best: Mapping[str, Tensor]) -> None:
        """Write the best weights where they are not those that lie there."""
        if self.run.path is not None and best and self.best_written != state.best_epoch:
            values = {"epoch": state.best_epoch, "validation_score": state.best_score}
            self.run.save_weights(best, values)
            self.best_written = state.best_epoch
