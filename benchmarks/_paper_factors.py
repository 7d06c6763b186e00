"""Rows of papers about labels: factors that codes follow, and classes from few labels."""

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _paper_runs import FIXED, Figure, train
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score

from vaezoo import load_data
from vaezoo.data import Data
from vaezoo.data.sets.sprites import FACTORS
from vaezoo.predict.evaluation import evaluate_on
from vaezoo.runs import Run
from vaezoo.training.metrics import Metrics

__all__ = ["dsprites", "m2"]


def dsprites(folder: Path, seed: int) -> list[Figure]:
    """beta-VAE, beta 4, three seeds: KL, active units and MIG."""
    steps, seeds = 20_000, range(seed, seed + 3)
    trained = [
        train(
            folder / f"dsprites-{own}",
            "beta-vae",
            "dsprites",
            config={},
            training={"steps": steps, "seed": own, **FIXED},
        )
        for own in seeds
    ]
    scores = [mig(*codes_and_factors(each.run)) for each in trained]
    metrics = [_metrics(each.run) for each in trained]
    raw = mig(raw_components(trained[0].run, 10), codes_and_factors(trained[0].run)[1])
    said = f"256-256 ReLU, batch 64, Adam 1e-3, {steps:,} steps of 300,000 (disentanglement_lib), "
    said += "median of seeds {}: ".format(", ".join(map(str, seeds)))
    minutes = sum(each.minutes for each in trained)

    def figure(what: str, values: list[float], digits: int = 2, **beside: Any) -> Figure:
        each = ", ".join(f"{value:.{digits}f}" for value in values)
        return Figure(what, median(values), settings=said + each, digits=digits, **beside)

    return [
        figure("MIG", scores, target="0.05 to 0.40", published="0.21", floor=f"PCA {raw:.2f}",
               minutes=minutes),
        figure("KL", [own.kl for own in metrics]),
        figure("active units of 10", [float(own.active_units or 0) for own in metrics], 0),
        figure("-ELBO", [-own.elbo for own in metrics]),
    ]  # fmt: skip


def _metrics(run: Run) -> Metrics:
    return evaluate_on(run.pair, run.batches(), iwae=(1,), limit=2_000).metrics


ROWS_OF_MIG = 10_000


def _rows_of_mig(run: Run) -> NDArray[np.int64]:
    rows = run.find_data().rows("train")
    return np.sort(np.random.default_rng(0).choice(rows, ROWS_OF_MIG, replace=False))


@torch.no_grad()
def codes_and_factors(run: Run) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the means of q(z | x) of some rows, and the factors of dSprites of these."""
    data, rows = run.find_data(), _rows_of_mig(run)
    x = torch.from_numpy(np.asarray(data.x[rows])).float()
    codes = torch.cat([run.pair.eval().encoder(part).mean for part in x.split(500)])
    return codes.double().numpy(), np.stack([data.arrays[name][rows] for name in FACTORS], 1)


def raw_components(run: Run, number: int) -> NDArray[np.float64]:
    """Return the principal components of the same rows: a linear model without a prior."""
    x = np.asarray(run.find_data().x[_rows_of_mig(run)], np.float32).reshape(ROWS_OF_MIG, -1)
    x = torch.from_numpy(x - x.mean(0))
    torch.manual_seed(0)
    _, _, v = torch.svd_lowrank(x, q=number + 10, niter=4)
    return (x @ v[:, :number]).double().numpy()


def mig(codes: NDArray[np.float64], factors: NDArray[np.int64], bins: int = 20) -> float:
    """Return the mutual information gap (Chen et al. 2018, arXiv:1802.04942, sec. 4.1).

    Each code in 20 bins of equal width, as Locatello et al. 2019 (arXiv:1811.12359) have it.
    """
    edges = [np.histogram(code, bins)[1][:-1] for code in codes.T]
    binned = [np.digitize(code, edge) for code, edge in zip(codes.T, edges, strict=True)]
    gaps = []
    for factor in factors.T:
        shared = sorted(mutual_info_score(factor, code) for code in binned)
        entropy = mutual_info_score(factor, factor)
        gaps.append((shared[-1] - shared[-2]) / entropy)
    return float(np.mean(gaps))


def m2(folder: Path, seed: int) -> list[Figure]:
    """Accuracy of M2 with 600 labels of MNIST, beside a linear classifier of the same labels."""
    steps, labels = 6_000, 600
    data = load_data("mnist")
    labelled, rest = few_labels(data, labels, seed)
    label = np.full(len(data.x), -1, np.int64)
    label[labelled] = data.arrays["label"][labelled]
    rows = np.concatenate([np.tile(labelled, 10), rest])
    partly = replace(
        data, arrays={"x": data.x, "label": label}, splits={**data.splits, "train": rows}
    )
    trained = train(
        folder / f"m2-{seed}",
        "ssvae",
        partly,
        config={"z_dim": 50, "num_labels": 10},
        training={"steps": steps, "batch_size": 100, "seed": seed, **FIXED},
    )
    test = data.rows("test")
    x = torch.from_numpy(data.x[test] / data.scale).float()
    with torch.no_grad():
        guess = torch.cat(
            [trained.run.pair.eval().classify(part).argmax(-1) for part in x.split(500)]
        )
    accuracy = float((guess.numpy() == data.arrays["label"][test]).mean())
    linear = LogisticRegression(max_iter=300, C=0.1)
    linear.fit(data.x[labelled].reshape(labels, -1) / 255.0, label[labelled])
    beside = linear.score(data.x[test].reshape(len(test), -1) / 255.0, data.arrays["label"][test])
    said = f"500 ReLU, z 50, batch 100, {steps:,} steps; labelled rows ten times as often"
    figure = Figure(
        *("accuracy, 600 labels", accuracy, "≥ 0.94", "0.951 (M2), 0.974 (M1 + M2)"),
        *(f"logistic regression {beside:.3f}", said, trained.minutes, 3),
    )
    return [figure]


def few_labels(data: Data, number: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return training rows with a label, as many of each class, and those without."""
    rows = np.random.default_rng(seed).permutation(data.rows("train"))
    label = data.arrays["label"][rows]
    chosen = np.concatenate([rows[label == c][: number // 10] for c in range(10)])
    return chosen, np.setdiff1d(rows, chosen)
