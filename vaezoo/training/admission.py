"""Before a training: the pair is checked on a few rows of its data, and refused in those words."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vaezoo.checks.conformance import Conformance, check_pair, not_built, not_run
from vaezoo.config import build_model
from vaezoo.data.batches import Batches
from vaezoo.errors import RunError, VaezooError, is_out_of_memory
from vaezoo.observations.missing import filled
from vaezoo.pairs.sites import Args

__all__ = ["admit_to_training", "blaming_pair", "built"]

NUM_ROWS, MANY_ROWS, MOST_STEPS = 7, 500, 6


def built(cls: type[nn.Module], config: dict[str, object], x_shape: Sequence[int]) -> nn.Module:
    """Build a pair; an exception of its constructor is told by its line.

    Raises
    ------
    RequestError
        When the constructor fails.
    """
    try:
        return build_model(cls, config, x_shape)
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, too
        _refuse_size(cls, error)
        not_built(cls, error).refuse()
        raise


def _refuse_size(cls: type, error: BaseException) -> None:
    if is_out_of_memory(error):
        raise RunError(f"{cls.__name__} of this size does not fit into memory") from error


@contextmanager
def blaming_pair(pair: nn.Module, rows: Batches) -> Iterator[None]:
    """Tell exceptions of a pair by the check that finds them, on rows as they are.

    Raises
    ------
    RequestError
        Instead of whatever model or guide raise.
    """
    try:
        yield
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, too
        _refuse_size(type(pair), error)
        try:
            report = check_pair(pair, few_rows(rows))
        except Exception:  # it does not even come to the checks
            report = not_run(pair, error)
        (not_run(pair, error) if report.ok else report).refuse()


def admit_to_training(
    pair: nn.Module, rows: Batches, *, fresh: Callable[[], nn.Module] | None = None
) -> Conformance:
    """Check a pair on a few rows of its data, and refuse it for the first failure.

    Parameters
    ----------
    pair
        In its initial state, which it keeps.
    rows
        Of its data, on its device.
    fresh
        Builds the pair once more, where its class and settings are known.

    Returns
    -------
    Conformance
        With what is worth a word.

    Raises
    ------
    RequestError
        With the line, what is wrong, and what to write instead.
    """
    report = check_pair(pair, few_rows(rows), fresh=fresh)
    report.refuse()
    return report


def few_rows(rows: Batches) -> Args:
    """Return seven rows of training data, again and again if there are fewer, of 6 frames.

    Missing entries are taken from other rows: what a pair does about them is asked elsewhere.
    """
    positions = torch.arange(MANY_ROWS) % rows.size("train")
    args = rows.whole("train", positions=positions[:NUM_ROWS])
    if any(bool(arg.isnan().any()) for arg in args):
        args = tuple(map(_completed, rows.whole("train", positions=positions)))
    named = {name: arg[:NUM_ROWS] for name, arg in zip(rows.names, args, strict=True)}
    if "length" in named:
        frames = named["x"].shape[1]
        named = {name: _cut(arg, frames) for name, arg in named.items()}
        named["length"] = named["length"].clamp(max=MOST_STEPS)
    return tuple(named.values())


def _completed(arg: Tensor) -> Tensor:
    """Fill nan by the first value of its column, or 0 where there is none."""
    there = ~arg.isnan()
    first = there.int().argmax(0, keepdim=True)
    return filled(torch.where(there, arg, arg.gather(0, first)))


def _cut(arg: Tensor, frames: int) -> Tensor:
    return arg[:, :MOST_STEPS] if arg.shape[1:2] == (frames,) else arg
