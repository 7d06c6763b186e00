import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vaezoo.cli import main
from vaezoo.cli.data import data
from vaezoo.data import SOURCES, Remote, Source, from_arrays
from vaezoo.errors import RequestError, RunError

BODY = bytes(range(40))


def run(*words: str) -> Result:
    return CliRunner().invoke(data, list(words))


def shown(path: Path, *words: str) -> dict[str, Any]:
    result = run("show", str(path), *words, "--json")
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


@pytest.fixture
def npy(tmp_path: Path) -> Callable[[np.ndarray], Path]:
    def save(x: np.ndarray) -> Path:
        np.save(tmp_path / "x.npy", x)
        return tmp_path / "x.npy"

    return save


@pytest.fixture
def tiny(server: Any, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A named data set whose file is on a server of this machine."""
    checksum = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    remote = Remote("tiny.bin", (server.serve("/tiny.bin", BODY),), checksum, len(BODY), "tiny")
    source = Source(
        "tiny",
        "a few bytes",
        "vectors",
        (10, 4),
        "none",
        "nobody",
        lambda paths: from_arrays(np.frombuffer(paths[0].read_bytes(), np.uint8).reshape(10, 4)),
        (remote,),
    )
    monkeypatch.setitem(SOURCES, "tiny", source)
    return source


@pytest.mark.parametrize("words", [(), ("list",), ("show",), ("fetch",)])
def test_help_has_an_example(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "vaezoo data" in result.output.partition("Example:")[2]


@pytest.mark.parametrize("command", ["list", "show", "fetch"])
def test_help_names_the_variable(command: str) -> None:
    assert "VAEZOO_DATA" in run(command, "--help").output


def test_list_names_every_data_set() -> None:
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *sorted(SOURCES)]


def test_list_fits_a_terminal() -> None:
    assert max(map(len, run("list").stdout.splitlines())) <= 80


def test_list_json_has_the_licences() -> None:
    facts = json.loads(run("list", "--json").stdout)
    assert {fact["name"]: fact["licence"] for fact in facts}["mnist"] == "CC BY-SA 3.0"


@pytest.mark.parametrize("name", ["jsb", "nottingham", "pendigits", "spoken-digits"])
def test_show_of_named_sequences(name: str, real_data: Path) -> None:
    result = run("show", name, "--data-dir", str(real_data))
    assert result.exit_code == 0
    assert "kind        sequences" in result.stdout
    assert "a sequence; train " in result.stdout


def test_list_tells_what_is_on_disk(real_data: Path) -> None:
    result = run("list", "--json", "--data-dir", str(real_data))
    assert {fact["name"]: fact["on_disk"] for fact in json.loads(result.stdout)}["frey"]


def test_show_of_a_named_set() -> None:
    result = run("show", "digits")
    assert result.exit_code == 0
    assert "splits      train 1437, validation 180, test 180" in result.stdout
    assert "train       vaezoo train vae-bernoulli --data digits" in result.stdout
    assert "licence     " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_show_of_sequences_suggests_no_model_of_images() -> None:
    report = json.loads(run("show", "digits-rows", "--json").stdout)
    assert report["kind"] == "sequences"
    assert "vae-" not in report["train"]


@pytest.mark.parametrize("as_json", [False, True])
def test_show_survives_missing_values(npy: Callable[..., Path], as_json: bool) -> None:
    x = np.random.default_rng(0).standard_normal((30, 3))
    x[7, 1], x[9, 2] = np.nan, np.inf
    result = run("show", str(npy(x)), *["--json"][: int(as_json)])
    assert result.exit_code == 0
    assert "remove or fill" in result.stdout


def test_show_counts_missing_values(npy: Callable[..., Path]) -> None:
    x = np.ones((30, 3))
    x[7, 1], x[9, 2] = np.nan, np.inf
    report = shown(npy(x))
    assert (report["nan"], report["first_nan_row"]) == (1, 7)
    assert (report["infinite"], report["first_infinite"]) == (1, "row 9")


def test_show_survives_nothing_but_nan(npy: Callable[..., Path]) -> None:
    path = npy(np.full((4, 2), np.nan))
    assert shown(path)["range"] is None
    assert run("show", str(path)).exit_code == 0


def test_show_names_constant_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b,c\n1,5,\n2,5,\n3,5,\n")
    assert shown(tmp_path / "x.csv")["constant"] == ["b", "c"]


def test_show_ignores_padding(tmp_path: Path) -> None:
    x = np.zeros((6, 3, 2), np.float32)
    x[:, 0] = 1.0
    np.savez(tmp_path / "x.npz", x=x, length=np.ones(6, np.int64))
    report = shown(tmp_path / "x.npz")
    assert report["constant"] == ["0", "1"]


def walks(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Return a path for sequences, and their frames and lengths."""
    x = np.random.default_rng(0).normal(9.0, 3.0, (6, 4, 2))
    return tmp_path / "x.npz", x, np.array([4, 2, 3, 4, 4, 1])


def test_show_counts_frames(tmp_path: Path) -> None:
    path, x, length = walks(tmp_path)
    np.savez(path, x=x, length=length)
    report = shown(path)
    assert report["lengths"] == [1, 4]
    assert sum(report["frames"].values()) == length.sum()
    assert "frames      1 ... 4 a sequence; train" in run("show", str(path)).stdout


def test_show_of_vectors_has_no_frames(npy: Callable[..., Path]) -> None:
    assert "frames" not in shown(npy(np.eye(20)))


def test_show_names_sequence_and_frame_of_a_missing_value(tmp_path: Path) -> None:
    path, x, length = walks(tmp_path)
    x[1, 3], x[3, 2, 1], x[5] = np.nan, np.nan, 1.0
    np.savez(path, x=x, length=length)
    assert (shown(path)["nan"], shown(path)["first_nan_row"]) == (1, 3)
    assert "the first in sequence 3, frame 2" in run("show", str(path)).stdout


def test_show_counts_duplicates_without_padding(tmp_path: Path) -> None:
    path, x, _ = walks(tmp_path)
    x[1:3] = x[0]
    x[5] = 0.0
    np.savez(path, x=x, length=np.array([2, 2, 3, 4, 4, 1]))
    assert shown(path)["duplicates"] == pytest.approx(1 / 6)


def test_show_of_real_sequences_suggests_a_gaussian(tmp_path: Path) -> None:
    path, x, length = walks(tmp_path)
    np.savez(path, x=x, length=length)
    assert shown(path)["train"].endswith("--likelihood gaussian")


def test_show_does_not_standardise_a_pen(tmp_path: Path) -> None:
    path, x, length = walks(tmp_path)
    x[..., 1] = x[..., 1] > 9
    np.savez(path, x=x, length=length)
    report = shown(path)
    assert report["likelihood"].startswith("bernoulli for 1 and gaussian for the rest")
    assert "--standardize" not in report["train"]


def test_show_counts_duplicates(npy: Callable[..., Path]) -> None:
    assert shown(npy(np.repeat(np.eye(5), 4, axis=0)))["duplicates"] == pytest.approx(0.75)


SUGGESTIONS = {
    "binary": (np.eye(20, dtype=np.uint8), "binary", "vae-bernoulli", ()),
    "grey": (np.arange(180, dtype=np.uint8).reshape(20, 3, 3), "grey levels", "vae-bernoulli", ()),
    "unit": (np.linspace(0, 1, 60).reshape(20, 3), "real numbers", "vae-gaussian", ()),
    "real": (
        np.linspace(-9, 9, 60).reshape(20, 3),
        "real numbers",
        "vae-gaussian",
        (),
    ),
    "counts": (
        np.arange(60).reshape(20, 3),
        "whole numbers",
        "vae-bernoulli",
        ("--likelihood", "negative-binomial"),
    ),
    "levels": (
        np.arange(60).reshape(20, 3) % 7,
        "whole numbers",
        "vae-bernoulli",
        ("--likelihood", "categorical"),
    ),
}


@pytest.mark.parametrize(
    ("x", "values", "model", "flags"), SUGGESTIONS.values(), ids=SUGGESTIONS.keys()
)
def test_show_suggests_a_model(
    npy: Callable[..., Path], x: np.ndarray, values: str, model: str, flags: tuple[str, ...]
) -> None:
    path = npy(x)
    report = shown(path)
    assert report["values"] == values
    assert report["train"].split() == ["vaezoo", "train", model, "--data", str(path), *flags]


def test_show_suggests_a_model_of_tables_for_columns_of_several_kinds(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("wage,job\n" + "".join(f"{i / 7:.2f},{'ab'[i % 2]}\n" for i in range(40)))
    report = shown(path)
    assert report["train"] == f"vaezoo train vae-tabular --data {path}"
    assert "1 real" in report["likelihood"]


def test_show_tells_that_a_density_of_counts_is_no_likelihood(npy: Callable[..., Path]) -> None:
    assert "no likelihood of them" in shown(npy(np.arange(60).reshape(20, 3)))["likelihood"]


def test_show_lists_all_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.eye(20), y=np.arange(20), c=np.ones(20), names=["a", "b"])
    report = shown(tmp_path / "x.npz")
    assert [array["name"] for array in report["arrays"]] == ["x", "label", "c"]
    assert report["read"] == ["label: array 'y'", "left out: 'names' (2,)"]


@pytest.mark.parametrize("columns", [{}, {"columns": ["dx", "dy", "pen"]}])
def test_show_prints_a_command_for_pen_strokes_that_works(
    tmp_path: Path, columns: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(30, 6, 2)), rng.random((30, 6, 1)) < 0.2], -1)
    np.savez(tmp_path / "pen.npz", x=x, length=rng.integers(2, 7, 30), **columns)
    _, *words = shlex.split(shown(tmp_path / "pen.npz")["train"])
    monkeypatch.chdir(tmp_path)
    assert words[:2] == ["train", "vrnn"]
    assert CliRunner().invoke(main, [*words, "--steps", "1", "--set", "hidden=4"]).exit_code == 0


