"""``vaezoo show``."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._shared import complete_model, echo_json, json_option, table
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError

if TYPE_CHECKING:
    from torch import nn


__all__ = ["facts_of", "show"]

GRAPHS = (".svg", ".png", ".pdf")


@click.command()
@click.argument("model", metavar="MODEL", shell_complete=complete_model)
@click.option("--diff", metavar="MODEL", shell_complete=complete_model, help="Only what differs.")
@click.option(
    "--graph",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw its sites into FILE, as graph.svg or graph.png.",
)
@click.option("--cite", is_flag=True, help="The BibTeX of its paper, and nothing else.")
@json_option
def show(model: str, diff: str | None, graph: Path | None, cite: bool, as_json: bool) -> None:
    """Show a model: its distributions, sites, parameters, settings and presets.

    MODEL is a name of the zoo, a file ./my_vae.py, or package.module:Class.

    \b
    Examples:
      vaezoo show vae-gaussian --graph graph.svg
      vaezoo show vae-bernoulli --diff vae-gaussian
      vaezoo show vrnn --cite
    """
    from vaezoo.registry import get_model

    cls = get_model(model)
    if graph and graph.suffix not in GRAPHS:
        raise RequestError(f"`graph` writes {', '.join(GRAPHS)}, not '{graph.name}'")
    if graph:
        _draw(cls, graph)
    if cite:
        _cite(cls)
    elif diff is not None:
        _show_difference(facts_of(cls), facts_of(get_model(diff)), as_json)
    elif as_json:
        echo_json(facts_of(cls))
    else:
        _show(cls, facts_of(cls))


def facts_of(cls: "type[nn.Module]") -> dict[str, Any]:
    """Return what is shown of a class of pairs."""
    from vaezoo.registry import entry_of

    entry = entry_of(cls)
    return {
        "name": entry.name,
        **_anatomy(cls),
        "settings": _settings(cls),
        "presets": {name: dict(values) for name, values in entry.presets.items()},
        "objectives": _objectives(cls),
        "commands": _commands(cls),
    }


def _anatomy(cls: "type[nn.Module]") -> dict[str, Any]:
    """Return the sites and parameters of a pair with its defaults, on made-up data."""
    from vaezoo.errors import reason_of
    from vaezoo.pairs.anatomy import anatomy
    from vaezoo.testing.check import small_pair

    try:
        parts = anatomy(*small_pair(cls))
    except Exception as error:  # whatever somebody's pair raises without its data
        return {"sites": [], "parameters": {}, "note": reason_of(error, 200)}
    sides = {"theta": parts.theta, "phi": parts.phi, "shared": parts.shared}
    parameters = {side: dict(sizes) for side, sizes in sides.items()}
    return {"sites": [asdict(site) for site in parts.sites], "parameters": parameters}


def _cite(cls: "type[nn.Module]") -> None:
    from vaezoo.registry import citation_of, entry_of

    entry = entry_of(cls)
    citation = citation_of(entry)
    if not citation:
        named = f"'{entry.reference}' is not among vaezoo's papers"
        why = named if entry.reference else "it names no paper"
        raise RequestError(f"there is no BibTeX for {entry.name}: {why}")
    echo(citation)


def _draw(cls: "type[nn.Module]", path: Path) -> None:
    from vaezoo.pairs.anatomy import anatomy
    from vaezoo.plots.graphs import plot_graph
    from vaezoo.registry import entry_of
    from vaezoo.testing.check import small_pair

    plot_graph(anatomy(*small_pair(cls)), path, entry_of(cls).name)
    echo(f"drew {path}", err=True)


def _show(cls: "type[nn.Module]", facts: Mapping[str, Any]) -> None:
    from vaezoo.registry import appendix_of, entry_of

    entry = entry_of(cls)
    echo(f"{entry.name}  {entry.reference}\n")
    echo(_as_text(appendix_of(cls)) + "\n")
    for rows in (_sites(facts), _parameters(facts), _table_of_settings(facts["settings"])):
        if len(rows) > 1:
            table(rows)
            echo()
    if "note" in facts:
        echo(f"Its sites are not shown: {facts['note']}\n")
    if facts["presets"]:
        table([("preset", "settings"), *((n, _line(v)) for n, v in facts["presets"].items())])
        echo()
    table([("objective", "option", "default", "type or choices"), *_rows_of_objectives(facts)])
    echo()
    table([("of sequences", "answered"), *facts["commands"].items()])


def _sites(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("site", "shape here", "in the model", "in the guide", "KL")]
    for site in facts["sites"]:
        shape = f"({', '.join(map(str, site['shape']))}{',' * (len(site['shape']) == 1)})"
        rows.append((site["name"], shape, site["model"], site["guide"] or "observed", site["kl"]))
    return rows


def _parameters(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    words = {"theta": "theta, of the model", "phi": "phi, of the guide", "shared": "of both"}
    rows: list[tuple[str, ...]] = [("parameters", "number here", "in")]
    for side, sizes in facts["parameters"].items():
        if sizes:
            parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
            rows.append((words[side], f"{sum(sizes.values()):,}", parts))
    return rows


def _table_of_settings(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [(name, str(value["default"]), value["type"]) for name, value in settings.items()]
    return [("setting", "default", "type or choices"), *rows]


def _show_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], as_json: bool) -> None:
    """Print the settings, sites, parameters and presets in which two models differ."""
    flat = [_flat(facts) for facts in (ours, theirs)]
    names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name)]
    if as_json:
        echo_json({name: [side.get(name) for side in flat] for name in names})
        return
    if not names:
        echo(f"{ours['name']} and {theirs['name']} have the same sites, settings and presets")
        return
    rows = [(name, *(side.get(name, "-") for side in flat)) for name in names]
    table([("", ours["name"], theirs["name"]), *rows])


def _flat(facts: Mapping[str, Any]) -> dict[str, str]:
    lines = {f"site {row[0]}": ", ".join(filter(None, row[1:])) for row in _sites(facts)[1:]}
    lines |= {row[0]: f"{row[1]} in {row[2]}" for row in _parameters(facts)[1:]}
    lines |= {name: str(value["default"]) for name, value in facts["settings"].items()}
    return lines | {"presets": ", ".join(facts["presets"]) or "none"}


def _as_text(page: str) -> str:
    """Return a page without what only Sphinx reads; the columns of its tables stay."""
    page = re.sub(r":\w+:`~?([^`]+)`", r"\1", page)
    page = re.sub(r"``([^`]+)``(?=  )", r"\1    ", page)
    return page.replace("``", "")


def _settings(cls: "type[nn.Module]") -> dict[str, dict[str, Any]]:
    from vaezoo.config import axes, resolve

    defaults = resolve(cls, {})
    parts = axes(cls)
    shown = _of_class(cls, {k: v for k, v in defaults.items() if k not in parts})
    for name, axis in parts.items():
        chosen = defaults[name]["name"]
        shown[name] = {"default": chosen, "type": ", ".join(sorted(axis.choices_for(cls)))}
        options = {key: value for key, value in defaults[name].items() if key != "name"}
        for option, value in _of_class(axis.find(chosen, cls), options).items():
            shown[f"{name}.{option}"] = value
    return shown


def _rows_of_objectives(facts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each option, and one for an objective that has none."""
    for name, options in facts["objectives"].items():
        if not options:
            yield name, "", "", ""
        for option, value in options.items():
            yield name, option, str(value["default"]), value["type"]


