"""Is a pair admitted? The checks on a few rows of the data that it meets, once for each pair.

Training, ``vaezoo check`` and whatever asks a trained run come here, so that none of them takes
what another refuses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from vaezoo.checks.blame import class_of, line_of
from vaezoo.checks.conformance import Conformance, conformance_of, not_run
from vaezoo.checks.remarks import Failure
from vaezoo.data import Data
from vaezoo.data.batches import Batches
from vaezoo.data.contract import choose_transform
from vaezoo.data.dataset import with_arguments
from vaezoo.data.summary import refuse_missing
from vaezoo.data.transform import Transform
from vaezoo.errors import RunError, VaezooError, is_out_of_memory
from vaezoo.observations.missing import filled
from vaezoo.observations.roles import Roles, roles_of
from vaezoo.pairs.lengths import first_frames
from vaezoo.pairs.materialise import materialise
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, argument_names
from vaezoo.runtime.device import device_of
from vaezoo.sequences.missing import pair_for
from vaezoo.settings import DataSettings

__all__ = [
    "Admission",
    "examine_on_data",
    "mark_admitted",
    "materialised",
    "refuse_size",
    "require_admitted",
    "with_parameters",
]

TRIAL_ROWS = 16
NUM_ROWS, MANY_ROWS, MOST_STEPS = 7, 500, 6

# Pairs that nothing was wrong with: asked again, they answer at once.
_admitted: "WeakSet[nn.Module]" = WeakSet()


@dataclass(frozen=True)
class Admission:
    """What is known of a pair that was checked on data.

    Attributes
    ----------
    report
        What the checks say.
    transform
        From stored values to those that the pair explains.
    roles
        What its sites observe, and which arguments are conditions.
    """

    report: Conformance
    transform: Transform
    roles: Roles


def examine_on_data(
    pair: nn.Module,
    data: Data,
    settings: DataSettings,
    *,
    again: Callable[[], nn.Module] | None = None,
) -> Admission:
    """Check a pair on a few rows of data.

    Parameters
    ----------
    pair
        In its initial state, which it keeps; lazy layers get their shapes.
    data
        Which it is to explain.
    settings
        What happens to their values.
    again
        Builds the pair once more, where its class and settings are known.

    Raises
    ------
    ContractError
        When model or guide cannot be run on the data, with the report of the checks.
    RequestError
        When the data are none that the pair can explain.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> pair = vaezoo.build_model("vae-linear", {"z_dim": 2}, (4,))
    >>> data = from_arrays(torch.randn(20, 4).numpy())
    >>> examine_on_data(pair, data, DataSettings(name="x")).report.ok
    True
    """
    names, device = argument_names(pair), device_of(pair)
    data = with_arguments(data, names)
    rows = Batches(data, Transform(), names, device)
    few = tuple(map(filled, rows.few_frames(next(rows.fixed("train", limit=TRIAL_ROWS)))))
    two = tuple(arg[:2] for arg in few)
    if settings.missing == "refuse":
        refuse_missing(data)
    with _blaming_pair(pair, rows):
        materialise(pair, two)
        transform = choose_transform(
            pair, data, binarize=settings.binarize, standardize=settings.standardize
        )
    fresh = partial(materialised, again, two) if again else None
    ready = Batches(data, transform, names, device)
    report = with_parameters(_examined(pair, ready, fresh), pair)
    if not report.ok:
        return Admission(report, transform, Roles({}, ()))
    with torch.random.fork_rng(devices=[]):
        pair_for(pair, ready)  # refuses what cannot do without the entries that are missing
    with probing(pair, device):
        return Admission(report, transform, roles_of(pair, few))


def with_parameters(report: Conformance, pair: nn.Module) -> Conformance:
    """Return a report of a pair that is to be trained: one without parameters cannot be.

    Examples
    --------
    >>> from vaezoo.testing.pairs import NoLatents
    >>> print(with_parameters(Conformance((), (), ()), NoLatents()).failures[0].what)
    NoLatents has no parameter to train
    """
    if any(parameter.requires_grad for parameter in pair.parameters()):
        return report
    cls = class_of(pair)
    what, repair = f"{cls.__name__} has no parameter to train", "give it a layer or an nn.Parameter"
    failure = Failure("gradients", line_of(cls), what, repair)
    passed = tuple(name for name in report.passed if name != failure.check)
    return replace(report, failures=(*report.failures, failure), passed=passed)


def materialised(make: Callable[[], nn.Module], args: Args) -> nn.Module:
    """Build a pair, whose lazy layers get the shapes of a batch."""
    pair = make()
    materialise(pair, args)
    return pair


def require_admitted(pair: nn.Module, rows: Batches) -> Batches:
    """Return rows for a pair that keeps the contract on them, or was admitted before.

    Parameters
    ----------
    pair
        Which it is; its weights and modes stay what they are.
    rows
        Of the data, on its device.

    Raises
    ------
    ContractError
        With the line, what is wrong, and what to write instead.
    """
    if pair not in _admitted:
        with _blaming_pair(pair, rows):
            _examined(pair, rows).refuse()
    return rows


def mark_admitted(pair: nn.Module) -> None:
    """Remember that nothing is wrong with a pair, as with one made of another that is admitted."""
    _admitted.add(pair)


def _examined(
    pair: nn.Module, rows: Batches, fresh: Callable[[], nn.Module] | None = None
) -> Conformance:
    report = conformance_of(pair, few_rows(rows), fresh=fresh)
    if report.ok:
        mark_admitted(pair)
    return report


@contextmanager
def _blaming_pair(pair: nn.Module, rows: Batches) -> Iterator[None]:
    """Tell exceptions of a pair by the check that finds them, on rows as they are."""
    try:
        yield
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, too
        refuse_size(type(pair), error)
        try:
            report = conformance_of(pair, few_rows(rows))
        except Exception:  # it does not even come to the checks
            report = not_run(pair, error)
        (not_run(pair, error) if report.ok else report).refuse()


def refuse_size(cls: type, error: BaseException) -> None:
    """Say so when what failed is memory."""
    if is_out_of_memory(error):
        raise RunError(f"{cls.__name__} of this size does not fit into memory") from error


def few_rows(rows: Batches) -> Args:
    """Return seven rows of training data, again and again if there are fewer, of 6 frames.

    Missing entries are taken from other rows: what a pair does about them is asked elsewhere.
    """
    splits = rows.data.splits
    split = next(name for name in ("train", *splits) if len(splits.get(name, ())))
    positions = torch.arange(MANY_ROWS) % rows.size(split)
    args = rows.whole(split, positions=positions[:NUM_ROWS])
    if any(bool(arg.isnan().any()) for arg in args):
        args = tuple(map(_completed, rows.whole(split, positions=positions)))
    named: dict[str, Any] = {n: a[:NUM_ROWS] for n, a in zip(rows.names, args, strict=True)}
    return tuple(first_frames(named, MOST_STEPS).values())


def _completed(arg: Tensor) -> Tensor:
    """Fill nan by the first value of its column, or 0 where there is none."""
    there = ~arg.isnan()
    first = there.int().argmax(0, keepdim=True)
    return filled(torch.where(there, arg, arg.gather(0, first)))
