"""Deaths, signals and full disks at every change of a file: nothing is lost or in the way."""

import shutil
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from attacks.bench import Outcome, Trap, called, count_events, misbehaviour
from attacks.home import RESUME, TRAIN, copied, differences
from attacks.table import Attack

__all__ = ["attacks", "goes_on"]

FIGURES = {"samples.png", "reconstructions.png", "curves.png", "latents.png"}
LONGER = (*RESUME, "--epochs", "5")
ACTS = {
    "kill": "killed at a change of a file",
    "torn": "killed with a file half written",
    "int": "Ctrl-C at a change of a file",
    "term": "terminated at a change of a file",
    "full": "disk full from a change on",
}
CODES = {
    "kill": (-9, 0),
    "torn": (-9, 0),
    "int": (130, 0),
    "term": (130, -15, 0),
    "full": (1, 2, 0),
}
WRITERS = (
    ("sample", "run", "-n", "4", "-o", "out.npz"),
    ("encode", "run", "-o", "out.npz"),
    ("reconstruct", "run", "-o", "out.png"),
)


def attacks(home: Path) -> Iterator[Attack]:
    """Yield an attack for every change of a file that training, resuming or writing makes."""
    for act, kind in ACTS.items():
        for number in range(1, _num_changes(home, TRAIN) + 1):
            yield Attack(kind, f"train {number}", partial(_train, home, act, number))
        for number in range(1, _num_changes(home, LONGER, "run") + 1):
            yield Attack(kind, f"resume {number}", partial(_resume, home, act, number))
        for words in WRITERS:
            for number in range(1, _num_changes(home, words, "run") + 1):
                name = f"{words[0]} {number}"
                yield Attack(kind, name, partial(_write, home, words, act, number))


@cache
def _num_changes(home: Path, words: tuple[str, ...], *names: str) -> int:
    place = copied(home, home.parent / f"counted-{words[0]}-{len(names)}", "x.npy", *names)
    number = count_events(place, *words)
    shutil.rmtree(place)
    return number


@cache
def _longer(home: Path) -> Path:
    """Return a run that was trained longer without being disturbed."""
    place = copied(home, home.parent / "longer", "x.npy", "run")
    outcome = called(place, *LONGER)
    if outcome.code:
        raise AssertionError(outcome.err)
    return place / "run"


def _train(home: Path, act: str, number: int, place: Path) -> str:
    copied(home, place, "x.npy")
    outcome = called(place, *TRAIN, before=Trap(place, number, act))
    return _ended(outcome, act) or goes_on(place, RESUME, home / "run")


def _resume(home: Path, act: str, number: int, place: Path) -> str:
    copied(home, place, "x.npy", "run")
    outcome = called(place, *LONGER, before=Trap(place, number, act))
    return _ended(outcome, act) or goes_on(place, LONGER, _longer(home))


def _write(home: Path, words: tuple[str, ...], act: str, number: int, place: Path) -> str:
    """The file is the old one or a whole new one, and a second call writes it."""
    copied(home, place, "x.npy", "run")
    file = place / words[-1]
    file.write_bytes(b"old")
    outcome = called(place, *words, before=Trap(place, number, act))
    if bad := _ended(outcome, act):
        return bad
    if file.read_bytes() != b"old" and not _is_whole(file):
        return f"{file.name} is half written"
    again = called(place, *words)
    return misbehaviour(again, codes=(0,)) or ("" if _is_whole(file) else "no file is written")


def _is_whole(file: Path) -> bool:
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return all(len(arrays[name]) for name in arrays)
    return file.read_bytes().endswith(b"IEND\xaeB`\x82")


def _ended(outcome: Outcome, act: str) -> str:
    if outcome.code < 0 and outcome.code in CODES[act] and not outcome.hangs:
        return ""
    return misbehaviour(outcome, codes=CODES[act])


def goes_on(place: Path, resume: tuple[str, ...], whole: Path) -> str:
    """The run ends as if nothing had been: resumed, or begun again where it had not begun."""
    run = place / "run"
    tried = []
    for words in (resume, TRAIN):
        if _differs(run, whole):
            outcome = called(place, *words)
            tried.append(f"{words[1]}: {outcome.said}")
            if bad := misbehaviour(outcome):
                return bad
    if differs := _differs(run, whole):
        return f"dead end: {tried}; {differs}"
    return _left_over(place)


def _differs(run: Path, whole: Path) -> str:
    return differences(run, whole) if run.exists() else "no run"


def _left_over(place: Path) -> str:
    """To resume a run that has finished draws what is missing, and clears up."""
    outcome = called(place, *RESUME)
    if bad := misbehaviour(outcome, codes=(0, 2)):
        return bad
    figures = {path.name for path in (place / "run" / "figures").glob("*.png")}
    if figures != FIGURES:
        return f"no {FIGURES - figures}"
    hidden = [path.name for path in place.rglob(".*") if path.name != ".lock"]
    return f"left behind: {hidden}" if hidden else ""
