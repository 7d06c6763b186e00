"""``vaezoo train``."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._shared import (
    complete_data,
    complete_model,
    data_dir_option,
    echo_json,
    json_option,
)
from vaezoo.errors import RequestError, VaezooError

if TYPE_CHECKING:
    from vaezoo.runs import Run
    from vaezoo.training.callbacks import Interrupted

SCHEDULE = (
    *("epochs", "steps", "batch_size", "lr", "optimizer", "clip_norm", "objective"),
    *("num_particles", "free_bits", "beta", "kl_warmup", "plateau", "patience", "seed", "device"),
    *("engine", "precision", "truncate"),
)


@click.command(epilog="Example:  vaezoo train vae-bernoulli --data mnist --epochs 50")
@click.argument("model", metavar="MODEL", required=False, shell_complete=complete_model)
@click.option(
    "--data",
    metavar="NAME|PATH",
    shell_complete=complete_data,
    help="Data set, file or folder. [default: digits, or digits-rows for sequences]",
)
@data_dir_option
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the data. [default: 100]")
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps, instead of epochs.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows in a step. [default: 128]")
@click.option("--lr", type=float, help="Learning rate. [default: 0.001]")
@click.option(
    "--optimizer",
    type=click.Choice(["adam", "adamw", "adagrad", "clipped-adam"]),
    help="[default: adam]",
)
@click.option("--clip-norm", type=float, help="Largest gradient norm, 0: none. [default: 200]")
@click.option("--beta", type=float, help="Weight of the KL term. [default: 1]")
@click.option("--kl-warmup", type=int, metavar="STEPS", help="Steps in which beta rises from 0.")
@click.option("--objective", help="What is optimised. [default: elbo]")
@click.option("--num-particles", type=click.IntRange(min=1), help="Draws per datum. [default: 1]")
@click.option("--free-bits", type=float, metavar="NATS", help="Not counted in each latent's KL.")
@click.option(
    "--truncate", type=int, metavar="FRAMES", help="Cut gradients in time. [default: 0, never]"
)
@click.option(
    "--plateau", type=int, help="Epochs until the rate is halved, 0: never. [default: 15]"
)
@click.option("--patience", type=int, help="Epochs until an early stop, 0: never. [default: 40]")
@click.option("--likelihood", metavar="NAME", help="p(x | z): bernoulli, gaussian, ...")
@click.option("--prior", metavar="NAME", help="p(z): standard, ...")
@click.option("--posterior", metavar="NAME", help="q(z | x): diagonal, ...")
@click.option(
    "--sigma",
    metavar="FORM",
    help="Of a Gaussian p(x | z): fixed:V, shared, per-dim, per-pixel, analytic.",
)
@click.option("--sigma-floor", type=float, help="Of a Gaussian: smallest sigma. [default: 0.01]")
@click.option(
    "--binarize",
    type=click.Choice(["auto", "dynamic", "static", "none"]),
    help="Draw binary data from grey levels. [default: auto]",
)
@click.option("--standardize", is_flag=True, help="Give each element mean 0 and deviation 1.")
@click.option("--preset", metavar="NAME", help="Named settings of the model (vaezoo show MODEL).")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting; repeatable."
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings from a TOML file.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Weights, order, noise. [default: 0]"
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Where to compute. [default: auto]",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "eager", "graph", "compiled"]),
    help="How steps are executed. [default: auto]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bf16"]),
    help="Of products inside networks. [default: float32]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: runs/...]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a run.")
@click.option("--model", "model_file", metavar="FILE.py", help="With --resume: take the pair here.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events.")
@json_option
def train(model: str | None, resume: Path | None, as_json: bool, **flags: Any) -> None:
    """Train a model and save it in a run folder.

    MODEL is a name of the zoo, a file ./my_vae.py, or package.module:Class. Ctrl-C saves; --resume
    goes on as if nothing had happened.
    """
    from vaezoo.cli._progress import make_callbacks

    callbacks = make_callbacks(quiet=as_json, tensorboard=flags.pop("tensorboard"))
    data_dir = flags["data_dir"]
    if resume is not None:
        run = _resume(resume, model, flags, callbacks)
    else:
        if flags.pop("model_file"):
            raise RequestError("--model goes with --resume; to train a file, name it as MODEL")
        if model is None and flags["config"] is None:
            raise RequestError("name a model to train (vaezoo list), or a run with --resume")
        run = _fit(model, flags, callbacks)
    _draw_figures(run, data_dir)
    _report(run, as_json)


def _resume(path: Path, model: str | None, flags: dict[str, Any], callbacks: Any) -> "Run":
    from vaezoo.training.callbacks import Interrupted
    from vaezoo.training.fit import resume

    allowed = ("epochs", "steps", "device", "data_dir", "model_file")
    given = [
        name
        for name, value in flags.items()
        if not (value is None or value is False or value == ())
    ]
    extra = [name for name in given if name not in allowed]
    if model or extra:
        names = {"settings": "set"}
        word = f"--{names.get(extra[0], extra[0]).replace('_', '-')}" if extra else f"'{model}'"
        raise RequestError(
            f"--resume takes its settings from the run, so {word} cannot be given; "
            "only --epochs, --steps, --device and --data-dir can"
        )
    settings = {name: flags[name] for name in allowed if name != "model_file"}
    try:
        return resume(path, **settings, model=flags["model_file"], callbacks=callbacks)
    except Interrupted as stop:
        raise _say_where(stop) from None


def _fit(model: str | None, flags: dict[str, Any], callbacks: Any) -> "Run":
    from vaezoo.cli._settings import parse_settings
    from vaezoo.config import DataSettings, checked, merge, read_file
    from vaezoo.training.callbacks import Interrupted
    from vaezoo.training.fit import fit

    file = read_file(flags["config"]) if flags["config"] else {}
    model = _same_model(model, file.get("model"), flags["config"])
    settings = merge(file.get("config", {}), {"training": dict(file.get("training", {}))})
    settings = merge(settings, merge(_part_flags(flags), parse_settings(flags["settings"])))
    schedule = {name: flags[name] for name in SCHEDULE if flags[name] is not None}
    data = {**file.get("data", {}), **_data_flags(flags)}
    source = checked(DataSettings, {"name": data.get("name") or _default_data(model), **data})
    out = flags["out"] or _new_folder(model, source.name)
    try:
        return fit(
            model,
            source,
            config=settings,
            preset=flags["preset"] or file.get("preset"),
            training=_one_length(settings, schedule),
            out=out,
            callbacks=callbacks,
        )
    except Interrupted as stop:
        raise _say_where(stop) from None


def _one_length(settings: dict[str, Any], schedule: dict[str, Any]) -> dict[str, Any]:
    """A length given as a flag replaces the one of a configuration file."""
    training = settings.get("training", {})
    if "steps" in schedule and "epochs" not in schedule:
        training.pop("epochs", None)
    if "epochs" in schedule and "steps" not in schedule:
        training.pop("steps", None)
    return schedule


def _same_model(model: str | None, stored: str | None, file: Path | None) -> str:
    if model is None and stored is None:
        raise RequestError(f"{file} names no model; give one: vaezoo train MODEL --config {file}")
    if model and stored and model != stored and not stored.startswith("model.py"):
        raise RequestError(f"{file} is for '{stored}', not for '{model}'")
    if model is None and file is not None:
        from vaezoo.runs.trust import model_spec

        return model_spec(file.parent, stored or "") if _is_run(file) else str(stored)
    return str(model or stored)


def _is_run(file: Path) -> bool:
    """Whether a configuration file is that of a run, whose code nobody may have read."""
    return (file.parent / "run.json").is_file()


def _part_flags(flags: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: flags[name] for name in ("likelihood", "prior", "posterior") if flags[name]}
    options = {"sigma": flags["sigma"], "floor": flags["sigma_floor"]}
    given = {name: value for name, value in options.items() if value is not None}
    if given:
        name = {"name": flags["likelihood"]} if flags["likelihood"] else {}
        chosen["likelihood"] = {**name, **given}
    return chosen


def _data_flags(flags: dict[str, Any]) -> dict[str, Any]:
    values = {"name": flags["data"], "dir": flags["data_dir"], "binarize": flags["binarize"]}
    given = {name: value for name, value in values.items() if value is not None}
    return {**given, "standardize": True} if flags["standardize"] else given


def _default_data(model: str) -> str:
    from vaezoo.registry import entry_of, get_model
    from vaezoo.training.fit import DEFAULT_DATA

    return DEFAULT_DATA[entry_of(get_model(model)).data]


def _new_folder(model: str, data: str) -> Path:
    """runs/<model>-<data>-<time>, with a number behind it if that is taken."""
    name = re.sub(r"[^\w.-]+", "-", f"{_stem(model)}-{_stem(data)}").strip("-.")
    base = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folders = [base, *(base.with_name(f"{base.name}-{number}") for number in range(2, 100))]
    return next(folder for folder in folders if not folder.exists())


def _stem(spec: str) -> str:
    path = spec.partition(".py:")[0] if ".py:" in spec else spec
    return Path(path).stem if "/" in path or path.endswith(".py") else path.replace(":", "-")


class StoppedError(VaezooError):
    """Training was interrupted, and its state is saved."""

    exit_code = 130


def _say_where(stop: "Interrupted") -> StoppedError:
    return StoppedError(
        f"stopped at step {stop.step}, saved; go on with: vaezoo train --resume {stop.run.path}"
    )


def _draw_figures(run: "Run", data_dir: str | None) -> None:
    from vaezoo.plots.figures import plot_run

    plot_run(run, data_dir)


def _report(run: "Run", as_json: bool) -> None:
    best = next((r for r in run.metrics if r["epoch"] == run.info["best_epoch"]), run.metrics[-1])
    if as_json:
        echo_json({"run": str(run.path), "best": best, "steps": run.info["steps"]})
        return
    values = best["validation"]
    click.echo(
        f"best epoch {best['epoch']}: validation ELBO {values['elbo']:.2f} nats "
        f"= {values['recon']:.2f} - KL {values['kl']:.2f}"
    )
    click.echo(f"wrote {run.path}")
    click.echo("look at samples.png and reconstructions.png in its folder figures, then:")
    click.echo(f"  vaezoo evaluate {run.path}")
