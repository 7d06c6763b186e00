"""The run folder: what is saved is what is loaded; nothing is run or half written."""

import errno
import json
import os
import pickle
import shutil
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from safetensors.torch import load_file

from vaezoo import (
    RequestError,
    Run,
    RunError,
    encode,
    evaluate,
    fit,
    load_run,
    reconstruct,
    resume,
    sample,
)
from vaezoo.runs import read_metrics
from vaezoo.runtime.storage import write_bytes
from vaezoo.runtime.tensors import load_tensors, save_tensors
from vaezoo.settings import DataSettings
from vaezoo.testing import scaffold

Vaezoo = Callable[..., Result]


def differing(one: Path, other: Path) -> list[str]:
    left, right = load_file(one), load_file(other)
    assert left.keys() == right.keys()
    return [name for name in left if not torch.equal(left[name], right[name])]


def without_seconds(folder: Path) -> list[dict[str, Any]]:
    return [{**record, "seconds": 0} for record in read_metrics(folder)]


# Saving and loading


def test_loaded_weights_are_the_saved_ones(trained: Path) -> None:
    pair = load_run(trained).pair
    saved = load_file(trained / "weights.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in pair.state_dict().items())
    assert not pair.training


def test_best_weights_are_those_of_the_best_epoch(trained: Path) -> None:
    _, values = load_tensors(trained / "weights.safetensors")
    best = max(read_metrics(trained), key=lambda record: record["validation"]["elbo"])
    where = {"epoch": best["epoch"], "step": best["step"]}
    assert values == {**where, "validation_score": best["validation"]["elbo"]}


def test_returned_run_is_the_loaded_run(tmp_path: Path) -> None:
    config = {"z_dim": 2, "hidden": [8]}
    run = fit("vae-bernoulli", config=config, training={"epochs": 1}, out=tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert (loaded.config, loaded.training, loaded.data) == (run.config, run.training, run.data)
    assert (loaded.shapes, loaded.transform, loaded.metrics) == (
        run.shapes,
        run.transform,
        run.metrics,
    )
    assert np.array_equal(sample(loaded, 3), sample(run, 3))


def test_statistics_of_the_data_are_saved_exactly(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(3, 2, (60, 5))
    np.save(tmp_path / "x.npy", x)
    data = str(tmp_path / "x.npy")
    settings = DataSettings(name=data, standardize=True)
    run = fit("vae-linear", settings, training={"epochs": 1}, out=tmp_path / "run")
    loaded = load_run(tmp_path / "run").transform
    assert np.array_equal(loaded.mean, run.transform.mean)
    assert np.array_equal(loaded.std, run.transform.std)


def test_config_repeats_the_run(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    result = vaezoo("train", "--config", "run/config.toml", "--out", "again", "--json")
    assert result.exit_code == 0, result.stderr
    assert (
        differing(tmp_path / "again/weights.safetensors", run_folder / "weights.safetensors") == []
    )
    assert without_seconds(tmp_path / "again") == without_seconds(run_folder)
    assert (tmp_path / "again/config.toml").read_text() == (run_folder / "config.toml").read_text()


def test_flags_override_a_config(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    words = ["--steps", "3", "--set", "z_dim=3", "--out", "again", "--json"]
    assert vaezoo("train", "--config", "run/config.toml", *words).exit_code == 0
    values = tomllib.loads((tmp_path / "again/config.toml").read_text())
    assert (values["config"]["z_dim"], values["config"]["hidden"]) == (3, [16])
    assert values["training"]["steps"] == 3
    assert "epochs" not in values["training"]


def test_everything_that_the_flags_say_is_in_the_config(vaezoo: Vaezoo, tmp_path: Path) -> None:
    words = (
        "train vae-gaussian --data digits --steps 2 --batch-size 50 --lr 0.002 --optimizer adamw "
        "--clip-norm 9 --beta 0.5 --kl-warmup 1 --objective elbo --num-particles 2 --plateau 3 "
        "--patience 4 --sigma shared --sigma-floor 0.02 --prior standard --posterior diagonal "
        "--standardize --set hidden=[8] --seed 5 --device cpu --engine graph "
        "--precision bf16 --free-bits 0.1 --out run --json"
    )
    assert vaezoo(*words.split()).exit_code == 0
    values = tomllib.loads((tmp_path / "run/config.toml").read_text())
    assert values["training"] == {
        "steps": 2,
        "batch_size": 50,
        "lr": 0.002,
        "optimizer": "adamw",
        "clip_norm": 9.0,
        "schedule": "joint",
        "e_steps": 1,
        "objective": "elbo",
        "objective_options": {},
        "num_particles": 2,
        "free_bits": 0.1,
        "lr_decay": 1.0,
        "beta": 0.5,
        "kl_warmup": 1,
        "kl_cycle": 0,
        "plateau": 3,
        "patience": 4,
        "seed": 5,
        "device": "cpu",
        "engine": "graph",
        "precision": "bf16",
        "truncate": 0,
    }
    likelihood = {"name": "gaussian", "sigma": "shared", "floor": 0.02, "mean": "linear"}
    assert values["config"]["likelihood"] == likelihood
    assert (values["config"]["hidden"], values["data"]["standardize"]) == ([8], True)


def test_same_seed_same_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.manual_seed(len(name))
        fit("vae-linear", training={"steps": 5, "seed": 3}, out=tmp_path / name)
        torch.rand(3)
    one, two = (tmp_path / name / "weights.safetensors" for name in ("one", "two"))
    assert differing(one, two) == []


def test_other_seed_other_run(tmp_path: Path) -> None:
    for seed in (3, 4):
        fit("vae-linear", training={"steps": 5, "seed": seed}, out=tmp_path / str(seed))
    three, four = (tmp_path / str(seed) / "weights.safetensors" for seed in (3, 4))
    assert differing(three, four) != []


def test_seed_from_a_clock() -> None:
    fit("vae-linear", training={"steps": 1, "seed": 20261120165012})


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    fit("vae-linear", training={"steps": 1})
    assert torch.equal(torch.get_rng_state(), before)


def test_run_works_from_another_folder(
    vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)))
    assert (
        vaezoo("train", "vae-linear", "--data", "x.npy", "--steps", "2", "--out", "run").exit_code
        == 0
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert vaezoo("evaluate", "../run").exit_code == 0
    assert vaezoo("train", "--resume", "../run", "--steps", "4").exit_code == 0


def test_default_folders_do_not_collide(vaezoo: Vaezoo, tmp_path: Path) -> None:
    for _ in range(2):
        assert vaezoo("train", "vae-linear", "--steps", "1", "--json").exit_code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


DIVERGING = {
    "rate": "vae-bernoulli --set hidden=[8] --lr 1e30",
    "values": "vae-gaussian --data x.npy --sigma shared --set hidden=[8] --lr 1e9",
}


@pytest.mark.parametrize("words", DIVERGING.values(), ids=DIVERGING)
def test_failed_training_keeps_the_last_good_weights(
    vaezoo: Vaezoo, tmp_path: Path, words: str
) -> None:
    np.save(tmp_path / "x.npy", 1e18 * np.random.default_rng(0).normal(size=(200, 4)))
    result = vaezoo("train", *words.split(), "--out", "run", "--json")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("vaezoo: training stopped at step ")
    assert "run" in line
    assert "a bug" not in line
    assert all(torch.isfinite(p).all() for p in load_run(tmp_path / "run").pair.parameters())


# Code and pickles


@pytest.fixture
def no_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(torch, "load", refuse)


@pytest.mark.usefixtures("no_pickles")
def test_nothing_is_unpickled(run_folder: Path) -> None:
    run = load_run(run_folder)
    sample(run, 2)
    resume(run_folder, epochs=3)


def test_pair_from_a_file_is_kept(trained_from_file: Path) -> None:
    assert not (trained_from_file / "my_vae.py").exists()
    original = trained_from_file.parent / "my_vae.py"
    assert (trained_from_file / "model.py").read_bytes() == original.read_bytes()


@pytest.fixture
def file_run(trained_from_file: Path, tmp_path: Path) -> Path:
    """A copy of the run of a user's pair, without the file that it came from."""
    return Path(shutil.copytree(trained_from_file, tmp_path / "run"))


def test_run_outlives_the_file_of_its_pair(file_run: Path) -> None:
    assert type(load_run(file_run).pair).__name__ == "MyVae"
    assert len(resume(file_run, epochs=2).metrics) == 2


@pytest.fixture
def strange_run(file_run: Path) -> Path:
    """A run folder from elsewhere: its code was not trained on this machine."""
    with (file_run / "model.py").open("a") as file:
        file.write(f"\nprint('the code was run')  # in {file_run}\n")
    return file_run


@pytest.mark.parametrize("command", ["sample", "evaluate", "train --resume"])
def test_strange_code_is_not_run(vaezoo: Vaezoo, strange_run: Path, command: str) -> None:
    result = vaezoo(*command.split(), strange_run)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"name it: --model {strange_run}/model.py" in result.stderr


def test_strange_code_is_not_run_by_its_config(vaezoo: Vaezoo, strange_run: Path) -> None:
    result = vaezoo("train", "--config", strange_run / "config.toml", "--steps", "1", "--json")
    assert result.exit_code == 2
    assert "the code was run" not in result.stdout


def test_strange_code_is_run_when_it_is_named(vaezoo: Vaezoo, strange_run: Path) -> None:
    result = vaezoo("sample", strange_run, "--model", strange_run / "model.py", "-o", "x.npz")
    assert result.exit_code == 0
    assert "the code was run" in result.stdout


def test_naming_code_once_does_not_trust_it_for_ever(vaezoo: Vaezoo, strange_run: Path) -> None:
    vaezoo("sample", strange_run, "--model", strange_run / "model.py", "-o", "x.npz")
    assert vaezoo("sample", strange_run).exit_code == 2


def test_code_in_another_cache_is_strange(
    file_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(RequestError, match="not trained here"):
        load_run(file_run)


@pytest.mark.parametrize("spec", ["run/code.py", "./run/code.py:Pair", "{folder}/run/code.py"])
def test_config_cannot_point_at_code(vaezoo: Vaezoo, run_folder: Path, spec: str) -> None:
    folder = run_folder.parent
    (run_folder / "code.py").write_text("import os\nos.mkdir('was_run')\n")
    config = run_folder / "config.toml"
    text = config.read_text().replace("vae-bernoulli", spec.format(folder=folder))
    config.write_text(text)
    assert vaezoo("sample", "run").exit_code == 2
    assert not (folder / "was_run").exists()


# Files


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
@pytest.mark.usefixtures("strict_umask")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    fit("vae-linear", training={"steps": 1}, out=tmp_path / "run")
    for path in (tmp_path / "run").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640), path


@pytest.mark.parametrize("cut", [1, 20, 300])
def test_cut_line_of_metrics_is_left_out(run_folder: Path, cut: int) -> None:
    file = run_folder / "metrics.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert [record["epoch"] for record in read_metrics(run_folder)] == ([1, 2] if cut == 1 else [1])


def test_resume_mends_a_cut_line(trained: Path, run_folder: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(trained, tmp_path / "whole"))
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "st')
    for folder in (whole, run_folder):
        resume(folder, epochs=3)
    assert without_seconds(run_folder) == without_seconds(whole)
    assert len(without_seconds(whole)) == 3


def no_space(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(params=["fsync", "replace"])
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when a file is flushed, or renamed."""
    owner: Any = os if request.param == "fsync" else Path
    monkeypatch.setattr(owner, request.param, no_space)


@pytest.mark.usefixtures("full_disk")
def test_failed_write_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RunError, match=f"cannot write {path}: No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", press)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_write_below_a_file_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(RunError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"new")


def test_full_disk_at_the_end_of_an_epoch_is_one_line(
    vaezoo: Vaezoo, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run_folder / "last/state.safetensors").read_bytes()
    monkeypatch.setattr(os, "fsync", no_space)
    result = vaezoo("train", "--resume", "run", "--epochs", "3", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith("vaezoo: cannot write run/")
    assert len(result.stderr.splitlines()) == 1
    assert (run_folder / "last/state.safetensors").read_bytes() == before


def test_unwritable_metrics_are_one_line(vaezoo: Vaezoo, run_folder: Path) -> None:
    (run_folder / "metrics.jsonl").unlink()
    (run_folder / "metrics.jsonl").mkdir()
    result = vaezoo("train", "--resume", "run", "--epochs", "3", "--json")
    assert result.exit_code in (1, 2)
    (line,) = result.stderr.splitlines()
    assert "metrics.jsonl" in line
    assert "a bug" not in line


def test_missing_tensorboard_is_said_before_anything_is_written(
    vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = vaezoo(
        "train", "vae-linear", "--steps", "1", "--tensorboard", "--out", "run", "--json"
    )
    assert result.exit_code == 2
    assert "pip install" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_tensors_and_values_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(2)}
    values = {"x": [1, None], "y": {"z": -0.1}}
    save_tensors(tmp_path / "t.safetensors", tensors, values)
    loaded, loaded_values = load_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())
    assert loaded_values == values


# What commands write


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def test_samples_are_in_units_of_the_data(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    assert vaezoo("sample", "run", "-n", "5", "-o", "x.npz").exit_code == 0
    x = arrays(tmp_path / "x.npz")["x"]
    assert (x.shape, x.dtype) == ((5, 8, 8), np.float32)
    assert (x > 0).all()
    assert 1 < x.max() < 16


def test_drawn_samples_are_black_or_white(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    assert vaezoo("sample", "run", "--x", "sample", "-o", "x.npz").exit_code == 0
    x = arrays(tmp_path / "x.npz")["x"]
    assert x.shape == (64, 8, 8)
    assert set(np.unique(x)) == {0, 16}


@pytest.mark.parametrize(
    "command", ["sample", "reconstruct -n 6", "encode --z sample", "sample --x sample"]
)
def test_same_seed_same_output(
    vaezoo: Vaezoo, run_folder: Path, tmp_path: Path, command: str
) -> None:
    name, *flags = command.split()
    for file, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = [name, "run", *flags, "-o", f"{file}.npz", "--seed", str(seed)]
        assert vaezoo(*words).exit_code == 0
    a, b, c = (arrays(tmp_path / f"{file}.npz") for file in "abc")
    key = "z" if name == "encode" else "x"
    assert np.array_equal(a[key], b[key])
    assert np.array_equal(a[key], c[key]) == (command == "reconstruct -n 6")


def test_pictures_are_written(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    assert vaezoo("sample", "run", "-n", "4", "-o", "new/x.png").exit_code == 0
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert image.size[0] <= image.size[1]  # a line of text stands below the square


def test_default_pictures_lie_in_the_run(vaezoo: Vaezoo, run_folder: Path) -> None:
    assert vaezoo("sample", "run").exit_code == 0
    assert vaezoo("reconstruct", "run").exit_code == 0
    assert (run_folder / "figures" / "samples.png").is_file()
    assert (run_folder / "figures" / "reconstructions.png").is_file()


@pytest.mark.parametrize("x", ["mean", "sample"])
@pytest.mark.parametrize("z", ["mean", "sample"])
def test_reconstructions(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path, z: str, x: str) -> None:
    words = ["reconstruct", "run", "-n", "7", "--z", z, "--x", x, "-o", "x.npz"]
    assert vaezoo(*words).exit_code == 0
    written = arrays(tmp_path / "x.npz")
    assert written["data"].shape == written["x"].shape == (7, 8, 8)
    assert set(np.unique(written["data"])) <= {0, 16}
    assert (written["x"] >= 0).all()
    assert (written["x"] <= 16).all()
    assert (set(np.unique(written["x"])) == {0, 16}) == (x == "sample")


def test_reconstructions_of_draws_differ_from_those_of_means(trained: Path) -> None:
    run = load_run(trained)
    _, of_means = reconstruct(run, limit=5, z="mean")
    _, of_draws = reconstruct(run, limit=5, z="sample")
    assert not np.array_equal(of_means, of_draws)


def test_more_rows_than_there_are_give_all(trained: Path) -> None:
    data, _ = reconstruct(load_run(trained), limit=10_000, split="test")
    assert len(data) == 180


def test_codes_as_arrays(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    assert vaezoo("encode", "run", "-o", "z.npz").exit_code == 0
    written = arrays(tmp_path / "z.npz")
    assert (written["z"].shape, written["label"].shape) == ((180, 2), (180,))
    assert np.array_equal(written["z"], encode(load_run(run_folder))["z"])


def test_codes_as_a_table(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    assert vaezoo("encode", "run", "-n", "3", "--split", "train", "-o", "z.csv").exit_code == 0
    head, *rows = (tmp_path / "z.csv").read_text().splitlines()
    assert head == "z_0,z_1,label"
    codes = encode(load_run(run_folder), split="train", limit=3)
    table = np.array([row.split(",") for row in rows], dtype=np.float32)
    assert np.array_equal(table[:, :2], codes["z"])
    assert np.array_equal(table[:, 2], codes["label"])


def test_codes_as_draws(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    assert vaezoo("encode", "run", "-n", "6", "--num-samples", "400", "-o", "z.nc").exit_code == 0
    tree = xr.open_datatree(tmp_path / "z.nc", engine="h5netcdf")
    z, mean = tree["posterior/z"], tree["guide/z_mean"]
    assert dict(z.sizes) == {"chain": 4, "draw": 100, "datum": 6, "latent": 2}
    error = np.abs(z.mean(("chain", "draw")) - mean) / (z.std(("chain", "draw")) / 20)
    assert float(error.max()) < 5
    tree.close()


def test_same_rows_have_the_same_codes(trained: Path) -> None:
    run: Run = load_run(trained)
    some, all_ = encode(run, limit=5)["z"], encode(run)["z"]
    assert np.allclose(some, all_[:5], atol=1e-6)


def test_other_data_of_the_same_shape(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (50, 8, 8))
    np.save(tmp_path / "x.npy", x.astype(np.uint8) * 16)
    result = vaezoo("evaluate", "run", "--data", "x.npy", "--iwae", "1,5", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["num_rows"] == 50


def test_evaluation_agrees_with_training(trained: Path, vaezoo: Vaezoo) -> None:
    evaluation = evaluate(load_run(trained), split="validation", iwae=[1])
    logged = read_metrics(trained)[-1]["validation"]
    assert evaluation.metrics.elbo == pytest.approx(logged["elbo"], abs=0.5)
    assert evaluation.metrics.kl == pytest.approx(logged["kl"], rel=1e-4)


@pytest.mark.parametrize("sequence", [False, True])
def test_scaffold_trains_as_it_is(vaezoo: Vaezoo, tmp_path: Path, sequence: bool) -> None:
    scaffold.write(tmp_path / "my_vae.py", sequence=sequence)
    words = ["--steps", "2", "--set", "hidden=8", "--out", "run", "--json"]
    assert vaezoo("train", "./my_vae.py", *words).exit_code == 0
    for command in ("sample run", "reconstruct run", "evaluate run -n 20 --iwae 2"):
        result = vaezoo(*command.split())
        assert result.exit_code == 0, result.stderr
    assert vaezoo("encode", "run", "-o", "z.csv", "-n", "4").exit_code == 0
