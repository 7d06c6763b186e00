"""``vaezoo list``."""

import builtins
import itertools
from dataclasses import asdict
from typing import get_args

import click

from vaezoo.cli._shared import echo_json, json_option, table
from vaezoo.errors import RequestError, nearest
from vaezoo.options import DataKind
from vaezoo.registry import Entry, entries

__all__ = ["list"]


@click.command()
@click.argument("pattern", default="*")
@click.option("--tag", metavar="TAG", help="Only those for it: missing, discrete, baseline, ...")
@click.option(
    "--pretrained", is_flag=True, help="Runs that are trained already, and come with vaezoo."
)
@json_option
def list(pattern: str, tag: str | None, pretrained: bool, as_json: bool) -> None:
    """List the models of the zoo, all or those whose name matches PATTERN.

    They stand by the kind of data that they explain, and by family. The name of a
    --pretrained run can be given to every command that takes a run.

    \b
    Example:
      vaezoo list
      vaezoo list 'vae-*' --tag missing
      vaezoo list --pretrained
      vaezoo sample vrnn.jsb
    """
    if pretrained:
        _list_pretrained(pattern, tag, as_json)
        return
    matching = _matching(pattern, tag)
    if as_json:
        echo_json([{**asdict(entry), "family": entry.family} for entry in matching])
        return
    rows: builtins.list[tuple[str, ...]] = [("model", "reference", "")]
    groups = itertools.groupby(sorted(matching, key=_group), _group)
    for (_, kind, family), members in groups:
        rows += [("", "", ""), (f"{kind}: {family}", "", "")]
        rows += [(f"  {entry.name}", entry.reference, entry.summary) for entry in members]
    table(rows)


def _list_pretrained(pattern: str, tag: str | None, as_json: bool) -> None:
    from vaezoo.pretrained import list_pretrained

    runs = list_pretrained(pattern)
    if tag is not None:
        tagged = [entry.name for entry in _matching("*", tag)]
        runs = [run for run in runs if run.model in tagged]
    if not runs:
        names = [run.name for run in list_pretrained()]
        raise RequestError(f"no pretrained run matches '{pattern}'; {nearest(pattern, names)}")
    if as_json:
        echo_json([asdict(run) for run in runs])
        return
    rows = [(run.name, f"{run.size / 1e6:.2f} MB", run.data, run.describe_score()) for run in runs]
    table([("run", "size", "data", "score of its test rows, nats"), *rows])


def _matching(pattern: str, tag: str | None) -> builtins.list[Entry]:
    matching = entries(pattern)
    if not matching:
        names = [entry.name for entry in entries()]
        raise RequestError(f"no model matches '{pattern}'; {nearest(pattern, names)}")
    tagged = [entry for entry in matching if tag is None or tag in entry.tags]
    if not tagged:
        tags = sorted({each for entry in matching for each in entry.tags})
        raise RequestError(f"no model has the tag '{tag}'; {nearest(str(tag), tags)}")
    return tagged


def _group(entry: Entry) -> tuple[int, str, str]:
    return get_args(DataKind).index(entry.data), entry.data, entry.family
