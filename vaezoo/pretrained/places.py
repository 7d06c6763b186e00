"""Where a run lies: in a folder of the user's, with the package, or on a hub."""

import re
from dataclasses import dataclass
from pathlib import Path

from vaezoo.errors import nearest
from vaezoo.pretrained.catalogue import get_pretrained, list_pretrained
from vaezoo.pretrained.hub import fetch_run, is_address, read_address

__all__ = ["Place", "find_run", "hint"]

_NAME = re.compile(r"[a-z][\w-]*\.[\w.-]*")


@dataclass(frozen=True)
class Place:
    """Where a run lies, and where what is made with it goes.

    Attributes
    ----------
    folder
        With its files.
    results
        The folder for its figures and evaluations, where that is another: the files of a run that
        others have made are left as they are.
    """

    folder: Path
    results: Path | None = None


def find_run(run: str | Path) -> Place:
    """Return where a run lies that a user names.

    A run folder is what its path says, also when it has the name of a pretrained run: that of the
    user wins. What is made with a pretrained run, or one of a hub, goes to a folder of its name in
    the working directory.

    Parameters
    ----------
    run
        A run folder, the name of a run that comes with the package, or the address of one on a hub,
        ``hf://owner/name@revision``.

    Raises
    ------
    RequestError
        When there is no run at an address.
    RunError
        When files of a pretrained run have changed, or a hub cannot be reached.

    Examples
    --------
    >>> str(find_run("vrnn.jsb").results), find_run("runs/mine").results
    ('vrnn.jsb', None)
    """
    if is_address(run):
        address = read_address(run)
        folder, results = fetch_run(address), Path(address.name)
        if _is_of_user(results):
            results = Path(f"{address.name}-{folder.parent.name[:8]}")
        return Place(folder, results)
    path = Path(run)
    names = {pretrained.name for pretrained in list_pretrained()}
    if str(path) not in names or _is_of_user(path):
        return Place(path)
    return Place(get_pretrained(str(path)).require_files(), results=path)


def hint(path: Path) -> str:
    """Return the end of a refusal of what looks like the name of a pretrained run, or nothing.

    Examples
    --------
    >>> hint(Path("vrnn.jbs")), hint(Path("runs/mine"))
    ("; did you mean 'vrnn.jsb'?", '')
    """
    if path.exists() or not _NAME.fullmatch(str(path)):
        return ""
    close = nearest(str(path), [run.name for run in list_pretrained()])
    return f"; {close}" if "mean" in close else "; `vaezoo.list_pretrained()` has those with names"


def _is_of_user(path: Path) -> bool:
    """Whether a folder holds a run, or those of several seeds; with results alone it does not."""
    return (path / "config.toml").is_file() or any(path.glob("*/config.toml"))
