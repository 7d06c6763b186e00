"""A report as one HTML file that needs no other: verdict, table, figures with their captions."""

import base64
from html import escape

from vaezoo.diagnostics.grading import GRADES
from vaezoo.plots.paper import as_png
from vaezoo.report.canvas import Figure
from vaezoo.report.figures import figures_of
from vaezoo.report.findings import Report
from vaezoo.report.tables import grade_counts
from vaezoo.report.words import verdict

__all__ = ["page"]

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .3rem; }
.quality { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff; }
.good { background: #2a7f62; } .fair { background: #b37a00; } .poor { background: #b3321b; }
.unknown { background: #777; }
pre { background: #f5f5f2; padding: .8rem 1rem; overflow-x: auto; white-space: pre-wrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr));
  gap: 1.6rem; }
figure { margin: 0; } figure.wide { grid-column: span 2; } img { width: 100%; height: auto; }
figcaption { font-size: .87rem; color: #555; }
table { border-collapse: collapse; font-size: .9rem; } td, th { padding: .15rem .8rem .15rem 0;
  text-align: left; } th { border-bottom: 1px solid #bbb; font-weight: 600; }
"""

MEANING = {
    "good": "The posterior draws of nearly all data can be used.",
    "fair": "Many posteriors of the guide are wrong, and were repaired: use checked.nc.",
    "poor": "Too many posteriors cannot be trusted, not even after repair.",
    "unknown": "This pair has no posterior that could be checked.",
}


def page(report: Report) -> str:
    """Return the HTML."""
    scope, quality = report.scope, report.quality
    title = f"{scope.run}: posteriors of {scope.model}"
    figures = "\n".join(_figure(figure) for figure in figures_of(report))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p><span class="quality {quality}">{quality}</span> {MEANING[quality]}</p>
<p>Weights of {escape(scope.weights)}.</p>
<pre>{escape(verdict(report))}</pre>
<div class="figures">
{figures}
</div>
{_grades(report)}
<p>All of this is about the posterior of the latents given the parameters of the model; it says
nothing about those. What there is of each datum is in <code>diagnostics.nc</code>, draws in
{_files(report)}.</p>
</body>
</html>
"""


def _files(report: Report) -> str:
    return ", ".join(f"<code>{name}.nc</code>" for name in report.trees) or "no file"


def _figure(figure: Figure) -> str:
    picture = base64.b64encode(as_png(figure.picture)).decode()
    width, height = figure.picture.get_size_inches()
    kind = ' class="wide"' if width > 2 * height else ""
    return (
        f'<figure id="{escape(figure.name)}"{kind}><h2>{escape(figure.title)}</h2>'
        f'<img alt="{escape(figure.title)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _grades(report: Report) -> str:
    if report.graded is None:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("check, number of data", *GRADES))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{n}</td>' for n in counts.values())}</tr>"
        for name, counts in grade_counts(report).items()
    )
    return f"<h2>Checks</h2><table><tr>{head}</tr>{rows}</table>"
