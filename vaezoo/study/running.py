"""Running a study: cell by cell, by one process or by several that share its folder."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vaezoo.data import load_data
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, RunError, require_positive
from vaezoo.runs.ownership import begun
from vaezoo.runtime.storage import write_bytes, write_json
from vaezoo.study.catalogue import get_study
from vaezoo.study.design import Study
from vaezoo.study.result import Result, result_of
from vaezoo.study.training import Place, failures_of, is_measured, measure_cell, values_of

__all__ = ["folder_of", "run_study"]

STUDY = "study.json"
SECONDS_BETWEEN_LOOKS = 0.5
Tell = Callable[[str], object]


def run_study(
    study: str | Study,
    *,
    scale: str = "quick",
    seeds: int | None = None,
    jobs: int = 1,
    out: str | Path | None = None,
    tell: Tell = lambda line: None,
) -> Result:
    """Train and measure what a study sets side by side, and judge its claims.

    The same call goes on with a study that was stopped; what is trained is not trained again.
    Several processes or machines may work on one folder that they share.

    Parameters
    ----------
    study
        Its name, or the study itself.
    scale
        ``smoke``, ``quick`` or ``full``.
    seeds
        How many trainings each variant has; what the scale says by default.
    jobs
        Processes of this machine.
    out
        The folder of the study, by default ``studies/NAME-SCALE``: a run folder for each training,
        ``result.json``, ``result.csv`` and a page.
    tell
        Is told of each run that is done.

    Returns
    -------
    Result
        Table, claims and answer.

    Raises
    ------
    RequestError
        When there is no such study or scale, data are not on disk, or the folder has another study.

    Examples
    --------
    >>> import tempfile
    >>> result = run_study("linear", scale="smoke", out=tempfile.mkdtemp())
    >>> result.study, result.scale
    ('linear', 'smoke')
    """
    design = get_study(study) if isinstance(study, str) else study
    size = design.scale(scale)
    number = size.seeds if seeds is None else seeds
    require_positive("seeds", number, "seed")
    require_positive("jobs", jobs, "process")
    if jobs > 1 and not isinstance(study, str):
        raise RequestError("several `jobs` need a study by its name")
    folder = Path(out) if out else folder_of(design, scale)
    for source in {design.data[cell.data] for cell in design.cells(scale)}:
        if isinstance(source, str):
            load_data(source)  # refused before anything is trained
    _begin(folder, design, scale)
    places = [Place(folder, cell, range(number)) for cell in design.cells(scale)]
    others = [_start(design.name, scale, number, folder) for _ in range(jobs - 1)]
    try:
        _work(design, places, scale, tell)
    finally:
        for other in others:
            other.terminate()
            other.wait()
    return _finish(design, scale, number, folder, places)


def folder_of(study: Study, scale: str) -> Path:
    """Return the folder of a study where none is named."""
    return Path("studies") / f"{study.name}-{scale}"


def _begin(folder: Path, study: Study, scale: str) -> None:
    """Make the folder of a study, or refuse one of another."""
    own, stored = {"study": study.name, "scale": scale}, begun(folder, STUDY, "study")
    if stored is None:
        write_json(folder / STUDY, own)
    elif stored != own:
        raise RequestError(
            f"{folder} holds {stored.get('study')} at scale {stored.get('scale')}; "
            "choose another `out`"
        )


def _work(study: Study, places: list[Place], scale: str, tell: Tell) -> None:
    """Do cell after cell that no other process is at, until all are done."""
    left = [place for place in places if not is_measured(place)]
    while left:
        has_worked = False
        for place in left:
            with place.owned() as is_ours:
                if is_ours and not is_measured(place):
                    measure_cell(study, place, study.scale(scale), tell)
                    has_worked = True
        left = [place for place in left if not is_measured(place)]
        if left and not has_worked:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _start(name: str, scale: str, seeds: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start one more process that works on the same folder."""
    words = json.dumps({"study": name, "scale": scale, "seeds": seeds, "out": str(folder)})
    code = "import json, sys, vaezoo; vaezoo.run_study(**json.loads(sys.argv[1]))"
    command = [sys.executable, "-P", "-c", code, words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _finish(study: Study, scale: str, seeds: int, folder: Path, places: list[Place]) -> Result:
    from vaezoo.study.page import page_of
    from vaezoo.study.pictures import plot_result

    values: dict[tuple[str, str, str], Array] = {}
    failed: list[str] = []
    for place in places:
        key = (place.cell.data, place.cell.variant.name)
        values |= {(*key, name): value for name, value in values_of(place).items()}
        failed += [f"{place}, seed {seed}: {why}" for seed, why in failures_of(place).items()]
    if not values:
        raise RunError(f"nothing of {folder} could be trained: {(failed or ['?'])[-1]}")
    result = result_of(study, scale, seeds, values, failed)
    write_json(folder / "result.json", result.to_dict())
    write_bytes(folder / "result.csv", result.as_csv().encode())
    plot_result(study, result, folder / "result.png")
    write_bytes(folder / "page.html", page_of(study, result, folder / "result.png").encode())
    return result
