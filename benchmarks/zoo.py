"""Every model of the zoo with all defaults: its scores, and a picture for its page.

Scores are kept in ``docs/results/zoo.csv``, so that models may be measured one by one; the tables
of ``docs/results/zoo.md`` and README.md are made of them, and the pages of the models.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from _report import RESULTS, Score, markdown, read_scores, replace_scores, write

from vaezoo import RequestError, evaluate, fit, sample
from vaezoo.plots.figures import plot_data
from vaezoo.predict.evaluation import Evaluation
from vaezoo.predict.observed import shown
from vaezoo.registry import entries
from vaezoo.runs import Run

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "_static" / "models"
CSV = RESULTS / "zoo.csv"
MARKS = ("<!-- zoo table: python benchmarks/zoo.py -->", "<!-- end of zoo table -->")
LOG_P = "log p(x), 100 draws"
SCORES = ("ELBO", LOG_P, "reconstruction", "KL", "active units", "independent", "linear", "steps")
IN_README = (
    *("beta-vae", "mixture", "ppca", "vae-bernoulli", "vae-full-rank", "vae-gaussian"),
    *("vae-linear", "vampprior"),
)

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("models", nargs="*", help="Those named only, as 'vae-linear'.")
parser.add_argument("--missing", action="store_true", help="Those without a score only.")
parser.add_argument("--tables", action="store_true", help="Make the tables anew, and train none.")


def main() -> None:
    began = time.monotonic()
    arguments = parser.parse_args()
    done = {score.model for score in read_scores(CSV) if arguments.missing}
    names = arguments.models or [entry.name for entry in entries()]
    for name in () if arguments.tables else (name for name in names if name not in done):
        ours = list(_measured(name))
        replace_scores(CSV, name, ours)
        print(name, {score.name: score.value for score in ours}, flush=True)
    _write_tables(read_scores(CSV), began)


def _measured(name: str) -> Iterator[Score]:
    """Yield the scores of a model that is trained with all defaults, and draw its picture."""
    with tempfile.TemporaryDirectory() as folder:
        run = fit(name, out=Path(folder, "run"))
        _draw(run, PICTURES / f"{name}.png")
        result = evaluate(run, iwae=(100,))
    for score, (value, error) in _values(run, result).items():
        yield Score(name, run.data.name, "defaults", 0, score, value, error)


def _values(run: Run, result: Evaluation) -> Mapping[str, tuple[float, float | None]]:
    metrics = result.metrics
    values: dict[str, tuple[float, float | None]] = {"steps": (float(run.info["steps"]), None)}
    if metrics.is_autoencoder:
        return {"reconstruction": (metrics.recon, None), **values}
    if result.iwae:
        values[LOG_P] = (result.iwae[0].value, result.iwae[0].standard_error)
    if metrics.active_units is not None:
        values["active units"] = (float(metrics.active_units), None)
    floors = {floor: (value, None) for floor, value in result.floors.items()}
    return {"ELBO": (metrics.elbo, None), "KL": (metrics.kl, None), **values, **floors}


def _draw(run: Run, path: Path) -> None:
    """Draw data that a model makes: from its prior, or a mixture of the codes of an autoencoder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        x = sample(run, 36)
    except RequestError:
        x = sample(run, 36, latents="gmm")
    plot_data(run, path, shown(x))


def _write_tables(scores: list[Score], began: float) -> None:
    head = ("model", "reference", "data", *SCORES)
    rows = [(f"`{e.name}`", e.reference, *_cells(e.name, scores)) for e in entries()]
    rows = [head, *(row for row in rows if any(row[2:]))]
    text = (
        "All defaults, seed 0: `vaezoo train MODEL`, and `vaezoo evaluate RUN --iwae 100` on the "
        "test rows of the data that the model has by default; nats per datum, per frame for "
        "sequences, higher is better. An ELBO is of one draw for each row: another `--seed` of "
        "`evaluate` moves that of `gp-vae` by 0.03. Bernoulli models explain binary draws of the "
        "grey levels, Gaussian ones the grey levels in [0, 1]: compare only like with like. "
        "Simple models of the training rows stand beside each: independent elements (pixels that "
        "never vary are worth 3.7 nats each to a Gaussian), and exact probabilistic PCA with as "
        "many latents. Autoencoders have no density, and a reconstruction only. The same numbers "
        "are in `docs/results/zoo.csv`."
    )
    write("zoo", "The zoo with all defaults", text, rows, began)
    names = {f"`{name}`" for name in IN_README}
    pattern = re.compile(f"({re.escape(MARKS[0])}\n).*?({re.escape(MARKS[1])})", re.DOTALL)
    kept = [i for i, name in enumerate(head) if name not in ("reconstruction", "steps")]
    table = markdown([[row[i] for i in kept] for row in rows if row is head or row[0] in names])
    content = README.read_text(encoding="utf-8")
    README.write_text(pattern.sub(rf"\g<1>{table}\n\g<2>", content), encoding="utf-8")


def _cells(model: str, scores: list[Score]) -> Iterator[str]:
    ours = {score.name: score for score in scores if score.model == model}
    yield next((score.data for score in ours.values()), "")
    yield from (str(ours[name]) if name in ours else "" for name in SCORES)


if __name__ == "__main__":
    main()
