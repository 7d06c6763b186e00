"""Files of several modules: what a user's file imports from the folder beside it.

A file runs as ``python pair.py`` runs it: what lies in its folder can be imported by its bare name.
But two projects may each have a ``layers.py``, so such modules are kept under the name of the file
that imports them, and never in ``sys.modules`` under their own.
"""

import ast
import builtins
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from vaezoo.runtime.reading import read_plain

__all__ = ["Code", "Finder", "Loader", "digest_of", "look_beside", "read_code"]

Code = Mapping[str, bytes]

# A clone of one of these beside a pair is the library itself, and is there once.
_SHARED = frozenset({"numpy", "pyro", "torch", "vaezoo"})
_INSTALLED = frozenset({"dist-packages", "site-packages"})
_LARGEST = 2**24  # bytes of a file


def read_code(path: Path) -> dict[str, bytes]:
    """Return the content of a file, and of the files beside it that it and these import.

    Each is read once, and nothing is run. Imports inside functions count, too.

    Returns
    -------
    dict
        The file itself under the name ``""``, the others by their path relative to its folder, as
        ``nets/blocks.py``, sorted.

    Raises
    ------
    RequestError
        When one of them cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name, text in [("pair", "import layers"), ("layers", "import torch"), ("other", "")]:
    ...     _ = (folder / f"{name}.py").write_text(text)
    >>> read_code(folder / "pair.py")
    {'': b'import layers', 'layers.py': b'import torch'}
    """
    folder = path.parent
    code = {"": read_plain(path, _LARGEST)}
    queue: list[tuple[bytes, tuple[str, ...]]] = [(code[""], ())]
    while queue and not _INSTALLED & set(folder.parts):
        content, package = queue.pop()
        for parts in _imported(content, package):
            module = _file_of(folder, parts)
            key = module.relative_to(folder).as_posix() if module else ""
            if module and key not in code:
                code[key] = read_plain(module, _LARGEST)
                queue.append((code[key], parts if module.name == "__init__.py" else parts[:-1]))
    return dict(sorted(code.items()))


def digest_of(code: Code) -> str:
    """Return the SHA-256 of all that a file would execute; of a file alone, that of its content.

    Examples
    --------
    >>> digest_of({"": b"import torch"}) == hashlib.sha256(b"import torch").hexdigest()
    True
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in code.items()}
    if len(digests) == 1:
        return digests[""]
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _imported(content: bytes, package: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the modules that a file may import, packages around them included."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # said when it is run
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

    What is executed is what was read once: neither the folder nor bytecode that lies there is
    looked at again, so that nobody can change it after somebody has vouched for it.

    Parameters
    ----------
    root
        Name under which the file itself is loaded.
    folder
        The folder of the file.
    code
        What it may import, as :func:`read_code` returns it.
    """

    def __init__(self, root: str, folder: Path, code: Code) -> None:
        self.root = root
        self.folder = folder
        self.code = code
        self.local = frozenset(Path(name).parts[0].removesuffix(".py") for name in code if name)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module of the file is loaded; None for those that are none of it."""
        if not name.startswith(f"{self.root}."):
            return None
        own = name.removeprefix(f"{self.root}.")
        place = own.replace(".", "/")
        for key in (f"{place}/__init__.py", f"{place}.py"):
            if key in self.code:
                file = str(self.folder / key)
                loader = Loader(file, self.code[key], self)
                return spec_from_file_location(name, file, loader=loader)
        if not any(key.startswith(f"{place}/") for key in self.code):
            raise ModuleNotFoundError(f"No module named '{own}'", name=name)
        spec = ModuleSpec(name, None, is_package=True)  # a folder without __init__.py
        spec.submodule_search_locations = [str(self.folder / place)]
        return spec


class Loader(SourceLoader):
    """Runs a module so that what lies in the folder of its file is imported by its bare name."""

    def __init__(self, path: str, content: bytes, finder: Finder) -> None:
        self.path = path
        self.content = content
        self.finder = finder

    def get_filename(self, fullname: str) -> str:
        """Return the file."""
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        """Return the content of the file as it was read, or that of another file."""
        return self.content if path == self.path else Path(str(path)).read_bytes()

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        if self.finder.local:
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
