"""Whatever is typed: every argument of every command, and files of pairs that do not behave."""

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attacks.bench import CANARY, called, misbehaviour
from attacks.home import copied
from attacks.table import Attack

__all__ = ["attacks"]

TIMES = 7  # values of each argument, drawn from those below
SMALL = ("--set", "z_dim=2", "--device", "cpu")
BASES: dict[str, tuple[str, ...]] = {
    "list": ("list",),
    "show": ("show", "vae-linear"),
    "data show": ("data", "show", "x.npy"),
    "data fetch": ("data", "fetch", "digits"),
    "train": ("train", "vae-linear", "--data", "x.npy", "--steps", "2", *SMALL, "--out", "new"),
    "sample": ("sample", "run", "-n", "2"),
    "reconstruct": ("reconstruct", "run", "-n", "2"),
    "forecast": ("forecast", "run", "-n", "2"),
    "impute": ("impute", "run", "-n", "2"),
    "encode": ("encode", "run", "-n", "2"),
    "evaluate": ("evaluate", "run", "-n", "2", "--iwae", "1"),
    "analyse": ("analyse", "run", "-n", "2", "--level", "quick"),
    "report": ("report", "run"),
    "new": ("new", "new.py"),
    "check": ("check", "vae-linear"),
}
# With a large number these do what they are asked to, for as long as it takes.
LASTING = {
    "epochs",
    "steps",
    "iwae",
    "fivo",
    "num_samples",
    "burn_in",
    "horizon",
    "level",
    "budget",
}
HUGE = ("9" * 25, "9" * 5000)
VALUES = (
    *(
        "",
        " ",
        "-1",
        "0",
        "0.5",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "-0",
        "1_000",
        "0x10",
        "\u0661",
        *HUGE,
    ),
    *("true", "null", "None", "[]", "[1,2", "{", "a=b", "=", "a=", "=b", "a=b=c", "a.b.c=1", ","),
    *("a=" + "[" * 3000, "x=[1,2]", "z_dim=-1", "z_dim=nan", "z_dim=1e9", "z_dim=[[1]]", "x={}"),
    *("\x1b[2J", "a\nb", "\t", "\r", "\x7f", "\u202e", "💥", "é" * 300, "x" * 5000, "\udcff"),
    *(
        "../..",
        "/",
        ".",
        "..",
        "~",
        "~nobody",
        "/dev/null",
        "/dev/zero",
        "/nonexistent/x",
        "/dev/x",
    ),
    *(
        "x.npy",
        "run",
        "fifo",
        "loop",
        "fifo.npy",
        "fifo.toml",
        "fifo.py",
        "run/run.json",
        "empty.npy",
    ),
    *("empty.toml", "empty.py", "deep.toml", "binary.toml", "binary.py", "deep.py", "null.py"),
    *(
        ":",
        ":x",
        "..:x",
        "x:",
        "a.py:",
        "a.py:B",
        "os:system",
        "json:JSONDecoder",
        "builtins:print",
    ),
    *("builtins:object", "torch.nn:Linear", "vaezoo:Run", "vaezoo.models:none", "a b:c", "a..b:c"),
    *(
        "$(touch executed)",
        "`touch executed`",
        ";touch executed",
        "|touch executed",
        "%s%n%x",
        "{0}",
    ),
    *("-", "--", "file:///etc/passwd", "http://127.0.0.1:1/x.npy", "con", "nul", "a\\b", "*", "?"),
)


def attacks(home: Path) -> Iterator[Attack]:
    """Yield values for every argument, and pairs that misbehave for the commands that take one."""
    for name, base in BASES.items():
        for parameter in _parameters(name):
            values = [v for v in VALUES if parameter.name not in LASTING or v not in HUGE]
            rng = random.Random(f"{name} {parameter.name}")
            for value in rng.sample(values, TIMES):
                words = _words(base, parameter, value)
                label = f"{name} {parameter.name} {value[:30]!r}"
                yield Attack(f"hostile values: {name}", label, partial(_typed, home, words))
    for name, source in PAIRS.items():
        for words in (
            ("check", "pair.py"),
            ("show", "pair.py"),
            ("train", "pair.py", "--data", "x.npy", "--steps", "2", "--out", "new"),
        ):
            attempt = partial(_loaded, home, source, words)
            yield Attack("pairs that misbehave", f"{words[0]}: {name}", attempt)


def _parameters(name: str) -> list[Any]:
    import click

    from vaezoo.cli import main

    command: Any = main
    for word in name.split():
        command = command.get_command(click.Context(main), word)
    if command is None:
        return []
    flags = [p for p in command.params if not getattr(p, "is_flag", False)]
    return [p for p in flags if p.name != "help"]


def _words(base: tuple[str, ...], parameter: Any, value: str) -> tuple[str, ...]:
    """Return the command with another value of a parameter, in place of the one it has."""
    if parameter.param_type_name == "argument":
        head = 2 if base[0] == "data" else 1
        return (*base[:head], value, *base[head + 1 :])
    flag = max(parameter.opts, key=len)
    words = list(base)
    for known in parameter.opts:
        if known in words and parameter.name != "settings":
            at = words.index(known)
            del words[at : at + 2]
    if parameter.name in ("config", "resume"):
        words = ["train"]
    return (*words, flag, value)


def _typed(home: Path, words: tuple[str, ...], place: Path) -> str:
    copied(home, place, "x.npy", "run")
    _add_files(place)
    outcome = called(place, *words)
    if (place / CANARY).exists():
        return "EXECUTED"
    return misbehaviour(outcome, reports=words[0] == "check")


