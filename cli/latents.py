"""``vaezoo latents``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    echo_json,
    json_option,
    limit_option,
    out_option,
    seed_option,
    table,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.predict.latents.overview import LatentOverview
    from vaezoo.runs import Run


__all__ = ["latents"]


@click.command()
@takes_data
@limit_option(1_000, "How many rows.")
@given_option
@out_option(".png", text="A .png file.  [default: RUN/figures/codes.png]")
@json_option
@seed_option
@takes_run
def latents(run: "Run", out: Path | None, as_json: bool, **options: Any) -> None:
    """Show where the codes of data lie, which elements are in use, and what for.

    KL is what an element costs, and *lost* is what log p(x | z) loses when it is set to its mean
    over the data: an element with a KL of nothing, or that nothing is lost without, is not in use.
    The picture has a map of the codes, by label, their correlations, and their ranges.

    \b
    Example:
      vaezoo latents runs/my-run -o codes.png
    """
    from vaezoo.cli._files import output
    from vaezoo.plots.latents.codes import plot_codes

    seen = vaezoo.latents(run, **options)
    path = out or run.folder() / "figures" / "codes.png"
    with output(run, out, "codes.png") as file:
        plot_codes(run, seen, file)
    facts = _facts(seen)
    if as_json:
        echo_json({"active_units": seen.num_active, "latents": facts, "picture": str(path)})
        return
    cells = [tuple(map(_cell, fact.values())) for fact in facts]
    table([("latent", "KL, nats", "lost, nats", "variance of codes", "sd of q"), *cells])
    echo(f"\n{seen.num_active} of {len(facts)} are active, {len(seen.codes)} codes -> {path}")


def _facts(seen: "LatentOverview") -> list[dict[str, Any]]:
    values = zip(seen.units, seen.lost, seen.variance, seen.spread, strict=True)
    return [
        {"latent": u.name, "kl": u.kl, "lost": float(o), "variance": float(v), "spread": float(s)}
        for u, o, v, s in values
    ]


def _cell(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return value or ""
