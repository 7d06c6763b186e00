"""``vaezoo evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli._shared import (
    data_dir_option,
    data_option,
    device_option,
    echo_json,
    json_option,
    model_option,
    run_argument,
    seed_option,
    split_option,
)
from vaezoo.errors import RequestError

if TYPE_CHECKING:
    from vaezoo.evaluation import Evaluation
    from vaezoo.runs import Run


@click.command()
@run_argument
@data_option
@data_dir_option
@split_option
@click.option(
    "--iwae",
    default="1,10,100",
    show_default=True,
    metavar="K,...",
    help="Numbers of draws of the importance-weighted bound on log p(x).",
)
@click.option("-n", "limit", type=click.IntRange(min=1), help="Only the first so many rows.")
@seed_option
@device_option
@model_option
@json_option
def evaluate(
    run: Path,
    data: str | None,
    data_dir: str | None,
    split: str,
    iwae: str,
    limit: int | None,
    seed: int,
    device: str,
    model: str | None,
    as_json: bool,
) -> None:
    """Estimate how good a trained model is: ELBO, log p(x), latents in use.

    \b
    Example:
      vaezoo evaluate runs/my-run --iwae 1,10,100,1000
    """
    from vaezoo.cli._progress import rows_bar
    from vaezoo.evaluation import evaluate as evaluate_run
    from vaezoo.figures import draw_evaluation
    from vaezoo.runs import load_run

    loaded = load_run(run, device=device, model=model)
    with rows_bar() as progress:
        result = evaluate_run(
            loaded,
            data,
            split=split,
            iwae=_numbers(iwae),
            limit=limit,
            seed=seed,
            data_dir=data_dir,
            progress=progress,
        )
    if as_json:
        echo_json(result.to_dict())
    else:
        _print(loaded, result)
    draw_evaluation(loaded, result)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise RequestError(f"--iwae takes numbers of draws, as 1,10,100 (got '{text}')") from error


def _print(run: "Run", result: "Evaluation") -> None:
    metrics = result.metrics
    unit = "nats per frame" if run.info.get("data_kind") == "sequences" else "nats per datum"
    click.echo(f"{run.name}: {result.num_rows} {result.split} rows, {unit}")
    click.echo(
        f"  ELBO           {metrics.elbo:10.3f}  = {metrics.recon:.3f} - KL {metrics.kl:.3f}"
    )
    for bound in result.iwae:
        error = "" if bound.standard_error is None else f"  +- {bound.standard_error:.3f}"
        click.echo(f"  IWAE {bound.num_samples:<9} {bound.value:10.3f}{error}")
    click.echo(f"  bits per dim   {metrics.bits_per_dim:10.4f}")
    for name, values in metrics.kl_per_latent.items():
        largest = " ".join(f"{value:.2f}" for value in sorted(values, reverse=True)[:10])
        more = " ..." if len(values) > 10 else ""
        click.echo(f"  KL per latent  {name}: {largest}{more}")
    if metrics.active_units is not None:
        total = sum(len(values) for values in metrics.kl_per_latent.values())
        of = f" of {total}" if total else ""
        click.echo(f"  active units   {metrics.active_units:10d}{of}")
    if result.information is not None:
        click.echo(
            f"  information    {result.information:10.3f}  of z about x, on "
            f"{result.information_rows} rows; marginal KL {metrics.kl - result.information:.3f}"
        )
