"""Runs on a hub, ``hf://owner/name@revision``: fetched into the user's cache, file by known file.

What is fetched is read like any run of a stranger: nothing in it is executed. The package
``huggingface_hub`` is imported when an address is used.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.errors import RequestError, RunError, reason_of, shown
from vaezoo.runtime.storage import cache_folder, write_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Address", "fetch_run", "is_address", "open_hub", "read_address", "shared_files"]

# What a run folder holds that says what it is, and how it came about; none of it is executed.
REQUIRED = ("config.toml", "run.json", "weights.safetensors")
OTHERS = ("README.md", "LICENSE", "evaluation.json", "metrics.jsonl", "splits.safetensors")
ANALYSIS = "analysis/report.json"
_MODULE = re.compile(r"(?:[A-Za-z_]\w*/){0,4}[A-Za-z_]\w*\.py", re.ASCII)  # to be read and named
_ADDRESS = re.compile(
    r"hf:/{1,2}(?P<owner>\w[\w.-]{0,95})/(?P<name>\w[\w.-]{0,95})(?:@(?P<revision>[\w.-]{1,200}))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
LARGEST_FILE, MOST_FILES = 2**32, 100  # bytes; a run has about eight files


@dataclass(frozen=True)
class Address:
    """Where a run lies on a hub.

    Attributes
    ----------
    owner, name
        Of the repository.
    revision
        A branch, a tag or a commit; None for what is there now.
    """

    owner: str
    name: str
    revision: str | None = None

    @property
    def repository(self) -> str:
        """As the hub has it, ``owner/name``."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"hf://{self.repository}{'' if self.revision is None else f'@{self.revision}'}"


def is_address(run: str | Path) -> bool:
    """Return whether a run is named by an address; a path made of one has lost a slash.

    Examples
    --------
    >>> is_address("hf://owner/name"), is_address(Path("hf://owner/name")), is_address("runs/a")
    (True, True, False)
    """
    return _text(run).startswith("hf:/")


def read_address(run: str | Path) -> Address:
    """Return the parts of an address.

    Raises
    ------
    RequestError
        When it is none.

    Examples
    --------
    >>> read_address("hf://owner/name@v1")
    Address(owner='owner', name='name', revision='v1')
    """
    parts = _ADDRESS.fullmatch(_text(run))
    if parts is None or ".." in _text(run):
        said = re.sub("^hf:/{1,2}", "hf://", _text(run))  # a path has lost a slash
        raise RequestError(f"{shown(said)} is no address; expected hf://owner/name@revision")
    return Address(**parts.groupdict())


def _text(run: str | Path) -> str:
    return run.as_posix() if isinstance(run, Path) else run


def fetch_run(address: Address) -> Path:
    """Return the folder of a run, fetched from a hub unless the cache has this commit of it.

    An address with a commit, once fetched, needs no network.

    Raises
    ------
    RequestError
        When there is no run at the address, or ``huggingface_hub`` is not installed.
    RunError
        When the hub cannot be reached, or a file is larger than 4 GiB.
    """
    revision = address.revision or ""
    if _COMMIT.fullmatch(revision) and (folder := _cached(address, revision)).is_dir():
        return folder
    with _asking(address) as hub:
        facts = hub.model_info(address.repository, revision=address.revision, files_metadata=True)
    commit = str(facts.sha)
    if not _COMMIT.fullmatch(commit):
        raise RunError(f"{address}: the hub names no commit")
    folder = _cached(address, commit)
    if not folder.is_dir():
        sizes = {str(file.rfilename): file.size for file in facts.siblings or ()}
        _download(address, commit, _chosen(address, sizes), folder)
    return folder


def shared_files(folder: Path) -> list[str]:
    """Return the names of the files of a run folder that are shared: known ones, and no links.

    Examples
    --------
    >>> from vaezoo.pretrained import get_pretrained
    >>> "weights.safetensors" in shared_files(get_pretrained("vrnn.jsb").folder)
    True
    """
    whole = folder.resolve()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    # A link in a folder of somebody else could name a secret file, which would be published.
    files = [path for path in files if path.resolve() == whole / path.relative_to(folder)]
    return [name for path in files if _is_shared(name := path.relative_to(folder).as_posix())]


def _is_shared(name: str) -> bool:
    return name in (*REQUIRED, *OTHERS, ANALYSIS) or _MODULE.fullmatch(name) is not None


def _chosen(address: Address, sizes: dict[str, Any]) -> list[str]:
    """Return which files of a repository are fetched; a refusal of what is no run."""
    for name in REQUIRED:
        if name not in sizes:
            raise RequestError(f"{address} is no run: it has no {name}")
    chosen = sorted(filter(_is_shared, sizes))
    if len(chosen) > MOST_FILES:
        raise RunError(f"{address} has {len(chosen)} files, where a run has about eight")
    for name in chosen:
        if (sizes[name] or 0) > LARGEST_FILE:
            raise RunError(f"{address}: {name} has {sizes[name]} bytes, which no run needs")
    return chosen


def _download(address: Address, commit: str, names: list[str], folder: Path) -> None:
    """Fetch files into a folder, which appears when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary, _asking(address) as hub:
        whole, transfer = Path(temporary, "run"), Path(temporary, "transfer")
        for name in names:
            path = hub.hf_hub_download(
                address.repository, name, revision=commit, cache_dir=transfer, local_dir=transfer
            )
            target = whole / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, Path(path).read_bytes())
        if not folder.is_dir():  # else another process was quicker
            shutil.move(whole, folder)


def _cached(address: Address, commit: str) -> Path:
    """Return the folder of a commit in the cache; its last part is the name of the run."""
    return cache_folder() / "hub" / address.owner / commit / address.name


def open_hub() -> "HfApi":
    """Return what speaks with the hub.

    Raises
    ------
    RequestError
        When ``huggingface_hub`` is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise RequestError(
            "a hub needs a package more: pip install 'vaezoo[hub]' (huggingface_hub)"
        ) from None
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="vaezoo")


@contextmanager
def _asking(address: Address) -> Iterator["HfApi"]:
    """Turn what goes wrong on the way into one line."""
    hub = open_hub()
    try:
        yield hub
    except (RequestError, RunError):
        raise
    except Exception as error:  # of the network, of the server, of a name that is not there
        if type(error).__name__ in ("RepositoryNotFoundError", "RevisionNotFoundError"):
            raise RequestError(f"there is nothing at {address}, or it is private") from error
        raise RunError(f"cannot fetch {address}: {reason_of(error, 200)}") from error
