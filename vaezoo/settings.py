"""Typed settings of data and of a training, without importing torch.

The text below a field is its documentation and the help of its flag: the command line makes its
options, choices, ranges and defaults from these classes.
"""

import ast
import sys
from collections.abc import Mapping
from inspect import cleandoc, getsource
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from vaezoo.errors import RequestError, nearest, shown
from vaezoo.options import (
    Binarize,
    Channels,
    ColumnType,
    Device,
    EngineName,
    Missing,
    OptimizerName,
    Precision,
    Schedule,
)

__all__ = ["DataSettings", "Settings", "Training", "checked", "describe", "texts_of_fields"]


class Settings(BaseModel):
    """Settings whose names and types are checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)
_LARGEST, _LARGEST_REAL = 2**31 - 1, 3e38  # what every number of torch can hold
Size = Annotated[int, Field(gt=0, le=_LARGEST)]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Rate = Annotated[float, Field(gt=0, le=_LARGEST_REAL)]
Amount = Annotated[float, Field(ge=0, le=_LARGEST_REAL)]


class Training(Settings):
    """How a pair is trained: how long, what one step does, and when to stop."""

    epochs: Size | None = None
    """Passes over the rows, unless steps are given; 100, more of few rows, fewer of many."""

    steps: Size | None = None
    """Optimiser steps, instead of epochs."""

    batch_size: Size | None = None
    """Rows in a step; 128, of few rows fewer, so that an epoch has at least 10 steps."""

    lr: Rate = 1e-3
    """Learning rate."""

    optimizer: OptimizerName = "adam"
    """Method of the steps."""

    weight_decay: Amount | None = None
    """Of the optimiser; 0.01 for adamw, else 0."""

    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate at every step."""

    clip_norm: Amount = 200.0
    """Largest norm of the gradient, in nats per datum; 0: no clipping."""

    schedule: Schedule = "joint"
    """Who moves in a step: model and guide, or in turns, as in EM, the guide and the model."""

    e_steps: Size = 1
    """Steps of the guide before each of the model, in EM."""

    objective: str = "elbo"
    """What is optimised, by name; show has all, and those of the model's own file."""

    objective_options: Mapping[str, Any] = {}
    """Options of the objective that are not named here, as {"alpha": 10}."""

    num_particles: Size = 1
    """Draws of the latents of each datum that estimate it."""

    free_bits: Amount = 0.0
    """Nats that the KL term of each latent does not count."""

    truncate: Count = 0
    """Frames of the windows of long sequences, after each of which a step is taken: the state is
    carried on, gradients are not; 0: whole sequences."""

    beta: Amount = 1.0
    """Weight of the KL term."""

    kl_warmup: Count = 0
    """Steps in which beta rises from 0."""

    kl_cycle: Count = 0
    """Steps after which it rises from 0 again, each time as in the KL warm-up; 0: it rises once."""

    plateau: Count | None = None
    """Epochs without a better validation ELBO until the rate is halved; 15, of few rows more; 0:
    never."""

    patience: Count | None = None
    """Epochs without a better validation ELBO until training stops; 40, of few rows more; 0:
    never."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of initial parameters, order of rows and noise."""

    device: Device = "auto"
    """Where to compute; auto takes a GPU when there is one."""

    engine: EngineName = "auto"
    """How steps are executed."""

    precision: Precision = "float32"
    """Of products inside networks; auto takes bf16 for large ones, where the processor has it."""


class DataSettings(Settings):
    """Which data a pair is trained on, and what happens to their values."""

    name: str
    """A data set, a file or a folder."""

    dir: str | None = None
    """Where original files may lie."""

    binarize: Binarize = "auto"
    """Draw binary data from grey levels; auto does, at each visit, for a Bernoulli p(x | z)."""

    standardize: bool | None = None
    """Give each element mean 0 and deviation 1 on the training rows; by default, where a real
    likelihood of the zoo meets values far from that."""

    scale: Rate | None = None
    """Largest grey level, by which values are divided; 255 for pictures of whole numbers."""

    channels: Channels = "auto"
    """Where the colours of pictures stand; auto recognises (H, W, 3)."""

    missing: Missing = "nan"
    """Entries that are nan: leave them out of the likelihood, or refuse them."""

    columns: Mapping[str, str | tuple[str, ...]] = {}
    """Columns of a table that are other arguments of the model, as {"c": ["age", "income"]}."""

    label: str | None = None
    """Column of a table, or array of a file, that is the label; none: it has none."""

    drop: tuple[str, ...] = ()
    """Columns of a table that are left out."""

    types: Mapping[str, ColumnType] = {}
    """Types of columns of a table, where another one is recognised, as {"code": "category"}."""

    categories: Mapping[str, tuple[str, ...]] = {}
    """Texts of columns of a table in the order of their codes; those of the training by default."""

    validation_data: str | None = None
    """File whose rows are for validation, instead of a tenth of those of the data."""

    test_data: str | None = None
    """File whose rows are for test, instead of a tenth of those of the data."""

    resize: Size | None = None
    """Pixels of the shorter side of pictures, which are scaled to it and cut to a square."""

    crop: Size | None = None
    """Pixels of a square in the middle of pictures, all else of which is cut off."""

    frame: Size = 200
    """Samples of a frame of a folder of recordings."""

    window: Size | None = None
    """Frames of the windows into which series (T, D) or (N, T, D) are cut."""

    stride: Size | None = None
    """Frames from the start of a window to that of the next; those of a window by default."""

    group: str | None = None
    """Column, or array, of groups that no split tears apart."""

    split_seed: Count = 0
    """Of a random split, for data without an official one."""


def checked(kind: type[S], values: Mapping[str, object]) -> S:
    """Return settings of a kind; a refusal that names every unknown or wrong one.

    Examples
    --------
    >>> checked(Training, {"lr": 0.01}).lr
    0.01
    """
    unknown = [name for name in values if name not in kind.model_fields]
    if unknown:
        raise RequestError(f"no setting '{unknown[0]}'; {nearest(unknown[0], kind.model_fields)}")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise RequestError("; ".join(describe(error))) from error


def describe(error: ValidationError) -> list[str]:
    """Return one phrase for each thing that pydantic found wrong."""
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        what = problem["msg"].removeprefix("Value error, ")
        what = what.replace("Input should be", "expected", 1)
        what = what.replace("a valid tuple", "a list, as [64, 64]")
        problems.append(f"{where}: {what} (got {shown(problem['input'])})")
    return problems


def texts_of_fields(kind: type[Settings]) -> dict[str, str]:
    """Return the text below each field of a kind of settings, by its name.

    It is read when it is asked for: pydantic would read it whenever the class is imported, which
    takes longer than all else that it does.

    Examples
    --------
    >>> texts_of_fields(Training)["lr"]
    'Learning rate.'
    """
    nodes = ast.parse(getsource(sys.modules[kind.__module__])).body
    (body,) = (n.body for n in nodes if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    texts = {}
    for field, text in pairwise(body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                texts[name] = cleandoc(words)
    return texts
