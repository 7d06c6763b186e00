import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vaezoo.data
from vaezoo.data import list_data, load_data
from vaezoo.errors import RequestError


@pytest.mark.parametrize("module", ["vaezoo.data", "vaezoo.cli.data"])
def test_import_loads_no_torch(module: str) -> None:
    heavy = "{'torch', 'pyro', 'pandas', 'scipy', 'sklearn', 'PIL', 'pooch'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist_once() -> None:
    names = vaezoo.data.__all__
    assert [name for name in names if getattr(vaezoo.data, name, None) is None] == []
    assert len(set(names)) == len(names)


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = vaezoo.data.nothing_of_the_kind


def test_names_are_sorted() -> None:
    names = [source.name for source in list_data()]
    assert names == sorted(names)


def test_load_by_name() -> None:
    assert load_data("digits").name == "digits"


def test_load_by_path(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(10))
    assert load_data(tmp_path / "x.npy").name == str(tmp_path / "x.npy")


def test_seed_splits_own_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(100))
    first, second = (load_data(tmp_path / "x.npy", seed=seed).splits["test"] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_name_comes_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_data("digits").x.shape == (1797, 8, 8)
    with pytest.raises(RequestError, match="no images"):
        load_data("./digits")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnits", "no data set 'mnits'; did you mean 'mnist'"),
        ("mnist.npz", "no file or folder 'mnist.npz'; did you mean 'mnist'"),
        ("./frey", "no file or folder './frey'; did you mean 'frey'"),
    ],
)
def test_unknown_data_get_the_nearest_name(spec: str, message: str) -> None:
    with pytest.raises(RequestError) as failure:
        load_data(spec)
    assert str(failure.value).startswith(message)
