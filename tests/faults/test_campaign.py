"""Attacks on everything that vaezoo reads, writes and runs: none is badly handled.

A few of each kind in the suite, all of them with ``-m slow``. The table is printed at the end.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from attacks.bench import CANARY, called, forked, misbehaviour
from attacks.fields import FIELDS, attacks_of
from attacks.home import copied, hostile_pair
from attacks.table import Attack, Row, chosen, tried

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are forked, limited and watched as on Linux"
)
LONG = {"modules in the working folder", "hostile values: analyse", "a start in the same second"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("field", FIELDS)
def test_some_attacks_are_handled(field: str, home: Path, results: list[Row], places: Path) -> None:
    attacks = [attack for attack in attacks_of(field, home) if attack.kind not in LONG]
    require_handled(chosen(attacks, most=1, seed=0)[:6], results, places)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("field", FIELDS)
def test_all_attacks_are_handled(field: str, home: Path, results: list[Row], places: Path) -> None:
    require_handled(attacks_of(field, home), results, places)


def require_handled(attacks: list[Attack], results: list[Row], folder: Path) -> None:
    rows = tried(attacks, folder, print)
    results += rows
    assert [bad for row in rows for bad in row.badly] == []


# The campaign itself: what is bad is seen


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: 1 / 0, "exit code 71"),
        (lambda: sys.exit(1), "without a line"),
        (lambda: sys.exit(5), "exit code 5"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "exit code -9"),
        (lambda: print("\x1b[2J"), "control characters"),
        (lambda: print("Traceback (most recent call last)", file=sys.stderr), "traceback"),
        (lambda: signal.pause(), "hangs"),
    ],
)
def test_misbehaviour_is_seen(work: object, words: str) -> None:
    limit = 0.2 if words == "hangs" else 60
    assert words in misbehaviour(forked(work, limit))  # type: ignore[arg-type]


def test_canary_sings_when_code_is_named(home: Path, tmp_path: Path) -> None:
    place = copied(home, tmp_path / "place", "x.npy")
    (place / "evil.py").write_text(hostile_pair(place / CANARY))
    called(place, "check", "evil.py")
    assert (place / CANARY).exists()