def _objectives(cls: "type[nn.Module]") -> dict[str, dict[str, dict[str, Any]]]:
    """Return the options of every objective that a pair of a class can be trained for."""
    from vaezoo.objectives import OBJECTIVES

    choices = OBJECTIVES.choices_for(cls)
    return {name: _of_class(choice, _defaults_of(choice)) for name, choice in choices.items()}


def _commands(cls: "type[nn.Module]") -> dict[str, str]:
    """Return which commands about time a pair can answer, and what its form has to be for them.

    It is what a class says; what its sites say only a run knows, and each command.
    """
    from vaezoo.pairs.sites import takes_lengths
    from vaezoo.sequences import SequencePair

    asked = ("forecast", "sample --prefix", "impute --gap", "evaluate --fivo, --free-running")
    if not takes_lengths(cls):
        return dict.fromkeys(asked, "no: it takes no `length`")
    through_latents = "where frames depend on each other through latents alone"
    if issubclass(cls, SequencePair):
        answers = dict.fromkeys(asked, "yes: it is written as one step")
        return answers | ({"impute --gap": through_latents} if cls.inputs else {})
    by_sites = "where its sites are numbered by their step"
    return {
        "forecast": f"{by_sites}, or a path goes on",
        "sample --prefix": f"{by_sites}, or a path goes on",
        "impute --gap": through_latents,
        "evaluate --fivo, --free-running": by_sites,
    }


def _defaults_of(cls: type) -> dict[str, Any]:
    from vaezoo.config import schema

    fields = schema(cls).model_fields.items()
    return {name: "(needed)" if field.is_required() else field.default for name, field in fields}


def _of_class(cls: type, defaults: dict[str, Any]) -> dict[str, dict[str, Any]]:
    from vaezoo.config import schema

    fields = schema(cls).model_fields
    return {
        name: {"default": value, "type": fields[name].description or _type(fields[name].annotation)}
        for name, value in defaults.items()
    }


def _type(annotation: Any) -> str:
    from typing import Literal, Union, get_args, get_origin

    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return ", ".join(_type(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list"
    return getattr(annotation, "__name__", str(annotation))


def _line(values: object) -> str:
    if isinstance(values, dict):
        words = (
            f"{k}=({_line(v)})" if isinstance(v, dict) else f"{k}={v}" for k, v in values.items()
        )
        return ", ".join(words)
    return str(values)
