"""Every posterior checked: what ``vaezoo analyse`` and :func:`vaezoo.check` do."""

from vaezoo.analysis.analyse import check, prepare
from vaezoo.analysis.report import Report

__all__ = ["Report", "check", "prepare"]
