"""``vaezoo sigma``."""

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
    from vaezoo.data.dataset import Array
    from vaezoo.diagnostics.noise import NoiseScale
    from vaezoo.runs import Run


__all__ = ["sigma"]


@click.command()
@takes_data
@limit_option(1_000, "How many rows.")
@given_option
@out_option(".png", text="A .png file.  [default: RUN/figures/sigma.png]")
@json_option
@seed_option
@takes_run
def sigma(run: "Run", out: Path | None, as_json: bool, **options: Any) -> None:
    """Show how wide the decoder is, and whether data lie as far from its mean as it says.

    z is drawn from q(z | x). Intervals of p(x | z) should hold the share of held-out x that they
    say; `if right` is where 95 of 100 such shares lie. Sigma is in the units of the data.

    \b
    Example:
      vaezoo sigma runs/my-run -o sigma.png
    """
    from vaezoo.cli._files import output
    from vaezoo.plots.decoder.sigma import plot_noise_scale

    noise = vaezoo.noise_scale(run, **options)
    path = out or run.folder() / "figures" / "sigma.png"
    with output(run, out, "sigma.png") as file:
        plot_noise_scale(run, noise, file)
    if as_json:
        echo_json({**_facts(noise), "picture": str(path)})
        return
    _echo(noise)
    echo(f"\n{noise.num_rows} {options['split']} rows, seed {options['seed']} -> {path}")


def _echo(noise: "NoiseScale") -> None:
    """Print sigma, the intervals, and what they say."""
    import numpy as np

    least, median, most = np.nanquantile(noise.sigma, (0, 0.5, 1))
    of = "differs with z" if noise.depends_on_z else "is the same for all z"
    echo(
        f"p(x | z) is a {noise.family}; sigma {of}, over its elements "
        f"{least:.3g} ... {most:.3g} (median {median:.3g}), in units of the data\n"
    )
    elements = int((~np.isnan(noise.sigma)).sum())
    rows = [
        (
            f"{one.level:.0%}",
            f"{one.share:.1%}",
            f"{one.low:.1%} ... {one.high:.1%}",
            one.verdict,
            f"{one.too_few} of {elements} too narrow, {one.too_many} too wide",
        )
        for one in noise.coverage
    ]
    table([("interval", "holds", "if right", "sigma is", "elements"), *rows], width=100)
    echo(
        f"\n(x - mean) / sigma, root mean square: {noise.ratio:.3f} +/- {noise.ratio_error:.3f} "
        f"(1 is right, 2 is half the sigma that it should be); "
        f"PIT uniform: p {'< 0.001' if noise.p_value < 0.001 else f'= {noise.p_value:.3f}'}"
    )
    inner, outer = (noise.coverage[place].verdict for place in (0, -1))
    if (inner, outer) == ("too wide", "too narrow"):
        echo(
            "narrow intervals hold too many and wide ones too few: tails are heavier than those of "
            f"a {noise.family}, or some elements have another sigma than the rest"
        )


def _facts(noise: "NoiseScale") -> dict[str, Any]:
    import numpy as np

    arrays = {
        name: np.asarray(getattr(noise, name), np.float64)
        for name in ("sigma", "low", "high", "residual", "ratio_by_element")
    }
    coverage = [
        {
            **{name: getattr(one, name) for name in ("level", "share", "low", "high", "verdict")},
            "elements_too_narrow": one.too_few,
            "elements_too_wide": one.too_many,
        }
        for one in noise.coverage
    ]
    return {
        "family": noise.family,
        "depends_on_z": noise.depends_on_z,
        "num_rows": noise.num_rows,
        "ratio": noise.ratio,
        "ratio_error": noise.ratio_error,
        "p_value": noise.p_value,
        "coverage": coverage,
        **{name: _numbers(values) for name, values in arrays.items()},
    }


def _numbers(values: "Array") -> Any:
    """Return an array as lists, None for nan, which JSON has none of."""
    import numpy as np

    return np.where(np.isnan(values), np.array(None), values).tolist()
