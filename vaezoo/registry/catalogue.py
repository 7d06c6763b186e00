"""The catalogue: names of model/guide pairs, and what is known of each without building it.

A name is given by ``@register(...)`` above a class. A paper's variant of a structure that is there
is a class with nothing but a docstring, and other ``defaults``.

The catalogue of the zoo is read from the source files of ``vaezoo.models`` without importing
them, so that listing the zoo needs neither torch nor pyro.
"""

import ast
import fnmatch
import functools
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vaezoo.errors import RequestError, nearest
from vaezoo.options import DataKind
from vaezoo.registry.files import source_file

__all__ = [
    "FAMILIES",
    "Entry",
    "appendix_of",
    "entries",
    "entry_of",
    "list_models",
    "register",
]

Pair = TypeVar("Pair", bound=type)

ENTRY_POINTS = "vaezoo.models"
# Tags that say what a pair is, in the plural; what has none of them is a VAE.
FAMILIES = {"autoencoder": "autoencoders", "baseline": "baselines"}
_registered: dict[str, type] = {}


@dataclass(frozen=True)
class Entry:
    """What the zoo knows of a pair without building it.

    ``presets`` maps a name to settings of the pair's configuration; the key ``"training"`` of a
    preset holds training settings. The preset ``"default"`` always applies; one named after a data
    set applies to these data when no other is asked for. ``tags`` say what it is looked for by, as
    ``"missing"``. ``data_set`` is what it is trained on when nothing is named and these data are on
    disk; else, those of its kind that come with the library.
    """

    name: str
    target: str
    data: DataKind = "vectors"
    reference: str = ""
    summary: str = ""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    data_set: str = ""

    @property
    def family(self) -> str:
        """What it is, in the plural: of those of one family, scores mean the same."""
        return next((FAMILIES[tag] for tag in self.tags if tag in FAMILIES), "VAEs")


def register(
    name: str,
    *,
    data: DataKind = "vectors",
    reference: str = "",
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    data_set: str = "",
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
    tags
        Words by which ``vaezoo list`` looks for it: ``disentangling``, ``missing``, ``discrete``,
        ``sequence``, ``baseline``, ``autoencoder``, or any other word.
    data_set
        Name of the data set that the paper is about: the default where it is on disk.

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
        summary = _text_of(cls).strip().partition("\n")[0]
        entry = Entry(name, target, data, reference, summary, dict(presets or {}), tags, data_set)
        cls.__vaezoo_entry__ = entry  # type: ignore[attr-defined]
        if source_file(cls) is None:
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
    >>> from vaezoo.models.vae import BetaVAE
    >>> entry_of(BetaVAE).presets["default"]
    {'training': {'beta': 4.0}}
    """
    entry = cls.__dict__.get("__vaezoo_entry__")
    if isinstance(entry, Entry):
        return entry
    parameters = list(inspect.signature(cls.model).parameters)  # type: ignore[attr-defined]
    kind: DataKind = "sequences" if "length" in parameters else "vectors"
    summary = _text_of(cls).strip().partition("\n")[0]
    return Entry(cls.__name__.lower(), f"{cls.__module__}:{cls.__qualname__}", kind, "", summary)


def appendix_of(cls: type) -> str:
    """Return what a pair is, as the appendix of its paper: formulas, sites, reference.

    It is the docstring of the class, or that of its module when the class has one line only.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> print(appendix_of(VRNN)[:41])
    The variational recurrent neural network.
    """
    of_class = inspect.cleandoc(_text_of(cls))
    of_module = inspect.cleandoc(_text_of(sys.modules.get(cls.__module__)))
    return of_class if "\n" in of_class else of_module or of_class


def list_models(pattern: str = "*") -> list[str]:
    """Return the names in the zoo that match a shell-style pattern, sorted.

    Examples
    --------
    >>> list_models("vae-g*")
    ['vae-gaussian', 'vae-gumbel']
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


@functools.cache  # every registration looks up its name
def _read_entries(path: Path) -> tuple[Entry, ...]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return tuple(
        entry
        for node in classes
        for decorator in node.decorator_list
        if (entry := _read_entry(path.stem, node, decorator))
    )


def _read_entry(module: str, node: ast.ClassDef, decorator: ast.expr) -> Entry | None:
    if not (isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "register"):
        return None
    facts = {word.arg: word.value for word in decorator.keywords if word.arg}
    facts.pop("defaults", None)  # of the constructor, and not always literals
    values = {name: ast.literal_eval(value) for name, value in facts.items()}
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    name = ast.literal_eval(decorator.args[0])
    return Entry(name, f"vaezoo.models.{module}:{node.name}", summary=summary, **values)


def _text_of(documented: object) -> str:
    """Return a docstring; a user's class may call anything so, and its module may be gone."""
    text = getattr(documented, "__doc__", None)
    return text if isinstance(text, str) else ""
