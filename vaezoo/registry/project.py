"""Files of several modules: what a user's file imports from the folder beside it.

A file runs as ``python pair.py`` runs it: what lies in its folder can be imported by its bare name.
But two projects may each have a ``layers.py``, so such modules are kept under the name of the file
that imports them, and never in ``sys.modules`` under their own.
"""

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Finder", "files_of", "look_beside"]

# A clone of one of these beside a pair is the library itself, and is there once.
_SHARED = frozenset({"numpy", "pyro", "torch", "vaezoo"})
_INSTALLED = frozenset({"dist-packages", "site-packages"})


def files_of(path: Path) -> dict[str, Path]:
    """Return the files beside a file that it imports, and that these import in turn.

    They are found without running anything, imports inside functions too.

    Returns
    -------
    dict
        By their path relative to the folder, as ``nets/blocks.py``, sorted; not the file itself,
        unless another imports it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name, text in [("pair", "import layers"), ("layers", "import torch"), ("other", "")]:
    ...     _ = (folder / f"{name}.py").write_text(text)
    >>> list(files_of(folder / "pair.py"))
    ['layers.py']
    """
    folder = path.parent
    files: dict[str, Path] = {}
    queue: list[tuple[Path, tuple[str, ...]]] = [(path, ())]
    while queue and not _INSTALLED & set(folder.parts):
        file, package = queue.pop()
        for parts in _imported(file, package):
            module = _file_of(folder, parts)
            key = module.relative_to(folder).as_posix() if module else ""
            if module and key not in files:
                files[key] = module
                queue.append((module, parts if module.name == "__init__.py" else parts[:-1]))
    return dict(sorted(files.items()))


def _imported(file: Path, package: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the modules that a file may import, packages around them included."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # said when it is run
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from _prefixes(base)
            yield from ((*base, alias.name) for alias in node.names)


def _prefixes(parts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(parts[:end]) for end in range(1, len(parts) + 1))


def _file_of(folder: Path, parts: Sequence[str]) -> Path | None:
    """Return the file of a module that lies in a folder."""
    if parts[0] in _SHARED:
        return None
    place = folder.joinpath(*parts)
    choices = (place / "__init__.py", place.with_name(place.name + ".py"))
    return next((file for file in choices if file.is_file()), None)


class Finder:
    """Finds the modules of one file, ``<its name>.layers`` for ``layers.py`` beside it.

    Parameters
    ----------
    root
        Name under which the file itself is loaded.
    files
        What it may import, as :func:`files_of` returns them: nothing else of the folder is run.
    """

    def __init__(self, root: str, files: Mapping[str, Path]) -> None:
        self.root = root
        self.files = frozenset(map(str, files.values()))
        self.local = frozenset(Path(name).parts[0].removesuffix(".py") for name in files)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module of the file is loaded; None for those that are none of it."""
        if not name.startswith(f"{self.root}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None:  # a folder without __init__.py
            return spec
        if spec.origin not in self.files:
            raise ModuleNotFoundError(f"No module named '{name.removeprefix(f'{self.root}.')}'")
        spec.loader = _Loader(name, spec.origin, self)
        return spec


class _Loader(SourceFileLoader):
    """Runs a module so that what lies in the folder of its file is imported by its bare name."""

    def __init__(self, name: str, path: str, finder: Finder) -> None:
        super().__init__(name, path)
        self.finder = finder

    def exec_module(self, module: ModuleType) -> None:
        look_beside(module, self.finder)
        super().exec_module(module)


def look_beside(module: ModuleType, finder: Finder) -> None:
    """Let the statements ``import`` of a module that is about to run look into its folder first."""

    def import_module(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in finder.local:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        whole = f"{finder.root}.{name}"
        imported = builtins.__import__(whole, globals, locals, fromlist or (), 0)
        return imported if fromlist else sys.modules[f"{finder.root}.{top}"]

    vars(module)["__builtins__"] = {**vars(builtins), "__import__": import_module}
