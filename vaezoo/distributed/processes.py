"""The processes that train one run together: how they meet, wait, agree, and end.

They run the same program on their own rows. Only the first one owns the run folder, and speaks.
What is decided by what only one of them sees (a score, a signal, a failure) is told to all, so that
all go the same way: one that waits for another which has gone elsewhere would wait for ever.
"""

import atexit
import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from vaezoo.distributed.places import Place, place_of
from vaezoo.errors import NonFiniteError, RequestError, RunError, reason_of

__all__ = ["ALONE", "LostProcessError", "Processes", "joined"]

T = TypeVar("T")
LONGEST_WAIT = timedelta(hours=2)  # the first one may compile, and measure, alone
SECONDS_FOR_LAST_WORDS = 1.0
_FAILED = "vaezoo/failed/{}"


class LostProcessError(RunError):
    """Another of the processes has ended before its work was done."""


@dataclass(frozen=True)
class Processes:
    """Those that train one run together.

    Attributes
    ----------
    rank, number
        Of this process among them, from 0 on, and how many there are.
    local_rank
        Of this process among those of its machine.

    Examples
    --------
    >>> alone = Processes()
    >>> alone.is_first, alone.of_first(lambda: 3)
    (True, 3)
    """

    rank: int = 0
    number: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this one owns the run folder, and speaks."""
        return self.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there are others."""
        return self.number > 1

    def check_device(self, device: torch.device) -> None:
        """Refuse more processes of a machine than it has GPUs."""
        if self.are_many and device.type == "cuda" and self.local_rank >= torch.cuda.device_count():
            raise RequestError(
                f"{self.local_rank + 1} processes or more on a machine with "
                f"{torch.cuda.device_count()} GPUs; start one for each, or use `device='cpu'`"
            )

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Let the first one do something, as download, before the others."""
        if not self.is_first:
            self.meet()
        yield
        if self.is_first:
            self.meet()

    def meet(self) -> None:
        """Wait until all are here."""
        if self.are_many:
            with self._reaching():
                dist.barrier()

    def of_first(self, function: Callable[[], T]) -> T:
        """Return what the first process finds out, in all of them; its failure is theirs, too.

        Raises
        ------
        NonFiniteError, RunError
            In the others what it raised in the first one.
        """
        return self.of(0, function)

    def of(self, rank: int, function: Callable[[], T]) -> T:
        """Return what one of the processes finds out, in all of them."""
        if not self.are_many:
            return function()
        told: list[Any] = [None, None]
        error: Exception | None = None
        if self.rank == rank:
            try:
                told[0] = function()
            except Exception as failure:
                told[1], error = (isinstance(failure, NonFiniteError), str(failure)), failure
        with self._reaching():
            dist.broadcast_object_list(told, src=rank)
        if error is not None:
            raise error
        if told[1] is not None:
            is_not_finite, words = told[1]
            raise (NonFiniteError if is_not_finite else RunError)(words)
        return told[0]

    @torch.no_grad()
    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors of the first process to all others, in place."""
        if not self.are_many:
            return
        with self._reaching():
            for tensor in tensors:
                sent = _reachable(tensor.detach())
                dist.broadcast(sent, src=0)
                tensor.copy_(sent)

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; it may be overwritten."""
        if not self.are_many:
            return tensor
        with self._reaching():
            sent = _reachable(tensor)
            dist.all_reduce(sent)
        return sent.to(tensor.device)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn what torch raises when another process is gone into a failure that says so."""
        try:
            yield
        except RuntimeError as error:
            words = self._last_words() if self.is_first else ""
            line = words or f"another of the {self.number} processes has ended"
            raise LostProcessError(line) from error

    @contextmanager
    def telling_failure(self) -> Iterator[None]:
        """Leave the reason for which a process fails where the first one looks for it."""
        try:
            yield
        except LostProcessError:
            raise
        except Exception as error:
            store = _store() if self.are_many and not self.is_first else None
            if store is not None:
                words = str(error) if isinstance(error, RunError) else reason_of(error)
                with suppress(RuntimeError):
                    store.set(_FAILED.format(self.rank), words)
            raise

    def _last_words(self) -> str:
        """Return why another process has failed; empty where it did not come to say it."""
        store, until = _store(), time.monotonic() + SECONDS_FOR_LAST_WORDS
        with suppress(RuntimeError):
            while store is not None and time.monotonic() < until:
                for rank in range(1, self.number):
                    if store.check([key := _FAILED.format(rank)]):
                        words = store.get(key).decode(errors="replace")
                        return f"process {rank} of {self.number}: {words}"
                time.sleep(0.05)
        return ""


ALONE = Processes()


def joined() -> Processes:
    """Join the other processes that a launcher has started with this one, if it has.

    The group stays for as long as the process lives. One that the program has made itself is used
    as it is.

    Raises
    ------
    RequestError
        When torch has no way to them.
    """
    if not dist.is_available():
        return ALONE
    place = place_of()
    if not dist.is_initialized():
        if place is None:
            return ALONE
        _meet_others(place)
    local_rank = place.local_rank if place else 0
    return Processes(dist.get_rank(), dist.get_world_size(), local_rank)


def _meet_others(place: Place) -> None:
    has_gpu = torch.cuda.is_available() and dist.is_nccl_available()
    if has_gpu and place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    if os.name == "nt":  # torch's store has no libuv there
        os.environ.setdefault("USE_LIBUV", "0")
    names = {"MASTER_ADDR": place.address, "MASTER_PORT": place.port}
    names |= {"RANK": place.rank, "WORLD_SIZE": place.number, "LOCAL_RANK": place.local_rank}
    for name, value in names.items():  # those of SLURM, as torch reads them
        os.environ.setdefault(name, str(value))
    try:
        backend = "cpu:gloo,cuda:nccl" if has_gpu else "gloo"
        dist.init_process_group(backend, timeout=LONGEST_WAIT)
    except (RuntimeError, ValueError) as error:
        raise RequestError(
            f"process {place.rank} of {place.number} does not reach the first one at "
            f"{place.address}:{place.port}: {reason_of(error)}"
        ) from error
    atexit.register(_leave)
    if "OMP_NUM_THREADS" not in os.environ:  # the processes of a machine share its processors
        torch.set_num_threads(max(1, torch.get_num_threads() // place.num_local))


def _leave() -> None:
    """Leave the others; threads of torch that hold Python's objects would crash its end."""
    with suppress(RuntimeError):
        dist.destroy_process_group()
    gc.collect()


def _store() -> Any:
    try:
        return dist.distributed_c10d._get_default_store()
    except (AttributeError, RuntimeError, ValueError):
        return None


def _reachable(tensor: Tensor) -> Tensor:
    """Return a tensor where the processes can send it from: gloo knows nothing of mps."""
    tensor = tensor.contiguous()
    return tensor.cpu() if tensor.device.type == "mps" else tensor
