"""Pages that are made when the documentation is built."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_pages"]


def write_pages(folder: Path, pages: Mapping[str, str], ending: str) -> None:
    """Write pages by the names of their files; one that has not changed stays untouched.

    Others with that ending go: they were made for what is there no more.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"*{ending}"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
