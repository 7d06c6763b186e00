"""The page of a run: what it is, its numbers, pictures and verdict, and how it is made again."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from vaezoo.errors import RequestError, refusing
from vaezoo.markup import Html, as_html, definitions, document, figure, joined, section, table
from vaezoo.observations.learning import HARDLY_MORE
from vaezoo.pairs.sites import takes_lengths
from vaezoo.plots.figures import caption_of, plot_run, signed, title_of
from vaezoo.plots.latents.codes import plot_codes
from vaezoo.predict.floors import floors_of
from vaezoo.predict.latents.overview import latents
from vaezoo.registry import citation_of, entry_of
from vaezoo.report.pages.of_analysis import Described, read_described, sections_of
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.info import storable
from vaezoo.runs.stamps import stamp_of_records, stamp_of_weights, stamps_in
from vaezoo.runs.summary import best_record, has_elbo, list_numbers, of_weights
from vaezoo.runtime.optional import attempt
from vaezoo.runtime.reading import read_plain
from vaezoo.runtime.storage import inside, write_bytes

__all__ = ["write_page"]

PAGE = "report.html"
LARGEST_FILE = 2**26  # bytes
CODES = "codes.png"
MOST_CODES = 500
# Figures of each part of the page, in their order; others come last.
MADE = ("samples.png", "reconstructions.png", "sigma.png")
OF_LATENTS = (
    *("latents.png", CODES, "regions.png"),
    *("traversal.png", "interpolation.png", "arithmetic.png"),
)
OF_TRAINING = ("curves.png", "iwae.png")

AGAIN = """import tomllib
import vaezoo
from vaezoo.settings import DataSettings

with open("config.toml", "rb") as file:
    settings = tomllib.load(file)
model, data = settings["model"], DataSettings(**settings["data"])
run = vaezoo.fit(model, data, config=settings["config"], training=settings["training"])"""

Notify = Callable[[str], object]


def write_page(
    run: RunLike,
    path: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    notify: Notify = print,
) -> list[Path]:
    """Write one page of a run that needs no other file, and draw the figures that are missing.

    It says what the run is, how it was trained, its numbers (the latest evaluation of its weights,
    or else the validation of its best epoch), what an analysis said if there was one, and how the
    run is made again and cited. Figures are those of the run folder; a map of the codes is drawn
    where there is none yet.

    Parameters
    ----------
    run
        A trained run, or its folder; also one that was interrupted, or of an autoencoder.
    path
        Where to; by default ``report.html`` in the run folder.
    data_dir
        Where files of named data sets may lie already.
    notify
        Is told in a line of what could not be shown; it is left out by itself.

    Returns
    -------
    list of path
        The page, then the figures that were drawn.

    Raises
    ------
    RequestError
        When a run in memory is given no ``path``, or its records are damaged.
    RunError
        When the page cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5}, out=folder)
    >>> [file.name for file in vaezoo.write_page(run)][:2]
    ['report.html', 'samples.png']
    """
    run = as_run(run)
    if run.path is None and path is None:
        raise RequestError("this run has no folder; give `path`, where its page is to be")
    target = Path(path) if path is not None else inside(run.folder(), PAGE)
    with tempfile.TemporaryDirectory() as folder:
        kept = run if run.path else _in_folder(run, Path(folder))
        new = plot_run(kept, _text(data_dir), notify=notify, only_missing=True)
        view = _seen(kept, run, Path(folder), data_dir, notify)
        with refusing(f"the records of {run.name} are damaged"):
            content = document(run.name, *_parts(view))
    write_bytes(target, content.encode())
    return [target, *(run.path / "figures" / name for name in new if run.path)]


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _in_folder(run: Run, folder: Path) -> Run:
    """Return a run in memory as one with a folder, for its figures."""
    (folder / run.name).mkdir()
    return replace(run, path=folder / run.name, records=run.metrics)


@dataclass(frozen=True)
class _View:
    """All that the page of a run is made from.

    Attributes
    ----------
    run
        The run.
    figures
        Pictures of its weights and records of now, by the name of their file.
    no_map
        Why there is no map of the codes.
    floors
        Log p(x) of the validation rows under simple models, where there is no ``evaluation``.
    evaluation
        The latest of its weights.
    analysis
        What was said of its posterior.
    """

    run: Run
    figures: Mapping[str, bytes]
    no_map: str
    floors: Mapping[str, float]
    evaluation: Mapping[str, Any] | None
    analysis: Described | None


def _seen(kept: Run, run: Run, folder: Path, data_dir: str | Path | None, notify: Notify) -> _View:
    """Look at all that there is; what cannot be read is said, and left out."""
    analysis, evaluation, floors = None, None, {}
    no_map: list[str] = []
    with attempt("analysis", notify):
        analysis = read_described(kept.folder() / "analysis")
    with attempt("evaluation.json", notify):
        evaluation = next(reversed(of_weights(run.evaluations, run.info.get("best_step", 0))), None)
    if evaluation is None:
        with attempt("simple models of the same rows", notify):
            floors = _floors(run, data_dir)
    figures = dict(_figures(kept))
    if CODES not in figures:
        with attempt("a map of the codes", no_map.append):
            plot_codes(run, latents(run, limit=MOST_CODES, data_dir=data_dir), folder / CODES)
            content = (folder / CODES).read_bytes()
            figures[CODES] = signed(run, content, CODES)
    return _View(run, figures, "".join(no_map), floors, evaluation, analysis)


def _floors(run: Run, data_dir: str | Path | None) -> dict[str, float]:
    """Return log p(x) of the validation rows under simple models; none of an autoencoder."""
    values = _validation(run)
    if "elbo" not in values:
        return {}
    batches = run.batches(data_dir=data_dir)
    num_latents = sum(map(len, values.get("kl_per_latent", {}).values()))
    return floors_of(run.pair_for(batches), batches, "validation", num_latents=num_latents)


def _validation(run: Run) -> Mapping[str, Any]:
    if not run.metrics:
        return {}
    values: Mapping[str, Any] = best_record(run.metrics, run.info.get("best_epoch"))["validation"]
    return values


def _figures(run: Run) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the weights and records that the run has now."""
    of_now = (stamp_of_weights(run), stamp_of_records(run))
    for path, stamp in stamps_in(run.folder()):
        if stamp in of_now:
            yield path.name, read_plain(path, LARGEST_FILE, follow=False)


