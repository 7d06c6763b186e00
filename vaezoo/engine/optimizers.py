"""Optimisers: one fused update of all parameters, its whole state in tensors.

The same update serves every tier of the engine. It waits for nothing on a GPU, may be recorded in a
CUDA graph, and leaves everything as it was when the loss or a gradient is not finite.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaezoo.errors import RequestError
from vaezoo.options import OptimizerName

__all__ = ["Optimizer"]

_WEIGHT_DECAY = {"adamw": 0.01}
_CLIP_VALUE = {"clipped-adam": 10.0}


class Optimizer:
    """Changes parameters along their gradients.

    Parameters
    ----------
    name
        ``adam`` (Kingma & Ba 2015, arXiv:1412.6980), ``adamw`` (Loshchilov & Hutter 2019,
        arXiv:1711.05101), ``adagrad`` (Duchi et al. 2011), or ``clipped-adam``: Adam on gradients
        whose elements are clipped to [-10, 10], as Pyro's ClippedAdam.
    parameters
        What is optimised; those that require no gradient are left out.
    lr
        Learning rate.
    weight_decay
        0 unless given, 0.01 for ``adamw``.
    lr_decay
        The learning rate is multiplied by it before every step (Pyro's ``lrd``).

    Attributes
    ----------
    step
        Number of steps taken, a tensor; steps that were not finite do not count.
    failed
        1 from the first step on that was not finite, else 0. No step is taken any more then.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Optimizer("adam", [w], lr=0.1)
    >>> optimizer.update([torch.ones(1)], torch.tensor(1.0), torch.tensor(True))
    >>> w.data
    tensor([-0.1000])
    """

    def __init__(
        self,
        name: OptimizerName,
        parameters: Sequence[Tensor],
        *,
        lr: float,
        weight_decay: float | None = None,
        lr_decay: float = 1.0,
    ) -> None:
        self.name = name
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise RequestError("the pair has no parameter to train")
        device = self.parameters[0].device
        self.weight_decay = _WEIGHT_DECAY.get(name, 0.0) if weight_decay is None else weight_decay
        self.lr_decay = lr_decay
        # What the kernels take, whatever torch's default is.
        self.lr = torch.tensor(lr, dtype=torch.float32, device=device)
        self.step = torch.zeros((), dtype=torch.float32, device=device)
        self.failed = torch.zeros((), dtype=torch.float32, device=device)
        self.first = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        dtypes = [p.dtype for p in self.parameters]
        # A kernel takes tensors of one type; most pairs have only float32.
        self._of_one_dtype = [
            [index for index, other in enumerate(dtypes) if other == dtype]
            for dtype in dict.fromkeys(dtypes)
        ]

    @torch.inference_mode()
    def update(
        self,
        gradients: list[Tensor],
        divisor: Tensor,
        finite: Tensor,
        *,
        rests: Tensor | None = None,
    ) -> None:
        """Take one step, in place.

        Parameters
        ----------
        gradients
            One per parameter; they may be overwritten.
        divisor
            Gradients are divided by it, a scalar of at least 1: clipping by norm.
        finite
            Whether loss and gradients are, a boolean scalar.
        rests
            1 to leave all as it is, else 0: a scalar, as the turn may be another's.
        """
        # Merging repetitions may have made one tensor of two gradients that are always equal.
        if len(set(map(id, gradients))) < len(gradients):
            gradients = [gradient.clone() for gradient in gradients]
        self.failed.logical_or_(~finite)
        skipped = self.failed if rests is None else torch.maximum(self.failed, rests)
        taken = 1 - skipped
        self.step.add_(taken)
        if self.lr_decay != 1.0:
            self.lr.mul_(torch.where(taken > 0, self.lr_decay, 1.0))
        if self.name == "adagrad":
            self._adagrad(gradients, divisor, skipped)
        else:
            self._adam(gradients, divisor, skipped)

    def _adam(self, gradients: list[Tensor], divisor: Tensor, skipped: Tensor) -> None:
        # The kernels below torch.optim's Adam (private, as in torch 2.13): they divide by a scalar
        # and change nothing where another is 1, both on the device, so that none is waited for.
        limit = _CLIP_VALUE.get(self.name)
        if limit is not None:
            gradients = [(g / divisor).clamp(-limit, limit) for g in gradients]
            divisor = torch.ones_like(divisor)
        kernel = torch._fused_adamw_ if self.name == "adamw" else torch._fused_adam_
        all_of = (self.parameters, gradients, self.first, self.second)
        for alike in self._of_one_dtype:
            parameters, grads, first, second = ([t[i] for i in alike] for t in all_of)
            kernel(
                parameters,
                grads,
                first,
                second,
                [],
                [self.step] * len(alike),
                lr=self.lr,
                beta1=0.9,
                beta2=0.999,
                weight_decay=self.weight_decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
                grad_scale=divisor.float(),
                found_inf=skipped,
            )

    def _adagrad(self, gradients: list[Tensor], divisor: Tensor, skipped: Tensor) -> None:
        nothing = torch.zeros((), device=divisor.device)
        for p, g, total in zip(self.parameters, gradients, self.second, strict=True):
            kept = torch.where(skipped > 0, nothing, g / divisor + self.weight_decay * p)
            total.addcmul_(kept, kept)
            p.sub_(self.lr * kept / (total.sqrt() + 1e-10))

    @torch.no_grad()
    def scale_lr(self, factor: float) -> None:
        """Multiply the learning rate."""
        self.lr.mul_(factor)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole state, by name."""
        state = {"lr": self.lr, "step": self.step}
        for index, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            state |= {f"{index}/first": first, f"{index}/second": second}
        return state

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the state in place; ``KeyError`` or ``ValueError`` when it is of other parameters."""
        own = self.state_dict()
        for name, value in own.items():
            if state[name].shape != value.shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}")
        for name, value in own.items():
            value.copy_(state[name])
        self.failed.zero_()
