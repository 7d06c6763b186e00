"""``vaezoo new`` writes pairs that work, and refuses everything else in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vaezoo.cli.new import new
from vaezoo.errors import RequestError
from vaezoo.registry import entry_of, get_model
from vaezoo.testing import check_class
from vaezoo.testing.scaffold import source, write


@pytest.mark.parametrize("sequence", [False, True])
def test_written_pair_passes_its_checks(tmp_path: Path, sequence: bool) -> None:
    path = tmp_path / "deep_vae2.py"
    write(path, sequence=sequence)
    check_class(get_model(str(path))).raise_if_failed()


@pytest.mark.parametrize(("sequence", "data"), [(False, "images"), (True, "sequences")])
def test_names_come_from_the_file(tmp_path: Path, sequence: bool, data: str) -> None:
    path = tmp_path / "deep_vae2.py"
    write(path, sequence=sequence)
    cls = get_model(str(path))
    assert cls.__name__ == "DeepVae2"
    assert (entry_of(cls).name, entry_of(cls).data) == ("deep-vae2", data)


@pytest.mark.parametrize(("sequence", "lines"), [(False, 70), (True, 90)])
def test_template_is_short(sequence: bool, lines: int) -> None:
    assert source(Path("my_vae.py"), sequence=sequence).count("\n") < lines


def test_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("precious")
    with pytest.raises(RequestError, match="`force`"):
        write(path)
    assert path.read_text() == "precious"


def test_force_replaces(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("old")
    write(path, force=True)
    assert "class Mine(nn.Module)" in path.read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine", "no Python file; write 'mine.py'"),
        ("my-vae.py", "no Python name"),
        ("2vae.py", "no Python name"),
        ("class.py", "no Python name"),
        ("_.py", "no Python name"),
        ("vae_linear.py", "the zoo has a 'vae-linear' already"),
        ("tensor.py", "a class Tensor would hide another"),
        ("new_folder/mine.py", "no folder"),
    ],
)
def test_refused_names(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        write(tmp_path / name)
    assert words in str(caught.value).replace(f"{tmp_path}/", "")
    assert list(tmp_path.iterdir()) == []


def test_command_prints_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(new, ["my_vae.py"])
    assert result.exit_code == 0
    assert "vaezoo check ./my_vae.py" in result.output
    assert "vaezoo train ./my_vae.py" in result.output


def test_command_refuses() -> None:
    result = CliRunner().invoke(new, ["my-vae.py"])
    assert isinstance(result.exception, RequestError)
