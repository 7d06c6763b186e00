"""Names of a package that are loaded when they are used, so that importing it stays cheap."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import getsource

__all__ = ["lazy_names"]


def lazy_names(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package, whose names come from its modules.

    From which module each comes is read from the imports in its block ``if TYPE_CHECKING:``, which
    has to say it to type checkers and is never run.

    Parameters
    ----------
    package
        The name of the package, which is being imported.
    """
    blocks = [n for n in ast.parse(getsource(sys.modules[package])).body if isinstance(n, ast.If)]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    modules = {alias.name: str(node.module) for node in imports for alias in node.names}

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(modules[name]), name)

    return load, lambda: sorted(modules)
