"""``vaezoo probe``."""

from dataclasses import asdict
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
    from vaezoo.predict.latents.labels import LabelScores
    from vaezoo.predict.latents.probe import FactorReport, Probe
    from vaezoo.runs import Run


__all__ = ["probe"]

_SCORES = {
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "modularity": "modularity",
    "beta_vae": "beta-VAE score",
    "factor_vae": "FactorVAE score",
}


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
    if result.label is not None and result.label_pca is not None:
        _print_labels(result.label, result.label_pca)
    if result.factors is not None:
        _print_factors(result, result.factors)


def _print_labels(codes: "LabelScores", pca: "LabelScores") -> None:
    echo(f"\nlabel, {codes.num_classes} classes")
    few = f"{codes.num_few} labels of each class"
    sides = (codes, pca)
    table(
        [
            ("", "codes", "PCA", "chance"),
            _row(
                "linear classifier",
                [(s.linear, s.linear_error) for s in sides],
                codes.linear_chance,
            ),
            _row(few, [(s.few, s.few_error) for s in sides], codes.few_chance),
            _row(
                "10 nearest alike", [(s.purity, s.purity_error) for s in sides], codes.purity_chance
            ),
            ("  silhouette", *map(_silhouette, sides), "0.000"),
        ]
    )


def _row(name: str, estimates: list[tuple[float, float]], chance: float) -> tuple[str, ...]:
    return (f"  {name}", *(f"{v:.3f} +- {e:.3f}" for v, e in estimates), f"{chance:.3f}")


def _silhouette(scores: "LabelScores") -> str:
    return "-" if scores.silhouette is None else f"{scores.silhouette:.3f}"


def _print_factors(result: "Probe", report: "FactorReport") -> None:
    echo(f"\nfactors {', '.join(report.names)}")
    columns = [asdict(scores) for scores in (report.codes, report.pca, report.shuffled)]
    rows = [(f"  {n}", *(f"{c[k]:.3f}" for c in columns)) for k, n in _SCORES.items()]
    table([("", "codes", "PCA", "chance"), *rows])
    echo("")
    rows = [("factor", "nats", "elements that know most of it, nats")]
    for number, name in enumerate(report.names):
        nats = report.information[:, number]
        best = ", ".join(f"{result.elements[i]} {nats[i]:.3f}" for i in nats.argsort()[::-1][:2])
        rows.append((f"  {name}", f"{report.entropy[number]:.3f}", best))
    table(rows)
