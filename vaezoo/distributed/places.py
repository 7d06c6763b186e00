"""Where a process stands among those that a launcher has started, as their variables say."""

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from vaezoo.errors import RequestError

__all__ = ["Place", "leave", "place_of"]

_FIRST_PORT, _NUM_PORTS = 15_000, 20_000


@dataclass(frozen=True)
class Place:
    """The number of a process, and where the first one is met.

    Attributes
    ----------
    rank, number
        Of this process among all, from 0 on, and how many there are.
    local_rank
        Of this process among those of its machine: the GPU that it takes.
    num_local
        How many there are on its machine.
    address, port
        Where the first process listens.
    launcher
        Who has started them.
    """

    rank: int
    number: int
    local_rank: int
    num_local: int
    address: str
    port: int
    launcher: str


def place_of(environ: Mapping[str, str] = os.environ) -> Place | None:
    """Return the place of this process; None for one that stands alone.

    Read are the variables of ``torchrun``, and those of a job step of SLURM: ``srun`` sets them,
    ``sbatch`` and ``salloc`` do not.

    Raises
    ------
    RequestError
        When a launcher has left out, or misspelt, what it has to say.

    Examples
    --------
    >>> place_of({})
    >>> step = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}
    >>> job = {"SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "2017"}
    >>> place = place_of({**step, **job})
    >>> place.rank, place.number, place.local_rank, place.address
    (5, 8, 1, 'gpu03')
    """
    try:
        place = _of_torchrun(environ) or _of_slurm(environ)
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"this process seems to be one of several, but what started it does not say which: "
            f"{error}; start it by torchrun, or by srun"
        ) from error
    return place if place and place.number > 1 else None


def leave(environ: MutableMapping[str, str] = os.environ) -> None:
    """Forget what the launcher has said, so that this process stands alone.

    Examples
    --------
    >>> step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    >>> leave(step)
    >>> place_of(step)
    """
    for name in ("RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        environ.pop(name, None)


def _of_torchrun(environ: Mapping[str, str]) -> Place | None:
    if "RANK" not in environ or "WORLD_SIZE" not in environ or "MASTER_ADDR" not in environ:
        return None
    # Launchers of one process for each machine, as those of clusters, leave out what is local.
    return Place(
        rank=int(environ["RANK"]),
        number=int(environ["WORLD_SIZE"]),
        local_rank=int(environ.get("LOCAL_RANK", 0)),
        num_local=int(environ.get("LOCAL_WORLD_SIZE", 1)),
        address=environ["MASTER_ADDR"],
        port=int(environ["MASTER_PORT"]),
        launcher="torchrun",
    )


def _of_slurm(environ: Mapping[str, str]) -> Place | None:
    if "SLURM_STEP_NUM_TASKS" not in environ:
        return None
    nodes = environ.get("SLURM_STEP_NODELIST") or environ["SLURM_NODELIST"]
    number = int(environ["SLURM_STEP_NUM_TASKS"])
    per_node = re.match(r"\d+", environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return Place(
        rank=int(environ["SLURM_PROCID"]),
        number=number,
        local_rank=int(environ["SLURM_LOCALID"]),
        num_local=int(per_node[0]) if per_node else number,
        address=environ.get("MASTER_ADDR") or _first_node(nodes),
        port=int(environ.get("MASTER_PORT") or _port_of(environ)),
        launcher="srun",
    )


def _first_node(nodes: str) -> str:
    """Return the first of a list of nodes as SLURM writes it.

    Examples
    --------
    >>> _first_node("gpu[03-04,7],cpu1"), _first_node("cpu1,cpu2"), _first_node("r1n[2,5]-ib")
    ('gpu03', 'cpu1', 'r1n2-ib')
    """
    match = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)
    if match is None:
        raise ValueError(f"no node in {nodes!r}")
    return "".join(part or "" for part in match.groups())


def _port_of(environ: Mapping[str, str]) -> int:
    """Return a port that all processes of a step agree on, and other steps hardly have."""
    step = int(environ.get("SLURM_STEP_ID", 0))
    return _FIRST_PORT + (101 * int(environ["SLURM_JOB_ID"]) + step) % _NUM_PORTS
