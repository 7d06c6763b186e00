"""Wrong requests: one line that says what to do, an exit code, and nothing lost or left."""

import json
import pickle
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from safetensors.torch import load_file

from vaezoo.runs.info import read_info, write_info
from vaezoo.runtime.tensors import save_tensors
from vaezoo.testing import scaffold

Prepare = Callable[[Path], None]
Vaezoo = Callable[..., Result]

WRONG, FAILED = 2, 1
X = np.linspace(-3, 7, 240, dtype=np.float32).reshape(30, 8)
GREY = np.linspace(0, 1, 30 * 64, dtype=np.float32).reshape(30, 8, 8)


@dataclass(frozen=True)
class Bad:
    """A request, what its one line has to match, and what lies in the folder beside ``run``."""

    words: str
    says: str
    given: Prepare = lambda folder: None
    code: int = WRONG


def text(name: str, content: str = "precious\n") -> Prepare:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)

    return write


def raw(name: str, content: bytes) -> Prepare:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


def npy(x: np.ndarray) -> Prepare:
    return lambda folder: np.save(folder / "x.npy", x)


def npz(**arrays: Any) -> Prepare:
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def pictures(*sizes: tuple[int, int]) -> Prepare:
    def draw(folder: Path) -> None:
        (folder / "images").mkdir()
        for number, size in enumerate(sizes):
            Image.new("L", size).save(folder / "images" / f"{number}.png")

    return draw


def pair(*changes: tuple[str, str], more: str = "", sequence: bool = False) -> Prepare:
    """A file my_vae.py with a pair in which some text is replaced."""

    def write(folder: Path) -> None:
        content = scaffold.source(Path("my_vae.py"), sequence=sequence)
        for old, new in changes:
            assert old in content
            content = content.replace(old, new)
        (folder / "my_vae.py").write_text(content + more)

    return write


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Prepare:
    def write(folder: Path) -> None:
        path = folder / "run" / name
        path.write_bytes(change(path.read_bytes()))

    return write


def run_json(**changes: Any) -> Prepare:
    def write(folder: Path) -> None:
        write_info(folder / "run", {**read_info(folder / "run"), **changes})

    return write


def config_toml(old: str, new: str) -> Prepare:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return bytes_of("config.toml", change)


def hole(value: float, row: int) -> Prepare:
    x = X.copy()
    x[row, 1] = value
    return npy(x)


def without(name: str) -> Prepare:
    return lambda folder: (folder / "run" / name).unlink()


def empty_folder(name: str) -> Prepare:
    return lambda folder: (folder / name).mkdir(parents=True)


def pickled_weights(folder: Path) -> None:
    path = folder / "run" / "weights.safetensors"
    path.write_bytes(pickle.dumps({"weight": [1.0]}))


def other_weights(folder: Path) -> None:
    path = folder / "run" / "weights.safetensors"
    run = json.loads((folder / "run" / "run.json").read_text())["id"]
    save_tensors(path, {name: torch.zeros(3) for name in load_file(path)}, {}, run=run)


def weights_as_state(folder: Path) -> None:
    run = folder / "run"
    shutil.copy(run / "weights.safetensors", run / "last" / "state.safetensors")