def _add_files(place: Path) -> None:
    for name in ("fifo", "fifo.npy", "fifo.toml", "fifo.py"):
        os.mkfifo(place / name)
    for name in ("empty.npy", "empty.toml", "empty.py"):
        (place / name).touch()
    (place / "loop").symlink_to("loop")
    (place / "deep.toml").write_text("a = " + "[" * 50_000)
    (place / "deep.py").write_text("(" * 50_000)
    (place / "null.py").write_bytes(b"x = 1\0")
    for name in ("binary.toml", "binary.py"):
        (place / name).write_bytes(bytes(range(256)))


def _loaded(home: Path, source: str, words: tuple[str, ...], place: Path) -> str:
    copied(home, place, "x.npy")
    (place / "pair.py").write_text(source)
    return misbehaviour(called(place, *words), reports=words[0] == "check")


_PAIR = """
import pyro, torch
import pyro.distributions as dist
from torch import nn

class Pair(nn.Module):
    {fields}

    def __init__(self, *, x_shape, z_dim: int = 2):
        super().__init__()
        self.net = nn.Linear(4, z_dim)
        self.back = nn.Linear(z_dim, 4)
        {init}

    def model(self, x):
        pyro.module("pair", self)
        {model}
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.back(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        {guide}
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x), 1.0).to_event(1))
"""


def _pair(**pieces: str) -> str:
    return _PAIR.format(**{"fields": "pass", "init": "", "model": "", "guide": "", **pieces})


_E = "raise type('E', (Exception,), {{'__str__': lambda s: {}}})()"
_RAISING = {
    "SystemExit(0)": "raise SystemExit(0)",
    "SystemExit(5)": "raise SystemExit(5)",
    "exit()": "import sys; sys.exit('bye')",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration",
    "MemoryError": "raise MemoryError",
    "RecursionError": "f = lambda: f(); f()",
    "BaseException": "raise BaseException('x')",
    "an exception without text": "raise Exception",
    "an exception of 1 MB": "raise ValueError('x' * 1_000_000)",
    "an exception with escapes": "raise ValueError('\\x1b[2J\\x07\\nevil')",
    "an exception whose text fails": _E.format("1 / 0"),
    "an exception whose text exits": _E.format("exit(3)"),
    "an exception whose name is 10 kB": "raise type('E' * 10_000, (Exception,), {})('x')",
    "a group of exceptions": "raise ExceptionGroup('x', [ValueError('y')])",
    "a click error": "import click; raise click.ClickException('mine')",
    "a click exit": "import click; raise click.exceptions.Exit(7)",
    "a refusal of vaezoo's own": "import vaezoo; raise vaezoo.RequestError('mine')",
    "an OSError": "open('/nonexistent')",
    "a CUDA tensor": "torch = __import__('torch'); torch.zeros(1, device='cuda')",
    "all memory": "__import__('torch').zeros(2**50)",
    "a warning": "import warnings; warnings.warn('\\x1b[2J' + 'w' * 5000)",
}
PAIRS: dict[str, str] = {
    **{f"{name} at import": source for name, source in _RAISING.items()},
    **{f"{name} in __init__": _pair(init=source) for name, source in _RAISING.items()},
    **{f"{name} in model": _pair(model=source) for name, source in _RAISING.items()},
    **{f"{name} in guide": _pair(guide=source) for name, source in _RAISING.items()},
    "no pair": "x = 1",
    "syntax": "def",
    "syntax with escapes": "x = '\x1b[2J",
    "a metaclass that fails": "class M(type):\n    def __call__(c, *a, **k): 1 / 0\n"
    "    def __getattribute__(c, n): raise KeyError(n)\nclass Pair(metaclass=M): pass",
    "an attribute that fails": _pair(fields="device = property(lambda self: 1 / 0)"),
    "a class property that fails": _pair(fields="__doc__ = property(lambda self: 1 / 0)"),
    "a __repr__ that fails": _pair(fields="__repr__ = lambda self: 1 / 0"),
    "a __class__ that lies": _pair(fields="__class__ = property(lambda self: int)"),
    "a __getattr__ that answers all": _pair(fields="def __getattr__(self, name): return 1"),
    "a state_dict that fails": _pair(fields="def state_dict(self, *a, **k): raise KeyError('x')"),
    "a state_dict of strings": _pair(fields="def state_dict(self, *a, **k): return {'a': 'b'}"),
    "a parameter that is nan": _pair(init="self.back.weight.data.fill_(float('nan'))"),
    "a model with three arguments": _pair(model="return 1").replace(
        "(self, x):", "(self, x, y, z):"
    ),
    "a module of another name": "__name__ = 'torch'\n" + _pair(),
    "a module that is gone": "import sys; sys.modules.pop(__name__, None)\n" + _pair(),
    "__all__ of what is not there": "__all__ = ['nothing', 3]\n" + _pair(),
    "a docstring with escapes": '"""\x1b[2J\x07"""\n' + _pair(fields='"""\x1b[2J evil"""'),
    "sites with escapes": _pair(model="pyro.deterministic('\\x1b[2J', x)"),
    "annotations that fail": _pair().replace("z_dim: int", "z_dim: 'nothing.at.all'"),
    "defaults of no type": _pair().replace("z_dim: int = 2", "z_dim=object()"),
}
