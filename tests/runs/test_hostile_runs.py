"""Whatever lies in a run folder of a stranger: a run, or one line that names the file."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import vaezoo
from vaezoo.config import read_file
from vaezoo.errors import VaezooError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    vaezoo.fit("vae-linear", "digits", training={"steps": 2}, out=out)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def refusal(run: Path) -> str:
    with pytest.raises(VaezooError) as caught:
        vaezoo.load_run(run)
    message = str(caught.value)
    assert len(message) < 1000
    return message


VALUES: list[Any] = [
    None,
    -1,
    1e308,
    "x",
    [],
    {},
    [[]],
    {"a": {}},
    True,
    10**30,
    [-1],
    ["x"],
    "\x1b",
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("key", ["format", "transform", "shapes", "id"])
def test_another_value_in_run_json_is_refused(run: Path, key: str, value: object) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, key: value}))
    assert "run" in refusal(run)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("key", ["scale", "binarize", "mean", "std"])
def test_another_value_in_the_transform_is_refused(run: Path, key: str, value: object) -> None:
    if key == "scale" and value in (True, 1e308, 10**30):
        pytest.skip("a scale")
    info = json.loads((run / "run.json").read_text())
    wrong = {"scale": 1.0, "binarize": "none", "mean": [0.0] * 64, "std": [1.0] * 64, key: value}
    (run / "run.json").write_text(json.dumps({**info, "transform": wrong}))
    assert "run.json" in refusal(run)


@pytest.mark.parametrize("shape", [[-1], [10**12], [10**30], ["x"], [None], [2.5, "y"], "x", []])
def test_another_shape_is_refused(run: Path, shape: object) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "shapes": {"x": shape}}))
    assert "run" in refusal(run)


@pytest.mark.parametrize("value", [v for v in VALUES if v is not None], ids=repr)
@pytest.mark.parametrize("key", ["config", "data", "training", "z_dim", "batch_size"])
def test_another_value_in_config_toml_is_refused(run: Path, key: str, value: object) -> None:
    if value == {} or (key == "batch_size" and value in (True, 10**30)):
        pytest.skip("settings")
    values = read_file(run / "config.toml")
    table = {"z_dim": "config", "batch_size": "training"}.get(key)
    if table:
        values[table] = {**values[table], key: value}
    else:
        values[key] = value
    (run / "config.toml").write_text(tomli_w.dumps(values))
    assert refusal(run)


FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: b"\0" * len(content),
    "no utf-8": lambda content: b"\xff" + content,
    "deep": lambda content: b"[" * 100_000,
    "deep objects": lambda content: b'{"a":' * 100_000,
    "huge number": lambda content: b"9" * 100_000,
    "a text": lambda content: b'"run"',
    "nothing": lambda content: b"null",
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("name", ["config.toml", "run.json", "weights.safetensors"])
def test_another_content_of_a_file_is_refused(run: Path, name: str, what: str) -> None:
    if (name, what) == ("config.toml", "half"):
        pytest.skip("may be settings")
    path = run / name
    path.write_bytes(FILES[what](path.read_bytes()))
    assert name in refusal(run) or (name, what) == ("config.toml", "empty")


def test_half_a_configuration_is_settings_or_refused(run: Path) -> None:
    content = (run / "config.toml").read_text()
    for end in range(0, len(content), 20):
        (run / "config.toml").write_text(content[:end])
        with suppress(VaezooError):
            vaezoo.load_run(run)
