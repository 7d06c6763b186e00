"""Python files of the user: loading them, and naming the line in them that fails."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from vaezoo.errors import RequestError, VaezooError

__all__ = ["blaming_file", "is_from_file", "load_python", "source_file"]

_MODULE = "_vaezoo_file_"


def load_python(path: Path) -> ModuleType:
    """Return the module of a file; the same one until its content changes.

    Raises
    ------
    RequestError
        When running it fails, with the line.
    """
    digest = hashlib.sha256(path.read_bytes() + str(path).encode()).hexdigest()[:12]
    name = f"{_MODULE}{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"cannot read '{path}' as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except RequestError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise RequestError(_failure_in(path, error)) from error
    return module


def _failure_in(path: Path, error: BaseException) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{path}{_line_in(path, error)}: {type(error).__name__}: {reason}"


@contextmanager
def blaming_file(cls: type) -> Iterator[None]:
    """Turn what goes wrong inside a pair from a user's file into one line that names its place."""
    try:
        yield
    except VaezooError:
        raise
    except Exception as error:
        path = source_file(cls)
        if path is None:
            raise
        hint = f"'vaezoo check {path}' says more"
        raise RequestError(f"{_failure_in(path, error)}; {hint}") from error


def _line_in(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    trace, line = error.__traceback__, ""
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def source_file(cls: type) -> Path | None:
    """Return the user's file that defines a pair, or None when it comes from a package."""
    return Path(inspect.getfile(cls)) if is_from_file(cls.__module__) else None


def is_from_file(module: str) -> bool:
    """Return whether a module of this name was loaded by :func:`load_python`."""
    return module.startswith(_MODULE)
