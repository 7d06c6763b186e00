"""Python files of the user: loading them, and naming the line in them that fails."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType

from vaezoo.errors import (
    RequestError,
    RunError,
    VaezooError,
    command,
    is_out_of_memory,
    reason_of,
    refusing,
)
from vaezoo.registry.project import Code, Finder, Loader, digest_of, read_code

__all__ = [
    "blaming_file",
    "code_of",
    "is_from_file",
    "load_python",
    "name_in_file",
    "naming_place",
    "owner_of",
    "place_of",
    "source_file",
]

_MODULE = "_vaezoo_file_"
_executed: dict[str, Code] = {}


def code_of(cls: type) -> Code:
    """Return what was executed for a pair from a user's file; see :func:`read_code`."""
    return _executed[owner_of(cls.__module__)]


def load_python(path: Path, code: Code | None = None) -> ModuleType:
    """Return the module of a file; the same one until it, or what it imports beside it, changes.

    Parameters
    ----------
    path
        The file.
    code
        Its content and that of what it imports, as :func:`read_code` returns it; by default it is
        read here.

    Raises
    ------
    RequestError
        When running it fails, with the line.
    """
    with refusing(f"cannot read '{path}'"):
        code = read_code(path) if code is None else code
        name = _name_of(path, code)
    if name in sys.modules:
        return sys.modules[name]
    finder = Finder(name, path.parent, code)
    spec = importlib.util.spec_from_file_location(
        name,
        path,
        loader=Loader(str(path), code[""], finder),
        submodule_search_locations=[str(path.parent)] if finder.local else None,
    )
    if spec is None or spec.loader is None:
        raise RequestError(f"cannot read '{path}' as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _executed[name] = code
    if finder.local:
        sys.meta_path.insert(0, finder)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # whatever a file does when it runs
        _forget(name, finder)
        if isinstance(error, VaezooError | KeyboardInterrupt):
            raise
        raise RequestError(_failure_in(path, code, error)) from error
    return module


def _name_of(path: Path, code: Code) -> str:
    digest = hashlib.sha256(f"{path}\0{digest_of(code)}".encode())
    return f"{_MODULE}{digest.hexdigest()[:12]}"


def _forget(root: str, finder: Finder) -> None:
    """Leave nothing of a file that could not be loaded."""
    for name in [name for name in sys.modules if owner_of(name) == root]:
        del sys.modules[name]
    _executed.pop(root, None)
    sys.meta_path[:] = [other for other in sys.meta_path if other is not finder]


def _failure_in(path: Path, code: Code, error: BaseException) -> str:
    return f"{_place_in(path, code, error)}: {reason_of(error)}"


@contextmanager
def blaming_file(cls: type) -> Iterator[None]:
    """Turn whatever a pair of a user raises into one line that names its place.

    What a pair of the zoo raises is a bug of the zoo, and passes.
    """
    try:
        yield
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        path = source_file(cls)
        if path is None and cls.__module__.startswith("vaezoo."):
            raise
        if path is None:
            raise RequestError(
                f"{cls.__module__}:{cls.__qualname__}: {reason_of(error)}"
            ) from error
        hint = f"'{command('check', path)}' says more"
        raise RequestError(f"{_failure_in(path, code_of(cls), error)}; {hint}") from error


def _place_in(path: Path, code: Code, error: BaseException) -> str:
    """Return file and line of the innermost place in a user's files that led to an exception."""
    own = {str(path), *(str(path.parent / name) for name in code if name)}
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.filename if error.filename in own else path}:{error.lineno}"
    return _innermost(error, lambda frame: frame.f_code.co_filename in own) or str(path)


def _innermost(error: BaseException, is_own: Callable[[FrameType], bool]) -> str:
    """Return file and line of the last of some frames that led to an exception; empty if none."""
    trace, place = error.__traceback__, ""
    while trace:
        if is_own(trace.tb_frame):
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


@contextmanager
def naming_place() -> Iterator[None]:
    """Turn whatever code of a user's file raises into one line with its place, while work goes on.

    What comes from elsewhere passes: callbacks of a caller, and bugs.
    """
    try:
        yield
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        place = place_of(error)
        if not place or is_out_of_memory(error):
            raise
        raise RunError(f"{place}: {reason_of(error)}") from error


def place_of(error: BaseException) -> str:
    """Return the innermost line of a user's file that led to an exception; empty when none did."""
    return _innermost(error, lambda frame: is_from_file(str(frame.f_globals.get("__name__"))))


def source_file(cls: type) -> Path | None:
    """Return the user's file that a pair was taken from, or None when it comes from a package."""
    owner = owner_of(cls.__module__)
    return Path(inspect.getfile(sys.modules[owner])) if owner else None


def name_in_file(cls: type) -> str:
    """Return what the user's file that a pair was taken from calls its class."""
    names = vars(sys.modules[owner_of(cls.__module__)]).items()
    return next((name for name, value in names if value is cls), cls.__name__)


def is_from_file(module: str) -> bool:
    """Return whether a module of this name was loaded by :func:`load_python`."""
    return module.startswith(_MODULE)


def owner_of(module: str) -> str:
    """Return the name of the user's file that a module belongs to; empty for one of a package.

    Examples
    --------
    >>> owner_of("_vaezoo_file_0123.layers"), owner_of("vaezoo.models.vae")
    ('_vaezoo_file_0123', '')
    """
    return module.partition(".")[0] if is_from_file(module) else ""
