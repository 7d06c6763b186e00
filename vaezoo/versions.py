"""What a result was made with, in words: the versions that decide it, and the machine."""

import os
import platform
from importlib.metadata import version

__all__ = ["installed_versions", "say_machine", "say_versions"]

PACKAGES = ("vaezoo", "torch", "pyro-ppl", "numpy")


def installed_versions() -> dict[str, str]:
    """Return the version of each package that decides the numbers of a run.

    Examples
    --------
    >>> list(installed_versions())
    ['vaezoo', 'torch', 'pyro-ppl', 'numpy']
    """
    return {name: version(name) for name in PACKAGES}


def say_versions() -> str:
    """Return versions as a part of a sentence: what a table was made with.

    Examples
    --------
    >>> say_versions().split()[0]
    'vaezoo'
    """
    packages = [f"{name} {number}" for name, number in installed_versions().items()]
    return ", ".join([*packages, f"Python {platform.python_version()}"])


def say_machine() -> str:
    """Return system and processors as a part of a sentence, as ``Linux, 2 cores (x86_64)``."""
    return f"{platform.system()}, {os.cpu_count()} cores ({platform.machine()})"
