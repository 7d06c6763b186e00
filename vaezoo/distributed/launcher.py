"""Starting the processes of one machine, by the launcher that torch brings."""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from vaezoo.errors import RequestError, RunError, VaezooError
from vaezoo.runtime.storage import write_bytes

__all__ = ["launch", "noting_failure"]

_ANSWER = "VAEZOO_ANSWER"  # names the file in which the first process leaves its exit code


def launch(number: int, words: Sequence[str]) -> int:
    """Run a command of vaezoo in so many processes that train one run together.

    They are torch's elastic agent's, as those of ``torchrun``: it ends all when one has failed. The
    first of them says what there is to say.

    Parameters
    ----------
    number
        Of processes.
    words
        Of the command, as ``["train", "vae-bernoulli"]``.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    RunError
        When a process was killed, and the first one could not say so.
    """
    import torch.distributed as dist

    if not dist.is_available():
        raise RequestError("this build of torch has no `torch.distributed`; leave out `devices`")
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in [*logging.root.manager.loggerDict]:  # each has a level of its own
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    if os.name == "nt":  # torch's store has no libuv there
        os.environ.setdefault("USE_LIBUV", "0")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a port that is free
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )
    with _answer() as answer:
        try:
            elastic_launch(config, sys.executable)(*_python_options(), *words)
        except (ChildFailedError, SignalException, KeyboardInterrupt) as error:
            with suppress(OSError, ValueError):
                return int(answer.read_text(encoding="ascii"))
            if isinstance(error, ChildFailedError):
                rank, failed = error.get_first_failure()
                raise RunError(_what_ended(rank, number, failed.exitcode)) from error
            return 130
    return 0


def _python_options() -> list[str]:
    """Return how vaezoo is called as this process was: a script has no working folder to import."""
    is_module = Path(sys.argv[0]).name == "__main__.py"
    return ["-m", "vaezoo"] if is_module else ["-P", "-m", "vaezoo"]


def _what_ended(rank: int, number: int, code: int) -> str:
    """Return what became of a process.

    Examples
    --------
    >>> _what_ended(0, 2, -9)
    'process 0 of 2 was ended by SIGKILL, and the others with it; `resume` goes on with the run'
    """
    how = f"ended with code {code}"
    if code < 0:
        with suppress(ValueError):
            how = f"was ended by {signal.Signals(-code).name}"
    return (
        f"process {rank} of {number} {how}, and the others with it; `resume` goes on with the run"
    )


@contextmanager
def _answer() -> Iterator[Path]:
    before = os.environ.get(_ANSWER)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_ANSWER] = str(Path(folder) / "code")
        try:
            yield Path(folder) / "code"
        finally:
            del os.environ[_ANSWER]
            if before is not None:
                os.environ[_ANSWER] = before


@contextmanager
def noting_failure() -> Iterator[None]:
    """Leave the exit code for who has launched this process, which says nothing more then.

    Examples
    --------
    >>> with noting_failure():
    ...     pass
    """
    try:
        yield
    except BaseException as error:
        if _ANSWER in os.environ:
            code = error.exit_code if isinstance(error, VaezooError) else 1
            code = 130 if isinstance(error, KeyboardInterrupt) else code
            with suppress(OSError):
                write_bytes(Path(os.environ[_ANSWER]), str(code).encode("ascii"))
        raise
