"""``vaezoo probe``."""

from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._shared import (
    Names,
    echo_json,
    json_option,
    limit_option,
    seed_option,
    table,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.predict.latents.probe import FactorReport, Probe
    from vaezoo.runs import Run


__all__ = ["probe"]


@click.command()
@takes_data
@click.option(
    "--factors",
    type=Names(),
    metavar="NAME,...",
    help="Arrays of what data were made from.  [default: all of 2 to 64 whole numbers]",
)
@click.option(
    "--few",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Labels of each class, for the classifier with few.",
)
@limit_option(5_000, "At most so many rows to fit to, and to score; chosen at random.")
@seed_option
@json_option
@takes_run
def probe(run: "Run", as_json: bool, **options: Any) -> None:
    """Score codes by what they know of labels, and of known factors.

    Classifiers are fitted to training rows and scored on others. PCA are as many principal
    components of the data; chance is what codes that know nothing have.

    \b
    Example:
      vaezoo probe runs/my-run
      vaezoo probe runs/sprites --factors shape,scale,posX,posY

    Each score of factors is 1 at best. MIG and SAP: the gap between the two
    elements that know most of a factor. DCI, modularity: does an element matter
    to one factor only, and a factor to one element.
    """
    result = vaezoo.probe(run, **options)
    if as_json:
        echo_json(result.to_dict())
        return
    echo(
        f"{result.num_scored} rows, classifiers fitted to {result.num_fitted} others; "
        f"{result.num_active} of {len(result.elements)} elements are active"
    )
    if result.label is not None:
        echo(f"\nlabel, {result.label.num_classes} classes")
        _print_scores(result.cells_of_label())
    if result.factors is not None:
        echo(f"\nfactors {', '.join(result.factors.names)}")
        _print_scores(result.cells_of_factors())
        _print_information(result, result.factors)


def _print_scores(cells: list[tuple[str, ...]]) -> None:
    table([("", "codes", "PCA", "chance"), *((f"  {name}", *rest) for name, *rest in cells)])


def _print_information(result: "Probe", report: "FactorReport") -> None:
    echo("")
    rows: list[tuple[str, ...]] = [("factor", "nats", "elements that know most of it, nats")]
    for number, name in enumerate(report.names):
        nats = report.information[:, number]
        best = ", ".join(f"{result.elements[i]} {nats[i]:.3f}" for i in nats.argsort()[::-1][:2])
        rows.append((f"  {name}", f"{report.entropy[number]:.3f}", best))
    table(rows)
