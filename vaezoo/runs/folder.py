"""Reading a run folder."""

import re
from pathlib import Path
from typing import Any

from vaezoo import registry
from vaezoo.checks.admission import mark_admitted
from vaezoo.config import build_model, read_file
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError, refusing
from vaezoo.pairs.materialise import materialise
from vaezoo.pairs.sites import takes_lengths
from vaezoo.pretrained.places import find_run, hint
from vaezoo.runs.info import read_info, require_settings
from vaezoo.runs.run import Run
from vaezoo.runs.trust import digest_of_class, named_class
from vaezoo.runtime.device import find_device
from vaezoo.settings import DataSettings, Training, checked

__all__ = ["RunLike", "as_run", "load_run", "open_run", "seeds_in"]

OF_SEED = re.compile(r"seed-(\d+)")  # the folders that a training of several seeds makes

RunLike = Run | str | Path


def load_run(path: str | Path, *, device: str = "auto", model: str | Path | None = None) -> Run:
    """Load a trained run.

    Nothing is unpickled. The copy of a user's file, ``model.py``, is run only when it was trained
    on this machine by this user, or when ``model`` names it.

    Parameters
    ----------
    path
        The run folder; or the name of a run that comes with the package
        (:func:`vaezoo.list_pretrained`), as ``vrnn.jsb``, where there is no folder of that name; or
        the address of one on a hub, ``hf://owner/name@revision``.
    device
        Where the pair goes: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    model
        A ``.py`` file to take the pair from, instead of the run's own copy.

    Raises
    ------
    RequestError
        When the folder is no run, or a file in it is missing, damaged, or of another version.

    Examples
    --------
    >>> import tempfile, vaezoo
    >>> folder = tempfile.mkdtemp()
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 8}, training={"steps": 5}, out=folder)
    >>> load_run(folder).config["z_dim"]
    8
    >>> load_run("vae-bernoulli.digits").data.name
    'digits'
    """
    run = open_run(Path(path), device=device, model=model)
    run.load_weights()
    run.pair.eval()
    return run


def as_run(run: RunLike) -> Run:
    """Return a run, loaded if its folder is named, with its pair in evaluation mode."""
    if not isinstance(run, Run | str | Path):
        raise RequestError(f"expected a run or its folder, not {type(run).__name__}")
    run = run if isinstance(run, Run) else load_run(run)
    run.pair.eval()
    return run


def seeds_in(path: Path) -> list[Path]:
    """Return the run folders of several seeds in a folder, by their seeds; none in another.

    Examples
    --------
    >>> import tempfile, vaezoo
    >>> out = tempfile.mkdtemp()
    >>> runs = vaezoo.fit("vae-linear", training={"steps": 3}, seeds=[2, 10], out=f"{out}/both")
    >>> [folder.name for folder in seeds_in(Path(out, "both"))], seeds_in(Path(out))
    (['seed-2', 'seed-10'], [])
    """
    if (path / "config.toml").is_file() or not path.is_dir():
        return []
    named = ((OF_SEED.fullmatch(folder.name), folder) for folder in path.iterdir())
    of_seeds = [(int(name[1]), folder) for name, folder in named if name]
    return [folder for _, folder in sorted(of_seeds) if folder.is_dir()]


def open_run(path: Path, *, device: str | None = None, model: str | Path | None = None) -> Run:
    """Read a run folder and build its pair, with fresh weights, by default where it was trained."""
    with refusing(f"cannot open the run '{path}'"):
        place = find_run(path)
        run = _opened(place.folder, device, model)
    if place.results is not None:
        run.path, run.source = place.results, place.folder
    return run


def _opened(path: Path, device: str | None, model: str | Path | None) -> Run:
    if not (path / "config.toml").is_file():
        there = hint(path) or _runs_in(path)
        raise RequestError(f"'{path}' is no run folder: it has no config.toml{there}")
    values = read_file(path / "config.toml")
    info, transform, shapes = _read_info(path)
    spec, cls = named_class(path / "config.toml", values.get("model", ""), model)
    x_shape = shapes["x"][1:] if takes_lengths(cls) else shapes["x"]
    if not transform.fits(x_shape):
        raise RequestError(f"{path / 'run.json'} is damaged: its transform is of other data")
    config = values.get("config", {})
    training = checked(Training, values.get("training", {}))
    with registry.blaming_file(cls):
        pair = build_model(cls, config, x_shape)
    run = Run(
        pair=pair,
        model=spec,
        config=config,
        data=checked(DataSettings, values.get("data", {})),
        training=training,
        transform=transform,
        shapes=shapes,
        path=path,
        info=info,
    )
    require_settings(path, values, info)
    with registry.blaming_file(cls):
        materialise(run.pair, run.placeholder(2))
    run.pair.to(find_device(device or training.device))
    if info.get("code") and info["code"] == digest_of_class(cls):
        mark_admitted(run.pair)  # by its training
    return run


def _runs_in(path: Path) -> str:
    parent = next((p for p in (path, path.parent) if p.is_dir()), Path("runs"))
    configs = sorted(parent.glob("*/config.toml"), key=lambda file: file.stat().st_mtime)
    return f"; the latest run there is {configs[-1].parent}" if configs else ""


def _read_info(path: Path) -> tuple[dict[str, Any], Transform, dict[str, tuple[int, ...]]]:
    info = read_info(path)
    with refusing(f"{path / 'run.json'} is damaged"):
        transform = Transform.from_dict(info.pop("transform"))
        shapes = {name: tuple(map(int, shape)) for name, shape in info.pop("shapes").items()}
        shapes["x"]
    return info, transform, shapes
