"""Every posterior checked: what ``vaezoo analyse`` and :func:`vaezoo.analyse` do.

Findings, which are data, come first; words, tables and figures are made from them, then the page.
"""

from vaezoo.report.analysis import analyse, prepare
from vaezoo.report.findings import Report, Scope
from vaezoo.report.pages.of_run import write_page
from vaezoo.report.save import save_report
from vaezoo.report.tables import per_datum, to_dict
from vaezoo.report.words import verdict

__all__ = [
    "Report",
    "Scope",
    "analyse",
    "per_datum",
    "prepare",
    "save_report",
    "to_dict",
    "verdict",
    "write_page",
]
