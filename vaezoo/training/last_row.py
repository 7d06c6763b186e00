"""The last batch of an epoch, when it would be one row that a pair cannot take; other remarks."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from vaezoo.data.batches import Batches
from vaezoo.data.contract import describe_missing
from vaezoo.errors import RequestError
from vaezoo.pairs.accounting import log_weight
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import trace_pair
from vaezoo.runtime.isolation import isolated

__all__ = ["remarks", "rows_of_an_epoch"]


def rows_of_an_epoch(pair: nn.Module, batches: Batches, batch_size: int) -> int:
    """Return how many rows are seen in an epoch: all, but for one that would stand alone.

    Batch normalisation needs two rows in training. As the order is drawn anew for each epoch,
    another row is left out each time.

    Raises
    ------
    RequestError
        When every batch is to be of one row, which the pair does not take.

    Examples
    --------
    >>> from vaezoo.data.transform import Transform
    >>> from vaezoo.testing.pairs import LinearPair
    >>> from vaezoo.data import from_arrays
    >>> data = from_arrays(torch.rand(20, 4).numpy())
    >>> batches = Batches(data, Transform(), ("x",), torch.device("cpu"))
    >>> rows_of_an_epoch(LinearPair(), batches, 5)
    16
    """
    size = batches.size("train")
    if size % batch_size not in ((0,) if batch_size == 1 else (1,)) or size == 1:
        return size
    if _takes(pair, batches, 1) or not _takes(pair, batches, 2):
        return size
    if batch_size == 1:
        raise RequestError(
            f"{type(pair).__name__} cannot be trained on batches of one row, as batch "
            "normalisation cannot; use `batch_size=2` or more"
        )
    return size - 1


def remarks(
    batches: Batches, num_rows: int, info: Mapping[str, Any], noise: str
) -> Iterator[tuple[str, str]]:
    """Yield what deserves a word before training, each by a short name.

    Parameters
    ----------
    batches, num_rows
        The data, and how many rows of them are seen in an epoch.
    info
        Of the run, with notes of its admission.
    noise
        A line on noisy gradients, if there are any.
    """
    if num_rows < batches.size("train"):
        yield "row", "one row is left out of each epoch, since it would be a batch of its own"
    if line := describe_missing(batches.data):
        yield "missing", line
    for line in filter(None, (*info.get("notes", ()), noise)):
        yield line, line


def _takes(pair: nn.Module, batches: Batches, num_rows: int) -> bool:
    """Whether a pair, in training, gives so many rows a finite density."""
    try:
        with probing(pair.train(), batches.device, evaluating=False), isolated():
            args = batches.train("train", torch.arange(num_rows))
            return bool(log_weight(trace_pair(pair, args)).isfinite().all())
    except Exception:  # said when it is trained
        return False
