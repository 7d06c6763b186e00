"""The installed ArviZ, 0.23 or 1.x. Nothing else imports it."""

import warnings
from typing import Any

from vaezoo.errors import RunError

__all__ = ["import_arviz"]


def import_arviz() -> Any:
    """Return the module ``arviz``, without the announcement that 0.23 makes once a day.

    Raises
    ------
    RunError
        When it cannot be imported because its cache folder cannot be made.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            import arviz
    except OSError as error:
        raise RunError(
            f"ArviZ cannot be imported: {error}; set XDG_CACHE_HOME to a folder it can write to"
        ) from error
    return arviz
