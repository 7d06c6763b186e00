"""Runs to a hub and from it, as folders: only files that a run is known to have."""

import shutil
from pathlib import Path

from vaezoo.errors import RequestError, RunError, reason_of
from vaezoo.pretrained.hub import Address, fetch_run, open_hub, read_address, shared_files
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.sharing.card import CARD, describe_run

__all__ = ["pull", "push"]


def push(
    run: RunLike, repository: str, *, private: bool = False, licence: str | None = None
) -> str:
    """Put a run on the Hugging Face Hub, and return its address, with the commit.

    It has the run's settings, weights, records, evaluations and card, of a pair from a file also
    its source; neither data nor the state to go on from. A card is made where the folder has none.

    Parameters
    ----------
    run
        A trained run, or its folder.
    repository
        ``owner/name``; it is made where there is none.
    private
        Make a repository that nobody else can see.
    licence
        Of the weights, for a card that is made.

    Raises
    ------
    RequestError
        When the run has no folder, the name is none, or ``huggingface_hub`` is not installed.
    RunError
        When the hub refuses it, say since nobody is logged in.

    Examples
    --------
    >>> import vaezoo
    >>> vaezoo.push("vrnn.jsb", "not a name")
    Traceback (most recent call last):
    vaezoo.errors.RequestError: 'hf://not a name' is no address; expected hf://owner/name@revision
    """
    run = as_run(run)
    address = read_address(f"hf://{repository}")
    if address.revision is not None:
        raise RequestError(f"a run is pushed to {address.repository}, without a revision")
    hub = open_hub()
    files = _contents(run, licence)
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        hub.create_repo(address.repository, private=private, exist_ok=True)
        done = hub.create_commit(
            address.repository, operations, commit_message=f"Add the run {run.name}"
        )
    except Exception as error:  # of the network, of the server, for want of a login
        raise RunError(
            f"cannot push to {address}: {reason_of(error, 200)}; are you logged in "
            "(hf auth login), and may you write there?"
        ) from error
    return str(Address(address.owner, address.name, done.oid))


def _contents(run: Run, licence: str | None) -> dict[str, bytes]:
    """Return what is shared of a run, by the name of its file."""
    folder = run.files or run.folder()
    contents = {name: (folder / name).read_bytes() for name in shared_files(folder)}
    contents.setdefault(CARD, describe_run(run, licence=licence).encode())
    return contents


def pull(address: str, out: str | Path | None = None) -> Path:
    """Fetch a run from the Hugging Face Hub into a folder of yours, and return its path.

    Only files that a run is known to have are fetched, and nothing in them is executed: a pair that
    is defined by a file needs `model` to name it, once you have read it.

    Parameters
    ----------
    address
        ``hf://owner/name@revision``; without a revision, what is there now.
    out
        The new run folder; by default the name of the repository.

    Raises
    ------
    RequestError
        When there is no run at the address, or something lies where the folder is to be.
    RunError
        When the hub cannot be reached.

    Examples
    --------
    >>> pull("owner/name")
    Traceback (most recent call last):
    vaezoo.errors.RequestError: 'owner/name' is no address; expected hf://owner/name@revision
    """
    place = read_address(address)
    target = Path(place.name if out is None else out)
    if target.exists() or target.is_symlink():
        raise RequestError(f"{target} exists already; choose another `out`")
    folder = fetch_run(place)
    try:
        shutil.copytree(folder, target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}") from error
    return target
