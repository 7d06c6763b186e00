"""From what a user writes to the class of a pair: a name, a file, or an import path."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard

from vaezoo.errors import RequestError, command, nearest, refusing
from vaezoo.registry.catalogue import entries
from vaezoo.registry.files import is_from_file, load_python
from vaezoo.registry.project import Code

if TYPE_CHECKING:
    from torch import nn

__all__ = ["class_in_file", "get_model", "target_of"]

_FORMS = "give a name that 'vaezoo list' shows, a file ./my_vae.py, or package.module:Class"


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
    path, attribute = _split(spec)
    if path.endswith(".py"):
        return class_in_file(Path(path), attribute)
    targets = {entry.name: entry.target for entry in entries()}
    if spec in targets or ":" in spec:
        return _from_target(targets.get(spec, spec))
    raise RequestError(f"no model '{spec}'; {nearest(spec, targets)} ({_FORMS})")


def _split(spec: str) -> tuple[str, str]:
    """Return path or module, and class, of what a user writes; a refusal of half of it."""
    if not isinstance(spec, str):
        raise RequestError(f"a model is named by a text, not by {type(spec).__name__}; {_FORMS}")
    if spec.endswith(".py") or ":" not in spec:
        return spec, ""
    path, _, attribute = spec.rpartition(":")
    modules = [] if path.endswith(".py") else path.split(".")
    if not (path and attribute.isidentifier() and all(map(str.isidentifier, modules))):
        raise RequestError(f"'{spec}' names no class of a module or a file; {_FORMS}")
    return path, attribute


def target_of(spec: str) -> str:
    """Return the import path of what is no file: of a name, or as it is written; empty for neither.

    Examples
    --------
    >>> target_of("beta-vae"), target_of("package.module:Pair"), target_of("no-such-name")
    ('vaezoo.models.vae:BetaVAE', 'package.module:Pair', '')
    """
    targets = {entry.name: entry.target for entry in entries()}
    return targets.get(spec, spec if ":" in spec else "")


def _from_target(target: str) -> "type[nn.Module]":
    module_name, _, attribute = target.partition(":")
    module = sys.modules[module_name] if is_from_file(module_name) else _import(module_name)
    with refusing(f"cannot take '{attribute}' from {module_name}"):
        cls = getattr(module, attribute, None)
        if cls is None:
            classes = [name for name, value in vars(module).items() if _is_class(value)]
            raise RequestError(f"{module_name} has no '{attribute}'; {nearest(attribute, classes)}")
        return _require_pair(cls, target)


def _import(name: str) -> ModuleType:
    with refusing(f"cannot import '{name}'"):
        return importlib.import_module(name)


def class_in_file(path: Path, attribute: str = "", code: Code | None = None) -> "type[nn.Module]":
    """Return the class of a pair from a file.

    Parameters
    ----------
    path
        The file.
    attribute
        What it calls the class; it need not be named when there is one only.
    code
        What is executed, as :func:`vaezoo.registry.read_code` returns it; by default what lies in
        the file now.
    """
    with refusing(f"cannot read '{path}'"):
        if code is None and not path.is_file():
            if path.exists():
                raise RequestError(f"no file '{path}': what has that name is something else")
            raise RequestError(f"no file '{path}'; '{command('new', path)}' writes one")
        path = path.resolve()
    module = load_python(path, code)
    with refusing(f"cannot look into '{path}'"):
        return _pair_of(module, path, attribute)


def _pair_of(module: ModuleType, path: Path, attribute: str) -> "type[nn.Module]":
    pairs = {
        name: cls
        for name, cls in vars(module).items()
        if _is_class(cls) and cls.__module__ == module.__name__ and _is_pair(cls)
    }
    if attribute:
        if attribute not in vars(module):
            raise RequestError(f"{path} has no class '{attribute}'; {nearest(attribute, pairs)}")
        return _require_pair(getattr(module, attribute), f"{path}:{attribute}")
    if len(pairs) == 1:
        return _require_pair(next(iter(pairs.values())), str(path))
    if not pairs:
        raise RequestError(f"{path} defines no nn.Module with the methods 'model' and 'guide'")
    choices = ", ".join(f"{path}:{name}" for name in pairs)
    raise RequestError(f"{path} defines {len(pairs)} pairs; say which: {choices}")


def _is_class(value: object) -> TypeGuard[type[Any]]:
    """Whether a value is a class; ``isinstance`` would ask what it says of its ``__class__``."""
    return issubclass(type(value), type)


def _is_pair(cls: type) -> bool:
    if not callable(getattr(cls, "model", None)):
        return False
    return callable(getattr(cls, "guide", None)) or any(map(_sets_guide, cls.__mro__))


def _sets_guide(cls: type) -> bool:
    """Whether a constructor sets ``self.guide``, as to a module that is a guide."""
    init = inspect.unwrap(vars(cls).get("__init__", object.__init__))
    return "guide" in getattr(getattr(init, "__code__", None), "co_names", ())


def _require_pair(cls: object, where: str) -> "type[nn.Module]":
    from torch import nn

    if not (_is_class(cls) and issubclass(cls, nn.Module) and _is_pair(cls)):
        raise RequestError(f"{where} is not an nn.Module with the methods 'model' and 'guide'")
    pair: Any = cls
    for function in (pair, pair.model):  # what cannot be asked for its arguments is refused here
        inspect.signature(function)
    return cls