def _parts(view: _View) -> Iterator[Html]:
    """Yield the page, part by part."""
    run, placed = view.run, (*MADE, *OF_LATENTS, *OF_TRAINING)
    entry = entry_of(type(run.pair))
    summary = {name: text for name, text in run.summary().items() if name != "folder"}
    yield Html(f"<p>{as_html(entry.name)}: {as_html(entry.summary)}</p>" if entry.summary else "")
    yield definitions({"status": run.info.get("status", "kept in memory"), **summary})
    yield section("How good is it?", _numbers(view), name="numbers")
    yield _pictures("What does it make?", view, MADE)
    no_map = Html(f"<p>{as_html(view.no_map)}</p>" if view.no_map else "")
    yield _pictures("What is in its latents?", view, OF_LATENTS, no_map)
    yield section("Can its posterior be trusted?", *_analysis(view), name="posterior")
    yield _pictures("How did the training go?", view, OF_TRAINING)
    yield _pictures("Other pictures", view, [n for n in view.figures if n not in placed])
    yield section("How is it made again?", *_origin(run), name="again")
    yield section("How is it cited?", _citation(run), name="cite")


def _pictures(title: str, view: _View, names: Iterable[str], *more: object) -> Html:
    """Pictures in their order, those that there are; nothing without any."""
    there = [name for name in names if name in view.figures]
    pictures = joined(
        figure(Path(name).stem, title_of(name), caption_of(name), view.figures[name])
        for name in there
    )
    shown = [Html(f'<div class="figures">\n{pictures}\n</div>')] if there else []
    return section(title, *shown, *more) if there or any(more) else Html("")


