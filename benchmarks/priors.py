"""What is another prior worth on static MNIST? N(0, I) beside VampPrior, mixture and flow.

Networks are those of the model `vampprior`, 784-300-300-40. Tomczak & Welling 2018 (arXiv:
1705.07120, table 1) have -log p(x) of 88.56 nats with N(0, I) and 85.57 with a VampPrior, of gated
layers after some hundred epochs. `--rows` and `--steps` make a smaller setting, which is then said.
"""

import argparse
import time
from dataclasses import replace
from statistics import mean

import numpy as np
from _report import write

from vaezoo import fit, load_data
from vaezoo.data import Data
from vaezoo.predict.evaluation import evaluate_on

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--rows", type=int, default=50_000, help="of the training set")
parser.add_argument("--steps", type=int, default=50_000)
parser.add_argument("--warmup", type=int, default=10_000, help="steps in which beta rises to 1")
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--priors", default="standard,vamp,mog,flow")
parser.add_argument("--hidden", default="300,300")
parser.add_argument("--z-dim", type=int, default=40)
parser.add_argument("--components", type=int, default=500, help="of vamp and mog")
parser.add_argument("--test-rows", type=int, default=2_000)
parser.add_argument("--device", default="auto")

PUBLISHED = {"standard": "88.56", "vamp": "85.57"}
Scores = tuple[float, float, float]


def first_rows(data: Data, number: int) -> Data:
    splits = {**data.splits, "train": np.asarray(data.rows("train"))[:number]}
    return replace(data, splits=splits)


def hidden_of(options: argparse.Namespace) -> list[int]:
    return [int(width) for width in options.hidden.split(",")]


def score(data: Data, prior: str, seed: int, options: argparse.Namespace) -> Scores:
    """Return -log p(x) by 100 draws, -ELBO and KL of the test rows."""
    part: dict[str, object] = {"name": prior}
    if prior in ("vamp", "mog"):
        part["num_components"] = options.components
    run = fit(
        "vampprior",
        data,
        config={"prior": part, "hidden": hidden_of(options), "z_dim": options.z_dim},
        training={
            "steps": options.steps,
            "batch_size": 100,
            "lr": 1e-3,
            "kl_warmup": options.warmup,
            "seed": seed,
            "device": options.device,
        },
    )
    result = evaluate_on(run.pair, run.batches(data), iwae=(100,), limit=options.test_rows)
    return -result.iwae[0].value, -result.metrics.elbo, result.metrics.kl


def main() -> None:
    options, began = parser.parse_args(), time.monotonic()
    data = first_rows(load_data("binarized-mnist"), options.rows)
    rows: list[tuple[object, ...]] = [
        ("--prior", "-log p(x), 100 draws", "of each seed", "-ELBO", "KL", "published")
    ]
    for prior in options.priors.split(","):
        scores = [score(data, prior, seed, options) for seed in range(options.seeds)]
        bound, elbo, kl = (mean(values) for values in zip(*scores, strict=True))
        each = ", ".join(f"{values[0]:.2f}" for values in scores)
        published = PUBLISHED.get(prior, "")
        rows.append((f"`{prior}`", f"{bound:.2f}", each, f"{elbo:.2f}", f"{kl:.2f}", published))
        print(rows[-1], flush=True)
    text = (
        f"`vampprior` with the prior named, layers of {options.hidden} units, z {options.z_dim}, "
        f"{options.components} components, on the first {options.rows:,} rows of static MNIST: "
        f"{options.steps:,} steps of 100 rows, Adam 1e-3, beta rises in {options.warmup:,} steps; "
        f"{options.seeds} seeds, a sample of {options.test_rows:,} test images; nats."
    )
    write("priors", "What another prior is worth on static MNIST", text, rows, began)


if __name__ == "__main__":
    main()