def test_show_splits_by_the_seed(npy: Callable[..., Path]) -> None:
    path = str(npy(np.eye(30)))
    assert run("show", path, "--split-seed", "1").exit_code == 0


def test_show_of_an_unknown_name_is_refused() -> None:
    result = run("show", "minst")
    assert isinstance(result.exception, RequestError)
    assert "did you mean 'mnist'" in str(result.exception)


def test_fetch_prints_the_path(tiny: Source, cache: Path) -> None:
    result = run("fetch", "tiny")
    assert result.stdout == f"{cache / 'tiny' / 'tiny.bin'}\n"
    assert result.exit_code == 0


def test_fetch_json(tiny: Source, cache: Path) -> None:
    report = json.loads(run("fetch", "tiny", "--json").stdout)
    assert report == {"name": "tiny", "files": [str(cache / "tiny" / "tiny.bin")]}


def test_fetched_set_is_on_disk(tiny: Source) -> None:
    assert "0.0 MiB" in run("list").stdout
    run("fetch", "tiny")
    assert "0.0 MiB" not in run("list").stdout


def test_show_fetches(tiny: Source) -> None:
    assert json.loads(run("show", "tiny", "--json").stdout)["shape"] == [10, 4]


def test_fetch_of_a_bundled_set_has_nothing_to_do() -> None:
    assert "nothing to download" in run("fetch", "digits").stdout


