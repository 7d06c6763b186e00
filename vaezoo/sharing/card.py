"""The card of a run: what it is, of what data, how good, how it is made again, and its limits."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaezoo.data import SOURCES
from vaezoo.errors import RequestError, printable, refusing
from vaezoo.markup import markdown
from vaezoo.pairs.sites import takes_lengths
from vaezoo.pretrained.catalogue import LICENCE, RUNS
from vaezoo.registry import appendix_of, citation_of, entry_of
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.stamps import stamp_of_weights
from vaezoo.runs.summary import has_elbo, list_numbers, of_weights
from vaezoo.runtime.reading import read_plain
from vaezoo.runtime.storage import inside, write_bytes
from vaezoo.sharing.metadata import front_matter

__all__ = ["CARD", "describe_run", "write_card"]

CARD = "README.md"
LARGEST_FILE = 2**26  # bytes
USE = ("sample RUN", "evaluate RUN", "analyse RUN")
USE_OF_AUTOENCODERS = ("reconstruct RUN", "evaluate RUN", "encode RUN -o codes.npz")
_MARK = re.compile(r"\n<!-- vaezoo card (?P<digest>[0-9a-f]{64}) -->\n")


def write_card(run: RunLike, path: str | Path | None = None, *, licence: str | None = None) -> Path:
    """Write the card of a run, and return its path.

    A card that vaezoo wrote, and nobody has changed since, is written anew; a file of somebody's
    own never is.

    Parameters
    ----------
    run
        A trained run, or its folder.
    path
        Where to; by default ``README.md`` in the run folder.
    licence
        Under which you give the weights to others, as ``"apache-2.0"``; none is stated without, but
        for a run that comes with vaezoo.

    Raises
    ------
    RequestError
        When a file of somebody's own is there, or a run in memory is given no ``path``.

    Examples
    --------
    >>> import tempfile, vaezoo
    >>> folder = tempfile.mkdtemp()
    >>> run = vaezoo.fit("vae-linear", training={"steps": 5}, out=folder)
    >>> vaezoo.write_card(run).name
    'README.md'
    """
    run = as_run(run)
    target = Path(path) if path is not None else inside(run.folder(), CARD)
    if target.exists() and not _is_ours(target):
        raise RequestError(
            f"{target} was written or changed by hand, and stays as it is; choose another `out`"
        )
    write_bytes(target, describe_run(run, licence=licence).encode())
    return target


def describe_run(run: RunLike, *, licence: str | None = None) -> str:
    """Return the card of a run as markdown, with a block of metadata that a hub reads.

    Parameters
    ----------
    run
        A trained run, or its folder.
    licence
        Of the weights; that of vaezoo for a run that comes with it, none is stated else.

    Examples
    --------
    >>> print(describe_run("vrnn.jsb").partition("# ")[2].partition(chr(10))[0])
    vrnn.jsb
    """
    run = as_run(run)
    if licence is None and run.source is not None and run.source.parent == RUNS:
        licence = LICENCE
    with refusing(f"the records of {run.name} are damaged"):
        return _with_mark(run, _latest(run), licence)


def _with_mark(run: Run, evaluation: Mapping[str, Any] | None, licence: str | None) -> str:
    parts = (
        _opening(run),
        _model(run),
        _data(run),
        _scores(run, evaluation),
        _posterior(run),
        _use(run),
        _again(run),
        _limits(run, evaluation),
        _licence(licence),
        _citation(run),
    )
    body = "\n\n".join(map(_section, parts)) + "\n"
    head = front_matter(run, licence, evaluation)
    digest = hashlib.sha256(f"{head}\n{body}".encode()).hexdigest()
    return f"{head}\n<!-- vaezoo card {digest} -->\n{body}"


def _is_ours(path: Path) -> bool:
    """Whether a file is a card that vaezoo wrote, and as it was."""
    with refusing(f"cannot read {path}"):
        text = read_plain(path, LARGEST_FILE).decode("utf-8", "replace")
    mark = _MARK.search(text)
    if mark is None:
        return False
    rest = text[: mark.start()] + "\n" + text[mark.end() :]
    return hashlib.sha256(rest.encode()).hexdigest() == mark["digest"]


def _section(lines: Iterator[str]) -> str:
    return printable("\n".join(lines), keep="\n")


def _latest(run: Run) -> Mapping[str, Any] | None:
    """Return the latest evaluation of all rows of a split by the weights of now, or of some."""
    of_step = of_weights(run.evaluations, run.info.get("best_step", 0))
    whole = [record for record in of_step if record["asked"].get("limit") is None]
    return next(reversed(whole or of_step), None)


def _opening(run: Run) -> Iterator[str]:
    entry = entry_of(type(run.pair))
    reference = f" ({entry.reference})" if entry.reference else ""
    yield f"# {run.name}\n"
    yield (
        f"A run that was trained with vaezoo: `{entry.name}`{reference}, "
        f"fitted to `{Path(run.data.name).name}`. {entry.summary}"
    )


def _model(run: Run) -> Iterator[str]:
    yield "## Model\n"
    yield f"```text\n{appendix_of(type(run.pair)).replace('```', '')}\n```\n"
    yield f"Settings: {run.summary()['model'].partition(': ')[2]}."


def _data(run: Run) -> Iterator[str]:
    info, source = run.info, SOURCES.get(run.data.name)
    yield "## Data\n"
    rows: dict[str, str] = {
        "name": f"`{Path(run.data.name).name}`",
        "shape": str(tuple(info.get("data_shape", ()))),
        "SHA-256": str(info.get("data_checksum", "")),
        "made by": source.citation if source else "",
        "licence": source.licence if source else "not known to vaezoo: state it here",
        "rows": ", ".join(f"{n} {facts['rows']}" for n, facts in info.get("splits", {}).items()),
    }
    yield _table(("", ""), [(name, text) for name, text in rows.items() if text])
    yield "\nThe data are not part of this run."


def _scores(run: Run, evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Scores\n"
    if evaluation is None:
        yield "Not evaluated on rows that are held out: `vaezoo evaluate RUN` does."
        return
    asked, result = evaluation["asked"], evaluation["result"]
    unit = "frame" if takes_lengths(run.pair) else "datum"
    yield (
        f"Nats per {unit}, higher is better; {result['num_rows']} {asked['split']} rows of "
        f"`{Path(asked['data']).name}`, seed {asked['seed']}, weights of step {asked['step']}. "
        "± is one standard error over rows.\n"
    )
    yield _table(("", "value", "what it is"), list_numbers(result))
    exact = SOURCES[asked["data"]].exact.get(asked["split"]) if asked["data"] in SOURCES else None
    bounds = [bound["value"] for name in ("iwae", "fivo") for bound in result.get(name, ())]
    if exact is not None and bounds and asked["limit"] is None and run.transform.mean is None:
        yield (
            f"\nLog p(x) of these rows under the process that made them is {exact:.3f}, known "
            f"exactly: the best bound lies {exact - max(bounds):.3f} below it."
        )


def _posterior(run: Run) -> Iterator[str]:
    yield "## Posterior\n"
    weights, level, said = _analysis(run)
    if not has_elbo(run.info, run.metrics):
        yield "It has none: the guide gives each latent one value."
    elif not weights:
        yield "Not checked: `vaezoo analyse RUN` says which posteriors can be trusted."
    elif weights != str(stamp_of_weights(run)):
        yield f"Checked for other weights only, those of {weights}."
    else:
        yield f"Checked at level {level}: {said}."


def _analysis(run: Run) -> tuple[str, str, str]:
    """Return of which weights an analysis is, its level and verdict; empty where there is none.

    The verdict is the shares of data, or, of a level without them, what draws of the guide say.
    """
    folders = [folder for folder in (run.path, run.source) if folder is not None]
    paths = (folder / "analysis" / "report.json" for folder in folders)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return "", "", ""
    with refusing(f"{path} is damaged; analyse again"):
        values = json.loads(read_plain(path, LARGEST_FILE).decode("utf-8"))
        shares = [f"{float(share):.0%} {name}" for name, share in (values["shares"] or {}).items()]
        said = ", ".join(shares) or next(text for name, text, _ in values["page"]["lines"])
        level = f"{values['plan']['level']}, {values['plan']['num_data']} data"
        return str(values["subject"]["weights"]), level, said


def _use(run: Run) -> Iterator[str]:
    commands = USE if has_elbo(run.info, run.metrics) else USE_OF_AUTOENCODERS
    lines = "\n".join(f"vaezoo {command}" for command in commands)
    text = Path(__file__).with_name("use.md").read_text(encoding="utf-8").rstrip()
    yield text.replace("COMMANDS", lines)
    if ".py" in run.model:
        yield "\nIts pair is in `model.py`: read that file, then name it, `model='model.py'`."


def _again(run: Run) -> Iterator[str]:
    info = run.info
    yield "## How it was made\n"
    rows = {
        "seed": str(info.get("seed", run.training.seed)),
        "training": run.summary()["training"],
        "result": run.summary()["result"],
        "versions": ", ".join(f"{n} {v}" for n, v in info.get("versions", {}).items()),
        "machine": f"{info.get('device', '?')}, {info.get('platform', '?')}",
    }
    yield _table(("", ""), list(rows.items()))


def _limits(run: Run, evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Limits\n"
    yield "- It explains data like those it was trained on, and says nothing of others."
    if evaluation is not None and (rows := evaluation["result"]["num_rows"]) < 1000:
        yield f"- The scores are of {rows} rows: mind their standard errors."
    if evaluation is not None and has_elbo(run.info, run.metrics):
        yield (
            "- Densities compare with those of other models of the same values only: same rows, "
            "same scale, same kind of likelihood."
        )
    yield "- One training, one seed: another seed has another score."


def _licence(licence: str | None) -> Iterator[str]:
    yield "## Licence\n"
    yield f"The weights: {licence}." if licence else "None is stated for the weights."


def _citation(run: Run) -> Iterator[str]:
    yield "## Citation\n"
    text = citation_of(entry_of(type(run.pair)))
    yield f"```bibtex\n{text}\n```" if text else "The pair names no paper that vaezoo knows."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown([head, *([printable(text) for text in row] for row in rows)])
