"""The fields of the campaign, a file each."""

from importlib import import_module
from pathlib import Path

from attacks.table import Attack

__all__ = ["FIELDS", "attacks_of"]

FIELDS = (
    "deaths",
    "owners",
    "limits",
    "folders",
    "datafiles",
    "values",
    "strangers",
    "servers",
)


def attacks_of(field: str, home: Path) -> list[Attack]:
    """Return the attacks of one file here."""
    return list(import_module(f"attacks.{field}").attacks(home))
