"""Files as people have them, one by one: what was read, what was said, what came out.

The files of ``tests/data/test_everyday.py``, real tables and photographs of scikit-learn, and the
original files of named data sets, where ``VAEZOO_DATA`` has them. Of each that can be read, the
pair that ``vaezoo data show`` advises takes a hundred steps, and its samples are compared with
the data, in their units.

    python benchmarks/own_data.py --write
"""

import argparse
import gzip
import importlib.util
import os
import sys
import tarfile
import time
import warnings
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from _report import write

import vaezoo
from vaezoo.cli._flags import in_flags
from vaezoo.cli.train import train
from vaezoo.data import load_data
from vaezoo.data.profile import describe
from vaezoo.settings import DataSettings

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--write", action="store_true", help="write the table into docs/results")
parser.add_argument("--only", default="", help="files whose name has this in it")

HERE = Path(__file__).resolve().parents[1]
EVERYDAY = HERE / "tests" / "data" / "test_everyday.py"
STEPS, MOST_ROWS, MOST_BYTES = 100, 2000, 2**28
TEXT = """\
*Read*: the shape of x, and what else a pair can take. *Said*: what is printed of it when a training
begins, or the refusal. *Came out*: the pair that `vaezoo data show` advises, after 100 steps;
mean and deviation of the data, and of its samples in the units of the data. Those of a
Bernoulli are 0 or the largest level. Many of these files are smaller than a training needs: they
show what is read."""


class Case(NamedTuple):
    """A file, how it is read, and what it is called."""

    name: str
    path: Path
    settings: dict[str, Any]


def everyday(folder: Path) -> Iterator[Case]:
    """Write the files of the test."""
    spec = importlib.util.spec_from_file_location("everyday", EVERYDAY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["everyday"] = module
    spec.loader.exec_module(module)
    for number, (name, file) in enumerate(module.FILES.items()):
        (folder / f"{number}").mkdir()
        yield Case(name, module.write(folder / f"{number}", file), file.settings)


def real(folder: Path) -> Iterator[Case]:
    """Yield files that others wrote: of scikit-learn, and those in VAEZOO_DATA."""
    tables = Path(str(files("sklearn.datasets") / "data"))
    for name in ("iris.csv", "wine_data.csv", "breast_cancer.csv", "linnerud_exercise.csv"):
        yield Case(f"scikit-learn: {name}", tables / name, {})
    yield Case("scikit-learn: digits, packed", tables / "digits.csv.gz", {})
    digits = _unzipped(tables / "digits.csv.gz", folder / "digits.csv")
    yield Case("the same, unpacked", digits, {})
    yield Case("scikit-learn: photographs", tables.parent / "images", {"resize": 32})
    originals = Path(os.environ.get("VAEZOO_DATA", "nowhere"))
    for packed in sorted(originals.glob("*/binarized_mnist_test.amat.gz")):
        yield Case("binarized MNIST, test", _unzipped(packed, folder / "binarized_mnist.txt"), {})
    for archive in sorted(originals.glob("fsdd/*.tar.gz")):
        yield Case("spoken digits, zeros", _unpacked(archive, folder), {"frame": 200})
    for file in sorted(originals.glob("*/*")):
        if file.suffix in (".npz", ".mat", ".pickle"):
            yield Case(f"original of {file.parent.name}", file, {})


def _unzipped(packed: Path, path: Path) -> Path:
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def _unpacked(file: Path, folder: Path) -> Path:
    """Unpack some of the recordings of an archive."""
    with tarfile.open(file) as archive:
        sounds = [one for one in archive.getmembers() if one.name.endswith("_0.wav")]
        for one in sounds:
            one.name = Path(one.name).name
        archive.extractall(folder / "sounds", sounds, filter="data")
    return folder / "sounds"


def row_of(case: Case) -> list[str]:
    """Return the row of a file."""
    flags = " ".join(
        in_flags(f"`{name}={value!r}`", train) for name, value in case.settings.items()
    )
    name = f"{case.name} `{case.path.name}` {f'`{flags}`' if flags else ''}".strip()
    try:
        data = load_data(case.path, settings=DataSettings(name=str(case.path), **case.settings))
    except vaezoo.VaezooError as error:
        return [name, "refused", _short(in_flags(str(error), train), case.path), ""]
    others = [f"`{key}`" for key in data.arrays if key != "x"]
    shapes = " ".join([f"x {data.x.shape}", *others]).replace("|", " ")
    said = _short("; ".join(in_flags(note, train) for note in data.notes), case.path)
    return [name, shapes, said, _what_came_out(case, data)]


def _short(text: str, path: Path) -> str:
    return text.replace(str(path), path.name).replace("|", "/")


def _what_came_out(case: Case, data: Any) -> str:
    if min(len(rows) for rows in data.splits.values()) == 0:
        return "too few rows to train on"
    if data.x.nbytes > MOST_BYTES:
        return "not trained here: large"
    advised = describe(data)["train"]
    if advised is None:
        return "nothing: no training is advised"
    model = advised["model"]
    settings = {key: value for key, value in advised.items() if key not in ("model", "data")}
    own = {key: settings.pop(key) for key in list(settings) if key in DataSettings.model_fields}
    try:
        run = vaezoo.fit(
            model,
            case.path,
            data_settings={**case.settings, **own},
            config=settings,
            training={"steps": STEPS, "lr": 3e-3},
        )
        x = vaezoo.sample(run, 500, x="sample")
    except vaezoo.VaezooError as error:
        return f"`{model}`: {_short(in_flags(str(error), train), case.path)}"
    said = " ".join(f"{key}={value}" for key, value in {**settings, **own}.items())
    return f"`{model}{' ' + said if said else ''}`: data {_moments(data.x)}, samples {_moments(x)}"


def _moments(x: Any) -> str:
    values = np.asarray(x[:MOST_ROWS], np.float64)
    return f"{np.nanmean(values):.3g} +- {np.nanstd(values):.3g}"


def main() -> None:
    """Print, and perhaps write, the table."""
    arguments, began = parser.parse_args(), time.monotonic()
    rows = [["File", "Read", "Said", "Came out"]]
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        for case in (*everyday(Path(folder)), *real(Path(folder))):
            if arguments.only in case.name:
                rows.append(row_of(case))
                print(" | ".join(rows[-1]), flush=True)
    if arguments.write:
        title = "Files as people have them"
        write("own-data", title, TEXT, rows, began)


if __name__ == "__main__":
    main()
