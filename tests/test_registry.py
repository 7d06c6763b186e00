"""Pairs by name, by file and by import path."""

import sys
from pathlib import Path

import pytest

from vaezoo import RequestError, get_model, list_models, register
from vaezoo.registry import entries, entry_of

PAIR = """
from torch import nn
from vaezoo.registry import register

@register("{name}")
class {cls}(nn.Module):
    '''A pair of the user.'''
    def model(self, x): ...
    def guide(self, x): ...
"""


def write(path: Path, *names: str) -> str:
    path.write_text("".join(PAIR.format(name=n, cls=n.title().replace("-", "")) for n in names))
    return str(path)


def test_the_zoo_is_listed_by_name() -> None:
    names = list_models()
    assert names == sorted(names)
    assert {"beta-vae", "vae-bernoulli", "vae-gaussian", "vae-linear"} <= set(names)


def test_a_pattern_selects() -> None:
    assert list_models("vae-b*") == ["vae-bernoulli"]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_what_is_read_from_the_source_is_what_is_registered(entry: object) -> None:
    cls = get_model(entry.name)
    assert entry_of(cls) == entry


def test_unknown_names_are_answered_with_the_closest() -> None:
    with pytest.raises(RequestError, match="no model 'vae-bernouli'; did you mean 'vae-bernoulli'"):
        get_model("vae-bernouli")


def test_the_only_pair_of_a_file(tmp_path: Path) -> None:
    cls = get_model(write(tmp_path / "mine.py", "my-pair"))
    assert cls.__name__ == "MyPair"
    assert entry_of(cls).summary == "A pair of the user."


def test_one_of_several_pairs_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "one-pair", "two-pair")
    assert get_model(f"{path}:TwoPair").__name__ == "TwoPair"
    with pytest.raises(RequestError, match=r"defines 2 pairs; say which: .*mine.py:OnePair"):
        get_model(path)


def test_an_import_path() -> None:
    assert get_model("vaezoo.models.vae:VAEGaussian") is get_model("vae-gaussian")


def test_a_file_may_be_loaded_twice_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    assert get_model(write(path, "my-pair")) is get_model(str(path))
    assert get_model(write(path, "your-pair")).__name__ == "YourPair"


def test_a_name_of_the_zoo_is_refused_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"the name 'vae-bernoulli' belongs to vaezoo.models"):
        get_model(write(tmp_path / "mine.py", "vae-bernoulli"))


def test_a_duplicate_names_its_owner() -> None:
    with pytest.raises(RequestError, match=r"belongs to vaezoo.models.vae_linear:VAELinear"):

        @register("vae-linear")
        class Other:
            pass


def test_a_syntax_error_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\ndef broken(:\n")
    with pytest.raises(RequestError, match=r"mine.py:2: SyntaxError"):
        get_model(str(path))


def test_an_error_while_loading_names_its_line_and_leaves_no_module(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\ny = 1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(RequestError, match=r"mine.py:2: ZeroDivisionError"):
        get_model(str(path))
    assert not [name for name in set(sys.modules) - before if name.startswith("_vaezoo_file_")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("./nothing.py", "no file 'nothing.py'; 'vaezoo new nothing.py' writes one"),
        ("no_such_package.module:Pair", "cannot import 'no_such_package.module'"),
        ("vaezoo.models.vae_linear:Linear", "has no 'Linear'; did you mean 'VAELinear'"),
        ("vaezoo.registry:Entry", "is not an nn.Module with the methods 'model' and 'guide'"),
    ],
)
def test_what_is_no_pair_is_refused(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        get_model(spec)


class Point:
    """An entry point of an installed package."""

    name, value = "their-vae", "vaezoo.models.vae_linear:VAELinear"


def test_pairs_of_installed_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"vaezoo.models": [Point]}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: installed[group])
    assert "their-vae" in list_models()
    assert get_model("their-vae") is get_model("vae-linear")
