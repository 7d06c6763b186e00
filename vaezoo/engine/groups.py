"""Optimisers of several groups of parameters, each after its own loss, that step together."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaezoo.engine.optimizers import Optimizer
from vaezoo.objectives.losses import PAIR

__all__ = ["Optimizers"]


class Optimizers:
    """One optimiser for each group; a step that is not finite for one is taken by none.

    Parameters
    ----------
    groups
        Optimisers by the name of their group and loss; that of the pair among them.

    Examples
    --------
    >>> w, c = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    >>> groups = {"pair": Optimizer("adam", [w], lr=0.1), "critic": Optimizer("adam", [c], lr=0.2)}
    >>> optimizers = Optimizers(groups)
    >>> optimizers.update([torch.ones(1), -torch.ones(1)], torch.ones(2), torch.tensor(True))
    >>> w.data, c.data
    (tensor([-0.1000]), tensor([0.2000]))
    """

    def __init__(self, groups: Mapping[str, Optimizer]) -> None:
        self.groups = dict(groups)
        self.of_pair = self.groups[PAIR]
        for optimizer in self.groups.values():
            optimizer.failed = self.of_pair.failed

    @property
    def name(self) -> str:
        """Method of the steps."""
        return self.of_pair.name

    @property
    def parameters(self) -> dict[str, list[Tensor]]:
        """What is optimised, by group."""
        return {name: optimizer.parameters for name, optimizer in self.groups.items()}

    @property
    def step(self) -> Tensor:
        """Number of steps taken; those that were not finite do not count."""
        return self.of_pair.step

    @property
    def lr(self) -> Tensor:
        """Learning rate of the pair."""
        return self.of_pair.lr

    @property
    def failed(self) -> Tensor:
        """1 from the first step on that was not finite, else 0; of all groups."""
        return self.of_pair.failed

    def update(self, gradients: Sequence[Tensor], divisor: Tensor, finite: Tensor) -> None:
        """Take one step, in place.

        Parameters
        ----------
        gradients
            One per parameter, group after group; they may be overwritten.
        divisor
            What those of each group are divided by: ``(G,)``, or ``()`` for one group.
        finite
            Whether losses and gradients are, a boolean scalar.
        """
        rest = list(gradients)
        for optimizer, by in zip(self.groups.values(), divisor.reshape(-1).unbind(), strict=True):
            own, rest = rest[: len(optimizer.parameters)], rest[len(optimizer.parameters) :]
            optimizer.update(own, by, finite)

    @torch.no_grad()
    def scale_lr(self, factor: float) -> None:
        """Multiply the learning rate of each group."""
        for optimizer in self.groups.values():
            optimizer.lr.mul_(factor)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole state, by name; that of another group than the pair's behind its own."""
        return {
            name if group == PAIR else f"{group}/{name}": value
            for group, optimizer in self.groups.items()
            for name, value in optimizer.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the state in place; ``KeyError`` or ``ValueError`` when it is of other parameters."""
        for group, optimizer in self.groups.items():
            prefix = "" if group == PAIR else f"{group}/"
            own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            optimizer.load_state_dict(own)
