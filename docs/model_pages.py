"""A page for every model of the zoo: its docstring, scores, settings, source and citation.

Scores and pictures are those that ``benchmarks/zoo.py`` left; a model without them has neither.
"""

import csv
import functools
import html
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from click.testing import CliRunner
from generated import write_pages

from vaezoo.cli.show import show
from vaezoo.data.sets.sources import default_source
from vaezoo.options import DataKind
from vaezoo.pretrained import list_pretrained
from vaezoo.registry import Entry, appendix_of, citation_of, entries, get_model

__all__ = ["write"]

_HERE = Path(__file__).parent
_PICTURES = _HERE / "_static" / "models"
_LOG_P = "log p(x), 100 draws"
_FLOORS = ("independent", "linear", "markov")


def write(folder: Path) -> None:
    """Write ``index.rst`` and one page per model; a page that has not changed stays untouched."""
    zoo = [entry for entry in entries() if entry.target.startswith("vaezoo.models.")]
    pages = {f"{entry.name}.rst": "\n".join(_page(entry)) + "\n" for entry in zoo}
    pages["index.rst"] = "\n".join(_index(zoo)) + "\n"
    write_pages(folder, pages, ".rst")


def _index(zoo: Sequence[Entry]) -> Iterator[str]:
    yield from _title("Which models are there?", "=")
    yield "Each structure is one file in the folder ``models``: a Pyro model and a Pyro guide. A"
    yield "paper's variant of it is a registration in that file, with other defaults."
    yield "``vaezoo list`` prints these names, ``vaezoo show NAME`` a page; :doc:`../which-model`"
    yield "leads from data and a question to a name.\n"
    yield "Pictures are draws of models with all defaults (of autoencoders, from a mixture fitted"
    yield "to their codes). Scores are nats per datum, of sequences per frame, on test rows; in"
    yield "brackets the best simple model of the same rows. Grey levels and bits have scores of"
    yield "different kinds: compare like with like.\n"
    for (_, kind, family), members in itertools.groupby(sorted(zoo, key=_group), _group):
        yield from _title(f"{kind.capitalize()}: {family}", "-")
        cards = [f"   {_card(entry)}" for entry in members]
        yield from (".. raw:: html", "", '   <div class="gallery">', *cards, "   </div>", "")
    yield from (".. toctree::", "   :hidden:", "")
    yield from (f"   {entry.name}" for entry in zoo)


def _group(entry: Entry) -> tuple[int, str, str]:
    return get_args(DataKind).index(entry.data), entry.data, entry.family


def _card(entry: Entry) -> str:
    """Return the card of a model: a picture, what it is, its score and its tags."""
    picture = _PICTURES / f"{entry.name}.png"
    image = f'<img src="../_static/models/{picture.name}" alt="" loading="lazy">'
    facts = {
        "summary": html.escape(entry.summary),
        "score": html.escape(_score(entry.name)),
        "tags": html.escape(" · ".join((entry.reference, *entry.tags)).strip(" ·")),
        "trained": html.escape(_trained_on(entry.name)),
    }
    texts = [f'<span class="{name}">{text}</span>' for name, text in facts.items() if text]
    body = f"<span><b>{entry.name}</b>{''.join(texts)}</span>"
    return f'<a href="{entry.name}.html">{image if picture.is_file() else "<i></i>"}{body}</a>'


def _trained_on(model: str) -> str:
    """Return which weights of a model come with the package, or no text."""
    names = [run.name.partition(".")[2] for run in list_pretrained(f"{model}.*")]
    return f"trained already on {', '.join(names)}" if names else ""


def _score(model: str) -> str:
    """Return the best bound of a model beside that of the best simple model, or no text."""
    of = {row["name"]: float(row["value"]) for row in _scores() if row["model"] == model}
    name = next((name for name in (_LOG_P, "ELBO", "reconstruction") if name in of), None)
    if name is None:
        return ""
    floors = {of[floor]: floor for floor in _FLOORS if floor in of}
    beside = f" ({floors[max(floors)]} {max(floors):.1f})" if floors else ""
    return f"{name.partition(',')[0]} {of[name]:.1f}{beside}"