def _numbers(view: _View) -> Html:
    """The numbers of the latest evaluation, or else those of the validation, and which they are."""
    run = view.run
    unit = "frame" if takes_lengths(run.pair) else "datum"
    if view.evaluation is not None:
        asked, result = view.evaluation["asked"], view.evaluation["result"]
        source = f"Of {result['num_rows']} {asked['split']} rows of {asked['data']}, evaluated"
        source += f" with the weights of step {asked['step']}, seed {asked['seed']}"
    elif values := _validation(run):
        result = {"metrics": values, "floors": view.floors}
        source = f"Of the validation rows in epoch {run.info.get('best_epoch', '?')}, whose score "
        source += "chose the weights; vaezoo evaluate measures the test rows"
    else:
        return Html("<p>No epoch was measured.</p>")
    text = f"<p>{as_html(source)}; in nats per {unit}.</p>{_warning(result)}"
    return Html(text + table(list_numbers(result), ("", "value", "what it is")))


def _warning(result: Mapping[str, Any]) -> str:
    """Say that nothing was learned, where the numbers say so."""
    floor = result.get("floors", {}).get("independent")
    if floor is None:  # as of an autoencoder, which has no ELBO either
        return ""
    bounds = [result["metrics"]["elbo"], *(bound["value"] for bound in result.get("iwae", ()))]
    if max(bounds) >= floor + HARDLY_MORE:
        return ""
    return (
        '<p><span class="badge poor">untrained</span> The ELBO is no better than that of '
        "independent elements, which know nothing of each other.</p>"
    )


def _analysis(view: _View) -> Iterator[Html]:
    """The page of the analysis as a part of this one, or how to get it."""
    if not has_elbo(view.run.info, view.run.metrics):
        yield Html("<p>It has none: the guide gives each latent one value.</p>")
        return
    if view.analysis is None:
        yield Html("<p>It was not analysed. <code>vaezoo analyse RUN</code> checks it.</p>")
        return
    if view.analysis.weights != str(stamp_of_weights(view.run)):
        yield Html(f"<p>This is of other weights, of {as_html(view.analysis.weights)}.</p>")
    yield from sections_of(view.analysis)


def _origin(run: Run) -> Iterator[Html]:
    """Say with which command, settings, data and versions it was made."""
    yield Html(
        "<p>With the settings below as <code>config.toml</code>, which lies in the run folder; "
        "<code>vaezoo train</code> takes it, too, as its configuration.</p>"
        f"<pre>{as_html(AGAIN)}</pre>"
    )
    info = run.info
    splits = ", ".join(f"{name} {facts['rows']}" for name, facts in info.get("splits", {}).items())
    facts = {
        "seed": info.get("seed", run.training.seed),
        "data": f"{run.data.name} {tuple(info.get('data_shape', ()))}, sha256 "
        f"{info.get('data_checksum', '')[:16]}",
        "rows": splits,
        "versions": ", ".join(f"{n} {v}" for n, v in info.get("versions", {}).items()),
        "commit": info.get("commits", {}).get("vaezoo", ""),
        "machine": f"{info.get('device', '?')}, {info.get('platform', '?')}, "
        f"Python {info.get('python', '?')}",
        "begun": info.get("started", ""),
    }
    yield definitions({name: value for name, value in facts.items() if value != ""})
    yield Html(
        f"<details><summary>config.toml</summary><pre>{as_html(_settings(run))}</pre></details>"
    )


def _settings(run: Run) -> str:
    if run.files and (run.files / "config.toml").is_file():
        return read_plain(run.files / "config.toml", LARGEST_FILE).decode("utf-8", "replace")
    parts = {"data": run.data, "training": run.training}
    values = {name: part.model_dump(exclude_none=True) for name, part in parts.items()}
    return tomli_w.dumps({"model": run.model, "config": storable(run.config), **values})


def _citation(run: Run) -> Html:
    entry = entry_of(type(run.pair))
    text = citation_of(entry)
    if text:
        return Html(f"<p>The paper of the model:</p><pre>{as_html(text)}</pre>")
    reference = f" It names {as_html(entry.reference)}." if entry.reference else ""
    return Html(f"<p>There is no BibTeX of a paper for {as_html(entry.name)}.{reference}</p>")
