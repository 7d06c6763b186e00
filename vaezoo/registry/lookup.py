"""From what a user writes to the class of a pair: a name, a file, or an import path."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from vaezoo.errors import RequestError, nearest
from vaezoo.registry.catalogue import entries
from vaezoo.registry.files import is_from_file, load_python

if TYPE_CHECKING:
    from torch import nn

__all__ = ["get_model"]


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
    module = sys.modules[module_name] if is_from_file(module_name) else _import(module_name)
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
    module = load_python(path.resolve())
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

    if not (isinstance(cls, type) and issubclass(cls, nn.Module) and _is_pair(cls)):
        raise RequestError(f"{where} is not an nn.Module with the methods 'model' and 'guide'")
    return cls
