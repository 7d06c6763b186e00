"""Whether all that a loss depends on is saved."""

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from vaezoo.checks.comparison import close
from vaezoo.checks.remarks import Failure, Remarks
from vaezoo.checks.subject import Subject, elbo
from vaezoo.runtime.tensors import reloaded

__all__ = ["check_saving"]


def check_saving(subject: Subject) -> Remarks:
    """Everything that the loss depends on is a parameter or a buffer."""
    unsaved = list(_unsaved(subject))
    if unsaved:
        yield from unsaved
        return
    fresh = subject.fresh() if subject.fresh else copy.deepcopy(subject.pair)
    subject.train(steps=2)
    fresh.load_state_dict(reloaded(subject.pair.state_dict()))
    before = elbo(subject.trace(subject.args))
    after = elbo(subject.trace(subject.args, pair=fresh))
    if not close(before, after):
        name = _different_attribute(subject.pair, fresh)
        what = f"loaded from its file, the ELBO is {float(after):g} instead of {float(before):g}"
        culprit = f": self.{name} is neither parameter nor buffer" if name else ""
        repair = "keep all state in nn.Parameter or self.register_buffer"
        yield Failure("saving", subject.where_attribute(name), what + culprit, repair)


def _plain_attributes(pair: nn.Module) -> Iterator[tuple[str, object]]:
    for prefix, module in pair.named_modules():
        # A module of torch or Pyro looks after itself: what it computes anew, it need not save.
        its_own = type(module).__module__.startswith(("torch.", "pyro."))
        for name, value in vars(module).items():
            if not (its_own or name.startswith("_") or name == "training"):
                yield f"{prefix}.{name}".lstrip("."), value


def _unsaved(subject: Subject) -> Remarks:
    registered = set(subject.pair.modules())
    for name, value in _plain_attributes(subject.pair):
        items: list[object] = [value]
        if isinstance(value, list | tuple | Mapping):
            items = list(value.values() if isinstance(value, Mapping) else value)
        if any(isinstance(item, nn.Module) and item not in registered for item in items):
            what = "holds modules that are not registered, so they are not trained"
            repair = "use nn.ModuleList or nn.ModuleDict"
        elif any(isinstance(item, Tensor) for item in items):
            what = "is a tensor but neither parameter nor buffer, so it is not saved"
            repair = f"self.register_buffer('{name.rpartition('.')[2]}', ...)"
        elif any(isinstance(item, torch.distributions.Distribution) for item in items):
            what = "is a distribution, whose tensors are neither saved nor moved to a device"
            repair = "keep its parameters as buffers and make it in model or guide"
        else:
            continue
        yield Failure("saving", subject.where_attribute(name), f"self.{name} {what}", repair)


def _different_attribute(one: nn.Module, two: nn.Module) -> str:
    others = dict(_plain_attributes(two))
    for name, value in _plain_attributes(one):
        plain = isinstance(value, int | float) or hasattr(value, "__array__")
        if plain and repr(value) != repr(others.get(name)):
            return name
    return ""
