"""Training: stochastic variational inference from data to a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaezoo import registry
from vaezoo.config import build_model, layers
from vaezoo.data import SOURCES, Data, load_data
from vaezoo.data.batches import Batches
from vaezoo.data.contract import choose_transform, probe
from vaezoo.data.dataset import Array, from_arrays, from_sequences
from vaezoo.data.transform import Transform
from vaezoo.engine.precision import check_precision
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import PairTrace, argument_names, sample_sites
from vaezoo.runs import Run, open_run
from vaezoo.runs.environment import describe_data, describe_environment
from vaezoo.runtime.device import find_device, seeded
from vaezoo.settings import DataSettings, Training, checked
from vaezoo.training.callbacks import Callback
from vaezoo.training.schedule import checked_schedule
from vaezoo.training.trainer import Trainer

__all__ = ["fit", "resume"]

Source = str | Data | Array | list[Array] | DataSettings | None

DEFAULT_DATA = {"images": "digits", "vectors": "digits", "sequences": "digits-rows"}


def fit(
    model: str | type[nn.Module] | nn.Module,
    data: Source = None,
    *,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a model/guide pair.

    Parameters
    ----------
    model
        A name of the zoo, a file, a class, or a pair that is already built.
    data
        A name, a path, an array ``(N, *x_shape)``, sequences ``[(T_n, D), ...]``, or a data set; by
        default the digits of
        scikit-learn, as images or row by row.
    config
        Settings of the pair.
    preset
        Named settings of the pair to start from.
    training
        How to train; a mapping is checked against :class:`vaezoo.settings.Training`.
    out
        The run folder; without one nothing is written.
    callbacks
        Are told how it goes.

    Returns
    -------
    Run
        With the best weights by validation score.

    Raises
    ------
    RequestError
        Before anything is trained: wrong names, settings, data, or a folder that is in use.
    NonFiniteError
        When loss or gradients are NaN or infinite. The state of the step before is saved.
    Interrupted
        On Ctrl-C. The state is saved.

    Examples
    --------
    >>> run = fit("vae-bernoulli", training={"epochs": 1})
    >>> sorted(run.metrics[-1]["validation"])[:3]
    ['active_units', 'at_floor', 'bits_per_dim']
    """
    run, loaded = prepare(model, data, config=config, preset=preset, training=training, out=out)
    return Trainer(run, loaded, callbacks).train()


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    device: str | None = None,
    data_dir: str | None = None,
    model: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Go on with a run from its last saved state, on the CPU bit by bit as if it had not stopped.

    Parameters
    ----------
    path
        The run folder.
    epochs, steps
        Train until here instead of the run's own end.
    device
        Another device than before.
    data_dir
        Where the original data files lie now.
    model
        A ``.py`` file to take the pair from, instead of the run's copy.
    callbacks
        Are told how it goes.
    """
    run = open_run(Path(path), device=device, model=model)
    data = run.batches(data_dir=data_dir).data
    if epochs or steps:
        longer = {**run.training.model_dump(), "epochs": epochs, "steps": steps}
        run.training = checked_schedule(checked(Training, longer), len(data.rows("train")))
    trainer = Trainer(run, data, callbacks)
    trainer.restore()
    run.save_config()
    run.save_info(status="running")
    return trainer.train()


def prepare(
    model: str | type[nn.Module] | nn.Module,
    data: Source,
    *,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> tuple[Run, Data]:
    """Check a request for training and return a run at its start; nothing is written."""
    built = model if isinstance(model, nn.Module) else None
    cls = _class_of(model)
    settings, loaded = _load(data, cls)
    given = training.model_dump(exclude_unset=True) if isinstance(training, Training) else training
    with registry.blaming_file(cls):
        values, schedule = layers(cls, preset, config or {}, {"training": given or {}})
    schedule = checked_schedule(schedule, len(loaded.rows("train")))
    if len(loaded.splits.get("validation", ())) == 0:
        raise RequestError(
            f"{loaded.name} has no rows for validation; give at least 3 rows, or your own split"
        )
    device = find_device(schedule.device)
    check_precision(schedule.precision, device)
    with seeded(schedule.seed, device), registry.blaming_file(cls):
        pair = built if built is not None else build_model(cls, values, loaded.x_shape)
        names = argument_names(pair)
        Batches(loaded, Transform(), names, device)
        _check_sites(probe(pair, loaded))
        transform = choose_transform(
            pair, loaded, binarize=settings.binarize, standardize=settings.standardize
        )
    run = Run(
        pair=pair.to(device),
        model=model if isinstance(model, str) else f"{cls.__module__}:{cls.__qualname__}",
        config=values,
        data=settings,
        training=schedule,
        transform=transform,
        shapes={name: loaded.arrays[name].shape[1:] for name in names},
        path=_free_folder(Path(out), built) if out else None,
        info={
            **describe_environment(),
            **describe_data(loaded, names),
            "device": str(device),
            "seed": schedule.seed,
            "status": "running",
        },
    )
    return run, loaded


def _check_sites(trace: PairTrace) -> None:
    model, guide = sample_sites(trace.model), sample_sites(trace.guide)
    latents = [name for name, site in model.items() if not site["is_observed"]]
    missing = [("guide", name) for name in latents if name not in guide]
    extra = [
        ("model", name)
        for name, site in guide.items()
        if name not in latents and not (site["infer"] or {}).get("is_auxiliary")
    ]
    for side, name in missing + extra:
        raise RequestError(
            f"the {side} has no latent '{name}', which the other has; 'vaezoo check' says where"
        )


def _class_of(model: str | type[nn.Module] | nn.Module) -> type[nn.Module]:
    if isinstance(model, str):
        return registry.get_model(model)
    return type(model) if isinstance(model, nn.Module) else model


def _load(data: Source, cls: type[nn.Module]) -> tuple[DataSettings, Data]:
    if isinstance(data, Data):
        return DataSettings(name=data.name), data
    if data is None or isinstance(data, str | DataSettings):
        name = data or DEFAULT_DATA[registry.entry_of(cls).data]
        settings = name if isinstance(name, DataSettings) else DataSettings(name=name)
        loaded = load_data(settings.name, data_dir=settings.dir, seed=settings.split_seed)
        if settings.name not in SOURCES:
            path = str(Path(settings.name).expanduser().absolute())
            settings = settings.model_copy(update={"name": path})
        return settings, loaded
    loaded = from_sequences(data) if isinstance(data, list) else from_arrays(data)
    return DataSettings(name="array"), loaded


def _free_folder(path: Path, built: nn.Module | None) -> Path:
    if built is not None:
        raise RequestError(
            "a pair that is already built cannot be saved, because its settings are unknown; "
            "give fit its class or name, and config={...}"
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RequestError(
            f"{path} exists already; go on with `vaezoo.resume({str(path)!r})`, "
            "or choose another `out`"
        )
    return path
