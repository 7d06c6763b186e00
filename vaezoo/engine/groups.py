"""Optimisers of several groups of parameters: that step together, or that take turns."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaezoo.engine.optimizers import Optimizer
from vaezoo.objectives.losses import PAIR

__all__ = ["Alternating", "Optimizers"]


class Alternating:
    """The optimisers of a model and of its guide, which take turns: EM by gradients.

    Some E-steps, which move the guide towards the posterior of the model as it is, then an M-step,
    which moves the model under the guide as it is (Neal & Hinton 1998, *A view of the EM algorithm
    that justifies incremental, sparse, and other variants*: both ascend one bound).

    Parameters
    ----------
    guide, model
        Optimisers, of one method and of parameters apart.
    e_steps
        Steps of the guide before each step of the model.

    Attributes
    ----------
    step
        Number of steps that either has taken, a tensor.

    Examples
    --------
    >>> phi, theta = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    >>> turns = Alternating(*(Optimizer("adam", [p], lr=0.1) for p in (phi, theta)), e_steps=2)
    >>> for _ in range(3):
    ...     turns.update([-torch.ones(1)] * 2, torch.tensor(1.0), torch.tensor(True))
    >>> phi.data, theta.data
    (tensor([0.2000]), tensor([0.1000]))
    """

    def __init__(self, guide: Optimizer, model: Optimizer, *, e_steps: int) -> None:
        self.guide, self.model, self.e_steps = guide, model, e_steps
        self.name, self.lr = guide.name, guide.lr
        self.parameters = [*guide.parameters, *model.parameters]
        self.step = torch.zeros_like(guide.step)
        self.failed = guide.failed

    @torch.inference_mode()
    def update(self, gradients: list[Tensor], divisor: Tensor, finite: Tensor) -> None:
        """Take a step of the one whose turn it is; arguments are those of an optimiser."""
        self.guide.failed = self.model.failed = self.failed
        of_model = (self.step % (self.e_steps + 1) == self.e_steps).to(self.failed)
        size = len(self.guide.parameters)
        self.guide.update(gradients[:size], divisor, finite, rests=of_model)
        self.model.update(gradients[size:], divisor, finite, rests=1 - of_model)
        self.step.add_(1 - self.failed)

    def scale_lr(self, factor: float) -> None:
        """Multiply the learning rates."""
        self.guide.scale_lr(factor)
        self.model.scale_lr(factor)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole state, by name."""
        sides = {"guide": self.guide, "model": self.model}
        return {"turns": self.step} | {
            f"{side}:{name}": value
            for side, optimizer in sides.items()
            for name, value in optimizer.state_dict().items()
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the state in place; ``KeyError`` or ``ValueError`` when it is of other parameters."""
        turns = state["turns"]
        for side, optimizer in (("guide", self.guide), ("model", self.model)):
            prefix = f"{side}:"
            own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            optimizer.load_state_dict(own)
        self.step.copy_(turns)
        self.failed.zero_()


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

    def __init__(self, groups: Mapping[str, Optimizer | Alternating]) -> None:
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

    def scale_lr(self, factor: float) -> None:
        """Multiply the learning rate of each group."""
        for optimizer in self.groups.values():
            optimizer.scale_lr(factor)

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
