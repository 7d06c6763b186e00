"""Every closed choice that a setting, a flag or an argument offers, without importing torch."""

from typing import Literal

__all__ = [
    "Binarize",
    "DataKind",
    "Device",
    "EngineName",
    "Level",
    "OptimizerName",
    "PointValue",
    "Precision",
    "Split",
]

Binarize = Literal["auto", "dynamic", "static", "none"]
DataKind = Literal["images", "vectors", "sequences"]
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "eager", "graph", "compiled"]
Level = Literal["quick", "standard", "full"]
OptimizerName = Literal["adam", "adamw", "adagrad", "clipped-adam"]
PointValue = Literal["mean", "sample"]
Precision = Literal["float32", "bf16"]
Split = Literal["train", "validation", "test"]
