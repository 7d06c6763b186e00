"""Model/guide pairs by name, by file and by import path.

A name is given by ``@register(...)`` above a class. A paper's variant of a structure that is there
is a class with nothing but a docstring, and other ``defaults``.

The catalogue of the zoo is read from the source files of ``vaezoo.models`` without importing
them, so that listing the zoo needs neither torch nor pyro.
"""

import ast
import fnmatch
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from vaezoo.errors import RequestError, VaezooError, nearest
from vaezoo.options import DataKind

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Entry",
    "appendix_of",
    "blaming_file",
    "entries",
    "entry_of",
    "get_model",
    "list_models",
    "register",
    "source_file",
]

Pair = TypeVar("Pair", bound=type)

ENTRY_POINTS = "vaezoo.models"
_FILE_MODULE = "_vaezoo_file_"
_registered: dict[str, type] = {}


@dataclass(frozen=True)
class Entry:
    """What the zoo knows of a pair without building it.

    ``presets`` maps a name to settings of the pair's configuration; the key ``"training"`` of a
    preset holds training settings. The preset ``"default"`` always applies.
    """

    name: str
    target: str
    data: DataKind = "vectors"
    reference: str = ""
    summary: str = ""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def register(
    name: str,
    *,
    data: DataKind = "vectors",
    reference: str = "",
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Pair], Pair]:
    """Give a model/guide pair a name.

    A paper's variant of a pair is a subclass with a docstring, other defaults, and no code::

        @register("my-wide-vae", data="images", defaults={"hidden": (1000,)})
        class MyWideVAE(VAE):
            "Variational autoencoder with one wide layer."

    Parameters
    ----------
    name
        What ``vaezoo train NAME`` takes.
    data
        The kind of data that the pair explains; it selects the default data set.
    reference
        The paper, as ``arXiv:1312.6114``.
    presets
        Named settings of the pair, for example those of the paper for one data set.
    defaults
        Arguments of the constructor whose defaults differ from those of the class that it inherits.

    Raises
    ------
    RequestError
        When another class already has the name, or the constructor has no such argument.

    Examples
    --------
    >>> from vaezoo.models.vae import VAE, BetaVAE
    >>> inspect.signature(VAE).parameters["hidden"].default
    (500,)
    >>> inspect.signature(BetaVAE).parameters["hidden"].default
    (1200, 1200)
    """

    def add(cls: Pair) -> Pair:
        if defaults:
            _replace_defaults(cls, defaults)
        target = f"{cls.__module__}:{cls.__qualname__}"
        _refuse_duplicate(name, target)
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        entry = Entry(name, target, data, reference, summary, dict(presets or {}))
        cls.__vaezoo_entry__ = entry  # type: ignore[attr-defined]
        if not cls.__module__.startswith(_FILE_MODULE):
            _registered[name] = cls
        return cls

    return add


def _replace_defaults(cls: type, defaults: Mapping[str, Any]) -> None:
    """Give a class a constructor of its own: the inherited one, with other defaults."""
    inherited = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(inherited)
    parameters = signature.parameters
    for name in defaults.keys() - parameters.keys():
        raise RequestError(f"{cls.__name__} has no argument '{name}'; {nearest(name, parameters)}")

    @functools.wraps(inherited)
    def init(self: object, **settings: Any) -> None:
        inherited(self, **{**defaults, **settings})

    replaced = [p.replace(default=defaults.get(name, p.default)) for name, p in parameters.items()]
    init.__signature__ = signature.replace(parameters=replaced)  # type: ignore[attr-defined]
    cls.__init__ = init  # type: ignore[misc]


def _refuse_duplicate(name: str, target: str) -> None:
    taken = _registered.get(name)
    owner = f"{taken.__module__}:{taken.__qualname__}" if taken else _catalogue_target(name)
    if owner and owner != target:
        where = _where(target)
        raise RequestError(
            f"the name '{name}' belongs to {owner} already; choose another in {where}"
        )


def _where(target: str) -> str:
    module = sys.modules.get(target.partition(":")[0])
    return getattr(module, "__file__", None) or target


def _catalogue_target(name: str) -> str | None:
    entry = _zoo().get(name)
    return entry.target if entry else None


def entry_of(cls: type) -> Entry:
    """Return the entry of a pair, made from its class when it was not registered.

    Examples
    --------
    >>> entry_of(get_model("beta-vae")).presets["default"]
    {'training': {'beta': 4.0}}
    """
    entry = cls.__dict__.get("__vaezoo_entry__")
    if isinstance(entry, Entry):
        return entry
    parameters = list(inspect.signature(cls.model).parameters)  # type: ignore[attr-defined]
    kind: DataKind = "sequences" if "length" in parameters else "vectors"
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    return Entry(cls.__name__.lower(), f"{cls.__module__}:{cls.__qualname__}", kind, "", summary)


def appendix_of(cls: type) -> str:
    """Return what a pair is, as the appendix of its paper: formulas, sites, reference.

    It is the docstring of the class, or that of its module when the class has one line only.

    Examples
    --------
    >>> print(appendix_of(get_model("vrnn"))[:41])
    The variational recurrent neural network.
    """
    of_class = inspect.cleandoc(cls.__doc__ or "")
    of_module = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    return of_class if "\n" in of_class else of_module or of_class


