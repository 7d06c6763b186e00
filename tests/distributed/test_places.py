"""Where a process stands is read from what its launcher says."""

import pytest

from vaezoo.distributed.places import place_of
from vaezoo.errors import RequestError

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "2017",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[03-04,7]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


def test_torchrun() -> None:
    place = place_of(TORCHRUN)
    assert place is not None
    assert (place.rank, place.number, place.local_rank, place.num_local) == (3, 4, 1, 2)
    assert (place.address, place.port) == ("node0", 29500)


def test_srun() -> None:
    place = place_of(SRUN)
    assert place is not None
    assert (place.rank, place.number, place.local_rank, place.num_local) == (5, 8, 1, 4)
    assert place.address == "gpu03"


def test_all_tasks_of_a_step_meet_at_one_port_and_two_steps_at_two() -> None:
    places = [place_of({**SRUN, "SLURM_PROCID": str(rank)}) for rank in range(8)]
    other = place_of({**SRUN, "SLURM_STEP_ID": "1"})
    assert len({place.port for place in places if place}) == 1
    assert other is not None
    assert other.port not in {place.port for place in places if place}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_JOB_ID": "2017", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # sbatch, salloc
    ],
)
def test_a_process_may_stand_alone(environ: dict[str, str]) -> None:
    assert place_of(environ) is None


def test_one_process_for_each_machine_needs_nothing_local() -> None:
    place = place_of({key: value for key, value in TORCHRUN.items() if "LOCAL" not in key})
    assert place is not None
    assert (place.rank, place.number, place.local_rank, place.num_local) == (3, 4, 0, 1)


@pytest.mark.parametrize(("name", "value"), [("MASTER_PORT", None), ("RANK", "first")])
def test_a_launcher_that_says_something_wrong_is_refused(name: str, value: str | None) -> None:
    environ = {key: text for key, text in TORCHRUN.items() if key != name}
    with pytest.raises(RequestError, match=value or name):
        place_of(environ if value is None else {**environ, name: value})
