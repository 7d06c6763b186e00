"""Which weights are good: finite in every parameter and buffer, and by the score they have."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.errors import NonFiniteError
from vaezoo.runs.weights import first_not_finite
from vaezoo.training.checkpoint import State
from vaezoo.training.validation import Validation

__all__ = ["Good"]


class Good:
    """The best weights of a training so far; those of its start as long as there are none.

    Parameters
    ----------
    pair
        The pair that is trained.
    networks
        What the objective owns beside it.

    Attributes
    ----------
    best
        The weights with the best score; empty when there were none yet.
    """

    def __init__(self, pair: nn.Module, networks: nn.Module) -> None:
        self.pair, self.networks = pair, networks
        self.best: dict[str, Tensor] = {}
        self._start: dict[str, Tensor] = {}
        self._before = {n: v.clone() for n, v in self._all() if first_not_finite({n: v}, {})}

    def _all(self) -> list[tuple[str, Tensor]]:
        owned = self.networks.state_dict().items()
        return [*self.pair.state_dict().items(), *((f"objective.{n}", v) for n, v in owned)]

    def first_not_finite(self) -> str:
        """Return the name of a parameter or buffer that has become nan or infinite, or ""."""
        return first_not_finite(dict(self._all()), self._before)

    def require_finite(self) -> None:
        """Refuse to measure or end with weights that a step has made nan or infinite."""
        if name := self.first_not_finite():
            raise NonFiniteError(f"it has left '{name}' not finite")

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights as they are."""
        return {name: value.clone() for name, value in self.pair.state_dict().items()}

    def begin(self) -> None:
        """Keep the weights of the start, if there are no better ones."""
        self._start = {} if self.best else self.weights()

    def restore(self, best: Mapping[str, Tensor]) -> None:
        """Go on from the best weights of a saved state."""
        self.best = dict(best)

    def note(self, state: State, score: float, epoch: int) -> None:
        """Keep the weights if their score, in nats per datum, is the best so far."""
        if math.isfinite(score) and score > state.best_score:
            state.note_best(score, epoch)
            self.best, self._start = self.weights(), {}

    def keep_last(self, state: State, validation: Validation, beta: float) -> None:
        """Settle on the last good weights, when training cannot go on.

        They are the best of the epochs before; in the first epoch the weights as they are, if they
        and their score are finite; else those of the start.
        """
        if not self.best and not self.first_not_finite():
            self.note(state, validation.finite_score(beta), state.epoch + 1)
        self.best = self.best or self._start
