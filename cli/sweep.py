"""``vaezoo sweep``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._flags import PARTS
from vaezoo.cli._settings import typed_settings, typed_words
from vaezoo.cli._shared import StoppedError, echo_json, echo_note
from vaezoo.cli._streams import echo
from vaezoo.cli.train import pair_and_data, train
from vaezoo.errors import RequestError, command, shown
from vaezoo.settings import Training

if TYPE_CHECKING:
    from vaezoo.sweeps.outcome import Sweep, Trial

__all__ = ["sweep"]

# Of one training, or with another meaning here.
_NOT_HERE = ("seeds", "resume", "model_file", "devices", "tensorboard", "out")
_OWN = (
    click.Option(
        ["--space"],
        multiple=True,
        metavar="NAME=VALUES",
        help="A setting to vary: lr=log:1e-4..1e-2, z_dim=int:2..64, posterior=a|b; repeatable.",
    ),
    click.Option(
        ["--trials"], type=click.IntRange(min=1), default=20, show_default=True, help="Trainings."
    ),
    click.Option(
        ["--jobs"],
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Trainings at the same time on this machine.",
    ),
    click.Option(
        ["--prune/--no-prune"],
        default=True,
        help="Give up trainings worse than most.  [default: on]",
    ),
    click.Option(
        ["--out"], type=click.Path(path_type=Path), required=True, help="Folder of the sweep."
    ),
)


def _sweep(model: str | None, space: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Train with many settings and find those of the best validation ELBO.

    MODEL, data and settings are those of train. Each trial is a run folder in OUT. The same command
    goes on with a sweep that was stopped; several machines work on one whose folder they share.
    Needs Optuna: pip install 'vaezoo[sweep]'.

    \b
    Example:
      vaezoo sweep vae-bernoulli --space lr=log:1e-4..1e-2 --out sweeps/a
      vaezoo sweep vae-gaussian --space z_dim=int:2..64 --jobs 2 --out sweeps/b
    """
    from vaezoo.runtime.signals import termination_interrupts

    click.get_current_context().with_resource(termination_interrupts())
    import vaezoo

    words = typed_words()
    _, pair, data, settings, preset = pair_and_data(model, words)
    try:
        result = vaezoo.sweep(
            pair,
            data,
            space=_read(space),
            config=settings,
            preset=preset,
            training=typed_settings(Training),
            on_trial=lambda trial: echo_note(_line(trial)),
            **{name: options[name] for name in ("trials", "jobs", "prune", "out")},
        )
    except KeyboardInterrupt:
        raise StoppedError(
            f"stopped; the same command goes on with the sweep in {options['out']}"
        ) from None
    if as_json:
        echo_json(result.to_dict())
    else:
        _report(result)


def _read(space: tuple[str, ...]) -> dict[str, str]:
    """Return the dimensions by the settings that they vary, of which some have a flag of theirs."""
    dimensions = {}
    for text in space:
        name, equals, values = text.partition("=")
        if not equals:
            raise RequestError(f"{shown(text)} is no space; write --space lr=log:1e-4..1e-2")
        name = name.strip().removeprefix("--")
        flag = name.replace("-", "_")
        dimensions[".".join(PARTS.get(flag, (flag,)))] = values.strip()
    return dimensions


def _line(trial: "Trial") -> str:
    value = f" {trial.value:.2f}" if trial.value is not None else ""
    why = f": {trial.error}" if trial.error else ""
    return f"trial {trial.number} {trial.state}{value}  {_words(trial)}{why}"


def _words(trial: "Trial") -> str:
    return "  ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.settings.items()
    )


def _report(result: "Sweep") -> None:
    best = result.best
    numbers: dict[str, int] = {}
    for trial in result.trials:
        numbers[trial.state] = numbers.get(trial.state, 0) + 1
    counts = ", ".join(f"{number} {state}" for state, number in numbers.items())
    echo(f"{len(result.trials)} trials: {counts}")
    echo(f"best trial {best.number}: validation {best.value:.2f} nats  {_words(best)}")
    echo(f"its run is {best.run}; to repeat it:")
    echo(f"  {command('train', '--config', best.run / 'config.toml')}")


sweep = click.Command(
    "sweep",
    callback=_sweep,
    params=[*(param for param in train.params if param.name not in _NOT_HERE), *_OWN],
    help=_sweep.__doc__,
)
