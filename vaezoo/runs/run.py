"""A run: a trained pair, the settings it was made from, its data, and its folder."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaezoo import registry
from vaezoo.checks.admission import mark_admitted, require_admitted
from vaezoo.checks.blame import class_of
from vaezoo.data import SOURCES, Data, load_data
from vaezoo.data.batches import Batches
from vaezoo.data.coercion import DataLike, as_data
from vaezoo.data.dataset import with_arguments
from vaezoo.data.files.columns import in_order
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError
from vaezoo.observations.roles import Roles
from vaezoo.pairs.sites import Args, argument_names, takes_lengths
from vaezoo.runs import rows as of_splits
from vaezoo.runs.conditions import Given, rows_to_draw, under_conditions
from vaezoo.runs.info import digest_of_settings, storable, write_info
from vaezoo.runs.records import (
    Record,
    append_record,
    read_evaluations,
    read_metrics,
    with_evaluation,
    write_evaluations,
)
from vaezoo.runs.summary import (
    as_html,
    as_text,
    say_evaluation,
    say_folder,
    say_result,
    say_settings,
)
from vaezoo.runs.trust import save_code, trust_target
from vaezoo.runs.weights import WEIGHTS, load_weights
from vaezoo.runtime.device import device_of
from vaezoo.runtime.storage import inside, make_folder, write_bytes
from vaezoo.runtime.tensors import save_tensors
from vaezoo.sequences.missing import pair_for
from vaezoo.settings import DataSettings, Training

__all__ = ["Run"]


@dataclass(repr=False)
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
    source
        The folder with its files, where ``path`` is for results only: those of a run that comes
        with the package, or from a hub, are not written to.
    info
        What else ``run.json`` holds.
    records
        One per epoch; None for those of its folder, which are read when :attr:`metrics` is.
    fitted_to
        The data themselves, of a run that was trained in this process; they are not saved.
    evaluated
        The evaluations of a run without a folder.
    """

    pair: nn.Module
    model: str
    config: Mapping[str, Any]
    data: DataSettings
    training: Training
    transform: Transform
    shapes: Mapping[str, tuple[int, ...]]
    path: Path | None = None
    source: Path | None = None
    info: dict[str, Any] = field(default_factory=dict)
    records: list[Record] | None = field(default=None, compare=False)
    fitted_to: Data | None = field(default=None, compare=False)
    evaluated: list[Record] = field(default_factory=list, compare=False)

    def __repr__(self) -> str:
        return as_text(self.summary())

    def _repr_html_(self) -> str:
        return as_html(self.summary())

    def summary(self) -> dict[str, str]:
        """Return what it is, in five rows, or six when it was evaluated."""
        cls, unit = type(self.pair), "frame" if takes_lengths(self.pair) else "datum"
        return {
            **say_settings(cls, self.config, self.data, self.shapes["x"], self.training),
            "result": self._say(lambda: say_result(self.info, self.metrics, unit)),
            **self._say_evaluation(unit),
            "folder": say_folder(self.path, self.source),
        }

    def _say_evaluation(self, unit: str) -> dict[str, str]:
        step = self.info.get("best_step", 0)
        said = self._say(lambda: say_evaluation(self.evaluations, step, unit))
        return {"evaluated": said} if said else {}

    def _say(self, what: Callable[[], str]) -> str:
        try:
            return what()
        except RequestError as error:  # it prints, whatever lies in its folder
            return str(error)

    @property
    def device(self) -> torch.device:
        """Where the pair's parameters are."""
        return device_of(self.pair)

    @property
    def name(self) -> str:
        """Name of the run folder, or of the model."""
        return self.path.name if self.path else registry.entry_of(class_of(self.pair)).name

    @property
    def id(self) -> str:
        """What tells it from other runs, in ``run.json`` and in each file of its weights."""
        return str(self.info.setdefault("id", uuid4().hex))

    def folder(self) -> Path:
        """Return the folder for what is made with the run; a refusal for a run without one.

        Of a run whose files lie elsewhere it is made when it is asked for.
        """
        if self.path is None:
            raise RequestError("this run has no folder; give fit(..., out=...)")
        if self.source is not None:
            make_folder(self.path)
        return self.path

    @property
    def files(self) -> Path | None:
        """The folder with the run's own files; None for a run that is kept in memory only."""
        return self.source or self.path

    def batches(
        self,
        data: DataLike | None = None,
        *,
        data_dir: str | Path | None = None,
        given: Given | None = None,
        split: str = "test",
        limit: int | None = None,
    ) -> Batches:
        """Return batches of the run's data, or of other data of the same shape, on its device.

        ``given`` are conditions of the first ``limit`` rows of ``split``, in the place of theirs.

        Raises
        ------
        RequestError
            When the data are of another shape or have changed, or what is given is no condition,
            or a pair that no training admitted does not keep the contract.
        """
        loaded = self.find_data(data, data_dir=data_dir)
        loaded = with_arguments(loaded, list(self.shapes))
        if data is not None:
            of_splits.require_alike(loaded, self.shapes, self.transform, self.pair, run=self.name)
        if given:
            loaded = under_conditions(loaded, given, self.roles.conditions, split, limit)
        rows = Batches(loaded, self.transform, argument_names(self.pair), self.device)
        return require_admitted(self.pair, rows)

    def pair_for(self, batches: Batches) -> nn.Module:
        """Return the pair in the form that explains batches, perhaps with missing entries.

        Raises
        ------
        RequestError
            When it cannot do without the entries that are missing.
        """
        return pair_for(self.pair, batches)

    def explaining(self, batches: Batches) -> "Run":
        """Return a run like this one, with the pair in the form that explains batches."""
        pair = self.pair_for(batches)
        mark_admitted(pair)
        return self if pair is self.pair else replace(self, pair=pair)

    def find_data(
        self, data: DataLike | None = None, *, data_dir: str | Path | None = None
    ) -> Data:
        """Return the data that the run was trained on, or other data of any form.

        Parameters
        ----------
        data
            As :func:`vaezoo.data.as_data` takes them, in the units of the run's data. Of data
            that say no splits all rows are taken, whatever split is asked for.
        data_dir
            Where files of named data sets may lie already.

        Raises
        ------
        RequestError
            When there are none, or they have changed, or other rows are held out than were.
        """
        if data is None:
            return self.fitted_to or self._load_again(data_dir or self.data.dir)
        scale, how = self.transform.scale, self.data
        loaded = as_data(data, data_dir=data_dir, scale=scale, whole=True, settings=how)
        loaded = in_order(loaded, self.info.get("columns", ()))
        if not self._are_own(loaded):
            return loaded
        if isinstance(data, str | Path):  # not as other data, of which all rows are taken
            return self._with_splits(load_data(data, data_dir=data_dir, settings=how))
        if isinstance(data, Data) and (trained := self.trained_rows(loaded)) is not None:
            of_splits.require_held_out(loaded, trained, self.name)
        return loaded

    def _are_own(self, data: Data) -> bool:
        """Whether data are, byte for byte, those that the run was trained on."""
        return bool(data.checksum) and data.checksum == self.info.get("data_checksum")

    def _with_splits(self, data: Data) -> Data:
        """Return the run's data with the rows of its splits; a refusal where they are lost."""
        own = bool(self.info.get("own_splits"))
        return of_splits.restored(data, self.info.get("splits", {}), self.files, own=own)

    def trained_rows(self, data: Data) -> NDArray[np.int64] | None:
        """Return the numbers of the rows that the run was trained on; None for other data."""
        if not self._are_own(data):
            return None
        if self.fitted_to is not None:
            return self.fitted_to.splits["train"]
        expected = self.info.get("splits", {})
        if self.info.get("own_splits"):
            return of_splits.read_splits(self.files or self.folder(), expected)["train"]
        return self._with_splits(of_splits.again(data, expected, self.data)).splits["train"]

    def _load_again(self, data_dir: str | Path | None) -> Data:
        name = self.data.name
        if not (name in SOURCES or Path(name).is_absolute() or Path(name).exists()):
            own = ", splits=..." if self.info.get("own_splits") else ""
            raise RequestError(
                f"{self.name} was fitted to {self._describe_fitted()}, which is not saved; in "
                f"Python, pass it as data=x, or as data=from_arrays(x{own}) for the same splits"
            )
        data = load_data(name, data_dir=data_dir, settings=self.data)
        if not self._is_fitted_to(data):
            changed = f"{data.name} has changed since {self.name} was trained on it"
            raise RequestError(f"{changed}; name other data with `data`")
        return self._with_splits(data)

    def remember(self, data: Data) -> Data:
        """Keep the data that the run was trained on, and return them; a refusal for others."""
        data = in_order(data, self.info.get("columns", ()))
        if not self._is_fitted_to(data):
            raise RequestError(
                f"{self.name} was trained on {self._describe_fitted()}, not on this {data.name}"
            )
        self.fitted_to = self._with_splits(data)
        return self.fitted_to

    def _is_fitted_to(self, data: Data) -> bool:
        return self.info.get("data_checksum", "") in ("", data.checksum)

    def _describe_fitted(self) -> str:
        """Return what it was trained on, as ``array (1797, 8, 8), sha256 1f5c2a9b7d3e``."""
        shape = self.info.get("data_shape")
        size = f" {tuple(shape)}" if shape else ""
        return f"{self.data.name}{size}, sha256 {self.info.get('data_checksum', '?')[:12]}"

    def placeholder(
        self, num_rows: int, num_frames: int | None = None, given: Given | None = None
    ) -> Args:
        """Return arguments of the right shapes for drawing from the prior, ``x`` all zeros.

        Sequences have so many frames, by default as many as the longest of the data; conditions are
        given, or else drawn from those of the data.

        Raises
        ------
        RequestError
            When what is given is no condition, or has another shape.
        """
        names, sequences = argument_names(self.pair), takes_lengths(self.pair)
        stand_in = rows_to_draw(
            (self.info, self.shapes), names, num_rows, sequences, num_frames, given or {}
        )
        return tuple(stand_in[name].to(self.device) for name in names)

    @property
    def roles(self) -> Roles:
        """What the sites of the model observe, and which arguments are conditions."""
        observed = self.info.get("observed", {"x": ["x", None]})
        return Roles.from_dict(observed, argument_names(self.pair))

    def save_config(self) -> None:
        """Write ``config.toml`` and, for a pair from a file, a copy of it."""
        folder = self.folder()
        source = registry.source_file(type(self.pair))
        model = self.model
        if source is not None:
            model = save_code(type(self.pair), source, folder)
        else:
            trust_target(model)
        values = {
            "model": model,
            "config": storable(self.config),
            "data": self.data.model_dump(exclude_none=True),
            "training": self.training.model_dump(exclude_none=True),
        }
        text = tomli_w.dumps(values)
        self.info["settings"] = digest_of_settings(tomllib.loads(text))
        write_bytes(inside(folder, "config.toml"), text.encode())
        if self.info.get("own_splits") and self.fitted_to is not None:
            of_splits.save_splits(self.fitted_to.splits, folder)

    def save_info(self, **changes: Any) -> None:
        """Change some of what ``run.json`` holds, and write it where there is a folder."""
        self.info.update(changes)
        if self.path is None:
            return
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        fixed = {"id": self.id, "transform": self.transform.to_dict(), "shapes": shapes}
        write_info(self.path, {**fixed, **self.info})

    def save_weights(self, weights: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write the best weights so far, with some plain values beside them."""
        save_tensors(inside(self.folder(), WEIGHTS), weights, values, run=self.id)

    def load_weights(self) -> Mapping[str, Any]:
        """Set the pair to the saved weights and return the values beside them."""
        values = load_weights(self.pair, self.files or self.folder(), run=self.id)
        self.info |= {"best_epoch": values.get("epoch", 0), "best_step": values.get("step", 0)}
        return dict(values)

    @property
    def metrics(self) -> list[Record]:
        """One record per epoch, of its folder if it was loaded.

        Raises
        ------
        RequestError
            When ``metrics.jsonl`` is damaged, with the number of the line.
        """
        if self.records is None:
            self.records = read_metrics(self.files) if self.files else []
        return self.records

    @property
    def evaluations(self) -> list[Record]:
        """What :func:`vaezoo.evaluate` has measured, the latest last: what was asked, the result.

        A damaged ``evaluation.json`` is refused.
        """
        if self.path is None:
            return self.evaluated
        return read_evaluations(self.path) or read_evaluations(self.files or self.path)

    def keep_evaluation(self, record: Record) -> None:
        """Keep an evaluation beside the others, in the folder if there is one."""
        records = with_evaluation(self.evaluations, record)
        if self.path is None:
            self.evaluated = records
        else:
            write_evaluations(self.folder(), records)

    def log(self, record: Record) -> None:
        """Keep a record of an epoch, and append it to ``metrics.jsonl``."""
        self.metrics.append(record)
        if self.path is not None:
            append_record(self.path, record)
