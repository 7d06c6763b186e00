"""``vaezoo data``: what there is to train on, what it looks like, and how to get it."""

import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._flags import in_flags
from vaezoo.cli._reading import READING, reading_options, reading_settings, reading_words
from vaezoo.cli._settings import setting_options, typed_settings
from vaezoo.cli._shared import (
    complete_data,
    data_dir_option,
    echo_json,
    json_option,
    table,
)
from vaezoo.cli._streams import echo
from vaezoo.settings import DataSettings, checked

if TYPE_CHECKING:
    from vaezoo.data import Data, Source
    from vaezoo.data.likelihoods import Comparison, Score

__all__ = ["data"]

_WIDTH = 80
_INDENT = 12
_MOST_NAMES = 8
# What a training does to values that are read.
_LATER = ("name", "dir", "binarize", "standardize", "missing")


def _takes_one(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take a data set, and how it is read (:func:`_loaded`)."""
    settings = setting_options(DataSettings, leave_out=(*_LATER, *READING))
    spec = click.argument("spec", metavar="NAME-or-PATH", shell_complete=complete_data)
    return spec(data_dir_option(reading_options(settings(command))))


def _loaded(spec: str, data_dir: str | None, reading: Mapping[str, Any]) -> "Data":
    from vaezoo.data import load_data

    typed = {**typed_settings(DataSettings), "name": spec, **reading_settings(reading)}
    return load_data(spec, data_dir=data_dir, settings=checked(DataSettings, typed))


@click.group()
def data() -> None:
    """Data sets: list them, look into them, fetch them.

    \b
    Example:
      vaezoo data list
    """


@data.command("list")
@data_dir_option
@json_option
def list_command(data_dir: str | None, as_json: bool) -> None:
    """List the named data sets.

    \b
    Example:
      vaezoo data list --json
    """
    from vaezoo.data import list_data

    sources = list_data()
    if as_json:
        echo_json([_facts(source, data_dir) for source in sources])
        return
    titles = ("name", "kind", "rows", "shape", "download", "content")
    table([titles, *(_row(source, data_dir) for source in sources)])


@data.command("show")
@_takes_one
@json_option
def show_command(spec: str, data_dir: str | None, as_json: bool, **reading: Any) -> None:
    """Show shape, range, missing values and splits, and which model fits.

    Takes a name, a .npy, .npz, .csv or .parquet file, or a folder of images.
    For sequences, what stands in the padding is left out.
    A named data set is downloaded when it is not on disk.

    \b
    Example:
      vaezoo data show digits
    """
    from vaezoo.data.profile import describe

    report = _in_flags(describe(_loaded(spec, data_dir, reading)), reading)
    if as_json:
        echo_json(report)
    else:
        echo("\n".join(_lines(report)))


@data.command("explain-likelihood")
@_takes_one
@json_option
def explain_command(spec: str, data_dir: str | None, as_json: bool, **reading: Any) -> None:
    """Compare the likelihoods that data allow: held-out nats of the simplest models.

    Each family is fitted to the training rows with every element by itself, and
    as a mixture of 8 such models; both are scored on the validation rows. What
    a mixture gains is what latents can explain. Data are taken as stored.

    \b
    Example:
      vaezoo data explain-likelihood digits
    """
    from dataclasses import asdict

    from vaezoo.data import explain_likelihood

    loaded = _loaded(spec, data_dir, reading)
    comparisons = explain_likelihood(loaded)
    if as_json:
        echo_json([asdict(comparison) for comparison in comparisons])
        return
    for comparison in comparisons:
        echo("\n".join(textwrap.wrap(f"{loaded.name}: {_what(comparison)}", _WIDTH)))
        table([_TITLES, *map(_score, comparison.scores)])


@data.command("fetch")
@click.argument("name", shell_complete=complete_data)
@data_dir_option
@json_option
def fetch_command(name: str, data_dir: str | None, as_json: bool) -> None:
    """Download a data set, unless it is on disk, and print where.

    \b
    Example:
      vaezoo data fetch digits
    """
    from vaezoo.data import fetch_source, get_source

    source = get_source(name)
    paths = fetch_source(name, data_dir=data_dir)
    if as_json:
        echo_json({"name": name, "files": [str(path) for path in paths]})
    elif not source.remotes:
        echo(f"{name} comes with scikit-learn: nothing to download")
    else:
        echo("\n".join(str(path) for path in paths))


_TITLES = ("family", "independent", "mixture", "assumes")


def _what(comparison: "Comparison") -> str:
    """What was compared, and in which unit."""
    names = ", ".join(comparison.columns[:_MOST_NAMES])
    more = ", ..." if len(comparison.columns) > _MOST_NAMES else ""
    of = f" ({names}{more})" if names else ""
    kind = "a density" if any(s.is_density for s in comparison.scores) else "a probability"
    return (
        f"{comparison.num_elements} elements{of}, fitted to {comparison.num_train} rows; nats of "
        f"{kind} on {comparison.num_held_out} others, higher is better"
    )


def _score(score: "Score") -> tuple[str, ...]:
    mixture = "-" if score.mixture is None else f"{score.mixture:.2f}"
    return score.family, f"{score.independent:.2f}", mixture, score.about


def _in_flags(report: dict[str, Any], reading: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report that says which command trains on the data, read in the same way."""
    settings = report["train"]
    likelihood = in_flags(report["likelihood"])
    train = settings and _command(reading, **settings)
    return {**report, "likelihood": likelihood, "train": train}


def _command(reading: Mapping[str, Any], model: str, data: str, **settings: Any) -> str:
    words = ["vaezoo", "train", model, "--data", data, *reading_words(reading)]
    for name, value in {**typed_settings(DataSettings), **settings}.items():
        if name not in READING:
            flag = f"--{name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return shlex.join(words)


def _facts(source: "Source", data_dir: str | None) -> dict[str, Any]:
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


def _row(source: "Source", data_dir: str | None) -> tuple[str, ...]:
    rows, *shape = map(str, source.shape)
    download = _download(source, data_dir)
    return source.name, source.kind, rows, "x".join(shape), download, source.summary


def _is_on_disk(source: "Source", data_dir: str | None) -> bool:
    from vaezoo.data import locate

    return all(locate(remote, data_dir=data_dir) for remote in source.remotes)


def _download(source: "Source", data_dir: str | None) -> str:
    if not source.remotes:
        return "bundled"
    return "on disk" if _is_on_disk(source, data_dir) else f"{source.size / 2**20:.1f} MiB"


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
        "arrays": _arrays(report["arrays"]),
        "read": "; ".join(map(in_flags, report["read"])) or "as it stands",
        "nan": _places(report, "nan"),
        "infinite": _places(report, "infinite"),
        "constant": _constant(report),
        "duplicates": "not counted: too large" if share is None else f"{share:.2%} of the rows",
        "splits": ", ".join(f"{name} {size}" for name, size in report["splits"].items()),
        "labels": f"{report['labels']} different" if report["labels"] else "none",
        "frames": _frames(report),
        "train": report["train"] or "-",
    }
    skipped = {"dtype", "scale", "range", "elements", "lengths"}
    skipped |= {"first_nan_row", "first_nan", "first_infinite"}
    return {key: texts.get(key) or str(report[key]) for key in report if key not in skipped}


def _arrays(arrays: list[dict[str, Any]]) -> str:
    return ", ".join(f"{a['name']} {tuple(a['shape'])} {a['dtype']}: {a['role']}" for a in arrays)


def _places(report: Mapping[str, Any], what: str) -> str:
    return f"{report[what]}, the first in {report[f'first_{what}']}" if report[what] else "0"


def _frames(report: Mapping[str, Any]) -> str:
    if "frames" not in report:
        return ""
    shortest, longest = report["lengths"]
    sizes = ", ".join(f"{name} {size}" for name, size in report["frames"].items())
    return f"{shortest} ... {longest} a sequence; {sizes}"


def _constant(report: Mapping[str, Any]) -> str:
    names = report["constant"]
    if not names:
        return f"0 of {report['elements']} elements"
    some = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    return f"{len(names)} of {report['elements']} elements: {some}"
