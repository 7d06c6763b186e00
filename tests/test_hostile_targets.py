"""Whatever a target is called, and whatever a file of a user does: one line that names it."""

import sys
from pathlib import Path

import pytest

from vaezoo import RequestError, get_model
from vaezoo.errors import VaezooError

TARGETS = [
    *(
        "",
        " ",
        ":",
        "::",
        ":x",
        "x:",
        "..:x",
        ".:x",
        "...:",
        "a.py:",
        ":a.py",
        "a.py:b:c",
        "a.py:b c",
    ),
    *(
        "a:b:c",
        "os:",
        "os:path",
        "os:path.join",
        "os.path",
        "-",
        "--help",
        "~",
        "/",
        ".",
        "..",
        "\0",
    ),
    *(
        "\0.py",
        "a\0.py:b",
        "x" * 5000,
        "x" * 5000 + ".py",
        "x" * 5000 + ":y",
        "\ud800.py",
        "\ud800:x",
    ),
    *(
        "a\nb",
        "a\x1b[2J",
        "a\x1b[2J:b",
        "a\x1b[2J.py",
        "é:é",
        "1:2",
        "if:else",
        "__main__:x",
        "sys:path",
    ),
    *("vaezoo:fit", "vaezoo:RequestError", "torch.nn:Module", "torch.nn:Linear", "builtins:type"),
    *(
        "antigravity.x:y",
        "vaezoo.models:no",
        "vaezoo..models:x",
        ".models:x",
        "models.:x",
        " os:path",
    ),
    *(
        "https://x.y/z.py",
        "file:///x.py",
        "C:\\x.py",
        "C:x",
        "%s",
        "{}",
        "$(x)",
        "*",
        "[",
        "vae-[x",
        "?",
    ),
    *("a.PY", "a.pyc", "a.py/", "a.py ", ".py", ".py:x", "vae-bernoulli:x", "vae-bernoulli.py"),
]

RAISING = {
    "exits": "raise SystemExit(5)",
    "exits quietly": "import sys; sys.exit(0)",
    "ends a generator": "raise GeneratorExit",
    "stops": "next(iter(()))",
    "recurses": "def f(): f()\nf()",
    "recurses in its text": "x = " + "(" * 500 + ")" * 500,
    "deep": "x = " + "-" * 20_000 + "1",
    "no utf-8": "x = '\udcff'",
    "zero bytes": "x = 1\0",
    "other coding": "# -*- coding: nonsense -*-",
    "relative import": "from . import nothing",
    "relative import above": "from ... import nothing",
    "no such module": "import no_such_module_of_mine",
    "base exception": "class E(BaseException): pass\nraise E",
    "exception group": "raise BaseExceptionGroup('g', [SystemExit(1)])",
    "silent exception": "class E(Exception):\n def __str__(self): raise SystemExit(3)\nraise E",
    "huge exception": "raise ValueError('x' * 1_000_000)",
    "escapes": "raise ValueError('\\x1b[2J\\x1b]0;title\\x07')",
    "removes itself": "import sys\ndel sys.modules[__name__]\nraise KeyError(3)",
    "huge int": "x = int('9' * 5000)",
    "returns": "return 3",
    "tabs": "if 1:\n\tx = 1\n        y = 2",
    "empty": "",
}
HEAD = "from torch import nn\nclass Pair(nn.Module{}):\n"
METHODS = "    def model(self, x): ...\n    def guide(self, x): ...\n"
RAISES = "class Raises:\n def __get__(s, o, c=None): raise GeneratorExit\nr = Raises()\n"
CALLED = "class Called:\n def __call__(s): ...\n __signature__ = 3\nr = Called()\n"
META = "class Meta(type):\n {}\n"
OF_META = HEAD.format(", metaclass=Meta") + METHODS
CLASSES = {
    "metaclass": META.format("def __getattribute__(c, n): raise SystemExit(n)") + OF_META,
    "module": META.format("__module__ = property(lambda c: 1 / 0)") + OF_META,
    "model": RAISES + HEAD.format("") + METHODS + "    model = r",
    "guide": RAISES + HEAD.format("") + METHODS + "    guide = r",
    "no callable": HEAD.format("") + METHODS + "    model = 3",
    "signature": CALLED + HEAD.format("") + METHODS + "    model = r",
    "own signature": HEAD.format("") + METHODS + "    __signature__ = 'none'",
}


def refusal_of(target: str) -> str:
    with pytest.raises(RequestError) as caught:
        get_model(target)
    return str(caught.value)


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_a_target_that_is_none_is_refused(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal_of(target)


@pytest.mark.parametrize("target", [None, 3, b"vae-linear", Path("x.py"), ["vae-linear"]])
def test_a_target_that_is_no_text_is_refused(target: object) -> None:
    assert type(target).__name__.removeprefix("Posix").removeprefix("Windows") in refusal_of(target)


@pytest.mark.parametrize("what", RAISING)
@pytest.mark.parametrize("attribute", ["", ":Pair"])
def test_a_file_may_raise_what_it_likes(what: str, attribute: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(RAISING[what].encode("utf-8", "surrogateescape"))
    before = set(sys.modules)
    message = refusal_of(f"{path}{attribute}")
    assert "mine.py" in message
    assert len(message) < 1000
    assert "\x1b" not in message
    left = [name for name in set(sys.modules) - before if name.startswith("_vaezoo_file_")]
    assert not left or what == "empty"


@pytest.mark.parametrize("what", CLASSES)
@pytest.mark.parametrize("attribute", ["", ":Pair"])
def test_a_class_may_answer_as_it_likes(what: str, attribute: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(CLASSES[what])
    assert "mine.py" in refusal_of(f"{path}{attribute}")


def test_what_else_lies_in_a_file_may_answer_as_it_likes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    other = "class Raises:\n __class__ = property(lambda s: 1 / 0)\nother = Raises()\n"
    path.write_text(other + HEAD.format("") + METHODS)
    assert get_model(str(path)).__name__ == "Pair"


@pytest.mark.parametrize("what", [what for what in RAISING if what != "empty"])
def test_a_package_may_raise_what_it_likes(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"hostile_{sorted(RAISING).index(what)}"
    (tmp_path / f"{name}.py").write_bytes(RAISING[what].encode("utf-8", "surrogateescape"))
    with pytest.raises(VaezooError, match=name):
        get_model(f"{name}:Pair")


def test_an_interrupt_of_the_person_passes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        get_model(str(path))