def test_fetch_without_a_network(tiny: Source, server: Any) -> None:
    server.serve("/tiny.bin", b"", status=404)
    result = run("fetch", "tiny")
    assert isinstance(result.exception, RunError)
    assert result.exception.exit_code == 1


def test_fetch_of_an_unknown_name_is_refused() -> None:
    result = run("fetch", "fmnist")
    assert isinstance(result.exception, RequestError)
    assert result.exception.exit_code == 2


def test_missing_data_folder_is_refused(tmp_path: Path) -> None:
    result = run("fetch", "frey", "--data-dir", str(tmp_path / "nowhere"))
    assert isinstance(result.exception, RequestError)


@pytest.mark.parametrize(
    "words",
    [
        ("--window", "10", "--stride", "5"),
        ("--split-seed", "3"),
        ("--scale", "9.0"),
        ("--label", "y", "--drop", "a"),
        ("--columns", "b,c", "--column", "u=a"),
        ("--types", "y=category"),
        ("--group", "y"),
    ],
)
def test_show_reads_as_train_and_its_command_says_how(tmp_path: Path, words: Any) -> None:
    lines = [f"{n / 4},{n / 3},{n / 7},{'pqr'[n % 3]}" for n in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,c,y", *lines]))
    command = shlex.split(shown(tmp_path / "x.csv", *words)["train"])
    assert all(word in command for word in words)


def test_show_takes_windows(npy: Callable[..., Path]) -> None:
    report = shown(npy(np.random.default_rng(0).normal(size=(100, 2))), "--window", "10")
    assert report["shape"] == [10, 10, 2]
