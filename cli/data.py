"""``vaezoo data``: what there is to train on, what it looks like, and how to get it."""

import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from vaezoo.data import (
    DATA_VARIABLE,
    SOURCES,
    Array,
    Data,
    Source,
    fetch_source,
    get_source,
    list_data,
    load,
    locate,
)
from vaezoo.registry import entries

if TYPE_CHECKING:
    from vaezoo.data import Summary

__all__ = ["data"]

_WIDTH = 80
_INDENT = 12
_MOST_NAMES = 8
_ROWS_AT_A_TIME = 4096
_LARGEST_TO_COMPARE = 2**28

_data_dir = click.option(
    "--data-dir",
    envvar=DATA_VARIABLE,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Folder that may hold the files already; downloads go to the user's cache.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in SOURCES if name.startswith(incomplete)]


@click.group()
def data() -> None:
    """Data sets: list them, look into them, fetch them.

    \b
    Example:
      vaezoo data list
    """


@data.command("list")
@_data_dir
@_json
def list_command(data_dir: Path | None, as_json: bool) -> None:
    """List the named data sets.

    \b
    Example:
      vaezoo data list --json
    """
    sources = list_data()
    if as_json:
        click.echo(json.dumps([_facts(source, data_dir) for source in sources], indent=2))
        return
    rows = [("name", "kind", "rows", "shape", "download", "content")]
    for source in sources:
        shape = "x".join(map(str, source.shape[1:]))
        download = _download(source, data_dir)
        row = (source.name, source.kind, str(source.shape[0]), shape, download, source.summary)
        rows.append(row)
    click.echo("\n".join(_table(rows)))


@data.command("show")
@click.argument("spec", metavar="NAME-or-PATH", shell_complete=_names)
@_data_dir
@click.option("--seed", default=0, show_default=True, help="Of the split of your own data.")
@_json
def show_command(spec: str, data_dir: Path | None, seed: int, as_json: bool) -> None:
    """Show shape, range, missing values and splits, and which model fits.

    Takes a name, a .npy, .npz, .csv or .parquet file, or a folder of images.
    A named data set is downloaded when it is not on disk.

    \b
    Example:
      vaezoo data show digits
    """
    loaded = load(spec, data_dir=data_dir, seed=seed)
    report = _describe(loaded)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo("\n".join(_lines(report)))


@data.command("fetch")
@click.argument("name", shell_complete=_names)
@_data_dir
@_json
def fetch_command(name: str, data_dir: Path | None, as_json: bool) -> None:
    """Download the files of a data set, unless they are on disk, and print their paths.

    \b
    Example:
      vaezoo data fetch digits
    """
    source = get_source(name)
    paths = fetch_source(name, data_dir=data_dir)
    if as_json:
        click.echo(json.dumps({"name": name, "files": [str(path) for path in paths]}, indent=2))
    elif not source.remotes:
        click.echo(f"{name} comes with scikit-learn: nothing to download")
    else:
        click.echo("\n".join(str(path) for path in paths))


def _facts(source: Source, data_dir: Path | None) -> dict[str, Any]:
    return {
        "name": source.name,
        "summary": source.summary,
        "kind": source.kind,
        "shape": source.shape,
        "licence": source.licence,
        "citation": source.citation,
        "bytes": source.size,
        "on_disk": _is_on_disk(source, data_dir),
    }


def _is_on_disk(source: Source, data_dir: Path | None) -> bool:
    return all(locate(remote, data_dir=data_dir) for remote in source.remotes)


def _download(source: Source, data_dir: Path | None) -> str:
    if not source.remotes:
        return "bundled"
    return "on disk" if _is_on_disk(source, data_dir) else f"{source.size / 2**20:.1f} MiB"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


@dataclass(frozen=True)
class _Scan:
    """What a pass over the rows finds: elements that never vary, and repeated rows."""

    constant: list[int]
    num_elements: int
    duplicates: float | None


def _scan(loaded: Data) -> _Scan:
    low: Array = np.full(int(np.prod(loaded.x_shape)), np.inf)
    high = -low
    seen: set[int] = set()
    compare = loaded.x.nbytes <= _LARGEST_TO_COMPARE
    for rows, values in _pieces(loaded):
        if compare:
            seen.update(hash(row.tobytes()) for row in rows)
        low = np.fmin(low, np.fmin.reduce(values, axis=0))
        high = np.fmax(high, np.fmax.reduce(values, axis=0))
    duplicates = 1 - len(seen) / len(loaded.x) if compare else None
    return _Scan(np.flatnonzero(~(low < high)).tolist(), len(low), duplicates)


def _pieces(loaded: Data) -> Iterator[tuple[Array, Array]]:
    """Some rows, and their elements as ``(number, element)`` without the padding of sequences."""
    length = loaded.arrays.get("length")
    for start in range(0, len(loaded.x), _ROWS_AT_A_TIME):
        x = np.asarray(loaded.x[start : start + _ROWS_AT_A_TIME])
        if length is None:
            yield x, x.reshape(len(x), -1)
        else:
            yield x, x[np.arange(x.shape[1]) < length[start : start + len(x), None]]


def _describe(loaded: Data) -> dict[str, Any]:
    from vaezoo.data import summarize

    summary, scan = summarize(loaded), _scan(loaded)
    source = SOURCES.get(loaded.name)
    label = loaded.arrays.get("label")
    names = loaded.columns or tuple(map(str, range(scan.num_elements)))
    return {
        "name": loaded.name,
        "kind": loaded.kind,
        "shape": list(loaded.x.shape),
        "dtype": str(loaded.x.dtype),
        "scale": loaded.scale,
        "range": [summary.low, summary.high] if summary.low <= summary.high else None,
        "values": _nature(loaded, summary),
        "nan": summary.num_invalid,
        "first_nan_row": summary.first_invalid,
        "constant": [names[index] for index in scan.constant],
        "elements": scan.num_elements,
        "duplicates": scan.duplicates,
        "splits": {name: len(rows) for name, rows in loaded.splits.items()},
        "labels": None if label is None else len(np.unique(label)),
        **_suggest(loaded, summary),
        **({"licence": source.licence, "citation": source.citation} if source else {}),
        "checksum": loaded.checksum,
    }


def _nature(loaded: Data, summary: "Summary") -> str:
    if summary.low > summary.high:
        return "none are finite"
    if summary.is_binary:
        return "binary"
    if loaded.scale != 1.0:
        return "grey levels"
    return "whole numbers" if summary.is_integer else "real numbers"


def _suggest(loaded: Data, summary: "Summary") -> dict[str, str | None]:
    """The likelihood whose support fits, and the command that uses it."""
    if summary.num_invalid:
        return {"likelihood": "none yet: remove or fill the missing values", "train": None}
    likelihood, flags = _likelihood(loaded, summary)
    model = f"vae-{likelihood.partition(',')[0]}"
    if loaded.kind == "sequences":
        model = next((entry.name for entry in entries() if entry.data == "sequences"), "MODEL")
    words = ["vaezoo", "train", model, "--data", loaded.name, *flags]
    return {"likelihood": likelihood, "train": shlex.join(words)}


def _likelihood(loaded: Data, summary: "Summary") -> tuple[str, list[str]]:
    if summary.is_binary:
        return "bernoulli", []
    if loaded.scale != 1.0:
        return "bernoulli, after a draw of 0 or 1 per grey level (--binarize dynamic)", []
    if summary.low >= 0 and summary.high <= 1:
        return "gaussian, or bernoulli with --binarize dynamic for probabilities", []
    return "gaussian, of standardised values", ["--standardize"]


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    for key, value in _texts(report).items():
        yield textwrap.fill(
            value,
            _WIDTH,
            initial_indent=f"{key:<{_INDENT}}",
            subsequent_indent=" " * _INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _texts(report: Mapping[str, Any]) -> dict[str, str]:
    """What a person reads, in the order of the report."""
    low_high = report["range"]
    span = f", {low_high[0]:g} ... {low_high[1]:g}" if low_high else ""
    scale = f", divided by {report['scale']:g}" if report["scale"] != 1.0 else ""
    share = report["duplicates"]
    texts = {
        "shape": f"{tuple(report['shape'])} {report['dtype']}",
        "values": f"{report['values']}{span}{scale}",
        "nan": _missing(report),
        "constant": _constant(report),
        "duplicates": "not counted: too large" if share is None else f"{share:.2%} of the rows",
        "splits": ", ".join(f"{name} {size}" for name, size in report["splits"].items()),
        "labels": f"{report['labels']} different" if report["labels"] else "none",
        "train": report["train"] or "-",
    }
    skipped = {"dtype", "scale", "range", "first_nan_row", "elements"}
    return {key: texts.get(key) or str(report[key]) for key in report if key not in skipped}


def _missing(report: Mapping[str, Any]) -> str:
    if not report["nan"]:
        return "0"
    return f"{report['nan']} NaN or infinite, the first in row {report['first_nan_row']}"


def _constant(report: Mapping[str, Any]) -> str:
    names = report["constant"]
    if not names:
        return f"0 of {report['elements']} elements"
    some = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    return f"{len(names)} of {report['elements']} elements: {some}"
