"""The studies that there are: one file each in ``vaezoo.studies``, read without torch."""

import importlib
import importlib.util
from pathlib import Path

from vaezoo.errors import RequestError, nearest
from vaezoo.study.design import Study

__all__ = ["get_study", "list_studies"]


def list_studies() -> list[str]:
    """Return the names of all studies, sorted.

    Examples
    --------
    >>> "linear" in list_studies()
    True
    """
    spec = importlib.util.find_spec("vaezoo.studies")
    folders = (spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in Path(folder).glob("[!_]*.py")]
    return sorted(path.stem.replace("_", "-") for path in files)


def get_study(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    RequestError
        When there is none, with the nearest name.

    Examples
    --------
    >>> get_study("linear").rows[0]
    '0-8'
    """
    names = list_studies()
    if name not in names:
        raise RequestError(f"there is no study '{name}'; {nearest(name, names)}")
    module = importlib.import_module(f"vaezoo.studies.{name.replace('-', '_')}")
    study: Study = module.study
    return study
