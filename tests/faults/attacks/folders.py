"""Run folders that were changed by somebody: refused in one line, or the same results."""

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from attacks.bench import Outcome, called, misbehaviour
from attacks.home import RESUME, copied, differences
from attacks.table import Attack

__all__ = ["attacks"]

Change = Callable[[Path, Path, random.Random], None]

SAMPLE = ("sample", "run", "-n", "4", "-o", "out.npz")
FILES = (
    "config.toml",
    "run.json",
    "weights.safetensors",
    "last/state.safetensors",
    "metrics.jsonl",
    "splits.safetensors",
)
COMMANDS = (
    SAMPLE,
    ("evaluate", "run", "--json"),
    ("encode", "run", "-o", "out.npz"),
    (*RESUME, "--epochs", "5"),
)


def _cut(file: Path, home: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def _flip(file: Path, home: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def _splatter(file: Path, home: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content))
    content[at : at + 16] = rng.randbytes(16)
    file.write_bytes(content)


def _double(file: Path, home: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    at = rng.randrange(len(content))
    file.write_bytes(content[:at] + content[: rng.randrange(64)] + content[at:])


def _swap(file: Path, home: Path, rng: random.Random) -> None:
    name = "last/" + file.name if file.parent.name == "last" else file.name
    other = home / "other" / name
    file.write_bytes(other.read_bytes() if other.is_file() else b"{}")


def _empty(file: Path, home: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def _delete(file: Path, home: Path, rng: random.Random) -> None:
    file.unlink()


def _link(file: Path, home: Path, rng: random.Random) -> None:
    victim = _run_of(file).with_name("victim")
    victim.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(victim)


def _dangle(file: Path, home: Path, rng: random.Random) -> None:
    file.unlink()
    file.symlink_to(file.with_name("nowhere"))


def _loop(file: Path, home: Path, rng: random.Random) -> None:
    file.unlink()
    file.symlink_to(file)


def _fifo(file: Path, home: Path, rng: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def _device(file: Path, home: Path, rng: random.Random) -> None:
    file.unlink()
    file.symlink_to(rng.choice(["/dev/zero", "/dev/random", "/dev/stdin", "/dev/null"]))


def _folder(file: Path, home: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _deep(file: Path, home: Path, rng: random.Random) -> None:
    brackets = "[" * 100_000
    file.write_text(f"a = {brackets}" if file.suffix == ".toml" else brackets)


def _huge(file: Path, home: Path, rng: random.Random) -> None:
    """A file of 50 GB that takes no place on the disk."""
    with file.open("r+b") as stream:
        stream.truncate(50 * 2**30)


CHANGES: dict[str, tuple[Change, int]] = {
    "byte flipped": (_flip, 30),
    "cut": (_cut, 8),
    "overwritten in part": (_splatter, 8),
    "doubled in part": (_double, 4),
    "of another run": (_swap, 1),
    "emptied": (_empty, 1),
    "deleted": (_delete, 1),
    "a link": (_link, 1),
    "a link to nowhere": (_dangle, 1),
    "a link to itself": (_loop, 1),
    "a FIFO": (_fifo, 1),
    "a device": (_device, 4),
    "a folder": (_folder, 1),
    "nested deeply": (_deep, 1),
    "50 GB": (_huge, 1),
}


def attacks(home: Path) -> Iterator[Attack]:
    """Yield every change of every file of a run folder, each met by every command."""
    for file in FILES:
        run = "own" if file.startswith("splits") else "run"
        for change, (apply, times) in CHANGES.items():
            for number in range(times):
                words = COMMANDS[number % len(COMMANDS)] if times > 1 else None
                for one in (words,) if words else COMMANDS:
                    name = f"{file} {change}, {one[0]} ({number})"
                    attempt = partial(_change, home, run, file, apply, one, name)
                    yield Attack(f"run folder: {file} changed", name, attempt)


def _run_of(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "last" else file.parent


def _change(
    home: Path, run: str, file: str, apply: Change, words: tuple[str, ...], name: str, place: Path
) -> str:
    copied(home, place, "x.npy", run)
    (place / run).rename(place / "run")
    apply(place / "run" / file, home, random.Random(name))
    victim = place / "victim"
    before = victim.read_bytes() if victim.exists() else b""
    outcome = called(place, *words)
    if victim.exists() and victim.read_bytes() != before:
        return "wrote through a link"
    return misbehaviour(outcome) or _same(outcome, home, place, words, file)


def _same(outcome: Outcome, home: Path, place: Path, words: tuple[str, ...], file: str) -> str:
    """What works gives what it would have given; settings may be edited by their owner."""
    if outcome.code or file == "config.toml":
        return ""
    whole = "own" if file.startswith("splits") else "run"
    expected = home.parent / f"expected-{whole}-{words[0]}"
    if not expected.exists():
        temporary = copied(home, home.parent / f"making-{whole}-{words[0]}", "x.npy", whole)
        (temporary / whole).rename(temporary / "run")
        answer = called(temporary, *words)
        (temporary / "said").write_text(f"{answer.code}\n{answer.out}")
        temporary.rename(expected)
    code, _, out = (expected / "said").read_text().partition("\n")
    if words[0] == "evaluate":
        return "" if out == outcome.out else "other numbers, without a word"
    if words[0] == "train":
        if int(code) == 0 and "trained again" not in outcome.err and "no record" not in outcome.err:
            return differences(place / "run", expected / "run")
        return ""
    return _same_arrays(place / "out.npz", expected / "out.npz")


def _same_arrays(one: Path, other: Path) -> str:
    with np.load(one) as got, np.load(other) as expected:
        if set(got) != set(expected):
            return "other arrays, without a word"
        same = all(np.array_equal(got[name], expected[name]) for name in got)
        return "" if same else "other numbers, without a word"
