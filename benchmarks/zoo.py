"""Every model of images and vectors on the embedded digits: the table in the README.

``--write`` puts the table into README.md, between its two markers.
"""

import argparse
import re
import time
from pathlib import Path

from _report import markdown, write

from vaezoo import evaluate, fit
from vaezoo.registry import entries

README = Path(__file__).parents[1] / "README.md"
MARKS = ("<!-- zoo table: python benchmarks/zoo.py --write -->", "<!-- end of zoo table -->")

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--write", action="store_true")


def main() -> None:
    began = time.monotonic()
    arguments = parser.parse_args()
    rows = [("model", "reference", "data", "ELBO", "log p(x), 100 draws", "KL", "active units")]
    for entry in [entry for entry in entries() if entry.data != "sequences"]:
        run = fit(entry.name, training={"epochs": arguments.epochs, "seed": 0})
        result = evaluate(run, iwae=(100,))
        (bound,) = result.iwae
        metrics = result.metrics
        rows.append(
            (
                f"`{entry.name}`",
                entry.reference,
                run.data.name,
                f"{metrics.elbo:.2f}",
                f"{bound.value:.2f} ± {bound.standard_error:.2f}",
                f"{metrics.kl:.2f}",
                metrics.active_units,
            )
        )
        print(rows[-1], flush=True)
    text = (
        f"Defaults of every model, {arguments.epochs} epochs at most, seed 0; test rows of the "
        "embedded digits, 8 x 8; nats per image, higher is better. Bernoulli models explain binary "
        "draws of the grey levels, Gaussian ones the grey levels in [0, 1]: compare only like with "
        "like."
    )
    write("zoo", "The zoo on the embedded digits", text, rows, began)
    if arguments.write:
        pattern = re.compile(f"({re.escape(MARKS[0])}\n).*?({re.escape(MARKS[1])})", re.DOTALL)
        table = markdown(rows)
        content = README.read_text(encoding="utf-8")
        README.write_text(pattern.sub(rf"\g<1>{table}\n\g<2>", content), encoding="utf-8")


if __name__ == "__main__":
    main()
