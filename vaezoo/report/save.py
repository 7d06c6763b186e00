"""A report in a folder: page, tables, figures and trees of draws."""

import json
from pathlib import Path

from vaezoo.report.findings import Report
from vaezoo.report.pages.of_analysis import describe, page_of
from vaezoo.report.tables import diagnostics, to_dict
from vaezoo.runtime.storage import inside, write_bytes
from vaezoo.trees.files import save_tree

__all__ = ["save_report"]


def save_report(report: Report, folder: str | Path) -> list[Path]:
    """Write ``report.json``, ``report.html``, ``diagnostics.nc`` and the trees of draws.

    The figures of the page are also in the folder ``figures``, as ``.png``.

    Parameters
    ----------
    report
        What :func:`vaezoo.analyse` returned.
    folder
        Where to; it is made if need be.

    Returns
    -------
    list of path
        What was written, figures aside.

    Raises
    ------
    RunError
        When something cannot be written. What is small comes first.

    Examples
    --------
    >>> import tempfile
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> report = vaezoo.analyse(run, limit=2, level="quick")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in vaezoo.save_report(report, folder)]
    ['report.json', 'report.html', 'diagnostics.nc', 'q.nc']
    """
    folder = Path(folder)
    paths = [folder / "report.json", folder / "report.html", folder / "diagnostics.nc"]
    page = describe(report)
    table = {**to_dict(report), "page": page.to_dict()}
    write_bytes(paths[0], json.dumps(table, indent=2).encode())
    for figure in page.figures:
        write_bytes(inside(folder, f"figures/{figure.name}.png"), figure.content)
    write_bytes(paths[1], page_of(page).encode())
    save_tree(diagnostics(report), paths[2])
    for name, tree in report.trees.items():
        paths.append(folder / f"{name}.nc")
        save_tree(tree, paths[-1])
    return paths
