"""Commands on runs of sequences: what they write, and what they refuse."""

import re
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import Result

from vaezoo.plots.audio import write_wav
from vaezoo.training.fit import fit

Vaezoo = Callable[..., Result]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on binary rows of images (``rows``) and on real sequences (``real``)."""
    home = tmp_path_factory.mktemp("sequences")
    rng = np.random.default_rng(0)
    x = 0.1 * rng.normal(size=(40, 12, 4)).cumsum(1)
    np.savez(home / "x.npz", x=x, length=rng.integers(6, 13, 40))
    config: dict[str, Any] = {"z_dim": 2, "hidden": 8}
    fit("vrnn", "digits-rows", config=config, training={"steps": 2}, out=home / "rows")
    config = {**config, "likelihood": {"name": "gaussian"}}
    fit("vrnn", str(home / "x.npz"), config=config, training={"steps": 2}, out=home / "real")
    return home


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path, dirs_exist_ok=True))


def done(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored}


def test_free_running_samples(vaezoo: Vaezoo, folder: Path) -> None:
    done(vaezoo("sample", "rows", "--steps", "11", "-n", "3", "-o", "x.npz"))
    assert arrays(folder / "x.npz")["x"].shape == (3, 11, 8)


def test_samples_that_continue_data(vaezoo: Vaezoo, folder: Path) -> None:
    text = done(vaezoo("sample", "real", "--prefix", "4", "--steps", "5", "-n", "2", "-o", "c.npz"))
    assert arrays(folder / "c.npz")["x"].shape == (2, 9, 4)
    assert "the first 4 frames of test rows" in text


@pytest.mark.parametrize("run", ["rows", "real"])
def test_pictures(vaezoo: Vaezoo, folder: Path, run: str) -> None:
    done(vaezoo("sample", run))
    done(vaezoo("sample", run, "--prefix", "3", "-n", "4", "-o", "prefix.png"))
    done(vaezoo("reconstruct", run, "-n", "4"))
    done(vaezoo("forecast", run, "--horizon", "3", "--num-samples", "5", "-n", "4"))
    done(vaezoo("impute", run, "--gap", "2:4", "-n", "3", "--num-samples", "5", "--burn-in", "2"))
    names = ("samples", "reconstructions", "forecast", "imputed")
    assert all((folder / run / "figures" / f"{name}.png").is_file() for name in names)


def test_a_forecast_is_scored(vaezoo: Vaezoo, folder: Path) -> None:
    text = done(
        vaezoo("forecast", "real", "--horizon", "4", "--num-samples", "6", "-n", "3", "-o", "f.nc")
    )
    with xr.open_datatree(folder / "f.nc", engine="h5netcdf") as tree:
        assert tree["predictions"]["x"].shape == (1, 6, 3, 4, 4)
        mean = float(tree["scores"]["crps"].mean())
    assert f"crps {mean:.4g}" in text


def test_a_forecast_as_arrays(vaezoo: Vaezoo, folder: Path) -> None:
    done(
        vaezoo("forecast", "rows", "--horizon", "2", "--num-samples", "5", "-n", "3", "-o", "f.npz")
    )
    forecast = arrays(folder / "f.npz")
    assert forecast["x"].shape == (5, 3, 2, 8)
    assert forecast["begun"].shape == (3, 4, 8)


def test_filled_data_can_be_read_again(vaezoo: Vaezoo, folder: Path) -> None:
    x = arrays(folder / "x.npz")
    x["x"][:, 2:4] = np.nan
    np.savez(folder / "gaps.npz", x=x["x"], length=x["length"])
    words = ("--data", "gaps.npz", "--num-samples", "3", "--burn-in", "2", "-o", "filled.npz")
    done(vaezoo("impute", "real", *words))
    imputed = arrays(folder / "filled.npz")
    assert imputed["missing"].sum() == 40 * 2 * 4
    is_frame = np.arange(12) < imputed["length"][:, None]
    assert np.isfinite(imputed["x"][is_frame]).all()
    kept = is_frame & ~imputed["missing"].any(-1)
    np.testing.assert_allclose(imputed["x"][kept], x["x"][kept], atol=1e-6)


def test_images_are_filled_in(vaezoo: Vaezoo, run_folder: Path) -> None:
    text = done(vaezoo("impute", "run", "--fraction", "0.3", "-n", "4", "--num-samples", "5"))
    assert "root mean square error" in text
    assert (run_folder / "figures" / "imputed.png").is_file()


def test_sound(vaezoo: Vaezoo, folder: Path) -> None:
    """Two sounds of 3 frames of 4 samples, and a pause of 0.3 s between them."""
    words = ("--steps", "3", "-n", "2", "--rate", "1000", "-o", "x.wav")
    done(vaezoo("sample", "real", *words))
    with wave.open(str(folder / "x.wav")) as sound:
        form = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        assert form == (1, 2, 1000)
        assert sound.getnframes() == 2 * 12 + 300


def test_samples_of_sound_are_kept(tmp_path: Path) -> None:
    """To half a level of 16 bits; louder ones are cut."""
    x = np.array([[[0.5, -1.0, 0.25], [1.5, -2.0, 3 / 2**15]]])
    write_wav(x, tmp_path / "x.wav", 8000)
    with wave.open(str(tmp_path / "x.wav")) as sound:
        levels = np.frombuffer(sound.readframes(6), "<i2")
    assert levels.tolist() == [2**14, -(2**15), 2**13, 2**15 - 1, -(2**15), 3]


REFUSED = [
    ("sample real -o x.wav", "sampling rate of .* is not known; give it, as --rate 8000"),
    ("sample rows -o x.wav", "digits-rows is no sound; write a .png or .npz"),
    ("sample run -o x.wav", "digits is no sound"),
    ("sample run --steps 3", "--steps takes a run on sequences"),
    ("sample run --prefix 3", "is no run on sequences"),
    ("sample rows --prefix 9", "--prefix 9 is longer than sequence 0 of test, .* at most 8"),
    ("sample rows --prefix 0", "'--prefix': 0 is not in the range"),
    ("sample rows --data digits-rows", "--data takes --prefix with it"),
    ("sample rows -o x.mp3", "cannot write 'x.mp3'"),
    ("forecast run --horizon 3", "is no run on sequences"),
    ("forecast rows --horizon 0", "'--horizon': 0 is not in the range"),
    ("forecast rows --horizon 2 --prefix 9", "at most 8"),
    ("forecast rows --horizon 2 --prefix most", "'most' is no number of frames"),
    ("forecast rows --horizon 2 -o x.csv", "cannot write 'x.csv'"),
    ("impute rows", "nothing is missing in digits-rows"),
    ("impute rows --gap 7:9", "--gap 7:9 ends behind sequence 0"),
    ("impute rows --gap 7", "'7' is no START:END"),
    ("impute rows --fraction 2", "a share from 0 to 1"),
    ("impute run --gap 2:4", "--gap takes a run on sequences"),
    ("impute run -o x.nc", "cannot write 'x.nc'"),
]


@pytest.mark.parametrize(("command", "says"), REFUSED)
def test_refusals_are_one_line(
    vaezoo: Vaezoo, folder: Path, run_folder: Path, command: str, says: str
) -> None:
    result = vaezoo(*command.split())
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert re.search(says, result.stderr), result.stderr
