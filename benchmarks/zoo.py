"""Every model of images and vectors on the embedded digits; some of them in the README, too.

``--write`` puts those into README.md, between its two markers.
"""

import argparse
import re
import time
from collections.abc import Mapping
from pathlib import Path

from _report import markdown, write

from vaezoo import evaluate, fit
from vaezoo.registry import entries

README = Path(__file__).parents[1] / "README.md"
MARKS = ("<!-- zoo table: python benchmarks/zoo.py --write -->", "<!-- end of zoo table -->")

IN_README = (
    *("beta-vae", "mixture", "ppca", "vae-bernoulli", "vae-full-rank", "vae-gaussian"),
    *("vae-linear", "vampprior"),
)

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("models", nargs="*", help="Those named only, as 'vae-linear'.")
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--write", action="store_true")


def _floor(floors: Mapping[str, float], name: str) -> str:
    return f"{floors[name]:.2f}" if name in floors else ""


def main() -> None:
    began = time.monotonic()
    arguments = parser.parse_args()
    head = ("model", "reference", "data", "ELBO", "log p(x), 100 draws", "KL", "active units")
    rows = [(*head, "independent", "linear")]
    zoo = [entry for entry in entries() if entry.data != "sequences"]
    for entry in [e for e in zoo if e.name in arguments.models or not arguments.models]:
        run = fit(entry.name, training={"epochs": arguments.epochs, "seed": 0})
        result = evaluate(run, iwae=(100,))
        metrics = result.metrics
        bounds = [f"{b.value:.2f} ± {b.standard_error:.2f}" for b in result.iwae]
        rows.append(
            (
                f"`{entry.name}`",
                entry.reference,
                run.data.name,
                "" if metrics.is_autoencoder else f"{metrics.elbo:.2f}",
                *(bounds or [""]),
                f"{metrics.kl:.2f}",
                "" if metrics.active_units is None else metrics.active_units,
                *(_floor(result.floors, name) for name in ("independent", "linear")),
            )
        )
        print(rows[-1], flush=True)
    text = (
        f"Defaults of the models, {arguments.epochs} epochs at most, seed 0; test rows of the "
        "embedded digits, 8 x 8; nats per image, higher is better. Bernoulli models explain binary "
        "draws of the grey levels, Gaussian ones the grey levels in [0, 1]: compare only like with "
        "like. Simple models of the training rows stand beside each: independent elements (pixels "
        "that never vary are worth 3.7 nats each to a Gaussian), and exact probabilistic PCA with "
        "as many latents. Autoencoders have no density."
    )
    write("zoo", "The zoo on the embedded digits", text, rows, began)
    if arguments.write:
        pattern = re.compile(f"({re.escape(MARKS[0])}\n).*?({re.escape(MARKS[1])})", re.DOTALL)
        names = {f"`{name}`" for name in IN_README}
        table = markdown([rows[0], *(row for row in rows[1:] if row[0] in names)])
        content = README.read_text(encoding="utf-8")
        README.write_text(pattern.sub(rf"\g<1>{table}\n\g<2>", content), encoding="utf-8")


if __name__ == "__main__":
    main()
