"""``vaezoo train``."""

import re
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._devices import devices_option, launched, one_speaks
from vaezoo.cli._flags import PARTS, in_flags
from vaezoo.cli._reading import READING, reading_options, reading_settings
from vaezoo.cli._seeds import report_seeds, seeds_of
from vaezoo.cli._settings import (
    nested,
    parse_settings,
    setting_options,
    typed_settings,
    typed_words,
)
from vaezoo.cli._shared import (
    StoppedError,
    complete_data,
    complete_model,
    data_dir_option,
    echo_json,
    echo_note,
    json_option,
)
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError, RunError, command
from vaezoo.options import SIMPLE_MODELS
from vaezoo.settings import DataSettings, Training, checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from vaezoo.runs import Run
    from vaezoo.training.callbacks import Callback, FinishedError

__all__ = ["pair_and_data", "train"]

DATA = {"data": "name", "data_dir": "dir"}
BESIDE = ("resume", "devices", "tensorboard", "as_json")
OF_A_RESUMED_RUN = ("epochs", "steps", "device", "data_dir", "model_file")


@click.command()
@click.argument("model", metavar="MODEL", required=False, shell_complete=complete_model)
@click.option(
    "--data",
    metavar="NAME|PATH",
    shell_complete=complete_data,
    help="Data set, file or folder.  [default: digits, or digits-rows for sequences]",
)
@data_dir_option
@setting_options(DataSettings, leave_out=("name", "dir", *READING))
@reading_options
@setting_options(Training, leave_out=("objective_options",))
@click.option("--likelihood", metavar="NAME", help="p(x | z): bernoulli, gaussian, ...")
@click.option("--prior", metavar="NAME", help="p(z): standard, ...")
@click.option("--posterior", metavar="NAME", help="q(z | x): diagonal, ...")
@click.option(
    "--sigma",
    metavar="FORM",
    help="Of a Gaussian p(x | z): fixed:V, shared, per-dim, per-pixel, analytic.",
)
@click.option("--sigma-floor", type=float, help="Of a Gaussian: smallest sigma.  [default: 0.01]")
@click.option("--preset", metavar="NAME", help="Named settings of the model; show lists them.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, as z_dim=8 or objective.alpha=10; repeatable.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings from a TOML file.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/...]")
@click.option(
    "--seeds",
    type=int,
    metavar="N",
    help="Train N runs side by side, with the seeds from --seed on: OUT/seed-0, ...",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with a run, or all seeds.",
)
@click.option("--model", "model_file", metavar="FILE.py", help="With --resume: take the pair here.")
@devices_option
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events.")
@json_option
def train(
    model: str | None,
    resume: Path | None,
    devices: int | None,
    tensorboard: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Train a model and save it in a run folder.

    MODEL is a name of the zoo, a file ./my_vae.py, or package.module:Class. Its presets may have
    other defaults than those below. Ctrl-C saves; --resume goes on as if nothing had happened.

    \b
    Example:
      vaezoo train vae-bernoulli --data mnist --epochs 50
      vaezoo train --resume runs/my-run --epochs 100
    """
    if launched(devices):
        return
    with one_speaks() as speaks:
        _train(model, resume, tensorboard=tensorboard, as_json=as_json, speaks=speaks)


def _train(
    model: str | None, resume: Path | None, *, tensorboard: bool, as_json: bool, speaks: bool
) -> None:
    from vaezoo.runtime.signals import termination_interrupts

    click.get_current_context().with_resource(termination_interrupts())
    from vaezoo.cli._progress import make_callbacks
    from vaezoo.training.callbacks import FinishedError, Interrupted

    words = typed_words()
    callbacks = make_callbacks(quiet=as_json, tensorboard=tensorboard, resumes=resume is not None)
    try:
        if resume is not None:
            run: Run | list[Run] = _resume(resume, words, callbacks)
        else:
            run = _fit(model, words, callbacks)
    except Interrupted as stop:
        are_many = "seeds" in words or resume not in (None, stop.run.path)
        raise _stopped(stop.run, stop.step, are_many=are_many) from None
    except FinishedError as finished:
        if resume is None or not speaks or "epochs" in words or "steps" in words:
            raise
        _draw_missing(resume, words, finished, as_json)
    else:
        if isinstance(run, list):
            report_seeds(run, lambda one: _draw(one, words), as_json=as_json)
        elif speaks:
            _report(run, as_json, _draw(run, words))


def _draw(run: "Run", words: dict[str, Any], *, only_missing: bool = False) -> list[str]:
    """Draw the figures of a run that has finished, which stays so whatever happens to them."""
    from vaezoo.plots.figures import plot_run

    data_dir = words.get("data_dir")
    try:
        return plot_run(run, data_dir, notify=echo_note, only_missing=only_missing)
    except KeyboardInterrupt:
        raise _stopped(run, run.info["steps"]) from None
    except RunError as error:
        raise RunError(f"{error}; {_draw_later(run)}") from error


def _draw_later(run: "Run") -> str:
    return f"the run has finished; for its figures: {command('report', run.folder())}"


def _draw_missing(
    path: Path, words: dict[str, Any], finished: "FinishedError", as_json: bool
) -> None:
    """Draw what is missing of what has finished; when nothing is, there is nothing to do."""
    from vaezoo.runs import load_run, seeds_in

    settings = {name: words[name] for name in ("device",) if name in words}
    figures: dict[str, None] = {}
    for own in seeds_in(path) or [path]:
        run = load_run(own, model=words.get("model_file"), **settings)
        figures |= dict.fromkeys(_draw(run, words, only_missing=True))
    if not figures:
        raise finished
    if as_json:
        echo_json({"run": str(path), "figures": list(figures)})
    else:
        of_each = path / "figures" if (path / "config.toml").is_file() else f"the seeds of {path}"
        echo(f"{path} had finished; drew {', '.join(figures)} in {of_each}")


def _resume(
    path: Path, words: dict[str, Any], callbacks: "Sequence[Callback]"
) -> "Run | list[Run]":
    from vaezoo.runs import seeds_in
    from vaezoo.training.fit import resume
    from vaezoo.training.many.resuming import resume_seeds

    settings = {name: words[name] for name in OF_A_RESUMED_RUN if name in words}
    other = [name for name in words if name not in (*settings, *BESIDE)]
    if other:
        word = repr(words["model"]) if other[0] == "model" else in_flags(f"`{other[0]}`")
        raise RequestError(
            f"--resume takes its settings from the run, so {word} cannot be given; "
            "only --epochs, --steps, --device, --devices and --data-dir can"
        )
    settings["model"] = settings.pop("model_file", None)
    if seeds := seeds_in(path):
        echo_note(f"{path} holds {len(seeds)} seeds; those that have not finished go on together")
        return resume_seeds(path, **settings, callbacks=callbacks)
    return resume(path, **settings, callbacks=callbacks)


def _fit(
    model: str | None, words: dict[str, Any], callbacks: "Sequence[Callback]"
) -> "Run | list[Run]":
    from vaezoo.cli._progress import Reading
    from vaezoo.training.fit import fit

    if "model_file" in words:
        raise RequestError("--model goes with --resume; to train a file, name it as MODEL")
    name, pair, data, settings, preset = pair_and_data(model, words)
    seeds = seeds_of(words)
    training = typed_settings(Training)
    if seeds is not None:
        training.pop("seed", None)
        echo_note(f"seeds {seeds[0]} to {seeds[-1]} side by side; shown is seed {seeds[0]}")
    reading = Reading(f"preparing {_stem(name)}: reading {data.name}")
    with nullcontext() if "as_json" in words else reading:
        return fit(
            pair,
            data,
            config=settings,
            preset=preset,
            training=training,
            out=words.get("out") or _new_folder(name, data.name),
            numbered="out" not in words,
            callbacks=[reading, *callbacks],
            seeds=seeds,
        )


def pair_and_data(
    model: str | None, words: dict[str, Any]
) -> tuple[str, "str | type[nn.Module]", DataSettings, dict[str, Any], str | None]:
    """Return what is trained: its name, the pair, its data, the settings of the pair, its preset.

    Parameters
    ----------
    model
        As it was named; None for that of a file of settings.
    words
        What a person typed, a file of settings among it.
    """
    from vaezoo.config import read_file

    config = words.get("config")
    if model is None and config is None:
        raise RequestError("name a model to train (vaezoo list), or a run with --resume")
    file = read_file(config) if config else {}
    name, pair = _same_model(model, file.get("model"), config)
    settings = _pair_settings(file, words)
    data = _data_settings(pair, file.get("data", {}), words)
    return name, pair, data, settings, words.get("preset", file.get("preset"))


def _data_settings(
    model: "str | type[nn.Module]", file: dict[str, Any], words: dict[str, Any]
) -> DataSettings:
    own = {field: words[word] for word, field in DATA.items() if word in words}
    typed = typed_settings(DataSettings) | reading_settings(words)
    if "name" in own:  # texts of other data have other codes
        file = {name: value for name, value in file.items() if name != "categories"}
    values = {**file, **typed, **own}
    name = values.get("name") or _default_data(model, values.get("dir"))
    return checked(DataSettings, {**values, "name": name})


def _pair_settings(file: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a pair: of the file, then of the flags of parts, then of ``--set``."""
    from vaezoo.config import merge

    settings = merge(file.get("config", {}), {"training": dict(file.get("training", {}))})
    for word, path in PARTS.items():
        if word in words:
            settings = merge(settings, nested(path, words[word]))
    if "objective" in words:  # before its options
        settings = merge(settings, nested(("training", "objective"), words["objective"]))
    return merge(settings, parse_settings(words.get("settings", ())))


def _same_model(
    model: str | None, stored: str | None, file: Path | None
) -> tuple[str, "str | type[nn.Module]"]:
    """Return the name of the model, and what to train: the class where a file named the code."""
    if model is None and stored is None:
        again = command("train", "MODEL", "--config", file)
        raise RequestError(f"{file} names no model; give one: {again}")
    if model and stored and model != stored and ".py" not in stored:
        raise RequestError(f"{file} is for '{stored}', not for '{model}'")
    if model is not None or file is None:
        return str(model), str(model)
    from vaezoo.runs.trust import named_class

    name, cls = named_class(
        file, str(stored), way_out=lambda code: command("train", code, "--config", file)
    )
    return name, cls if ".py" in name else name


def _default_data(model: "str | type[nn.Module]", folder: str | None) -> str:
    from vaezoo.data.sets.sources import default_source
    from vaezoo.registry import entry_of, get_model

    entry = entry_of(get_model(model) if isinstance(model, str) else model)
    return default_source(entry.data, entry.data_set, data_dir=folder)


def _new_folder(model: str, data: str) -> Path:
    """runs/<model>-<data>-<time>, to which a number is added if that is taken."""
    name = re.sub(r"[^\w.-]+", "-", f"{_stem(model)}-{_stem(data)}").strip("-.")
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _stem(spec: str) -> str:
    path = spec.partition(".py:")[0] if ".py:" in spec else spec
    return Path(path).stem if "/" in path or path.endswith(".py") else path.replace(":", "-")


def _stopped(run: "Run", step: int, *, are_many: bool = False) -> StoppedError:
    """Say how a training goes on that was interrupted, or what comes after it."""
    if run.info["status"] == "finished":
        return StoppedError(f"stopped after step {step}, the last; {_draw_later(run)}")
    folder, what = (
        (run.folder().parent, "all seeds are saved") if are_many else (run.folder(), "saved")
    )
    go_on = command("train", "--resume", folder)
    return StoppedError(f"stopped at step {step}, {what}; go on with: {go_on}")


def _floors(run: "Run", values: "Mapping[str, Any]") -> dict[str, float]:
    """Return log p(x) of the validation rows under simple models; nothing is lost without it."""
    from vaezoo.predict.floors import floors_of
    from vaezoo.runtime.optional import attempt

    num_latents = sum(map(len, values.get("kl_per_latent", {}).values()))
    if "elbo" in values:
        with attempt("simple models of the same rows", echo_note):
            batches = run.batches()
            pair = run.pair_for(batches)
            return floors_of(pair, batches, "validation", num_latents=num_latents)
    return {}


def _of_what(run: "Run", value: float, log_volume: float) -> str:
    """Return of which values a density is, where they are not as they are stored."""
    if not log_volume:
        return ""
    scale = run.transform.scale
    values = "standardised values" if run.transform.mean is not None else f"values / {scale:g}"
    return f" (of {values}; {value - log_volume:.2f} in the units of the data)"


def _report(run: "Run", as_json: bool, figures: "Sequence[str]") -> None:
    from vaezoo.runs.summary import best_record, headline, sum_of_terms

    if not (run.folder() / "config.toml").is_file():
        raise RunError(f"{run.folder()} was removed when its training had ended; nothing is left")
    best = best_record(run.metrics, run.info["best_epoch"])
    values = best["validation"]
    floors = _floors(run, values)
    if as_json:
        steps = run.info["steps"]
        echo_json({"run": str(run.path), "best": best, "steps": steps, "floors": floors})
        return
    name, value = headline(values)
    terms = f" = {sum_of_terms(values, digits=2)}" if "kl" in values else ""
    of_what = _of_what(run, value, values.get("log_volume", 0.0))
    echo(f"best epoch {best['epoch']}: validation {name} {value:.2f} nats{terms}{of_what}")
    if floors:
        simple = (f"{SIMPLE_MODELS[name]} {floor:.2f}" for name, floor in floors.items())
        echo(f"simple models of the same rows: {', '.join(simple)}")
    echo(f"wrote {run.path}")
    pictures = [name for name in ("samples.png", "reconstructions.png") if name in figures]
    look = f"look at {' and '.join(pictures)} in its folder figures, then" if pictures else "go on"
    echo(f"{look}:")
    echo(f"  {command('evaluate', run.path)}")
