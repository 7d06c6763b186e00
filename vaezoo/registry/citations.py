"""BibTeX of the papers that registrations name."""

import functools
import re
from pathlib import Path

from vaezoo.registry.catalogue import Entry

__all__ = ["citation_of"]

# The surname of the first author, and the year, as "Higgins et al. 2017"
AUTHOR_AND_YEAR = re.compile(r"(?P<author>[A-Za-z]+)\b.* (?P<year>\d{4})")


def citation_of(entry: Entry) -> str:
    """Return the BibTeX of the paper that an entry names, or nothing if it is not among ours.

    Examples
    --------
    >>> from vaezoo.registry import entries
    >>> print(citation_of(entries("vampprior")[0]))
    @inproceedings{tomczak2018vae,
      title = {{VAE} with a {VampPrior}},
      author = {Tomczak, Jakub M. and Welling, Max},
      year = {2018},
      booktitle = {International Conference on Artificial Intelligence and Statistics},
      eprint = {1705.07120},
      archiveprefix = {arXiv},
    }
    """
    sought = _sought(entry.reference)
    return next((text for text in _bibliography() if sought and sought in text), "")


def _sought(reference: str) -> str:
    """Return what stands in the BibTeX of a reference and in no other."""
    for prefix, field in (("arXiv:", "eprint"), ("doi:", "doi")):
        if reference.startswith(prefix):
            return f"\n  {field} = {{{reference.removeprefix(prefix)}}},"
    named = AUTHOR_AND_YEAR.fullmatch(reference)
    return f"{{{named['author'].lower()}{named['year']}" if named else ""


@functools.cache
def _bibliography() -> tuple[str, ...]:
    text = Path(__file__).with_name("references.bib").read_text(encoding="utf-8")
    return tuple(text.strip().split("\n\n"))
