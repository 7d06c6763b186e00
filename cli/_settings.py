"""The settings that a person types, ``--set key=value``."""

import tomllib
from collections.abc import Sequence
from typing import Any

from vaezoo.errors import RequestError

__all__ = ["parse_settings"]


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the settings of ``key=value`` words; values are TOML, or else plain strings.

    Examples
    --------
    >>> parse_settings(["z_dim=16", "hidden=[64, 64]", "likelihood.sigma=shared"])
    {'z_dim': 16, 'hidden': [64, 64], 'likelihood': {'sigma': 'shared'}}
    """
    from vaezoo.config import merge

    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not (separator and key.strip()):
            raise RequestError(f"'{assignment}' is no setting; write --set key=value")
        value = _parse_value(text.strip())
        for name in reversed(key.strip().split(".")):
            value = {name: value}
        settings = merge(settings, value)
    return settings


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
