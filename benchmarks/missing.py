"""Imputation of a table with half of its entries missing, beside probabilistic PCA.

Protocol of Mattei & Frellsen 2019 (arXiv:1812.02633) and their notebook: the breast cancer data of
scikit-learn, 569 x 30, standardised; half of the entries are taken away completely at random; all
rows are trained on, and the error is that of what was taken away. ``miwae`` imputes the mean of x
given what is there, by importance weights of the guide.

    python benchmarks/missing.py [EPOCHS]

With ``--not-at-random`` a made-up table of three columns and one factor, the first of which is
missing the more often the larger it is: what ``not-miwae`` and ``miwae`` make of it.
"""

import sys

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

import vaezoo
from vaezoo.data import Data
from vaezoo.data.sets.sources import load_source
from vaezoo.distributions.families import elements_of
from vaezoo.exact.linear_gaussian import fit_ppca

Array = NDArray[np.float64]
DRAWS = 2_000


def table() -> tuple[Array, NDArray[np.bool_]]:
    """Return the table, and which entries are missing."""
    x = load_breast_cancer().data
    return (x - x.mean(0)) / x.std(0), np.isnan(load_source("breast-cancer").x)


def by_ppca(x: Array, missing: NDArray[np.bool_], q: int) -> Array:
    """Impute by exact probabilistic PCA of the entries that are there."""
    seen = torch.from_numpy(np.where(missing, np.nan, x))
    linear, _ = fit_ppca(seen, q)
    means, _, _ = linear.inferred(seen)
    return np.asarray(means @ linear.weight.T + linear.bias)


@torch.no_grad()
def by_miwae(x: Array, missing: NDArray[np.bool_], epochs: int, preset: str) -> Array:
    """Train ``miwae`` on what is there, and impute by importance weights (eq. 12)."""
    rows = np.arange(len(x))
    seen = np.where(missing, np.nan, x).astype(np.float32)
    splits = {"train": rows, "validation": rows[::5], "test": rows}
    training = {"epochs": epochs, "batch_size": 64, "patience": None}
    with torch.enable_grad():
        data = Data("breast-cancer", {"x": seen}, splits)
        run = vaezoo.fit("miwae", data, preset=preset, training=training)
    pair, there = run.pair.eval(), torch.from_numpy(~missing)
    values = torch.from_numpy(seen).nan_to_num()
    q = pair.encoder(torch.cat([values, there.float()], -1))
    z = q.sample((DRAWS,))
    elements = elements_of(pair.decoder(z))
    log_p = (elements.log_prob(values) * there).sum(-1) + pair.prior().log_prob(z)
    weights = (log_p - q.log_prob(z)).softmax(0)
    return np.asarray((weights.unsqueeze(-1) * elements.mean).sum(0).double())


def not_at_random() -> None:
    """Print the mean of the first column, 0, and how far imputed entries are off."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(800, 1)) + 0.5 * rng.normal(size=(800, 3))).astype(np.float32)
    missing = np.zeros(x.shape, bool)
    missing[:, 0] = rng.random(len(x)) < 1 / (1 + np.exp(-4 * (x[:, 0] - 0.3)))
    seen = np.where(missing, np.nan, x).astype(np.float32)
    gaussian = {"likelihood": {"name": "gaussian", "sigma": "per-dim"}}
    forms = {"miwae": gaussian} | {
        f"not-miwae, {form}": {"missingness": form}
        for form in ("self-masking", "self-masking-above", "linear")
    }
    print("| model | mean of the column, 0 | imputed: RMSE | bias |\n|---|---|---|---|")
    for name, config in forms.items():
        run = vaezoo.fit(
            name.partition(",")[0],
            seen,
            config={"z_dim": 2, "hidden": [32], **config},
            training={"steps": 1_500, "lr": 3e-3},
            data_settings={"standardize": False},
        )
        mean = vaezoo.sample(run, 4_000, x="sample")[:, 0].mean()
        error = (vaezoo.impute(run, seen[:200]).mean - x[:200])[missing[:200]]
        rmse = np.sqrt((error**2).mean())
        print(f"| `{name}` | {mean:.2f} | {rmse:.2f} | {error.mean():.2f} |", flush=True)


def main() -> None:
    if "--not-at-random" in sys.argv:
        not_at_random()
        return
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    x, missing = table()
    print("| model | MSE of what is missing |\n|---|---|")
    methods = {
        "mean": lambda: np.broadcast_to(np.nanmean(np.where(missing, np.nan, x), 0), x.shape)
    }
    for q in (2, 5, 10):
        methods[f"probabilistic PCA, q = {q}"] = lambda q=q: by_ppca(x, missing, q)
    for preset in ("default", "gaussian"):
        name = f"`miwae`, preset `{preset}`, {epochs} epochs"
        methods[name] = lambda preset=preset: by_miwae(x, missing, epochs, preset)
    for name, impute in methods.items():
        error = (impute() - x)[missing]
        print(f"| {name} | {(error**2).mean():.3f} |", flush=True)


if __name__ == "__main__":
    main()
