"""The figures that training and evaluation leave in a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vaezoo.data.dataset import Array
from vaezoo.plots.curves import plot_curves, plot_iwae, plot_kl
from vaezoo.plots.grids import plot_grid, plot_grid_pairs
from vaezoo.plots.sequences import plot_sequence_pairs, plot_sequences
from vaezoo.plots.style import sequence_style
from vaezoo.predict.encoding import reconstruct
from vaezoo.predict.evaluation import Evaluation
from vaezoo.predict.sampling import sample
from vaezoo.runs import Run

__all__ = ["plot_data", "plot_evaluation", "plot_pairs", "plot_run"]


def plot_run(run: Run, data_dir: str | None = None) -> Path:
    """Write samples, reconstructions, curves and latents into the run's folder ``figures``."""
    folder = run.folder() / "figures"
    plot_data(run, folder / "samples.png", sample(run, 64))
    pairs = reconstruct(run, limit=64, split="validation", data_dir=data_dir)
    plot_pairs(run, folder / "reconstructions.png", *pairs)
    if run.metrics:
        plot_curves(run.metrics, folder / "curves.png")
        _plot_latents(run.metrics[-1]["validation"]["kl_per_latent"], folder)
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
    _plot_latents(result.metrics.kl_per_latent, folder)


def _plot_latents(kl_per_latent: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Write the KL of every latent, unless there are none or their KL does not factorise."""
    if kl_per_latent:
        plot_kl(kl_per_latent, folder / "latents.png")
