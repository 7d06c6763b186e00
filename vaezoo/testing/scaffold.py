"""New pairs from a template: ``my_vae.py`` defines ``MyVae`` under the name ``my-vae``."""

import keyword
import os.path
import re
from importlib import resources
from pathlib import Path

from vaezoo.errors import RequestError
from vaezoo.registry import list_models
from vaezoo.runtime.storage import write_bytes

__all__ = ["source", "write"]

_TEMPLATES = {  # by whether the data are sequences: file, class, name
    False: ("pair.py", "MyVae", "my-vae"),
    True: ("sequence_pair.py", "MySequenceVae", "my-sequence-vae"),
}


def class_name(stem: str) -> str:
    """Return the class that a file defines.

    Examples
    --------
    >>> class_name("my_vae")
    'MyVae'
    """
    return "".join(word[:1].upper() + word[1:] for word in stem.split("_"))


def pair_name(stem: str) -> str:
    """Return the name under which a file registers its pair.

    Examples
    --------
    >>> pair_name("my_vae")
    'my-vae'
    """
    return "-".join(word.lower() for word in stem.split("_") if word)


def source(path: Path, *, sequence: bool = False) -> str:
    """Return the text of a new pair for a file of this name.

    Raises
    ------
    RequestError
        When the name makes no Python module, or a pair of the zoo has the name.
    """
    _check_name(path)
    file, old_class, old_name = _TEMPLATES[sequence]
    text = (resources.files("vaezoo.testing") / "templates" / file).read_text(encoding="utf-8")
    cls, name = class_name(path.stem), pair_name(path.stem)
    if cls != old_class and re.search(rf"(?<!\.)\b{cls}\b", text):
        raise RequestError(
            f"a class {cls} would hide another; choose another name than {path.name}"
        )
    return text.replace(old_class, cls).replace(f'"{old_name}"', f'"{name}"')


def write(path: Path, *, sequence: bool = False, force: bool = False) -> None:
    """Write a new pair that trains and passes its checks.

    Parameters
    ----------
    path
        The file, ``my_vae.py``; its folder must exist.
    sequence
        A pair for sequences, with one latent per step.
    force
        Replace an existing file.

    Raises
    ------
    RequestError
        When the file exists, its folder does not, or its name cannot be that of a pair.
    RunError
        When it cannot be written.
    """
    text = source(path, sequence=sequence)
    if os.path.lexists(path) and not force:
        raise RequestError(f"{path} exists already; choose another name, or use `force`")
    if not path.parent.is_dir():
        raise RequestError(f"no folder '{path.parent}'; make it first")
    write_bytes(path, text.encode())


def _check_name(path: Path) -> None:
    if path.suffix != ".py":
        raise RequestError(f"'{path}' is no Python file; write '{path.with_suffix('.py')}'")
    usable = path.stem.isidentifier() and not keyword.iskeyword(path.stem)
    if not (usable and class_name(path.stem).isidentifier()):
        raise RequestError(f"'{path.stem}' is no Python name; use letters, digits, _ (my_vae.py)")
    name = pair_name(path.stem)
    if name in list_models():
        raise RequestError(f"the zoo has a '{name}' already; choose another name than {path.name}")
