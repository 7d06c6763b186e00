"""The figures that training and evaluation leave in a run folder."""

from pathlib import Path

import torch
from torch import Tensor

from vaezoo import plots
from vaezoo.data import Data
from vaezoo.data.dataset import Array
from vaezoo.device import seeded
from vaezoo.errors import RequestError
from vaezoo.evaluation import Evaluation
from vaezoo.runs import Run
from vaezoo.sites import Choice, encode, prior_predictive, reconstruct

__all__ = ["draw_evaluation", "draw_figures", "latent_codes", "reconstructions", "samples"]


def samples(run: Run, num_samples: int, *, x: Choice = "mean", seed: int = 0) -> Array:
    """Draw new data from a run: z from the prior, x its mean or a draw, in units of the data.

    Returns
    -------
    array
        Shape ``(num_samples, *x_shape)``.
    """
    run.pair.eval()
    with seeded(seed, run.device):
        sites = prior_predictive(run.pair, run.placeholder(num_samples), x=x)
    return in_data_units(run, only_x(sites))


def reconstructions(
    run: Run,
    num_rows: int,
    *,
    data: str | Data | None = None,
    split: str = "test",
    z: Choice = "mean",
    x: Choice = "mean",
    seed: int = 0,
    data_dir: str | None = None,
) -> tuple[Array, Array]:
    """Return data and their reconstructions, in units of the data.

    Returns
    -------
    tuple of array
        Each of shape ``(num_rows, *x_shape)``.
    """
    run.pair.eval()
    batches = run.batches(data, data_dir=data_dir)
    parts: list[Tensor] = []
    originals: list[Tensor] = []
    with seeded(seed, run.device):
        for args in batches.fixed(split, limit=num_rows):
            parts.append(only_x(reconstruct(run.pair, args, z=z, x=x)))
            originals.append(args[batches.names.index("x")])
    return in_data_units(run, torch.cat(originals)), in_data_units(run, torch.cat(parts))


def only_x(sites: dict[str, Tensor]) -> Tensor:
    """Return the site ``x``; a refusal for a pair that has none."""
    if "x" not in sites:
        raise RequestError(f"the model has no site 'x'; its sites: {', '.join(sites)}")
    return sites["x"]


def in_data_units(run: Run, x: Tensor) -> Array:
    """Undo a run's transform: pixels become grey levels again."""
    values: Array = run.transform.invert(x).cpu().numpy()
    return values


def draw_figures(run: Run, data_dir: str | None = None) -> Path:
    """Write samples, reconstructions, curves and latents into the run's folder ``figures``."""
    folder = run.folder() / "figures"
    scale = run.transform.scale
    plots.grid(samples(run, 64), folder / "samples.png", scale=scale)
    pairs = reconstructions(run, 64, split="validation", data_dir=data_dir)
    plots.pairs_grid(*pairs, folder / "reconstructions.png", scale=scale)
    if run.metrics:
        plots.curves(run.metrics, folder / "curves.png")
        plots.latents(run.metrics[-1]["validation"]["kl_per_latent"], folder / "latents.png")
    return folder


def draw_evaluation(run: Run, result: Evaluation) -> None:
    """Write the importance-weighted bound and the KL per latent of an evaluation."""
    folder = run.folder() / "figures"
    plots.iwae_curve(result.iwae, result.metrics.elbo, folder / "iwae.png")
    plots.latents(result.metrics.kl_per_latent, folder / "latents.png")


def latent_codes(
    run: Run,
    data: str | Data | None = None,
    *,
    split: str = "test",
    z: Choice = "mean",
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
    codes: dict[str, Array] = {name: torch.cat(parts).numpy() for name, parts in found.items()}
    if "label" in batches.data.arrays:
        codes["label"] = batches.data.arrays["label"][batches.data.rows(split)[:limit]]
    return codes
