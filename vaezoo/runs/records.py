"""The records of a run: of its training, a line of ``metrics.jsonl`` for each epoch; of what came
after, ``evaluation.json``.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.reading import read_plain
from vaezoo.runtime.storage import append_bytes, inside, write_bytes, write_json

__all__ = [
    "METRICS",
    "Record",
    "append_record",
    "digest_of_records",
    "flush_records",
    "read_evaluations",
    "read_metrics",
    "rewind",
    "with_evaluation",
    "write_evaluations",
    "write_records",
]

METRICS, EVALUATIONS = "metrics.jsonl", "evaluation.json"
LARGEST_FILE = 2**28  # bytes; a million epochs

Record = dict[str, Any]
Notify = Callable[[str], object]


def read_metrics(path: Path, *, notify: Notify | None = None) -> list[Record]:
    """Return the records of a run folder; none where there is no file.

    Parameters
    ----------
    path
        The run folder.
    notify
        Is told when the last line was cut short, by a crash while it was written: it is left out.

    Raises
    ------
    RequestError
        When any other line is no record, with its number; or epochs stand in the wrong order.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> line = '{"epoch": 1, "step": 5, "train": {}, "validation": {}}'
    >>> _ = (folder / "metrics.jsonl").write_text(line + '\\n{"epo')
    >>> [record["step"] for record in read_metrics(folder)]
    [5]
    """
    file = path / METRICS
    if not os.path.lexists(file):
        return []
    if not file.is_file():
        raise RequestError(f"{file} is no file; remove it")
    with refusing(f"cannot read {file}"):
        content = read_plain(file, LARGEST_FILE)
    records: list[Record] = []
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        where = f"{file}, line {number}"
        try:
            with refusing(f"{where} is damaged; mend or delete it"):
                records += [_parse(line)] if line.strip() else []
        except RequestError:
            if number < len(lines) or content.endswith(b"\n"):
                raise
            if notify:
                notify(f"{where} was cut short, and is left out")
    _require_order(records, file)
    return records


def _parse(line: bytes) -> Record:
    record = json.loads(line.decode("utf-8"))
    for name, kind in (("epoch", int), ("step", int), ("train", dict), ("validation", dict)):
        if not isinstance(record[name], kind):
            raise ValueError(f"its '{name}' is {type(record[name]).__name__}")
    return record


def _require_order(records: Sequence[Record], file: Path) -> None:
    for record, after in pairwise(records):
        if after["epoch"] <= record["epoch"]:
            raise RequestError(
                f"{file} has epoch {after['epoch']} after epoch {record['epoch']}: it holds two "
                "trainings; delete the lines of one"
            )


def append_record(path: Path, record: Record) -> None:
    """Write a record behind the others; :func:`flush_records` makes it outlive a crash."""
    append_bytes(inside(path, METRICS), _line(record), flush=False)


def flush_records(path: Path) -> None:
    """Wait until the records are on the disk, before a state is saved that counts on them."""
    if (path / METRICS).is_file():
        append_bytes(inside(path, METRICS), b"")


def digest_of_records(records: Sequence[Record], epoch: int) -> str:
    """Return the sha256 of records up to an epoch, by which a state knows them again.

    Examples
    --------
    >>> digest_of_records([], 3)[:8]
    'e3b0c442'
    """
    kept = (_line(record) for record in records if record["epoch"] <= epoch)
    return hashlib.sha256(b"".join(kept)).hexdigest()


def rewind(path: Path, *, epoch: int, step: int, digest: str, notify: Notify) -> list[Record]:
    """Keep the records up to an epoch only, from which a resumed run goes on, and return them.

    Parameters
    ----------
    path
        The run folder.
    epoch, step
        Whole epochs and steps of the state.
    digest
        Of the records up to that epoch when the state was saved.
    notify
        Is told of a last line that was cut short, of epochs that are trained again since they are
        younger than the state, and of those without a record.

    Raises
    ------
    RequestError
        When they are others than those that the state was saved with.
    """
    records = read_metrics(path, notify=notify)
    again = [record["epoch"] for record in records if record["step"] > step]
    if again:
        notify(f"trained again from epoch {again[0]} on: the state that was saved is older")
    kept = [record for record in records if record["epoch"] <= epoch]
    if len(kept) < epoch:
        notify(f"{path / METRICS} has no record of {epoch - len(kept)} of {epoch} epochs")
    elif digest_of_records(kept, epoch) != digest:
        raise RequestError(
            f"{path / METRICS} was changed, or is of another run: its records are not those of the "
            "state; put the right ones back, or delete it to go on without them"
        )
    write_records(path, kept)
    return kept


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write records in the place of those that are there."""
    write_bytes(inside(path, METRICS), b"".join(map(_line, records)))


def _line(record: Record) -> bytes:
    return (json.dumps(record) + "\n").encode()


def read_evaluations(path: Path) -> list[Record]:
    """Return the evaluations of a run folder, in the order in which they were made.

    Raises
    ------
    RequestError
        When the file is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> read_evaluations(folder)
    []
    >>> write_evaluations(folder, [{"asked": {"split": "test"}, "result": {}}])
    >>> read_evaluations(folder)[0]["asked"]
    {'split': 'test'}
    """
    file = path / EVALUATIONS
    if not os.path.lexists(file):
        return []
    with refusing(f"{file} is damaged; mend or delete it"):
        records: list[Record] = json.loads(read_plain(file, LARGEST_FILE).decode("utf-8"))
        for record in records:
            if not isinstance(record["asked"], dict) or not isinstance(record["result"], dict):
                raise ValueError("it holds something else than evaluations")
    return records


def with_evaluation(records: Sequence[Record], record: Record) -> list[Record]:
    """Return records with another one at their end, in the place of the one that was asked alike.

    Examples
    --------
    >>> before = [{"asked": {"seed": 0}, "result": {"elbo": -2.0}}]
    >>> len(with_evaluation(before, {"asked": {"seed": 1}, "result": {"elbo": -2.1}}))
    2
    >>> with_evaluation(before, {"asked": {"seed": 0}, "result": {"elbo": -1.9}})
    [{'asked': {'seed': 0}, 'result': {'elbo': -1.9}}]
    """
    record = json.loads(json.dumps(record))
    return [*(other for other in records if other["asked"] != record["asked"]), record]


def write_evaluations(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the evaluations of a run folder in the place of those that are there."""
    write_json(inside(path, EVALUATIONS), list(records))