def _page(entry: Entry) -> Iterator[str]:
    cls = get_model(entry.name)
    facts = json.loads(CliRunner().invoke(show, [entry.name, "--json"]).stdout)
    yield from _title(entry.name, "=")
    yield _rst(appendix_of(cls))
    yield ""
    yield from _title("Train it", "-")
    data = default_source(entry.data, entry.data_set)
    where = f"on ``{entry.data_set}`` where that lies on disk, else "
    preferred = where if entry.data_set not in ("", data) else ""
    yield f"Without ``--data`` it trains {preferred}on ``{data}``, which needs no network:\n"
    yield from (".. code-block:: bash", "", f"   vaezoo train {entry.name}", "")
    yield from _pretrained(entry)
    yield from _measured(entry)
    yield from _title("Settings", "-")
    yield "Each is set by ``--set NAME=VALUE``; a dot reaches an option of a part.\n"
    settings = facts["settings"]
    rows = [(_code(name), _code(s["default"]), s["type"]) for name, s in settings.items()]
    yield from _table(("setting", "default", "type or choices"), rows)
    if facts["presets"]:
        yield from _title("Presets", "-")
        yield "``--preset NAME`` sets several at once; ``default`` always applies.\n"
        presets = facts["presets"].items()
        rows = [(_code(name), ", ".join(_flat(values))) for name, values in presets]
        yield from _table(("preset", "what it sets"), rows)
    yield from _title("The source", "-")
    yield ".. code-block:: python\n"
    yield _indented(_source(cls)) + "\n"
    if citation := citation_of(entry):
        yield from _title("Cite its paper", "-")
        yield from (".. code-block:: bibtex", "", _indented(citation))


def _pretrained(entry: Entry) -> Iterator[str]:
    """Yield the runs of a model that come with the package, with their scores."""
    runs = list_pretrained(f"{entry.name}.*")
    if not runs:
        return
    yield from _title("Trained already", "-")
    yield "These come with vaezoo, and are taken wherever a run is (:doc:`../share`):\n"
    yield from (".. code-block:: bash", "", f"   vaezoo sample {runs[0].name}", "")
    rows = [(_code(run.name), _code(run.data), run.describe_score()) for run in runs]
    yield from _table(("run", "data", "score of its test rows, nats"), rows)


def _measured(entry: Entry) -> Iterator[str]:
    """Yield the scores of a model, in nats per datum or frame, and a picture of what it makes."""
    scores = [row for row in _scores() if row["model"] == entry.name]
    if not scores:
        return
    yield from _title("What it reaches", "-")
    of = scores[0]
    yield f"On test rows of ``{of['data']}`` with all defaults, seed {of['seed']}, in nats"
    yield f"{'per frame' if entry.data == 'sequences' else 'per datum'}; *independent* elements and"
    yield "*linear* (exact probabilistic PCA with as many latents) are simple models of the same"
    yield f"rows. Measured on {of['date']} with vaezoo {of['version']} by ``benchmarks/zoo.py``.\n"
    rows = [(row["name"], _number(row)) for row in scores]
    yield from _table(("score", "value"), rows)
    if (_PICTURES / f"{entry.name}.png").is_file():
        yield f".. image:: ../_static/models/{entry.name}.png"
        yield from (f"   :alt: what {entry.name} makes with these weights", "   :width: 320", "")


@functools.cache
def _scores() -> tuple[Mapping[str, str], ...]:
    with (_HERE / "results" / "zoo.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def _number(row: Mapping[str, str]) -> str:
    value = float(row["value"])
    if row["name"] in ("active units", "steps"):
        return f"{value:,.0f}"
    return f"{value:.2f} ± {float(row['error']):.2f}" if row["error"] else f"{value:.2f}"


def _source(cls: type) -> str:
    """Return the file without its docstring, or a variant: its registration, and what it varies."""
    varied = cls.__mro__[1]
    if varied.__module__ != cls.__module__:
        return inspect.getsource(sys.modules[cls.__module__]).split('"""', 2)[-1].strip()
    registration = inspect.getsource(cls).split('"""')
    return f"{inspect.getsource(varied)}\n\n{registration[0]}...".strip()


def _title(text: str, underline: str) -> Iterator[str]:
    yield from (text, underline * len(text), "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "")
    for row in (head, *rows):
        for index, cell in enumerate(row):
            yield f"   {'* -' if index == 0 else '  -'} {cell}"
    yield ""


def _code(value: object) -> str:
    return f"``{value}``"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, "" if key == "training" else f"{key}.")
        else:
            yield _code(f"{prefix}{key}={value}")


def _rst(text: str) -> str:
    """Return a docstring with its indented formulas as literal blocks."""
    lines: list[str] = []
    for line in text.splitlines():
        starts = line.startswith("    ") and lines and not lines[-1].strip()
        above = next((old for old in reversed(lines) if old.strip()), "")
        if starts and not above.startswith(" "):
            lines += [".. code-block:: none", ""]
        lines.append(line)
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())
