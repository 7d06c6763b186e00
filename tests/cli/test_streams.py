"""What is printed: one line for a failure, no control characters, quiet where nobody reads."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vaezoo.cli import main
from vaezoo.cli._flags import in_flags
from vaezoo.cli._shared import table
from vaezoo.errors import source_of
from vaezoo.testing import scaffold

VAEZOO = [sys.executable, "-m", "vaezoo"]
STEPS = ("--steps", "6", "--batch-size", "8")
COMMANDS = Path(main.get_command.__code__.co_filename).parent
posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).integers(0, 2, (30, 4)).astype(np.float32))


def vaezoo(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def run(*words: str, **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VAEZOO, *words], text=True, check=False, **streams)  # type: ignore[call-overload]


def test_commands_print_through_one_door() -> None:
    doors = re.compile(r"click\.s?echo\(|(?<![\w.])print\(|sys\.std\w+\.write")
    files = [path for path in COMMANDS.glob("*.py") if path.name != "_streams.py"]
    assert [path.name for path in files if doors.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--json"], ["--help"], ["show", "vae-linear"]]
)
def test_where_nobody_reads_it_is_quiet(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    result = run(*words, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


def test_where_nobody_reads_what_failed_the_exit_code_says_it() -> None:
    read, write = os.pipe()
    os.close(read)
    result = run("show", "nothing", stdout=subprocess.PIPE, stderr=write)
    os.close(write)
    assert (result.returncode, result.stdout) == (2, "")


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_failure(closed: str) -> None:
    line = f"{shlex.join([*VAEZOO, 'list'])} {closed}"
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        result = run("list", stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert re.fullmatch(r"vaezoo: .*standard output.*No space left.*\n", result.stderr)


def test_output_that_knows_few_characters_is_no_failure() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    result = run("show", "大", stderr=subprocess.PIPE, env=environment)
    assert result.returncode == 2
    assert "\\u5927" in result.stderr


ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@pytest.mark.parametrize("ending", ["", ".npy", ".csv", ".py", ":x"])
def test_what_a_person_names_is_shown_without_its_control_characters(ending: str) -> None:
    for words in (["data", "show", f"{ESCAPE}{ending}"], ["show", f"{ESCAPE}{ending}"]):
        result = vaezoo(*words)
        assert result.exit_code == 2
        assert "\x1b" not in result.output
        assert "owned" in result.output


def test_columns_of_a_stranger_are_shown_without_their_control_characters() -> None:
    table = "\n".join([f"{ESCAPE}a,b", *(f"1,{n}" for n in range(20))])
    Path("x.csv").write_text(table)
    shown = vaezoo("data", "show", "x.csv")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    assert "owned" in shown.output
    as_json = json.loads(vaezoo("data", "show", "x.csv", "--json").stdout)
    assert as_json["constant"] == [f"{ESCAPE}a"]


def test_a_docstring_of_a_stranger_is_shown_without_its_control_characters() -> None:
    text = scaffold.source(Path("my_vae.py"))
    Path("my_vae.py").write_text(text.replace('"""', '"""\\x1b[2J', 1))
    result = vaezoo("show", "./my_vae.py")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output


RAISES = {
    "exits": "raise SystemExit(0)",
    "ends": "raise GeneratorExit",
    "base": "raise BaseException('base')",
    "end of file": "raise EOFError('end')",
    "talks": "raise ValueError('x' * 100_000)",
    "escapes": f"raise KeyError({ESCAPE!r})",
    "recurses": "self.{method}(x)",
    "stops": "next(iter(()))",
}


PLATE = "        with pyro.plate"
BODIES = {"__init__": "        super()", "model": PLATE, "guide": PLATE}


def pair(statement: str, method: str, calls: int) -> int:
    """Write a pair one of whose methods does something once it was called so often.

    Returns the number of its line.
    """
    lines = scaffold.source(Path("my_vae.py")).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"    def {method}("))
    body = next(n for n in range(start, len(lines)) if lines[n].startswith(BODIES[method]))
    count = "self.__dict__['calls'] = self.__dict__.get('calls', 0) + 1"
    late = f"if self.__dict__['calls'] > {calls}: {statement.format(method=method)}"
    lines[body:body] = [f"        {count}", f"        {late}"]
    Path("my_vae.py").write_text("\n".join(lines))
    return body + 2


@pytest.mark.parametrize("what", RAISES)
@pytest.mark.parametrize(("method", "calls"), [("__init__", 0), ("model", 0), ("guide", 100)])
def test_whatever_a_pair_raises_is_one_line_with_its_place(
    what: str, method: str, calls: int
) -> None:
    if (what, method) == ("recurses", "__init__"):
        pytest.skip("has no x")
    line = pair(RAISES[what], method, calls)
    result = vaezoo(
        "train", "./my_vae.py", "--data", "x.npy", "--steps", "200", "--batch-size", "8"
    )
    assert result.exit_code in (1, 2), result.output
    last = result.stderr.splitlines()[-1]
    assert re.match(rf"vaezoo: .*my_vae.py:{line}\b", last), last
    assert len(last) < 1100
    assert "\x1b" not in last


@pytest.mark.parametrize("name", ["my run", "it's", "a`b", "$(touch x)", "a  b"])
def test_a_command_of_a_message_can_be_pasted(name: str) -> None:
    said = in_flags(f"go on with `vaezoo.resume({source_of(name)}, epochs=3)`")
    words = shlex.split(said.removeprefix("go on with "))
    assert words == ["vaezoo", "train", "--resume", name, "--epochs", "3"]


def test_commands_after_a_training_can_be_pasted() -> None:
    trained = vaezoo("train", "vae-gaussian", "--data", "x.npy", *STEPS, "--out", "my run")
    assert trained.exit_code == 0, trained.output
    command = next(
        s for s in trained.stdout.splitlines() if s.strip().startswith("vaezoo evaluate")
    )
    assert shlex.split(command) == ["vaezoo", "evaluate", "my run"]
    again = vaezoo("train", "vae-gaussian", "--data", "x.npy", *STEPS, "--out", "my run")
    assert "vaezoo train --resume 'my run'" in again.stderr


@pytest.mark.parametrize(
    "words",
    [["sample", "run", "-o", "a\0.npz"], ["evaluate", "run", "--iwae", "9" * 30]],
    ids=["zero byte", "endless"],
)
def test_what_no_command_can_do_is_refused(words: list[str]) -> None:
    result = vaezoo(*words)
    assert result.exit_code == 2
    assert re.fullmatch(r"vaezoo: .*(zero byte|never end).*\n", result.stderr)


def test_a_last_column_without_room_stands_below(capsys: pytest.CaptureFixture[str]) -> None:
    wide = "x" * 70
    table([("run", ""), (wide, "epochs=20, batch_size=128")])
    assert capsys.readouterr().out.splitlines() == ["run", wide, "    epochs=20, batch_size=128"]