def broken_zip(folder: Path) -> None:
    np.savez(folder / "x.npz", x=X)
    content = (folder / "x.npz").read_bytes()
    (folder / "x.npz").write_bytes(content[: len(content) // 2])


def pickled_npz(folder: Path) -> None:
    (folder / "x.npz").write_bytes(pickle.dumps({"x": X}))


def text_in_npz(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("x.npy", "no array")


def two_pairs(folder: Path) -> None:
    content = scaffold.source(Path("my_vae.py"))
    second = content.replace("MyVae", "Other").replace("my-vae", "other")
    (folder / "my_vae.py").write_text(
        content + second.partition('"""\n\nimport')[2].join(["import", ""])
    )


def strange_code(folder: Path) -> None:
    """A run folder whose configuration points at other code than its model.py."""
    text("run/code.py", "raise SystemExit('it was run')")(folder)
    config_toml('model = "vae-bernoulli"', f'model = "{folder}/run/code.py"')(folder)


def strange_code_nearby(folder: Path) -> None:
    text("run/code.py", "raise SystemExit('it was run')")(folder)
    config_toml('model = "vae-bernoulli"', 'model = "run/code.py:Pair"')(folder)


COMMANDS = {
    "unknown command": Bad("trian vae-bernoulli", "no command 'trian'; did you mean 'train'"),
    "unknown command far": Bad("frobnicate", "no command 'frobnicate'; choose from: .*train"),
    "unknown option of all": Bad("--verbose list", "no such option.*--verbose"),
    "unknown flag": Bad("train vae-bernoulli --epoch 3", "no such option.*--epochs"),
    "flag without value": Bad("train vae-bernoulli --epochs", "--epochs.* requires an argument"),
    "too many words": Bad("train vae-bernoulli digits", "unexpected extra argument.*digits"),
    "no model to train": Bad("train", "name a model to train"),
    "no run to sample": Bad("sample", "missing argument 'RUN'"),
    "unknown tag": Bad("list --tag mising", "no model has the tag 'mising'"),
    "unknown pattern": Bad("list zzz*", "no model matches 'zzz\\*'"),
    "unknown model shown": Bad("show vae-bernuli", "no model .*did you mean 'vae-bernoulli'"),
    "unknown data shown": Bad("data show mnits", "no data set 'mnits'; did you mean .*'mnist'"),
    "unknown data fetched": Bad("data fetch mnits", "no data set 'mnits'; did you mean .*'mnist'"),
    "shape is no shape": Bad("check vae-linear --x-shape 3,x", "--x-shape '3,x' is no shape"),
    "new over a file": Bad("new mine.py", "mine.py exists already.*--force", text("mine.py")),
    "new without ending": Bad("new mine", "'mine' is no Python file; write 'mine.py'"),
    "new into a missing folder": Bad("new there/mine.py", "no folder 'there'; make it first"),
}

MODELS = {
    "unknown model": Bad("train vae-bernouli", "no model 'vae-bernouli'; did you mean"),
    "unknown model far": Bad("train qqq", "no model 'qqq'; choose from: .*vae-gaussian.*file"),
    "missing file": Bad("train ./my_vae.py", "no file 'my_vae.py'; 'vaezoo new my_vae.py' writes"),
    "missing module": Bad("train nowhere.at_all:Pair", "cannot import 'nowhere.at_all'"),
    "missing class": Bad(
        "train vaezoo.models.vae_linear:VaeLinear", "no 'VaeLinear'; did you mean 'VAELinear'"
    ),
    "class is no pair": Bad("train collections:OrderedDict", "OrderedDict is not an nn.Module"),
    "file is a folder": Bad("train ./my_vae.py", "no file 'my_vae.py'", empty_folder("my_vae.py")),
    "syntax error": Bad(
        "train ./my_vae.py", r"my_vae.py:2: SyntaxError", text("my_vae.py", "x = 1\ndef f(:\n")
    ),
    "file is not text": Bad(
        "train ./my_vae.py",
        "my_vae.py",
        raw("my_vae.py", b"x = '\xff'\n"),
    ),
    "file without a pair": Bad(
        "train ./my_vae.py", "my_vae.py defines no nn.Module with", text("my_vae.py", "x = 1\n")
    ),
    "file with two pairs": Bad(
        "train ./my_vae.py", "defines 2 pairs; say which: .*my_vae.py:Other", two_pairs
    ),
    "missing class in a file": Bad(
        "train ./my_vae.py:MyVea", "has no class 'MyVea'; did you mean 'MyVae'", pair()
    ),
    "file that raises": Bad(
        "train ./my_vae.py", "my_vae.py:1: ZeroDivisionError", text("my_vae.py", "x = 1 / 0\n")
    ),
    "file that exits": Bad(
        "train ./my_vae.py", "my_vae.py:1: SystemExit", text("my_vae.py", "raise SystemExit(0)\n")
    ),
    "constructor with a bug": Bad(
        "train ./my_vae.py",
        r"my_vae.py:\d+: .*NameError: name 'hiden'",
        pair(("Decoder(z_dim, [hidden]", "Decoder(z_dim, [hiden]")),
    ),
    "model with a bug": Bad(
        "train ./my_vae.py", r"my_vae.py:\d+: .*shape", pair(("self.decoder(z)", "self.decoder(x)"))
    ),
    "guide with a bug": Bad(
        "train ./my_vae.py",
        r"my_vae.py:\d+: AttributeError",
        pair(("self.encoder(x)", "self.encode(x)")),
    ),
    "guide without a site": Bad(
        "train ./my_vae.py",
        "'z'",
        pair(('pyro.sample("z", self.encoder', 'pyro.sample("y", self.encoder')),
    ),
    "unknown annotation": Bad(
        "train ./my_vae.py", "my_vae.py.*Positiv", pair(("z_dim: PositiveInt", "z_dim: 'Positiv'"))
    ),
    "images for a sequence model": Bad(
        "train ./my_vae.py --data digits", "the model takes 'length'", pair(sequence=True)
    ),
}

SETTINGS = {
    "unknown setting": Bad("--set z_dims=3", "no setting 'z_dims'; did you mean 'z_dim'"),
    "two wrong settings": Bad("--set z_dims=3 --set hidden=x", "z_dims.*; hidden: "),
    "setting without value": Bad("--set z_dim", "'z_dim' is no setting; write --set key=value"),
    "setting without name": Bad("--set =3", "'=3' is no setting"),
    "text for a number": Bad("--set z_dim=two", "z_dim: expected .*integer.*'two'"),
    "zero for a positive number": Bad("--set z_dim=0", "z_dim: expected greater than 0"),
    "number for a list": Bad("--set hidden=64", r"hidden: expected a list, as \[64, 64\]"),
    "unfinished list": Bad("--set hidden=[64", "hidden: expected a list"),
    "unknown choice": Bad("--set net=cnn", "net: expected 'mlp' or 'conv'"),
    "data shape is no setting": Bad("--set x_shape=[8,8]", "no setting 'x_shape'"),
    "unknown option of a part": Bad("--set likelihood.sigmoid=1", "no setting 'sigmoid'"),
    "number for a part": Bad("--set likelihood=3", "likelihood: expected one of bernoulli"),
    "number for a name": Bad("--set likelihood.name=3", "likelihood"),
    "table below a value": Bad("--set z_dim.size=3", "z_dim"),
    "training is a table": Bad("--set training=3", "training"),
    "unknown training setting": Bad("--set training.lrr=3", "no setting 'lrr'; did you mean 'lr'"),
    "unknown preset": Bad("--preset paper-mnits", "no preset .*did you mean 'paper-mnist'"),
    "unknown likelihood": Bad("--likelihood bernuli", "no likelihood .*did you mean 'bernoulli'"),
    "unknown prior": Bad("--prior standart", "no prior 'standart'; did you mean 'standard'"),
    "unknown posterior": Bad("--posterior diag", "no posterior 'diag'; did you mean|choose from"),
    "sigma of a Bernoulli": Bad(
        "--likelihood bernoulli --sigma shared",
        "'bernoulli' has no 'sigma', 'gaussian' has; add --likelihood gaussian",
    ),
    "negative sigma": Bad("--likelihood gaussian --sigma fixed:-1", "sigma: expected fixed:VALUE"),
    "unknown form of sigma": Bad("--likelihood gaussian --sigma all", "sigma: expected fixed:VAL"),
    "negative floor": Bad("--likelihood gaussian --sigma-floor -1", "floor: expected greater"),
    "text for a rate": Bad("--lr fast", "'--lr': 'fast' is not a valid float"),
    "rate of zero": Bad("--lr 0", "'--lr': 0.0 is not in the range x>0"),
    "rate is no number": Bad("--lr nan", "lr: expected"),
    "infinite rate": Bad("--lr inf", "lr: expected"),
    "epochs of text": Bad("--epochs many", "'--epochs': 'many' is not a valid integer"),
    "no epochs": Bad("--epochs 0", "'--epochs': 0 is not in the range"),
    "half an epoch": Bad("--epochs 1.5", "'--epochs': '1.5' is not a valid integer"),
    "epochs and steps": Bad("--epochs 2 --steps 9", "give --epochs or --steps, not both"),
    "no rows in a step": Bad("--batch-size 0", "'--batch-size': 0 is not in the range"),
    "negative beta": Bad("--beta -1", "'--beta': -1.0 is not in the range x>=0"),
    "infinite beta": Bad("--beta inf", "beta: expected"),
    "warm-up without end": Bad("--epochs 2 --kl-warmup 24", r"24 steps.*--kl-warmup 12"),
    "negative warm-up": Bad("--kl-warmup -5", "'--kl-warmup': -5 is not in the range"),
    "negative norm": Bad("--clip-norm -1", "'--clip-norm': -1.0 is not in the range"),
    "negative patience": Bad("--patience -1", "patience"),
    "no draws": Bad("--num-particles 0", "'--num-particles': 0 is not in the range"),
    "unknown optimiser": Bad("--optimizer sgd", "'--optimizer': 'sgd' is not one of 'adam'"),
    "unknown objective": Bad("--objective elob", "no objective 'elob'; did you mean 'elbo'"),
    "negative seed": Bad("--seed -1", "'--seed': -1 is not in the range"),
    "seed of 65 bits": Bad(f"--seed {2**64}", "seed"),
    "unknown device": Bad("--device tpu", "'--device': 'tpu' is not one of"),
    "unknown data": Bad("--data mnits", "no data set 'mnits'; did you mean .*'mnist'"),
    "unknown binarisation": Bad("--binarize hard", "'--binarize': 'hard' is not one of"),
    "two transforms": Bad("--binarize static --standardize", "exclude each other"),
    "standardised binary": Bad("--standardize", "explains 0 and 1 only; use .*categorical"),
    "grey levels as they are": Bad("--binarize none", "0 and 1 only; use --binarize dynamic or"),
    "sequences": Bad("--data digits-rows", "holds sequences, but the model takes no 'length'"),
    "missing data folder": Bad("--data mnist --data-dir there", "no folder 'there', which --data"),
    "pair of a run without a run": Bad("--model mine.py", "--model.*--resume", pair()),
}

PLACES = {
    "out is a run": Bad("--out run", "run exists already; go on with vaezoo train --resume run"),
    "out is a file": Bad("--out mine", "mine exists already", text("mine")),
    "out below a file": Bad("--out mine/run", "cannot create mine/run.*--out", text("mine")),
    "out where nobody may write": Bad("--out /proc/run", "cannot create /proc/run.*--out"),
}

CONFIGS = {
    "missing file": Bad("", "no configuration file 'c.toml'"),
    "not TOML": Bad("", "c.toml is not TOML", text("c.toml", "model = ")),
    "not text": Bad(
        "",
        "c.toml is not TOML",
        raw("c.toml", b"\xff\xfe"),
    ),
    "unknown entry": Bad(
        "", "c.toml: no entry 'modle'; did you mean 'model'", text("c.toml", "modle = 'x'")
    ),
    "not a table": Bad("", r"'training' must be a table", text("c.toml", "training = 3")),
    "no model": Bad("", "c.toml names no model", text("c.toml", "[config]\nz_dim = 2")),
    "other model": Bad(
        "vae-gaussian",
        "c.toml is for 'vae-bernoulli', not",
        text("c.toml", "model='vae-bernoulli'"),
    ),
    "model is a number": Bad("", "c.toml.*model", text("c.toml", "model = 3")),
    "preset is a number": Bad("", "preset", text("c.toml", "model = 'vae-bernoulli'\npreset = 3")),
    "unknown setting": Bad(
        "vae-linear", "no setting 'z_dims'; did you", text("c.toml", "[config]\nz_dims = 2")
    ),
    "unknown data setting": Bad(
        "vae-linear", "no setting 'nmae'; did you mean 'name'", text("c.toml", "[data]\nnmae = 'x'")
    ),
    "wrong data setting": Bad(
        "vae-linear", "standardize: expected", text("c.toml", "[data]\nstandardize = 'very'")
    ),
    "wrong training setting": Bad(
        "vae-linear", "epochs: expected", text("c.toml", "[training]\nepochs = 'all'")
    ),
    "epochs and steps": Bad(
        "vae-linear", "not both", text("c.toml", "[training]\nepochs = 1\nsteps = 1")
    ),
}

DATA = {
    "missing file": Bad("--data x.npy", "no file or folder 'x.npy'"),
    "unknown ending": Bad("--data x.odd", "cannot read 'x.odd': expected .*.npy", text("x.odd")),
    "NaN": Bad(
        "--data x.npy --missing refuse",
        "1 values of x are missing.*row 3.*--missing nan",
        npy(np.where(X[3, 1] == X, np.nan, X)),
    ),
    "infinity": Bad("--data x.npy", "infinite.*row 0", npy(np.where(X[0, 0] == X, np.inf, X))),
    "too large for 32 bits": Bad("--data x.npy", "x.npy", npy(X.astype(np.float64) * 1e300)),
    "objects": Bad("--data x.npy", "Python objects", npy(np.array([[None, 1]], object))),
    "texts": Bad("--data x.npy", "not numbers", npy(np.array([["a", "b"]]))),
    "complex numbers": Bad("--data x.npy", "complex64, not numbers", npy(X.astype(np.complex64))),
    "one dimension": Bad("--data x.npy", r"x has shape \(240,\); expected", npy(X.ravel())),
    "no dimension": Bad("--data x.npy", "x", npy(np.array(3.0))),
    "no rows": Bad("--data x.npy", "there are no data", npy(X[:0])),
    "no columns": Bad("--data x.npy", "there are no data", npy(X[:, :0])),
    "one row": Bad("--data x.npy", "row", npy(X[:1])),
    "empty file": Bad("--data x.npy", "cannot read 'x.npy'", text("x.npy", "")),
    "text file": Bad("--data x.npy", "cannot read 'x.npy'", text("x.npy", "1 2 3\n")),
    "no x in npz": Bad("--data x.npz", "arrays a, b; name the data 'x'", npz(a=X, b=X)),
    "empty npz": Bad("--data x.npz", "name the data 'x'", npz()),
    "half an npz": Bad("--data x.npz", "cannot read 'x.npz'", broken_zip),
    "pickle as npz": Bad("--data x.npz", "cannot read 'x.npz': it holds Python obj", pickled_npz),
    "text in npz": Bad("--data x.npz", "x.npz", text_in_npz),
    "objects in npz": Bad("--data x.npz", "Python objects", npz(x=np.array([[None]], object))),
    "fewer labels": Bad("--data x.npz", "rows differ", npz(x=X, label=np.arange(3))),
    "length beyond": Bad(
        "--data x.npz", "length 9, outside 1 ... 8", npz(x=X[..., None], length=np.full(30, 9))
    ),
    "length of vectors": Bad("--data x.npz", "need x of shape", npz(x=X, length=np.ones(30, int))),
    "text columns": Bad(
        "--data x.csv", "'b' holds numbers, but 'x'", text("x.csv", "a,b\n1,1\n2,2\n3,x\n")
    ),
    "only names": Bad("--data x.csv", "no rows", text("x.csv", "a,b\n")),
    "empty csv": Bad("--data x.csv", "x.csv", text("x.csv", "")),
    "ragged csv": Bad("--data x.csv", "cannot read 'x.csv'", text("x.csv", "1,2\n1,2,3\n")),
    "gaps in csv": Bad(
        "--data x.csv --missing refuse", "1 .*nan", text("x.csv", "a,b\n1,2\n3,\n" + "5,6\n" * 9)
    ),
    "images of two sizes": Bad(
        "--data images", "is 9x8, but .* is 8x8: make all", pictures((8, 8), (9, 8))
    ),
    "text as an image": Bad("--data images", "not an image", text("images/a.png")),
    "no images": Bad("--data images", "no images in 'images'", empty_folder("images")),
    "conv on vectors": Bad("--data x.npy --set net=conv", "net 'conv' needs images", npy(X)),
    "real data for a Bernoulli": Bad(
        "--data x.npy --likelihood bernoulli", "explains 0 and 1 only; use --likelihood gau", npy(X)
    ),
    "grey data for a Bernoulli": Bad(
        "--data x.npy --likelihood bernoulli", "use --binarize dynamic or", npy(GREY)
    ),
    "real data binarised": Bad(
        "--data x.npy --likelihood bernoulli --binarize dynamic", "needs 0 ... 1", npy(X)
    ),
}

RUNS = {
    "missing folder": Bad("sample there", "'there' is no run folder"),
    "folder of runs": Bad("sample .", "is no run folder.*the latest run there is run"),
    "file": Bad("sample mine", "'mine' is no run folder", text("mine")),
    "cut weights": Bad(
        "sample run",
        "weights.safetensors is damaged",
        bytes_of("weights.safetensors", lambda b: b[:-9]),
    ),
    "empty weights": Bad(
        "sample run",
        "weights.safetensors is damaged",
        bytes_of("weights.safetensors", lambda b: b""),
    ),
    "pickle as weights": Bad("sample run", "damaged or no safetensors", pickled_weights),
    "other weights": Bad("sample run", "does not fit the model", other_weights),
    "no weights": Bad("sample run", "no weights.safetensors", without("weights.safetensors")),
    "cut run.json": Bad(
        "sample run", "run.json is .*damaged", bytes_of("run.json", lambda b: b[:99])
    ),
    "no run.json": Bad("sample run", "run.json is missing", without("run.json")),
    "run.json is a list": Bad(
        "sample run", "run.json is .*damaged", bytes_of("run.json", lambda b: b"[]")
    ),
    "run.json without shapes": Bad("sample run", "run.json", run_json(shapes={})),
    "run.json with a list of shapes": Bad("sample run", "run.json", run_json(shapes=[8])),
    "run.json with text in shapes": Bad("sample run", "run.json", run_json(shapes={"x": "wide"})),
    "run.json without transform": Bad("sample run", "run.json", run_json(transform={})),
    "run.json of the future": Bad(
        "sample run", "has format 99, but this vaezoo reads format 2", run_json(format=99)
    ),
    "config not TOML": Bad("sample run", "is not TOML", bytes_of("config.toml", lambda b: b"\0")),
    "config of no model": Bad(
        "sample run", "config.toml", config_toml('model = "vae-bernoulli"', "")
    ),
    "config with another width": Bad(
        "sample run", "config.toml has .* other settings", config_toml("z_dim = 2", "z_dim = 3")
    ),
    "config with a wrong type": Bad(
        "sample run", "z_dim: expected", config_toml("z_dim = 2", "z_dim = 'two'")
    ),
    "code in the folder": Bad("sample run", "run/code.py", strange_code),
    "code near the folder": Bad("sample run", "run/code.py", strange_code_nearby),
    "no samples": Bad("sample run -n 0", "'-n' .*: 0 is not in the range"),
    "neither mean nor sample": Bad("sample run --x median", "'--x': 'median' is not one of 'mean'"),
    "picture as jpeg": Bad("sample run -o x.jpg", "cannot write 'x.jpg': use .*.png or .npz"),
    "picture without ending": Bad("sample run -o x", "cannot write 'x': use .*.png or .npz"),
    "picture onto a folder": Bad(
        "sample run -o x.png", "cannot write x.png", empty_folder("x.png/y"), FAILED
    ),
    "picture below a file": Bad(
        "sample run -o mine/x.png", "cannot write mine/x.png", text("mine"), FAILED
    ),
    "other shape": Bad("evaluate run --data x.npy", r"rows of shape \(8,\).*\(8, 8\)", npy(X)),
    "other shape encoded": Bad("encode run --data x.npy -o z.npz", "rows of shape", npy(X)),
    "sequences evaluated": Bad("evaluate run --data digits-rows", "holds sequences"),
    "nothing but nan evaluated": Bad(
        "evaluate run --data x.npy", "all entries of x are missing", npy(GREY * np.nan)
    ),
    "real data evaluated": Bad("evaluate run --data x.npy", "0 ... 1|0 and 1", npy(9 * GREY - 4)),
    "real data encoded": Bad(
        "encode run --data x.npy -o z.npz", "0 ... 1|0 and 1", npy(9 * GREY - 4)
    ),
    "real data reconstructed": Bad(
        "reconstruct run --data x.npy", "0 ... 1|0 and 1", npy(9 * GREY - 4)
    ),
    "unknown split": Bad("evaluate run --split al", "'--split': 'al' is not one of"),
    "empty split": Bad(
        "evaluate run --data x.npz",
        "the split 'test' of x.npz is empty",
        npz(x=GREY[:2], split=np.array(["train", "validation"])),
    ),
    "draws of text": Bad("evaluate run --iwae abc", "'abc' is no list of numbers of draws"),
    "draws of nothing": Bad("evaluate run --iwae=", "is no list of numbers of draws"),
    "zero draws": Bad("evaluate run --iwae 0", "positive numbers of draws, as --iwae 1,10"),
    "draws not in four chains": Bad("encode run -o z.nc --num-samples 6", "multiple of 4"),
    "codes as text": Bad("encode run -o z.txt", "cannot write 'z.txt': use"),
    "codes nowhere": Bad("encode run", "missing option '-o'"),
}

RESUMES = {
    "missing run": Bad("--resume there", "'there' is no run folder"),
    "with a model": Bad("vae-bernoulli --resume run", "'vae-bernoulli' cannot be given"),
    "with a rate": Bad("--resume run --lr 0.1", "--lr cannot be given"),
    "with a rate that is false": Bad("--resume run --beta 0", "--beta cannot be given"),
    "with a seed that is false": Bad("--resume run --seed 0", "--seed cannot be given"),
    "with settings": Bad("--resume run --set z_dim=3", "--set cannot be given|--settings cannot"),
    "with a place": Bad("--resume run --out other", "--out cannot be given"),
    "epochs and steps": Bad("--resume run --epochs 3 --steps 99", "not both"),
    "finished": Bad("--resume run --epochs 2", "run.*finished.*--epochs"),
    "shorter than it is": Bad("--resume run --epochs 1", "run.*(2 epochs|24 steps)"),
    "shorter than its warm-up": Bad(
        "--resume run --epochs 4",
        "warm-up",
        config_toml("kl_warmup = 0", "kl_warmup = 99"),
    ),
    "cut state": Bad(
        "--resume run --epochs 3",
        "state.safetensors is damaged",
        bytes_of("last/state.safetensors", lambda b: b[:-9]),
    ),
    "no state": Bad(
        "--resume run --epochs 3", "run.*(again|--config)", without("last/state.safetensors")
    ),
    "state of something else": Bad(
        "--resume run --epochs 3",
        "state.safetensors",
        weights_as_state,
    ),
    "changed data": Bad(
        "--resume run --epochs 3",
        "has changed since run was trained",
        run_json(data_checksum="0" * 64),
    ),
}


def prefixed(prefix: str, group: str, table: dict[str, Bad]) -> dict[str, Bad]:
    return {
        f"{group}: {name}": Bad(f"{prefix} {bad.words}", bad.says, bad.given, bad.code)
        for name, bad in table.items()
    }


REQUESTS = {
    **prefixed("", "command", COMMANDS),
    **prefixed("", "model", MODELS),
    **prefixed("train vae-bernoulli", "setting", SETTINGS),
    **prefixed("train vae-bernoulli --epochs 1", "place", PLACES),
    **prefixed("train --config c.toml", "config", CONFIGS),
    **prefixed("train vae-gaussian --epochs 1", "data", DATA),
    **prefixed("", "run", RUNS),
    **prefixed("train", "resume", RESUMES),
}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, byte for byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def require_one_line(result: Result, code: int, says: str) -> None:
    lines = [line for line in result.stderr.splitlines() if not line.startswith("preparing ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("vaezoo: ")
    assert "a bug" not in lines[0]
    assert re.search(says, lines[0]), lines[0]
    assert result.exit_code == code


@pytest.mark.parametrize("bad", REQUESTS.values(), ids=REQUESTS)
def test_wrong_request(bad: Bad, vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    bad.given(tmp_path)
    before = contents(tmp_path)
    result = vaezoo(*shlex.split(bad.words))
    require_one_line(result, bad.code, bad.says)
    assert contents(tmp_path) == before
    assert result.stdout == ""


def test_there_are_many() -> None:
    assert len(REQUESTS) > 50
