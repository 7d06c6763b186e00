"""The figures that training and evaluation leave in a run folder."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from vaezoo.data.dataset import Array
from vaezoo.observations.learning import HARDLY_MORE, unlearned
from vaezoo.plots.curves import plot_curves, plot_iwae, plot_kl
from vaezoo.plots.grids import plot_grid, plot_grid_pairs
from vaezoo.plots.sequences import plot_sequence_pairs, plot_sequences
from vaezoo.plots.style import sequence_style
from vaezoo.plots.vectors.columns import MOST_ELEMENTS, plot_column_pairs, plot_columns
from vaezoo.predict.encoding import reconstruct
from vaezoo.predict.evaluation import Evaluation
from vaezoo.predict.observed import shown
from vaezoo.predict.sampling import sample
from vaezoo.runs import Run
from vaezoo.runs.stamps import Stamp, read_stamp, stamp_of_records, stamp_of_weights, stamped
from vaezoo.runs.summary import best_record
from vaezoo.runtime.optional import attempt
from vaezoo.runtime.storage import inside, write_bytes, writing_path

__all__ = [
    "caption_of",
    "drawing",
    "plot_data",
    "plot_evaluation",
    "plot_pairs",
    "plot_run",
    "signed",
    "title_of",
    "what_is_not_learned",
]

# What a figure of a run folder is called, and what its shape means.
TITLES = {
    "samples.png": ("Samples", "Drawn from the model, which has not seen any datum for them."),
    "reconstructions.png": ("Reconstructions", "What comes back of data that were held out."),
    "latents.png": (
        "KL of each latent",
        "How far the guide is from the prior, over data: a bar near zero is not in use.",
    ),
    "codes.png": (
        "Map of the codes",
        "Where data lie in the latent space, what each element is worth, how they correlate, and "
        "whether all codes together look like the prior.",
    ),
    "traversal.png": ("Traversal", "Each latent along its range, the others as in a datum."),
    "curves.png": (
        "Training",
        "A validation that falls while training rises has learned its rows by heart.",
    ),
    "iwae.png": (
        "Bound on log p(x)",
        "A bound that still rises at its right end is not tight: evaluate with more draws.",
    ),
    "sigma.png": (
        "Width of the decoder",
        "The standard deviation that the decoder gives each element, and whether it is right.",
    ),
    "interpolation.png": ("Interpolation", "The way between two codes, above that between data."),
    "arithmetic.png": ("Codes moved", "Data, and what comes of their codes when they are moved."),
    "forecast.png": ("Forecast", "What the model expects after the frames that were given."),
    "regions.png": (
        "Regions of the codes",
        "A plane of codes, decoded place by place, and which label a classifier sees where.",
    ),
    "imputed.png": ("Imputation", "What is missing, filled in by the model."),
}

ROWS_OF_A_FLOOR = 10_000
ROWS_OF_A_TABLE = 500

Notify = Callable[[str], object]
Draw = Callable[[Path], object]


def plot_run(
    run: Run,
    data_dir: str | None = None,
    *,
    notify: Notify = print,
    only_missing: bool = False,
) -> list[str]:
    """Write samples, reconstructions, curves and latents into the run's folder ``figures``.

    Parameters
    ----------
    run
        A run with a folder.
    data_dir
        Where files of named data sets may lie already.
    notify
        Is told in a line of each that cannot be drawn; it is left out by itself.
    only_missing
        Draw only those that are not there, or of another step than what they show.

    Returns
    -------
    list of str
        The names of the files that were written.

    Raises
    ------
    RunError
        When the disk is full, say.
    """
    figures: dict[str, Draw] = {
        "samples.png": lambda path: _plot_samples(run, path, data_dir),
        "reconstructions.png": lambda path: _plot_reconstructions(run, path, data_dir),
    }
    of_records: dict[str, Draw] = {}
    if run.metrics:
        kl = run.metrics[-1]["validation"].get("kl_per_latent")
        of_records["curves.png"] = lambda path: plot_curves(run.metrics, path)
        of_records |= {"latents.png": lambda path: plot_kl(kl, path)} if kl else {}
    names = []
    for group, stamp in ((figures, stamp_of_weights(run)), (of_records, stamp_of_records(run))):
        there = {n for n in group if only_missing and _stamp_of(run, n) == stamp}
        missing = {name: draw for name, draw in group.items() if name not in there}
        note = what_is_not_learned(run, data_dir) if group is figures and missing else ""
        names += _draw_each(run, missing, stamp, notify, note)
    return names


def what_is_not_learned(run: Run, data_dir: str | None = None) -> str:
    """Return a warning where the validation ELBO is no better than that of independent elements.

    What such a model draws looks like data only as far as the averages of their elements do.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 1})
    >>> what_is_not_learned(run).partition(":")[0]
    'untrained'
    """
    if "unlearned_floor" in run.info:  # what a training that came to its end compared
        return _kept_note(run)
    elbo = _best_elbo(run)
    with attempt("", lambda line: None):  # the figures themselves say what cannot be read
        floor = None if elbo is None else _unlearned(run, elbo, data_dir)
        if elbo is not None and floor is not None:
            return _untrained(elbo, floor)
    return ""


def _kept_note(run: Run) -> str:
    """Return the same as far as the training wrote it down, which needs no data."""
    floor = run.info.get("unlearned_floor")
    if floor is None:  # of most runs, whose records are not read for each picture then
        return ""
    elbo = _best_elbo(run)
    return "" if elbo is None or elbo >= floor + HARDLY_MORE else _untrained(elbo, floor)


def _best_elbo(run: Run) -> float | None:
    best = best_record(run.metrics, run.info.get("best_epoch")) if run.metrics else {}
    elbo = best.get("validation", {}).get("elbo")
    return None if elbo is None else float(elbo)


def _untrained(elbo: float, floor: float) -> str:
    return f"untrained: ELBO {elbo:.2f}, independent elements {floor:.2f} nats"


def _unlearned(run: Run, elbo: float, data_dir: str | None) -> float | None:
    batches = run.batches(data_dir=data_dir)
    pair = run.pair_for(batches)
    train = batches.fixed("train", limit=ROWS_OF_A_FLOOR)
    return unlearned(pair, train, list(batches.fixed("validation")), elbo)


def _stamp_of(run: Run, name: str) -> Stamp | None:
    return read_stamp(run.folder() / "figures" / name)


@contextmanager
def drawing(
    run: Run, name: str, stamp: Stamp | None = None, note: str | None = None
) -> Iterator[Path]:
    """Yield a path to draw a picture of a run's to; below it stands what it is, and of which step.

    Parameters
    ----------
    run
        A run with a folder.
    name
        Of the ``.png`` file in its folder ``figures``.
    stamp
        Of which step it is; by default that of the run's weights.
    note
        What else has to be said of it; by default that the run is untrained, if it is.

    Raises
    ------
    RunError
        When it cannot be written, also since the folder is gone or ``figures`` is a link.
    """
    path = inside(run.folder(), f"figures/{name}")
    with suppress(OSError):
        path.unlink(missing_ok=True)  # none of an earlier training is taken for new
    with writing_path(path) as temporary:
        yield temporary
        write_bytes(temporary, signed(run, temporary.read_bytes(), name, stamp, note))


def title_of(name: str) -> str:
    """Return what a figure is called, by the name of its file.

    Examples
    --------
    >>> title_of("samples.png"), title_of("my-figure.png")
    ('Samples', 'my figure')
    """
    return TITLES[name][0] if name in TITLES else Path(name).stem.replace("-", " ")


def caption_of(name: str) -> str:
    """Return what a figure shows, by the name of its file; nothing of an unknown one.

    Examples
    --------
    >>> caption_of("traversal.png")
    'Each latent along its range, the others as in a datum.'
    """
    return TITLES[name][1] if name in TITLES else ""


def signed(
    run: Run, content: bytes, name: str, stamp: Stamp | None = None, note: str | None = None
) -> bytes:
    """Return a ``.png`` file with its name, the run, and the step written below the picture."""
    label, note = f"{run.name}: {title_of(name)}", _kept_note(run) if note is None else note
    return stamped(content, stamp or stamp_of_weights(run), label, note)


def _draw_each(
    run: Run, figures: Mapping[str, Draw], stamp: Stamp, notify: Notify, note: str = ""
) -> list[str]:
    """Draw each figure that can be drawn; return the names of those that were."""
    for name, draw in figures.items():
        with attempt(f"figures/{name}", notify), drawing(run, name, stamp, note) as path:
            draw(path)
    return [name for name in figures if (run.folder() / "figures" / name).is_file()]


def _plot_samples(run: Run, path: Path, data_dir: str | None) -> None:
    """Write samples; of tables draws of x, as they have to be distributed like the data beside."""
    if not _is_table(run):
        plot_data(run, path, shown(sample(run, 64)))
        return
    made, beside = shown(sample(run, ROWS_OF_A_TABLE, x="sample")), None
    with attempt("", lambda line: None):  # the reconstructions say that the data are not there
        data = run.find_data(data_dir=data_dir)
        beside = data.x[data.rows("validation")[:ROWS_OF_A_TABLE]]
    plot_columns(made, run.info.get("columns", ()), path, beside=beside)


def _is_table(run: Run) -> bool:
    """Whether data are vectors that are read column by column."""
    shape = run.shapes["x"]
    return sequence_style(run) is None and len(shape) == 1 and shape[0] <= MOST_ELEMENTS


def _plot_reconstructions(run: Run, path: Path, data_dir: str | None) -> None:
    data, x = reconstruct(run, limit=64, split="validation", data_dir=data_dir)
    plot_pairs(run, path, shown(data), shown(x))


def plot_data(run: Run, path: Path, x: Array, *, begun: int | None = None) -> None:
    """Write data as a picture of their kind; of sequences, ``begun`` frames were given."""
    style = sequence_style(run)
    if style:
        plot_sequences(x, path, style, begun=begun)
    elif _is_table(run):
        plot_columns(x, run.info.get("columns", ()), path)
    else:
        plot_grid(x, path, scale=run.transform.scale)


def plot_pairs(run: Run, path: Path, x: Array, others: Array) -> None:
    """Write data and what the model makes of them as alternating rows of pictures."""
    style = sequence_style(run)
    if style:
        plot_sequence_pairs(x, others, path, style)
    elif _is_table(run):
        plot_column_pairs(x, others, run.info.get("columns", ()), path)
    else:
        plot_grid_pairs(x, others, path, scale=run.transform.scale)


def plot_evaluation(run: Run, result: Evaluation, *, notify: Notify = print) -> None:
    """Write the importance-weighted bound and the KL per latent of an evaluation."""
    metrics = result.metrics
    figures: dict[str, Draw] = {}
    if result.iwae:
        figures["iwae.png"] = lambda path: plot_iwae(result.iwae, metrics.elbo, path)
    if metrics.kl_per_latent:
        figures["latents.png"] = lambda path: plot_kl(metrics.kl_per_latent, path)
    _draw_each(run, figures, stamp_of_weights(run), notify)
