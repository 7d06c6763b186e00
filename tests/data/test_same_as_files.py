"""The same values as a file and as an object, with the same settings, are the same data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse
from torch.utils.data import Dataset, TensorDataset

from vaezoo import RequestError
from vaezoo.data import Data, as_data, from_arrays, load_data
from vaezoo.data.transform import standardization
from vaezoo.settings import DataSettings
from vaezoo.training.admission import load_for, prepare

RNG = np.random.default_rng(0)
REAL = 50 + 9 * RNG.normal(size=(40, 3))
SINGLE = REAL.astype(np.float32)
GREY = RNG.integers(0, 256, (40, 12, 10), np.uint8)
LABEL = np.arange(40) % 4
TEXTS = np.array(["cat", "dog"])[LABEL % 2]
FEW = sparse.csr_matrix(REAL * (REAL > 50))
TABLE = pd.DataFrame(REAL, columns=["a", "b", "c"]).assign(
    city=["Oslo", "Rome", "Bern", "Oslo"] * 10,
    on=[True, False] * 20,
    day=pd.date_range("2024-01-31", periods=40),
    y=TEXTS,
    ward=list("abcdefgh") * 5,
)
WALKS = [np.cumsum(RNG.normal(size=(n, 2)), 0) for n in (*range(3, 12), 4, 4)]
FRAMES = pd.concat(
    pd.DataFrame(walk, columns=["u", "v"]).assign(id=n, time=np.arange(len(walk)))
    for n, walk in enumerate(WALKS)
)


def padded() -> dict[str, Any]:
    length = np.array([len(walk) for walk in WALKS])
    x = np.stack([np.pad(walk, ((0, length.max() - len(walk)), (0, 0))) for walk in WALKS])
    return {"x": x, "length": length}


class Pictures(Dataset[Any]):
    """Pictures of pillow with a label, as torchvision has them."""

    def __len__(self) -> int:
        return len(GREY)

    def __getitem__(self, row: int) -> Any:
        return Image.fromarray(GREY[row]), int(LABEL[row])


@dataclass(frozen=True)
class Kind:
    """What a file holds and the object that holds the same; how both are read."""

    name: str
    stored: Any
    value: Callable[[Path], Any] | Any
    settings: dict[str, Any] = field(default_factory=dict)
    model: str = "vae-gaussian"


def csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


STANDARD: dict[str, Any] = {"standardize": True, "split_seed": 3}
KINDS = {
    "array": Kind("x.npy", REAL, REAL),
    "array, not standardised": Kind("x.npy", REAL, REAL, {"standardize": False}),
    "tensor": Kind("x.npy", SINGLE, torch.from_numpy(SINGLE), STANDARD),
    "pictures": Kind("x.npy", GREY, GREY, {"scale": 300.0}),
    "colours last": Kind("x.npy", np.stack([GREY] * 3, -1), np.stack([GREY] * 3, -1)),
    "no colours": Kind("x.npy", GREY[..., :3], GREY[..., :3], {"channels": "first"}),
    "arrays": Kind("x.npz", {"x": REAL, "y": TEXTS}, {"x": REAL, "y": TEXTS}),
    "no label": Kind("x.npz", {"x": REAL, "y": LABEL}, {"x": REAL, "y": LABEL}, {"label": "none"}),
    "groups": Kind("x.npz", {"x": REAL, "g": LABEL}, {"x": REAL, "g": LABEL}, {"group": "g"}),
    "split": Kind(
        "x.npz",
        {"x": REAL, "split": ["train", "val", "train", "test"] * 10},
        {"x": REAL, "split": ["train", "val", "train", "test"] * 10},
    ),
    "sparse": Kind("x.npz", FEW, FEW),
    "which is x": Kind(
        "x.npz", {"a": REAL, "b": SINGLE}, {"a": REAL, "b": SINGLE}, {"columns": {"x": "b"}}
    ),
    "items": Kind(
        "x.npz",
        {"x": SINGLE, "label": LABEL},
        TensorDataset(torch.from_numpy(SINGLE), torch.from_numpy(LABEL)),
    ),
    "items that are pictures": Kind("x.npz", {"x": GREY, "label": LABEL}, Pictures()),
    "table": Kind("x.csv", TABLE, csv),
    "table in memory": Kind("x.parquet", TABLE, TABLE),
    "table, said": Kind(
        "x.csv",
        TABLE,
        csv,
        {"label": "city", "drop": ("b",), "types": {"ward": "category"}, "columns": {"c": "c"}},
    ),
    "table in groups": Kind("x.tsv", TABLE, TABLE.astype({"day": str}), {"group": "ward"}),
    "frames": Kind("x.csv", FRAMES, csv, {}, "vrnn"),
    "sequences": Kind("x.npz", padded(), WALKS, STANDARD, "vrnn"),
    "windows": Kind("x.npy", REAL, REAL, {"window": 5, "stride": 2}, "vrnn"),
    "windows of sequences": Kind("x.npz", padded(), WALKS, {"window": 4}, "vrnn"),
    "windows of a table": Kind("x.csv", TABLE[["a", "b"]], csv, {"window": 5}, "vrnn"),
}


def write(path: Path, stored: Any) -> Path:
    if isinstance(stored, pd.DataFrame) and path.suffix == ".parquet":
        stored.to_parquet(path)
    elif isinstance(stored, pd.DataFrame):
        stored.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    elif sparse.issparse(stored):
        sparse.save_npz(path, stored)
    elif isinstance(stored, dict):
        np.savez(path, **stored)
    else:
        np.save(path, stored)
    return path


def assert_same(one: Data, other: Data) -> None:
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype, name
        assert np.array_equal(array, other.arrays[name], equal_nan=array.dtype.kind == "f"), name
    for split, rows in one.splits.items():
        assert np.array_equal(rows, other.splits[split]), split
    assert (one.columns, one.categories) == (other.columns, other.categories)
    assert one.scale == other.scale


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_object_is_the_same_data_as_its_file(tmp_path: Path, kind: Kind) -> None:
    path = write(tmp_path / kind.name, kind.stored)
    value = kind.value(path) if callable(kind.value) else kind.value
    settings = DataSettings(name=str(path), **kind.settings)
    file, data = load_data(path, settings=settings), as_data(value, settings=kind.settings)
    assert_same(file, data)
    for one, other in zip(standardization(file), standardization(data), strict=True):
        assert np.array_equal(one, other)


GAUSSIAN = {"likelihood": "gaussian"}
TRAINED = ("array, not standardised", "pictures", "table, said", "sequences", "windows")


@pytest.mark.parametrize("name", TRAINED)
def test_a_run_of_an_object_is_that_of_its_file(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    path = write(tmp_path / kind.name, kind.stored)
    value = kind.value(path) if callable(kind.value) else kind.value
    (file, _), (run, _) = (
        prepare(kind.model, data, data_settings=kind.settings, config=GAUSSIAN)
        for data in (path, value)
    )
    assert file.roles == run.roles
    assert file.transform.to_dict() == run.transform.to_dict()
    assert file.data.model_copy(update={"name": run.data.name}) == run.data


OTHERS = {"validation": REAL[:7] + 1, "test": REAL[:5] - 1}


def saved(folder: Path) -> dict[str, str]:
    for split, x in {"train": REAL, **OTHERS}.items():
        np.save(folder / f"{split}.npy", x)
    return {f"{split}_data": str(folder / f"{split}.npy") for split in OTHERS}


def test_other_splits_may_be_values(tmp_path: Path) -> None:
    files = {"name": str(tmp_path / "train.npy"), **saved(tmp_path)}
    file = load_data(files["name"], settings=DataSettings(**files))
    values = {f"{split}_data": x for split, x in OTHERS.items()}
    assert_same(file, as_data(REAL, settings=values))
    assert_same(file, as_data({"train": REAL, "val": OTHERS["validation"], "test": OTHERS["test"]}))
    assert_same(file, load_data(tmp_path))


def test_other_splits_of_values_may_be_files(tmp_path: Path) -> None:
    file = as_data(REAL, settings=saved(tmp_path))
    assert_same(file, as_data({"train": REAL, **OTHERS}))


def test_other_splits_have_the_codes_of_the_training() -> None:
    table = pd.DataFrame({"a": range(6), "city": ["Rome", "Oslo", "Bern"] * 2})
    data = as_data({"train": table, "test": table[:1]})
    assert data.x[-1].tolist() == data.x[0].tolist() == [0, 0, 0, 1]


def test_a_run_keeps_the_splits_of_values(tmp_path: Path) -> None:
    _, data = prepare("vae-gaussian", REAL, data_settings={"test_data": OTHERS["test"]})
    run, _ = prepare("vae-gaussian", {"train": REAL, **OTHERS})
    assert len(data.rows("test")) == 5
    assert run.info["own_splits"]


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (from_arrays(REAL), {"window": 5}, "`window` says how data are read"),
        (REAL, {"windw": 5}, "no setting 'windw'; did you mean 'window'"),
        (REAL, {"group": "g"}, "`group`: the array has no array beside x called 'g'"),
        (REAL, {"columns": {"c": "a"}}, "`columns` takes a table, and the array is none"),
        ({"x": REAL, "z": LABEL}, {"label": "y"}, "`label`: the mapping has no array 'y'"),
        (TABLE, {"drop": ("cty",)}, "`drop`: 'frame' has no column 'cty'"),
        ("digits", {"test_data": REAL}, "`test_data` holds values; give a path"),
        (DataSettings(name="digits"), {"standardize": True}, "given twice"),
    ],
)
def test_settings_that_do_not_go_with_data_are_refused(
    data: Any, settings: dict[str, Any], message: str
) -> None:
    cls = type(prepare("vae-linear", REAL)[0].pair)
    with pytest.raises(RequestError, match=message):
        load_for(cls, data, settings)


LACKED: dict[str, Any] = {
    "label": "kind",
    "group": "zone",
    "drop": ("gone",),
    "types": {"gone": "category"},
    "resize": 64,
    "crop": 64,
}


@pytest.mark.parametrize("setting", LACKED)
@pytest.mark.parametrize("value", [REAL, {"x": REAL}, TABLE], ids=["array", "mapping", "frame"])
def test_what_settings_name_is_there_in_training_and_may_lack_later(
    value: Any, setting: str
) -> None:
    settings = {setting: LACKED[setting]}
    with pytest.raises(RequestError, match=f"^`{setting}`.* has no"):
        as_data(value, settings=settings)
    assert as_data(value, settings=settings, whole=True).is_whole


def test_a_stride_goes_with_windows() -> None:
    with pytest.raises(RequestError, match="`stride` is that of windows; give `window`"):
        as_data(REAL, settings={"stride": 5})
