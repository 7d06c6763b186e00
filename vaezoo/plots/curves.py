"""Curves and bars of training and evaluation: learning curves, latents in use, the bound by K."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.plots.paper import new_figure, write_figure

__all__ = ["plot_curves", "plot_iwae", "plot_kl"]

TITLES = {
    "elbo": "ELBO",
    "recon": "log p(x | z)",
    "kl": "KL(q || p)",
    "reconstruction": "log p(x | z)",
    "penalty": "-log p(z)",
}
_STYLES = {"train": "--", "validation": "-"}


def plot_curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write ELBO, reconstruction and KL of training and validation by epoch.

    Of an autoencoder its reconstruction, and the penalty of its prior, if it has one.
    """
    titles = {key: title for key, title in TITLES.items() if key in metrics[0]["train"]}
    if not any(record[split].get("penalty") for record in metrics for split in _STYLES):
        titles.pop("penalty", None)
    figure, axes = new_figure(1, len(titles))
    epochs = [record["epoch"] for record in metrics]
    axes = np.ravel(axes)
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for split, style in _STYLES.items():
            values = [record[split][key] for record in metrics]
            axis.plot(epochs, values, style, label=split, linewidth=1.2)
        axis.set(title=title, xlabel="epoch", ylabel="nats")
        tail = [record[s][key] for record in metrics[len(metrics) // 20 :] for s in _STYLES]
        low, high = min(tail), max(tail)
        axis.set_ylim(low - 0.05 * (high - low) - 1e-3, high + 0.05 * (high - low) + 1e-3)
    axes[0].legend(frameon=False)
    write_figure(figure, path)


def plot_kl(kl_per_latent: Mapping[str, Sequence[float]], path: Path) -> None:
    """Write the KL of every latent, the largest first; a bar near zero is a latent not in use.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_kl({"z": [0.5, 0.0]}, Path(folder, "latents.png"))
    ...     Path(folder, "latents.png").stat().st_size > 1000
    True
    """
    figure, axes = new_figure(1, max(1, len(kl_per_latent)))
    for axis, (name, values) in zip(np.ravel(axes), kl_per_latent.items(), strict=False):
        axis.bar(range(len(values)), sorted(values, reverse=True), width=0.8)
        axis.set(title=f"KL of each element of '{name}'", xlabel="latent, by KL", ylabel="nats")
        axis.xaxis.get_major_locator().set_params(integer=True)
    write_figure(figure, path)


def plot_iwae(bounds: Sequence[Any], elbo: float, path: Path) -> None:
    """Write the importance-weighted bound against the number of draws."""
    figure, axis = new_figure()
    ks = [bound.num_samples for bound in bounds]
    values = [bound.value for bound in bounds]
    errors = [bound.standard_error or 0.0 for bound in bounds]
    axis.errorbar(ks, values, errors, marker="o", capsize=3, label="IWAE bound")
    axis.axhline(elbo, linestyle="--", color="grey", label="ELBO")
    axis.set(xscale="log", xlabel="draws K", ylabel="nats", title="log p(x), from below")
    axis.legend(frameon=False)
    write_figure(figure, path)
