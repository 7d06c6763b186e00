"""Every closed choice that a setting, a flag or an argument offers, without importing torch."""

from typing import Any, Literal, get_args

from vaezoo.errors import RequestError, shown

__all__ = [
    "SIMPLE_MODELS",
    "Binarize",
    "Channels",
    "CodesMap",
    "ColumnType",
    "DataKind",
    "Device",
    "EngineName",
    "InterpolationPath",
    "LatentSource",
    "Level",
    "Missing",
    "OptimizerName",
    "PointValue",
    "Precision",
    "Schedule",
    "Shown",
    "ShownValue",
    "Split",
    "require_choice",
]

Binarize = Literal["auto", "dynamic", "static", "none"]
Channels = Literal["auto", "first", "last"]
CodesMap = Literal["pca", "umap"]
ColumnType = Literal["real", "integer", "boolean", "category", "date"]
Missing = Literal["nan", "refuse"]
DataKind = Literal["images", "vectors", "sequences"]
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "eager", "graph", "compiled"]
InterpolationPath = Literal["linear", "spherical"]
LatentSource = Literal["prior", "gmm", "flow"]
Level = Literal["quick", "standard", "full"]
OptimizerName = Literal["adam", "adamw", "adagrad", "clipped-adam"]
PointValue = Literal["mean", "sample"]
Precision = Literal["float32", "bf16", "auto"]
Schedule = Literal["joint", "em"]
ShownValue = Literal["mean", "mode", "sample"]
Shown = Literal["mean", "mode", "sample", "both"]  # the mean, and a sample beside it
Split = Literal["train", "validation", "test", "all"]

# What stands beside the numbers of a deep model.
SIMPLE_MODELS = {
    "independent": "elements by themselves",
    "markov": "given its value before",
    "linear": "probabilistic PCA",
}


def require_choice(argument: str, value: object, choices: Any) -> None:
    """Refuse an argument that is none of the choices.

    Examples
    --------
    >>> require_choice("z", "both", PointValue)
    Traceback (most recent call last):
    vaezoo.errors.RequestError: `z` takes mean or sample, not 'both'
    """
    if not (isinstance(value, str) and value in get_args(choices)):
        raise RequestError(
            f"`{argument}` takes {' or '.join(get_args(choices))}, not {shown(value)}"
        )