def list_models(pattern: str = "*") -> list[str]:
    """Return the names in the zoo that match a shell-style pattern, sorted.

    Examples
    --------
    >>> list_models("vae-g*")
    ['vae-gaussian']
    """
    return [entry.name for entry in entries(pattern)]


def entries(pattern: str = "*") -> list[Entry]:
    """Return the catalogue: the zoo, installed packages, and what this process registered."""
    registered = {name: entry_of(cls) for name, cls in _registered.items()}
    catalogue = {**registered, **_installed(), **_zoo()}
    return [catalogue[name] for name in sorted(catalogue) if fnmatch.fnmatchcase(name, pattern)]


def _installed() -> dict[str, Entry]:
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: Entry(point.name, point.value) for point in points}


def _zoo() -> dict[str, Entry]:
    spec = importlib.util.find_spec("vaezoo.models")
    folders = (spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in sorted(Path(folder).glob("[!_]*.py"))]
    return {entry.name: entry for path in files for entry in _read_entries(path)}


def _read_entries(path: Path) -> list[Entry]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return [
        entry
        for node in classes
        for decorator in node.decorator_list
        if (entry := _read_entry(path.stem, node, decorator))
    ]


def _read_entry(module: str, node: ast.ClassDef, decorator: ast.expr) -> Entry | None:
    if not (isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "register"):
        return None
    facts = {word.arg: word.value for word in decorator.keywords if word.arg}
    facts.pop("defaults", None)  # of the constructor, and not always literals
    values = {name: ast.literal_eval(value) for name, value in facts.items()}
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    name = ast.literal_eval(decorator.args[0])
    return Entry(name, f"vaezoo.models.{module}:{node.name}", summary=summary, **values)


def get_model(spec: str) -> "type[nn.Module]":
    """Return the class of a model/guide pair.

    Parameters
    ----------
    spec
        A name of the zoo (``"vae-bernoulli"``), a file (``"./my_vae.py"``, or
        ``"./my_vae.py:Name"`` when it defines several pairs), or ``"package.module:Name"``.

    Raises
    ------
    RequestError
        When there is no such pair; the message names the closest ones.

    Examples
    --------
    >>> get_model("beta-vae")
    <class 'vaezoo.models.vae.BetaVAE'>
    """
    path, _, attribute = spec.rpartition(":") if ".py:" in spec else (spec, "", "")
    if path.endswith(".py"):
        return _from_file(Path(path), attribute)
    targets = {entry.name: entry.target for entry in entries()}
    if spec in targets or ":" in spec:
        return _from_target(targets.get(spec, spec))
    raise RequestError(
        f"no model '{spec}'; {nearest(spec, targets)} "
        "(or give a file ./my_vae.py, or package.module:Class)"
    )


def _from_target(target: str) -> "type[nn.Module]":
    module_name, _, attribute = target.partition(":")
    if module_name.startswith(_FILE_MODULE):
        module = sys.modules[module_name]
    else:
        module = _import(module_name)
    cls = getattr(module, attribute, None)
    if cls is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise RequestError(f"{module_name} has no '{attribute}'; {nearest(attribute, classes)}")
    return _require_pair(cls, target)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RequestError(f"cannot import '{name}': {error}") from error


def _from_file(path: Path, attribute: str) -> "type[nn.Module]":
    if not path.is_file():
        raise RequestError(f"no file '{path}'; 'vaezoo new {path}' writes one")
    module = _load(path.resolve())
    pairs = {
        name: cls
        for name, cls in vars(module).items()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and _is_pair(cls)
    }
    if attribute:
        if attribute not in vars(module):
            raise RequestError(f"{path} has no class '{attribute}'; {nearest(attribute, pairs)}")
        return _require_pair(getattr(module, attribute), f"{path}:{attribute}")
    if len(pairs) == 1:
        return next(iter(pairs.values()))
    if not pairs:
        raise RequestError(f"{path} defines no nn.Module with the methods 'model' and 'guide'")
    choices = ", ".join(f"{path}:{name}" for name in pairs)
    raise RequestError(f"{path} defines {len(pairs)} pairs; say which: {choices}")


def _load(path: Path) -> ModuleType:
    digest = hashlib.sha256(path.read_bytes() + str(path).encode()).hexdigest()[:12]
    name = f"{_FILE_MODULE}{digest}"
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


def _is_pair(cls: type) -> bool:
    return callable(getattr(cls, "model", None)) and callable(getattr(cls, "guide", None))


def _require_pair(cls: object, where: str) -> "type[nn.Module]":
    from torch import nn

    if not (isinstance(cls, type) and issubclass(cls, nn.Module) and _is_pair(cls)):
        raise RequestError(f"{where} is not an nn.Module with the methods 'model' and 'guide'")
    return cls


def source_file(cls: type) -> Path | None:
    """Return the user's file that defines a pair, or None when it comes from a package."""
    if cls.__module__.startswith(_FILE_MODULE):
        return Path(inspect.getfile(cls))
    return None
