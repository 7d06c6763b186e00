"""The figures that training and evaluation leave in a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.data import Data
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.options import PointValue
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.pieces import join_sequences
from vaezoo.pairs.predictions import encode, prior_predictive, reconstruct
from vaezoo.pairs.sites import Args, argument_names, takes_lengths
from vaezoo.plots.curves import plot_curves, plot_iwae, plot_kl
from vaezoo.plots.grids import plot_grid, plot_grid_pairs
from vaezoo.plots.sequences import plot_sequence_pairs, plot_sequences
from vaezoo.plots.style import sequence_style
from vaezoo.predict.continuation import usual_steps
from vaezoo.predict.evaluation import Evaluation
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded

__all__ = [
    "latent_codes",
    "plot_data",
    "plot_evaluation",
    "plot_pairs",
    "plot_run",
    "reconstructions",
    "samples",
]


def samples(
    run: Run, num_samples: int, *, x: PointValue = "mean", seed: int = 0, steps: int | None = None
) -> Array:
    """Draw new data from a run: z from the prior, x its mean or a draw, in units of the data.

    A sequence hears its own draws: also where the mean of a frame is shown, a draw of it is what
    the next one follows.

    Parameters
    ----------
    run
        A trained run.
    num_samples
        How many.
    x
        What is shown of p(x | z).
    seed
        Seed of the draws.
    steps
        Frames of a sequence; by default as many as the data's usually have.

    Returns
    -------
    array
        Shape ``(num_samples, *x_shape)``.
    """
    run.pair.eval()
    with seeded(seed, run.device):
        args = _with_steps(run, run.placeholder(num_samples), steps)
        sites = prior_predictive(run.pair, args, x=x)
    return in_data_units(run, only_x(sites))


def _with_steps(run: Run, args: Args, steps: int | None) -> Args:
    """Return the arguments of a model for sequences of so many frames."""
    if not takes_lengths(run.pair):
        if steps is not None:
            raise RequestError(f"`steps` takes a run on sequences, and {run.name} is none")
        return args
    steps = usual_steps(run) if steps is None else steps
    named = dict(zip(argument_names(run.pair), args, strict=True))
    x = named["x"]
    return tuple(
        {
            **named,
            "x": x.new_zeros(len(x), steps, *x.shape[2:]),
            "length": torch.full_like(named["length"], steps),
        }.values()
    )


def reconstructions(
    run: Run,
    num_rows: int,
    *,
    data: str | Data | None = None,
    split: str = "test",
    z: PointValue = "mean",
    x: PointValue = "mean",
    seed: int = 0,
    data_dir: str | None = None,
) -> tuple[Array, Array]:
    """Return data and their reconstructions, in units of the data.

    Returns
    -------
    tuple of array
        Each of shape ``(num_rows, *x_shape)``; nan behind the end of a sequence.
    """
    run.pair.eval()
    batches = run.batches(data, data_dir=data_dir)
    parts: list[Tensor] = []
    originals: list[Tensor] = []
    with seeded(seed, run.device):
        for args in batches.fixed(split, limit=num_rows):
            named = dict(zip(batches.names, args, strict=True))
            made = only_x(reconstruct(run.pair, args, z=z, x=x))
            for found, values in ((originals, named["x"]), (parts, made)):
                shown, length = run.transform.invert(values), named.get("length")
                found.append(shown if length is None else fill_padding(shown, length, torch.nan))
    return _joined(originals), _joined(parts)


def _joined(parts: list[Tensor]) -> Array:
    """Join rows; sequences that were cut to different lengths are filled up with nan."""
    values: Array = join_sequences(parts, torch.nan).cpu().numpy()
    return values


def only_x(sites: dict[str, Tensor]) -> Tensor:
    """Return the site ``x``; a refusal for a pair that has none."""
    if "x" not in sites:
        raise RequestError(f"the model has no site 'x'; its sites: {', '.join(sites)}")
    return sites["x"]


def in_data_units(run: Run, x: Tensor) -> Array:
    """Undo a run's transform: pixels become grey levels again."""
    values: Array = run.transform.invert(x).cpu().numpy()
    return values


def plot_run(run: Run, data_dir: str | None = None) -> Path:
    """Write samples, reconstructions, curves and latents into the run's folder ``figures``."""
    folder = run.folder() / "figures"
    plot_data(run, folder / "samples.png", samples(run, 64))
    pairs = reconstructions(run, 64, split="validation", data_dir=data_dir)
    plot_pairs(run, folder / "reconstructions.png", *pairs)
    if run.metrics:
        plot_curves(run.metrics, folder / "curves.png")
        plot_latents(run.metrics[-1]["validation"]["kl_per_latent"], folder)
    return folder


def plot_data(run: Run, path: Path, x: Array, *, begun: int | None = None) -> None:
    """Write data as a picture of their kind; of sequences, ``begun`` frames were given."""
    style = sequence_style(run)
    if style:
        plot_sequences(x, path, style, begun=begun)
    else:
        plot_grid(x, path, scale=run.transform.scale)


def plot_pairs(run: Run, path: Path, x: Array, others: Array) -> None:
    """Write data and what the model makes of them as alternating rows of pictures."""
    style = sequence_style(run)
    if style:
        plot_sequence_pairs(x, others, path, style)
    else:
        plot_grid_pairs(x, others, path, scale=run.transform.scale)


def plot_evaluation(run: Run, result: Evaluation) -> None:
    """Write the importance-weighted bound and the KL per latent of an evaluation."""
    folder = run.folder() / "figures"
    plot_iwae(result.iwae, result.metrics.elbo, folder / "iwae.png")
    plot_latents(result.metrics.kl_per_latent, folder)


def plot_latents(kl_per_latent: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Write the KL of every latent, unless there are none or their KL does not factorise."""
    if kl_per_latent:
        plot_kl(kl_per_latent, folder / "latents.png")


def latent_codes(
    run: Run,
    data: str | Data | None = None,
    *,
    split: str = "test",
    z: PointValue = "mean",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
) -> dict[str, Array]:
    """Return the latents of data by site, each ``(N, *event)``, and the labels if there are any."""
    run.pair.eval()
    batches = run.batches(data, data_dir=data_dir)
    found: dict[str, list[Tensor]] = {}
    with seeded(seed, run.device):
        for args in batches.fixed(split, limit=limit):
            for name, value in encode(run.pair, args, z=z).items():
                found.setdefault(name, []).append(value.cpu())
    if not found:
        raise RequestError(f"the pair of '{run.name}' has no latents, so there are no codes")
    codes: dict[str, Array] = {name: torch.cat(parts).numpy() for name, parts in found.items()}
    if "label" in batches.data.arrays:
        codes["label"] = batches.data.arrays["label"][batches.data.rows(split)[:limit]]
    return codes
