"""vaezoo: a zoo of variational autoencoders as Pyro model/guide pairs.

Importing this package loads neither torch nor pyro; its names are loaded when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.analysis import Report, check
    from vaezoo.callbacks import Callback
    from vaezoo.config import Training, build
    from vaezoo.data import Data, load
    from vaezoo.draws import posterior, to_arviz
    from vaezoo.errors import RequestError, RunError, VaezooError
    from vaezoo.evaluation import evaluate
    from vaezoo.registry import get, list_models, register
    from vaezoo.runs import Run, load_run
    from vaezoo.svi import fit, resume
    from vaezoo.trees import open_tree, save_tree, stack_valid

_HOME = {
    "Callback": "callbacks",
    "Data": "data",
    "Report": "analysis",
    "RequestError": "errors",
    "Run": "runs",
    "RunError": "errors",
    "Training": "config",
    "VaezooError": "errors",
    "build": "config",
    "check": "analysis",
    "evaluate": "evaluation",
    "fit": "svi",
    "get": "registry",
    "list_models": "registry",
    "load": "data",
    "load_run": "runs",
    "open_tree": "trees",
    "posterior": "draws",
    "register": "registry",
    "resume": "svi",
    "save_tree": "trees",
    "stack_valid": "trees",
    "to_arviz": "draws",
}

__all__ = [
    "Callback",
    "Data",
    "Report",
    "RequestError",
    "Run",
    "RunError",
    "Training",
    "VaezooError",
    "build",
    "check",
    "evaluate",
    "fit",
    "get",
    "list_models",
    "load",
    "load_run",
    "open_tree",
    "posterior",
    "register",
    "resume",
    "save_tree",
    "stack_valid",
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
