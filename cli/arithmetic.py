"""``vaezoo arithmetic``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._shared import (
    echo_points,
    out_option,
    seed_option,
    takes_data,
    takes_run,
    x_option,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run


__all__ = ["arithmetic"]


class Label(click.ParamType):  # type: ignore[type-arg]
    """A label, as ``label=1``."""

    name = "label=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        name, _, number = str(value).rpartition("=")
        try:
            label = float(number)
        except ValueError:
            self.fail(f"'{value}' is no label; write it as label=1", param, ctx)
        if name not in ("", "label"):
            self.fail(f"data have a 'label' and no '{name}'; write label={number}", param, ctx)
        return label


@click.command()
@click.option("--plus", type=Label(), required=True, help="The label that data are moved to.")
@click.option("--minus", type=Label(), required=True, help="The label of the data.")
@takes_data
@click.option(
    "--scale", type=float, default=1.0, show_default=True, help="How many times it is added."
)
@x_option
@out_option(*(".png", ".npz"), text="A .png or .npz file.  [default: RUN/figures/arithmetic.png]")
@seed_option
@takes_run
def arithmetic(run: "Run", out: Path | None, **options: Any) -> None:
    """Add the mean code of a label, less that of another, to the codes of data with the latter.

    The difference is taken on training rows. Whether it did what it should is judged by a
    classifier (logistic regression on reconstructions), and by how much of what tells a datum from
    its class is kept.

    \b
    Example:
      vaezoo arithmetic runs/my-run --plus label=1 --minus label=0
    """
    from vaezoo.cli._files import output, write_npz
    from vaezoo.plots.latents.walks import plot_arithmetic

    moved = vaezoo.arithmetic(run, **options)
    path = out or run.folder() / "figures" / "arithmetic.png"
    with output(run, out, "arithmetic.png") as file:
        if path.suffix == ".npz":
            write_npz(file, {"x": moved.x, "data": moved.data})
        else:
            plot_arithmetic(run, moved, file)
    by = moved.direction
    echo(
        f"label {by.plus:g} ({by.num_plus} codes) - label {by.minus:g} ({by.num_minus}): length "
        f"{by.length:.2f}, standard error {by.standard_error:.2f}"
    )
    echo(
        f"taken for {by.plus:g} by a classifier: {moved.flipped:.0%} of {len(moved.x)}, before "
        f"{moved.flipped_before:.0%} (the classifier is right in {moved.accuracy:.0%} of rows)"
    )
    echo(f"kept of what tells a datum from its class: correlation {moved.kept:.2f}")
    echo(f"x: {options['x']} -> {path}")
    echo_points(run, z="mean", x=options["x"])
