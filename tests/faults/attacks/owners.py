"""Two at one run: who comes second gets one line, and who was first ends as if alone."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from attacks.bench import Outcome, Trap, called, count_events, misbehaviour
from attacks.home import RESUME, SETTINGS, TRAIN, copied, differences
from attacks.table import Attack

__all__ = ["attacks"]

READERS = (
    ("sample", "run", "-o", "out.npz"),
    ("evaluate", "run", "--json"),
    ("report", "run"),
)
WRITERS = (TRAIN, (*RESUME, "--epochs", "9"))
UNNAMED = ("train", "vae-linear", "--data", "x.npy", "--epochs", "3", *SETTINGS)


def attacks(home: Path) -> Iterator[Attack]:
    """Yield what a second process does, at moments all over the training of the first."""
    changes = _num_changes(home)
    for number in range(1, changes + 1, 3):
        for words in WRITERS:
            name = f"{words[1]} at {number}"
            yield Attack("a second owner", name, partial(_second, home, number, words))
        words = READERS[number % len(READERS)]
        name = f"{words[0]} at {number}"
        yield Attack("a reader during training", name, partial(_reader, home, number, words))
        yield Attack("a start in the same second", str(number), partial(_same_second, home, number))
        for change in (_remove, _rename, _replace):
            name = f"{change.__name__[1:]} at {number}"
            attempt = partial(_folder_goes, home, number, change)
            yield Attack("the folder goes while it is trained", name, attempt)


@cache
def _num_changes(home: Path) -> int:
    place = copied(home, home.parent / "counted-owners", "x.npy")
    number = count_events(place, *TRAIN)
    shutil.rmtree(place)
    return number


def _while_training(
    home: Path, place: Path, number: int, act: Callable[[], object], words: tuple[str, ...] = TRAIN
) -> Outcome:
    copied(home, place, "x.npy")
    return called(place, *words, before=Trap(place, number, act))


def _note(place: Path, outcome: Outcome, bad: str) -> None:
    said = "" if not bad else f"{bad} | {outcome.code} {outcome.said}"
    (place.parent / f"{place.name}.second").write_text(f"{outcome.code}\n{said}")


def _noted(place: Path) -> tuple[int, str]:
    file = place.parent / f"{place.name}.second"
    code, _, said = file.read_text().partition("\n")
    file.unlink()
    return int(code), said


def _second(home: Path, number: int, words: tuple[str, ...], place: Path) -> str:
    def act() -> None:
        begun = (place / "run").exists()
        outcome = called(place, *words)
        bad = misbehaviour(outcome)
        ended = (place / "run" / "weights.safetensors").exists() and outcome.code == 0
        if not bad and begun and outcome.code == 0 and not ended:
            bad = "trained beside the first"
        if not bad and outcome.code and begun and "run" not in outcome.said:
            bad = "the line names no run"
        _note(place, outcome, bad)

    first = _while_training(home, place, number, act)
    code, bad = _noted(place)
    if bad or (bad := misbehaviour(first)):
        return bad
    if first.code and code:
        return f"both failed: {first.said}"
    longer = "--resume" in words and code == 0
    return "" if longer else differences(place / "run", home / "run")


def _reader(home: Path, number: int, words: tuple[str, ...], place: Path) -> str:
    def act() -> None:
        outcome = called(place, *words)
        _note(place, outcome, misbehaviour(outcome))

    first = _while_training(home, place, number, act)
    _, bad = _noted(place)
    return bad or misbehaviour(first, codes=(0,)) or differences(place / "run", home / "run")


def _same_second(home: Path, number: int, place: Path) -> str:
    """Two runs with the name that vaezoo gives them, which has the second in it."""

    def act() -> None:
        outcome = called(place, *UNNAMED)
        _note(place, outcome, misbehaviour(outcome, codes=(0,)))

    first = _while_training(home, place, number, act, UNNAMED)
    _, bad = _noted(place)
    if bad or (bad := misbehaviour(first, codes=(0,))):
        return bad
    runs = sorted(path for path in (place / "runs").iterdir() if path.name[0] != ".")
    if len(runs) != 2:
        return f"{len(runs)} folders of 2 runs"
    return "".join(differences(run, home / "run") for run in runs)


def _folder_goes(home: Path, number: int, change: Callable[[Path], object], place: Path) -> str:
    """Work is not lost without a word: an exit code that is not 0, or a run that is whole."""

    def act() -> None:
        if (place / "run").exists():
            change(place / "run")

    first = _while_training(home, place, number, act)
    if bad := misbehaviour(first):
        return bad
    whole = (place / "run").exists() and differences(place / "run", home / "run") == ""
    if first.code == 0 and not whole and number < _num_changes(home) - 20:
        return "exit code 0 without a run"
    return ""


def _remove(run: Path) -> None:
    shutil.rmtree(run)


def _rename(run: Path) -> None:
    run.rename(run.with_name("renamed"))


def _replace(run: Path) -> None:
    run.rename(run.with_name("renamed"))
    run.symlink_to("renamed")
