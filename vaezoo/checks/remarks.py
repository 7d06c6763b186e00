"""What the checks say of a pair: failures, which make numbers wrong, and notes, worth a word."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Failure", "Note", "Remarks"]


@dataclass(frozen=True)
class Failure:
    """One thing that is wrong with a pair, so that it is neither trained nor asked.

    Attributes
    ----------
    check
        The name of the check.
    where
        File and line, as ``my_vae.py:41``.
    what
        What is wrong; it names the site or the parameter.
    repair
        What to write instead.
    """

    check: str
    where: str
    what: str
    repair: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.repair} [{self.check}]"


@dataclass(frozen=True)
class Note:
    """One thing that is right, but worth a word; the attributes are those of a failure."""

    check: str
    where: str
    what: str
    repair: str

    def __str__(self) -> str:
        return f"{self.where}: note: {self.what}; {self.repair} [{self.check}]"


Remarks = Iterator[Failure | Note]
