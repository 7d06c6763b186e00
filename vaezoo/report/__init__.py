"""Every posterior checked: what ``vaezoo analyse`` and :func:`vaezoo.check` do."""

from vaezoo.report.analyse import check, prepare
from vaezoo.report.findings import Report

__all__ = ["Report", "check", "prepare"]
