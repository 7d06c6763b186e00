"""``vaezoo evaluate``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._flags import in_flags
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    Counts,
    choice_option,
    echo_json,
    echo_note,
    json_option,
    limit_option,
    seed_option,
    table,
    takes_data,
    takes_runs,
)
from vaezoo.cli._streams import echo
from vaezoo.options import SIMPLE_MODELS, Precision

if TYPE_CHECKING:
    from vaezoo.predict.bounds import Bound
    from vaezoo.predict.comparison.estimates import Estimate
    from vaezoo.predict.evaluation import Evaluation
    from vaezoo.runs import Run
    from vaezoo.training.metrics import Metrics

__all__ = ["evaluate"]

UNITS = "in the units of the data"


@click.command()
@takes_data
@click.option(
    "--iwae",
    type=Counts("numbers of draws, as 1,10,100"),
    default="1,10,100",
    show_default=True,
    metavar="K,...",
    help="Numbers of draws of the importance-weighted bound on log p(x).",
)
@click.option(
    "--fivo",
    type=Counts("numbers of particles, as 5,100"),
    default=(),
    metavar="K,...",
    help="Numbers of particles of the filtering and the predictive bound, for sequences.",
)
@click.option(
    "--free-running",
    type=int,
    metavar="FRAMES",
    help="Predict sequences from their first frames only, the model running by itself.",
)
@choice_option(
    "--precision",
    Precision,
    help="Of products inside networks, for IWAE: auto and bf16 are faster where the processor has "
    "bfloat16, and each weight is off by some hundredths of a nat.",
)
@limit_option()
@given_option
@seed_option
@json_option
@takes_runs
def evaluate(runs: "Sequence[Run]", as_json: bool, **options: Any) -> None:
    """Estimate how good a trained model is: ELBO, log p(x), latents in use.

    \b
    Example:
      vaezoo evaluate runs/my-run --iwae 1,10,100,1000
      vaezoo evaluate runs/my-vrnn --fivo 5,100 --free-running 4
      vaezoo evaluate runs/of-many-seeds

    Of several runs, or the folder of several seeds, each is evaluated, and
    means stand below with their 95 % intervals, over runs that differ in
    their seed alone.
    
    Of sequences, in nats per frame and per sequence:
      IWAE, FIVO    bounds on log p(x), from draws of the guide; FIVO is a
                    particle filter (filtering: z_t is drawn knowing x_t)
      predictive    the same with the prior as proposal: x_t is predicted from
                    the frames before it
      free-running  log p(x_t | first frames), the model fed with its own
                    frames; per frame, beside filtering on the same frames
    """
    from vaezoo.cli._progress import rows_bar
    from vaezoo.plots.figures import plot_evaluation
    from vaezoo.runtime.memory import keep_freed_memory

    keep_freed_memory()
    results = []
    for run in runs:
        with rows_bar() as progress:
            result = vaezoo.evaluate(run, **options, progress=progress, notify=echo_note)
        if not as_json:
            _print(run, result)
        plot_evaluation(run, result, notify=echo_note)
        results.append(result)
    if len(runs) > 1:
        _print_over_runs(runs, results, as_json)
    elif as_json:
        echo_json(results[0].to_dict())


def _print_over_runs(runs: "Sequence[Run]", results: "Sequence[Evaluation]", as_json: bool) -> None:
    """Print means over runs with their intervals, where they differ in their seed alone."""
    from vaezoo.predict.comparison.comparing import settings_apart
    from vaezoo.predict.comparison.over_runs import over_runs

    apart = settings_apart(runs)
    estimates = {} if apart else over_runs(results)
    if as_json:
        each = [
            {"run": str(run.path), **result.to_dict()}
            for run, result in zip(runs, results, strict=True)
        ]
        echo_json({"runs": each, "over_runs": {n: asdict(e) for n, e in estimates.items()}})
        return
    if apart:
        echo(f"\nno means: the runs differ in {', '.join(apart)}; vaezoo compare says by how much")
        return
    rows = [(name, f"{e.value:.3f}", *_interval(e)) for name, e in estimates.items()]
    echo(f"\n{len(runs)} runs")
    table([("", "mean", "standard error", "95 % interval"), *rows])


def _interval(estimate: "Estimate") -> tuple[str, str]:
    if estimate.interval is None or estimate.standard_error is None:
        return "", ""
    low, high = estimate.interval
    return f"{estimate.standard_error:.3f}", f"{low:.3f} to {high:.3f}"


def _print(run: "Run", result: "Evaluation") -> None:
    metrics = result.metrics
    if metrics.is_autoencoder:
        _print_reconstruction(run, result)
        return
    if result.num_frames is None:
        _print_bounds(run, result)
    else:
        _print_sequence_bounds(run, result)
    for line in result.left_out:
        echo(f"  left out: {in_flags(line)}")
    if result.in_units:
        numbers = (f"{name} {value:.3f}" for name, value in result.in_units.items())
        echo(f"  {UNITS}: {', '.join(numbers)}")
    if metrics.bits_per_dim is not None:
        units = f"  {UNITS}" if result.in_units else ""
        echo(f"  bits per dim   {metrics.bits_per_dim:10.4f}{units}")
    _print_sites(metrics)
    for name, values in metrics.kl_per_latent.items():
        largest = " ".join(f"{value:.2f}" for value in sorted(values, reverse=True)[:10])
        more = " ..." if len(values) > 10 else ""
        echo(f"  KL per latent  {name}: {largest}{more}")
    if metrics.active_units is not None:
        total = sum(len(values) for values in metrics.kl_per_latent.values())
        of = f" of {total}" if total else ""
        echo(f"  active units   {metrics.active_units:10d}{of}")
    if result.information is not None:
        echo(
            f"  information    {result.information:10.3f}  of z about x, on "
            f"{result.information_rows} rows; marginal KL {metrics.kl - result.information:.3f}"
        )


def _print_sites(metrics: "Metrics") -> None:
    """Print how well each of several observed sites is explained."""
    for name, site in metrics.sites.items():
        kind = "probability" if site.is_discrete else "density"
        bits = f"{site.bits_per_dim:.4f} bits per dim, {site.num_elements:.4g} dims"
        echo(f"  {name:<14} {site.recon:10.3f}  log p({name} | z), a {kind}: {bits}")


def _of_what(run: "Run", result: "Evaluation") -> str:
    """Return of which values densities are, where they are not those that are stored."""
    if not result.metrics.log_volume:
        return ""
    if run.transform.mean is not None:
        return ", of standardised values"
    return f", of values divided by {run.transform.scale:g}"


def _print_reconstruction(run: "Run", result: "Evaluation") -> None:
    metrics = result.metrics
    unit = "datum" if result.num_frames is None else "frame"
    echo(
        f"{run.name}: {result.num_rows} {result.split} rows, nats per {unit}{_of_what(run, result)}"
    )
    echo(f"  reconstruction {metrics.recon:10.3f}  log p(x | z)")
    if metrics.penalty:
        echo(f"  penalty        {metrics.penalty:10.3f}  by the prior and by factors")
    _print_sites(metrics)
    for line in result.left_out:
        echo(f"  left out: {in_flags(line)}")


def _print_bounds(run: "Run", result: "Evaluation") -> None:
    metrics = result.metrics
    echo(
        f"{run.name}: {result.num_rows} {result.split} rows, nats per datum{_of_what(run, result)}"
    )
    echo(f"  ELBO           {metrics.elbo:10.3f}  = {metrics.sum_of_terms}")
    for bound in result.iwae:
        value = _estimate(bound.value, bound.standard_error)
        echo(f"  {f'IWAE {bound.num_samples}':<14} {value}".rstrip())
    _print_floors(result)


def _print_floors(result: "Evaluation") -> None:
    for name, value in result.floors.items():
        echo(f"  {name:<14} {value:10.3f}  {SIMPLE_MODELS[name]}, fitted to training rows")


def _print_sequence_bounds(run: "Run", result: "Evaluation") -> None:
    metrics = result.metrics
    size = f"{result.num_rows} {result.split} sequences, {result.num_frames} frames"
    echo(f"{run.name}: {size}{_of_what(run, result)}")
    echo(f"{'':17}{'nats per frame':>21}   {'nats per sequence':>25}")
    echo(_row("ELBO", metrics.elbo, None, result.elbo_per_sequence, None))
    echo(f"  {'':14} {'':10}  = {metrics.sum_of_terms} per frame")
    named = (("IWAE", result.iwae), ("FIVO", result.fivo), ("predictive", result.predictive))
    for name, bounds in named:
        for bound in bounds:
            echo(_bound_row(name, bound))
    _print_floors(result)
    alone = result.free_running
    if alone:
        value = _estimate(alone.value, alone.standard_error)
        start = f"given {alone.prefix} frames" if alone.prefix else "from nothing"
        echo(f"  {'free-running':<14} {value}   {start}, {alone.num_samples} particles")
        echo(f"  {'filtering':<14} {alone.filtering:10.3f}   the same {alone.num_frames} frames")


def _bound_row(name: str, bound: "Bound") -> str:
    label = f"{name} {bound.num_samples}"
    return _row(
        label, bound.value, bound.standard_error, bound.per_sequence, bound.per_sequence_error
    )


def _row(
    label: str,
    per_frame: float,
    frame_error: float | None,
    per_sequence: float | None,
    sequence_error: float | None,
) -> str:
    left = f"{_estimate(per_frame, frame_error):<24}"
    right = "" if per_sequence is None else _estimate(per_sequence, sequence_error, width=12)
    return f"  {label:<14} {left}{right}".rstrip()


def _estimate(value: float, error: float | None, width: int = 10) -> str:
    return f"{value:{width}.3f}" + ("" if error is None else f"  +- {error:.3f}")
