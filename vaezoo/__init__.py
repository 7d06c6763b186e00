"""vaezoo: a zoo of variational autoencoders as Pyro model/guide pairs.

Importing this package loads neither torch nor pyro; its names are loaded when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.callbacks import Callback
    from vaezoo.config import Training, build
    from vaezoo.data import Data, load
    from vaezoo.draws import posterior, to_arviz
    from vaezoo.errors import RequestError, RunError, VaezooError
    from vaezoo.evaluation import evaluate
    from vaezoo.registry import get, list_models, register
    from vaezoo.runs import Run, load_run
    from vaezoo.svi import fit, resume

_HOME = {
    "Callback": "callbacks",
    "Data": "data",
    "RequestError": "errors",
    "Run": "runs",
    "RunError": "errors",
    "Training": "config",
    "VaezooError": "errors",
    "build": "config",
    "evaluate": "evaluation",
    "fit": "svi",
    "get": "registry",
    "list_models": "registry",
    "load": "data",
    "load_run": "runs",
    "posterior": "draws",
    "register": "registry",
    "resume": "svi",
    "to_arviz": "draws",
}

__all__ = [
    "Callback",
    "Data",
    "RequestError",
    "Run",
    "RunError",
    "Training",
    "VaezooError",
    "build",
    "evaluate",
    "fit",
    "get",
    "list_models",
    "load",
    "load_run",
    "posterior",
    "register",
    "resume",
    "to_arviz",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vaezoo' has no attribute '{name}'")
    value = getattr(import_module(f"vaezoo.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
