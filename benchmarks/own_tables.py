"""Does a VAE with all defaults end above its linear floor, on unlike real tables?

Each table is written as a file of comma-separated values, and ``vaezoo train vae-gaussian --data
FILE`` is what is run: no flag but the seeds, of the split and of the training. The pen strokes need
``VAEZOO_DATA``; without it they are left out.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
from _report import write
from numpy.typing import NDArray
from sklearn import datasets

import vaezoo
from vaezoo.errors import VaezooError
from vaezoo.predict.evaluation import Evaluation
from vaezoo.settings import DataSettings

POINTS = 8  # of a pen stroke, as in the table of Alimoglu & Alpaydin 1996

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--tables", help="names, as wine,iris  [default: all]")


def tables() -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield names and rows; integers stay integers."""
    yield "iris", datasets.load_iris().data
    yield "wine", datasets.load_wine().data
    yield "breast-cancer", datasets.load_breast_cancer().data
    diabetes = datasets.load_diabetes(scaled=False)
    yield "diabetes", np.column_stack([diabetes.data, diabetes.target])
    yield "digits", datasets.load_digits().data
    try:
        yield "pen-digits", _pen_digits()
    except VaezooError as error:
        print(f"left out: {error}")


def _pen_digits() -> NDArray[np.float64]:
    """Return drawings as the places of 8 points at equal times, in units of the drawing."""
    data = vaezoo.load_data("pendigits")
    assert data.length is not None
    rows = []
    for frames, length in zip(data.x, data.length, strict=True):
        path = np.cumsum(frames[:length, :2].astype(np.float64), axis=0)
        times = np.linspace(0, length - 1, POINTS)
        points = [np.interp(times, np.arange(length), path[:, axis]) for axis in (0, 1)]
        rows.append(np.stack(points, 1).ravel())
    return np.array(rows)


def evaluated(x: NDArray[np.float64], path: Path, seed: int) -> Evaluation:
    """Train on a table with all defaults, and evaluate on its test rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(f"c{number}" for number in range(x.shape[1]))
        writer.writerows([f"{value:.10g}" for value in row] for row in x)
    data = DataSettings(name=str(path), split_seed=seed)
    run = vaezoo.fit("vae-gaussian", data, training={"seed": seed})
    return vaezoo.evaluate(run, iwae=(100,))


def main() -> None:
    began = time.monotonic()
    arguments = parser.parse_args()
    head = ["table", "rows", "columns", "independent", "linear", "ELBO", "log p(x), 100 draws"]
    rows = [[*head, "ELBO above linear"]]
    with tempfile.TemporaryDirectory() as folder:
        for name, x in tables():
            if arguments.tables and name not in arguments.tables.split(","):
                continue
            path = Path(folder, f"{name}.csv")
            results = [evaluated(x, path, seed) for seed in range(arguments.seeds)]
            columns = [
                [result.floors["independent"] for result in results],
                [result.floors["linear"] for result in results],
                [result.metrics.elbo for result in results],
                [result.iwae[0].value for result in results],
            ]
            above = sum(elbo > linear for linear, elbo in zip(*columns[1:3], strict=True))
            cells = [f"{mean(c):.2f} ({', '.join(f'{v:.2f}' for v in c)})" for c in columns]
            rows.append([name, *map(str, x.shape), *cells, f"{above} of {len(results)}"])
            print(rows[-1], flush=True)
    text = (
        "`vaezoo train vae-gaussian --data FILE`, with all defaults, against simple models of "
        "the same training rows: independent normals, and exact probabilistic PCA with as many "
        "latents, or a normal of any covariance where there are not more columns than that. "
        "Test rows, nats per row of standardised values: the mean of seeds, and each of them. "
        "Iris has 120 training rows of 4 columns, of which a Gaussian says nearly all that can "
        "be learned from so few."
    )
    write("own-tables", "A VAE on tables of one's own", text, rows, began)


if __name__ == "__main__":
    main()
