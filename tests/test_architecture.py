"""Rules of the house that can be read off the source: who imports whom, and what nobody does."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import click
import pytest

import vaezoo
from vaezoo.cli import main

ROOT = Path(vaezoo.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"
MODELS, CLI = (sorted((ROOT / name).rglob("*.py")) for name in ("models", "cli"))
LIBRARY = [path for path in sorted(ROOT.rglob("*.py")) if path not in {*MODELS, *CLI}]
ALL = [*LIBRARY, *MODELS, *CLI]
STANDARD_PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules, and of what is taken from them, anywhere in a file."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


# The rooms, lowest first; each imports only from those before it. See docs/architecture.md.
RANKS = (
    *(
        "lazy",
        "versions",
        "markup",
        "errors",
        "options",
        "settings",
        "recipes",
        "runtime",
        "registry",
        "distributions",
        "parts",
    ),
    *("pairs", "observations", "data", "objectives", "sequences", "checks", "engine", "config"),
    *("distributed", "pretrained", "runs", "training", "sweeps", "inference", "exact"),
    *("predict", "diagnostics", "trees", "plots", "report"),
    *("explorer", "sharing", "testing", "models"),
    *("study", "studies", "cli", "__main__"),
)
MOST_FILES, MOST_LINES = 14, 400


def room_of(module: str) -> str:
    """Return the room of a module, as ``engine`` for ``vaezoo.engine.capture``."""
    return module.split(".")[1]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("vaezoo", *parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in ALL}
# A template is a file to copy: imported, it would take the name that its copy is to have.
IMPORTED = [name for name in MODULES if not below(name, "vaezoo.testing.templates")]


def home_of(name: str) -> str:
    """Return the module of an imported name; of a public name that from which it is made public."""
    if name in MODULES:
        return name
    package, _, attribute = name.rpartition(".")
    return type_checking_imports()[attribute] if package == "vaezoo" else package


def imported_modules(path: Path) -> set[str]:
    """Return the modules of vaezoo that a file imports anywhere, lazily and for types included."""
    return {home_of(name) for name in imports(path) if below(name, "vaezoo")} - {"vaezoo"}


def test_rooms_import_only_from_rooms_above() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imported_modules(path)
        if name != "vaezoo"  # its names come from every room
        and room_of(name) != room_of(other)
        and RANKS.index(room_of(other)) >= RANKS.index(room_of(name))
    ]
    assert wrong == []


def test_documentation_names_the_rooms_in_their_order() -> None:
    if not DOCS.is_dir():
        pytest.skip("an installed vaezoo has no documentation beside it")
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## The rooms")[2].partition("## Where")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == RANKS


def test_files_of_a_room_have_an_order() -> None:
    """No file imports another that leads back to it."""
    within = {
        name: {other for other in imported_modules(path) if room_of(other) == room_of(name)}
        for name, path in MODULES.items()
        if name != "vaezoo"
    }
    assert list(TopologicalSorter(within).static_order())  # raises CycleError, which names them


def test_rooms_have_about_a_dozen_files() -> None:
    folders = [path for path in (ROOT, *ROOT.rglob("*")) if (path / "__init__.py").is_file()]
    sizes = {name_of(folder): len([*folder.glob("*.py")]) for folder in folders}
    for name in ("models", "cli", "studies"):  # a file for each structure, command, question
        del sizes[name]
    assert {name: size for name, size in sizes.items() if size > MOST_FILES} == {}


def test_files_have_one_subject() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}
    assert {name: number for name, number in lines.items() if number > MOST_LINES} == {}


def test_benchmarks_import_what_there_is() -> None:
    missing = [
        f"{path.name}: {name}"
        for path in sorted(Path(__file__).parents[1].glob("benchmarks/*.py"))
        for name in imports(path)
        if below(name, "vaezoo") and name not in MODULES and not exists(name)
    ]
    assert missing == []


def exists(name: str) -> bool:
    package, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(package), attribute)


def test_only_the_registry_names_the_models() -> None:
    naming = [name_of(path) for path in LIBRARY if "vaezoo.models" in texts(path)]
    assert naming == ["registry/catalogue.py"]


def test_models_know_nothing_of_training() -> None:
    rooms = {room_of(name) for path in MODELS for name in imported_modules(path)}
    assert rooms <= {"registry", "distributions", "parts", "sequences", "exact", "models"}


def test_commands_do_not_import_models() -> None:
    assert [name_of(path) for path in CLI if "models" in map(room_of, imported_modules(path))] == []


def flags_of(command: click.Command) -> set[str]:
    """Return the long flags of a command and of those below it."""
    options = {flag for param in command.params for flag in param.opts if flag.startswith("--")}
    if not isinstance(command, click.Group):
        return options
    context = click.Context(command)
    below = (command.get_command(context, name) for name in command.list_commands(context))
    return options.union(*(flags_of(child) for child in below if child))


def test_library_speaks_python() -> None:
    """A message names an argument, in backticks; the command line prints the flag."""
    flags = "|".join(flags_of(main))
    spoken = re.compile(rf"(?<![\w-])(?:{flags})(?![\w-])")
    assert [name_of(path) for path in LIBRARY if any(map(spoken.search, texts(path)))] == []


def test_nothing_is_pickled() -> None:
    def pickles(path: Path) -> set[str]:
        # a subclass of pickle's that refuses every class
        unpickler = {"pickle.Unpickler", "pickle.UnpicklingError"}
        allowed = unpickler if name_of(path) == "data/sets/polyphonic.py" else set()
        modules = {name for name in imports(path) if name.partition(".")[0] in STANDARD_PICKLES}
        code = {"torch.load", "torch.save", "eval", "exec"}
        return (modules - allowed) | (code & {*calls(path), *imports(path)})

    assert {name_of(path): names for path in ALL if (names := pickles(path))} == {}


def test_numpy_never_unpickles() -> None:
    unsafe = [
        f"{name_of(path)}:{node.lineno}"
        for path in ALL
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load")
        if not any(ast.unparse(word) == "allow_pickle=False" for word in node.keywords)
    ]
    assert unsafe == []


@pytest.mark.parametrize("name", ["models", "cli"])
def test_root_folders_refuse_another_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=f"as 'vaezoo.{name}'"):
        importlib.import_module(name)


# The public names


@cache
def type_checking_imports() -> dict[str, str]:
    """Module of every name that is imported for type checkers."""
    tree = tree_of(ROOT / "__init__.py")
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_public_names_are_sorted() -> None:
    assert vaezoo.__all__ == sorted(vaezoo.__all__)


def test_public_names_are_those_that_type_checkers_see() -> None:
    assert sorted(type_checking_imports()) == vaezoo.__all__


def test_public_names_are_what_type_checkers_see() -> None:
    modules = type_checking_imports()
    others = [
        name
        for name in vaezoo.__all__
        if getattr(vaezoo, name) is not getattr(importlib.import_module(modules[name]), name)
    ]
    assert others == []


def test_packages_that_load_names_when_they_are_used_export_them() -> None:
    packages = [importlib.import_module(module) for module in IMPORTED]
    lazy = [package for package in packages if hasattr(package, "__getattr__")]
    assert {vaezoo, vaezoo.data} <= {*lazy}
    assert [p.__name__ for p in lazy if dir(p) != sorted(p.__all__)] == []


def test_no_public_name_is_a_module() -> None:
    """Importing the module would replace the name in the package."""
    modules = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules.isdisjoint(vaezoo.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vaezoo.nothing


# What modules say to one another


def exported(module: str) -> list[str]:
    return list(getattr(importlib.import_module(module), "__all__", ()))


def test_exported_names_exist() -> None:
    missing = [
        f"{module}.{name}"
        for module in IMPORTED
        for name in exported(module)
        if not hasattr(importlib.import_module(module), name)
    ]
    assert missing == []


def names_from_modules(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of all that a file takes from the other modules of vaezoo."""
    local = {}  # what a module of vaezoo is called in this file
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and below(str(node.module), "vaezoo"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    local[alias.asname or alias.name] = whole
                else:
                    yield str(node.module), alias.name
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = local.get(node.value.id)
            if module and not node.attr.startswith("__"):
                yield module, node.attr


def test_modules_take_what_others_export() -> None:
    inner = [
        f"{module_of(path)} takes {module}.{name}"
        for path in ALL
        for module, name in names_from_modules(path)
        if name not in exported(module)
    ]
    assert sorted(inner) == []
