"""The run folder: everything needed to rebuild a trained pair, repeat its run, or go on with it.

::

    runs/<model>-<data>-<time>/
      config.toml           model, configuration, data, training; ``vaezoo train`` starts from it
      weights.safetensors   the best weights by validation score
      last/                 weights, optimiser, schedule and random states, to go on
      metrics.jsonl         one line per epoch
      run.json              versions, checksum of the data, transform, seed, device, timings
      model.py              a copy of the user's file, when the pair came from one
      figures/
"""

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import tomli_w
import torch
from torch import Tensor, nn

from vaezoo import registry
from vaezoo.config import DataSettings, Training, build_model, checked, read_file
from vaezoo.data import SOURCES, Data, load_data
from vaezoo.data.batches import Batches
from vaezoo.data.contract import check_transform
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError, RunError
from vaezoo.pairs.sites import Args, argument_names
from vaezoo.runtime.device import device_of, find_device
from vaezoo.runtime.storage import load_tensors, save_tensors, write_bytes, write_json

__all__ = ["Run", "load_run", "read_metrics"]

FORMAT = 1
WEIGHTS = "weights.safetensors"
STATE = "last/state.safetensors"
PACKAGES = ("vaezoo", "torch", "pyro-ppl", "numpy")


@dataclass
class Run:
    """A pair, the settings it was made from, and where it is kept.

    Attributes
    ----------
    pair
        The model/guide pair; after training, with its best weights.
    model
        What :func:`vaezoo.get_model` takes to find its class.
    config
        The pair's settings, all of them.
    data
        Which data it explains.
    training
        How it was trained.
    transform
        From stored values to those that the pair explains.
    shapes
        Shape of one row of every argument of the model.
    path
        The run folder; None for a run that is kept in memory only.
    info
        What else ``run.json`` holds.
    metrics
        One record per epoch.
    """

    pair: nn.Module
    model: str
    config: Mapping[str, Any]
    data: DataSettings
    training: Training
    transform: Transform
    shapes: Mapping[str, tuple[int, ...]]
    path: Path | None = None
    info: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where the pair's parameters are."""
        return device_of(self.pair)

    @property
    def name(self) -> str:
        """Name of the run folder, or of the model."""
        return self.path.name if self.path else registry.entry_of(type(self.pair)).name

    def folder(self) -> Path:
        """Return the run folder; a refusal for a run without one."""
        if self.path is None:
            raise RequestError("this run has no folder; give fit(..., out=...)")
        return self.path

    def batches(self, data: Data | str | None = None, *, data_dir: str | None = None) -> Batches:
        """Return batches of the run's data, or of other data of the same shape, on its device.

        Raises
        ------
        RequestError
            When the data have another shape, or are not the bytes that the run was trained on.
        """
        if data is None:
            directory = data_dir or self.data.dir
            data = load_data(self.data.name, data_dir=directory, seed=self.data.split_seed)
            trained_on = self.info.get("data_checksum")
            if trained_on and data.checksum != trained_on:
                changed = f"{data.name} has changed since {self.name} was trained on it"
                raise RequestError(f"{changed}; name other data with `data`")
        else:
            if isinstance(data, str):
                data = load_data(data, data_dir=data_dir, seed=self.data.split_seed)
            self._check_other(data)
        return Batches(data, self.transform, argument_names(self.pair), self.device)

    def _check_other(self, data: Data) -> None:
        """Refuse data of another shape, another scale, or that the pair cannot explain."""
        for name in self.shapes.keys() - data.arrays.keys():
            raise RequestError(f"{data.name} has no '{name}', which {self.name} needs")
        for name, shape in self.shapes.items():
            given = data.arrays[name].shape[1:]
            steps = name == "x" and "length" in self.shapes
            if given[steps:] != shape[steps:] or len(given) != len(shape):
                raise RequestError(
                    f"{data.name}: '{name}' has rows of shape {given}, but {self.name} was trained "
                    f"on {shape}"
                )
        if data.name in SOURCES and data.scale != self.transform.scale:
            raise RequestError(
                f"{data.name} has grey levels up to {data.scale:g}, but {self.name} was trained on "
                f"levels up to {self.transform.scale:g}"
            )
        check_transform(self.transform, self.pair, data)

    def placeholder(self, num_rows: int) -> Args:
        """Return arguments of the right shapes for drawing from the prior, ``x`` all zeros.

        Sequences get the greatest length of the data; labels are drawn from those of the data.
        """
        args: list[Tensor] = []
        for name in argument_names(self.pair):
            if name == "x":
                args.append(torch.zeros(num_rows, *self.shapes["x"]))
            elif name == "length":
                args.append(torch.full((num_rows,), self.shapes["x"][0]))
            else:
                values = torch.tensor(self.info["values"][name])
                args.append(values[torch.randint(len(values), (num_rows,))])
        return tuple(arg.to(self.device) for arg in args)

    def save_config(self) -> None:
        """Write ``config.toml`` and, for a pair from a file, its copy ``model.py``."""
        folder = self.folder()
        source = registry.source_file(type(self.pair))
        model = self.model
        if source is not None:
            content = source.read_bytes()
            write_bytes(folder / "model.py", content)
            _trust(content)
            model = f"model.py:{type(self.pair).__name__}"
        elif model not in registry.list_models():
            _trust(model.encode())
        values = {
            "model": model,
            "config": dict(self.config),
            "data": self.data.model_dump(exclude_none=True),
            "training": self.training.model_dump(exclude_none=True),
        }
        write_bytes(folder / "config.toml", tomli_w.dumps(values).encode())

    def save_info(self, **changes: Any) -> None:
        """Write ``run.json``, with some of its entries changed."""
        self.info.update(changes)
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        known = {"format": FORMAT, "transform": self.transform.to_dict(), "shapes": shapes}
        write_json(self.folder() / "run.json", {**known, **self.info})

    def save_weights(self, weights: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write the best weights so far, with some plain values beside them."""
        save_tensors(self.folder() / WEIGHTS, weights, values)

    def load_weights(self) -> Mapping[str, Any]:
        """Set the pair to the saved weights and return the values beside them."""
        path = self.folder() / WEIGHTS
        if not path.is_file():
            raise RequestError(
                f"{self.folder()} has no {WEIGHTS}: it was stopped before it had any"
            )
        tensors, values = load_tensors(path)
        set_weights(self.pair, tensors, path)
        return dict(values)

    def log(self, record: dict[str, Any]) -> None:
        """Keep a record of an epoch, and append it to ``metrics.jsonl``."""
        self.metrics.append(record)
        if self.path is not None:
            file = self.path / "metrics.jsonl"
            try:
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(record) + "\n")
            except OSError as error:
                raise RunError(f"cannot write {file}: {error.strerror or error}") from error

    def rewind_metrics(self, epoch: int) -> None:
        """Forget records after an epoch, which a resumed run will write again."""
        self.metrics = [record for record in self.metrics if record["epoch"] <= epoch]
        lines = "".join(json.dumps(record) + "\n" for record in self.metrics)
        write_bytes(self.folder() / "metrics.jsonl", lines.encode())


def set_weights(pair: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a pair; a refusal that names the first that does not fit."""
    wanted = pair.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        there, here = wanted.get(name), tensors.get(name)
        if there is None or here is None or there.shape != here.shape:
            have = tuple(here.shape) if here is not None else "missing"
            need = tuple(there.shape) if there is not None else "unknown"
            raise RequestError(
                f"{path} does not fit the model: '{name}' is {have} there, {need} in the model"
            )
    pair.load_state_dict(dict(tensors))


def describe_environment() -> dict[str, Any]:
    """Return versions and the state of the working directory's git checkout."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git": _git_state(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _git_state() -> str | None:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None


def load_run(path: str | Path, *, device: str = "auto", model: str | Path | None = None) -> Run:
    """Load a trained run.

    Nothing is unpickled. The copy of a user's file, ``model.py``, is run only when it was trained
    on this machine by this user, or when ``model`` names it.

    Parameters
    ----------
    path
        The run folder.
    device
        Where the pair goes: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    model
        A ``.py`` file to take the pair from, instead of the run's own copy.

    Raises
    ------
    RequestError
        When the folder is no run, or a file in it is missing, damaged, or of another version.
    """
    run = open_run(Path(path), device=device, model=model)
    run.load_weights()
    run.pair.eval()
    return run


def open_run(path: Path, *, device: str | None = None, model: str | Path | None = None) -> Run:
    """Read a run folder and build its pair, with fresh weights, by default where it was trained."""
    if not (path / "config.toml").is_file():
        raise RequestError(f"'{path}' is no run folder: it has no config.toml{_runs_in(path)}")
    values = read_file(path / "config.toml")
    info, transform, shapes = _read_info(path / "run.json")
    spec = model_spec(path, str(values.get("model", "")), model)
    cls = registry.get_model(spec)
    x_shape = shapes["x"][1:] if "length" in shapes else shapes["x"]
    config = values.get("config", {})
    training = checked(Training, values.get("training", {}))
    return Run(
        pair=build_model(cls, config, x_shape).to(find_device(device or training.device)),
        model=spec,
        config=config,
        data=checked(DataSettings, values.get("data", {})),
        training=training,
        transform=transform,
        shapes=shapes,
        path=path,
        info=info,
        metrics=read_metrics(path),
    )


def _runs_in(path: Path) -> str:
    parent = next((p for p in (path, path.parent) if p.is_dir()), Path("runs"))
    found = sorted(parent.glob("*/config.toml"), key=lambda file: file.stat().st_mtime)
    return f"; the latest run there is {found[-1].parent}" if found else ""


def _read_info(path: Path) -> tuple[dict[str, Any], Transform, dict[str, tuple[int, ...]]]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        found = info.pop("format")
        transform = Transform.from_dict(info.pop("transform"))
        shapes = {name: tuple(map(int, shape)) for name, shape in info.pop("shapes").items()}
        shapes["x"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{path} is missing or damaged ({type(error).__name__})") from error
    if found != FORMAT:
        raise RequestError(
            f"{path} has format {found}, but this vaezoo reads format {FORMAT}; "
            f"it was written by vaezoo {info.get('versions', {}).get('vaezoo', '?')}"
        )
    return info, transform, shapes


def model_spec(path: Path, stored: str, model: str | Path | None = None) -> str:
    """Return what to build a run's pair from, unless that would run code nobody has vouched for.

    A name of the zoo or of an installed package is taken as it is. The run's own ``model.py``, or
    an import path, is taken when this user has trained with it on this machine, or named it.
    """
    if stored in registry.list_models():
        return stored
    file, _, name = stored.partition(":")
    own = file == "model.py"
    if model is not None:
        return f"{model}:{name}" if own and str(model).endswith(".py") else str(model)
    if own and _is_trusted(_content(path / file)):
        return f"{path / stored}"
    if ".py" not in stored and ":" in stored and _is_trusted(stored.encode()):
        return stored
    if not stored:
        raise RequestError(f"{path / 'config.toml'} names no model")
    code = path / file if own else stored
    raise RequestError(
        f"{path} was made from {code}, which was not trained here; read it, then name it: "
        f"`model={code!r}`"
    )


def _trust_list() -> Path:
    return Path(pooch.os_cache("vaezoo")) / "trusted-models"


def _trust(content: bytes) -> None:
    """Remember a file of the user's by its checksum; without a writable cache, do not."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        known = _trust_list().read_text() if _trust_list().is_file() else ""
        if digest not in known:
            _trust_list().parent.mkdir(parents=True, exist_ok=True)
            with _trust_list().open("a") as file:
                file.write(digest + "\n")
    except OSError:
        return


def _is_trusted(content: bytes) -> bool:
    try:
        return hashlib.sha256(content).hexdigest() in _trust_list().read_text().split()
    except OSError:
        return False


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of ``metrics.jsonl``; a last line that was cut short is left out."""
    file = path / "metrics.jsonl"
    records = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def example_values(data: Data, names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the distinct values of the arguments that are neither data nor lengths."""
    others = [name for name in names if name not in ("x", "length")]
    return {name: np.unique(data.arrays[name]).tolist() for name in others}
