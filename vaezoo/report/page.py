"""A report as one HTML file that needs no other: verdict, figures with their captions, checks."""

import base64
from collections.abc import Iterator
from html import escape

from vaezoo.diagnostics.grading import GRADES
from vaezoo.plots.paper import as_png
from vaezoo.report.canvas import Figure
from vaezoo.report.figures import figures_of
from vaezoo.report.findings import Report
from vaezoo.report.meanings import CHECKS, LABELS, meaning
from vaezoo.report.tables import grade_counts, medians
from vaezoo.report.words import labelled

__all__ = ["page"]

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .3rem; }
section h2 { margin-top: 1.6rem; }
.quality { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff; }
.good { background: #2a7f62; } .fair { background: #b37a00; } .poor { background: #b3321b; }
.unknown { background: #777; }
dl { background: #f5f5f2; padding: .8rem 1rem; margin: 1rem 0 1.6rem; display: grid;
  grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; }
dt { font-weight: 600; } dd { margin: 0; } small { color: #555; display: block; }
pre { background: #f5f5f2; padding: .8rem 1rem; overflow-x: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr));
  gap: 1.6rem; }
figure { margin: 0; } img { width: 100%; height: auto; }
figcaption { font-size: .87rem; color: #555; }
.scrolled { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td small { min-width: 11rem; } th { border-bottom: 1px solid #bbb; font-weight: 600; }
@media (max-width: 34rem) { dl { display: block; } dd { margin: 0 0 .6rem; }
  table { font-size: .8rem; } td, th { padding-right: .45rem; } td small { min-width: 8rem; } }
"""


def page(report: Report) -> str:
    """Return the HTML."""
    scope, quality = report.scope, report.quality
    title = f"{scope.run}: posteriors of {scope.model}"
    figures = "\n".join(_figure(figure) for figure in figures_of(report))
    badge, text = meaning(report)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p><span class="quality {quality}">{badge}</span> {escape(text)}</p>
<p>{escape(_subject(report))}</p>
<dl>
{_lines(report)}
</dl>
<div class="figures">
{figures}
</div>
{_grades(report)}
{_opening(report)}
<p>All of this is about the posterior of the latents given the parameters of the model; it says
nothing about those.</p>
</body>
</html>
"""


def _subject(report: Report) -> str:
    scope, plan = report.scope, report.plan
    rows = f"{plan.num_data} of {scope.total} {scope.split} data of {scope.data}"
    weights = f"Weights of {scope.weights}"
    return f"{rows}, level {plan.level}, seed {scope.seed}. {weights}. Analysed {scope.date}."


def _lines(report: Report) -> str:
    return "\n".join(f"<dt>{escape(label)}</dt><dd>{text}</dd>" for label, text in _texts(report))


def _texts(report: Report) -> Iterator[tuple[str, str]]:
    for label, text in labelled(report):
        note = LABELS.get(label.partition(" ")[0] if label.startswith("data") else label)
        if label in ("posterior", "log p(x)") and not report.shares:
            note = None  # of verdicts, which there are not
        yield label, escape(text) + (f"<small>{escape(note)}</small>" if note else "")


def _figure(figure: Figure) -> str:
    picture = base64.b64encode(as_png(figure.picture)).decode()
    return (
        f'<figure id="{escape(figure.name)}"><h2>{escape(figure.title)}</h2>'
        f'<img alt="{escape(figure.title)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _grades(report: Report) -> str:
    if report.graded is None:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("check, number of data", *GRADES, "median"))
    middle, kind = medians(report), "sequences" if report.sequences else "data"
    rows = ""
    for name, counts in grade_counts(report).items():
        what = CHECKS[kind].get(name, "")
        cells = "".join(f"<td>{n}</td>" for n in counts.values())
        value = f"{middle[name]:.3g}" if name in middle else ""
        rows += f"<tr><td>{escape(name)}<small>{escape(what)}</small></td>{cells}"
        rows += f"<td>{value}</td></tr>"
    table = f'<div class="scrolled"><table><tr>{head}</tr>{rows}</table></div>'
    return f"<section><h2>Checks</h2>{table}</section>"


def _opening(report: Report) -> str:
    """Say which files there are, and how the draws are opened."""
    best = "checked" if "checked" in report.trees else "q"
    files = ", ".join(f"<code>{name}.nc</code>" for name in report.trees)
    text = "What there is of each datum is in <code>diagnostics.nc</code>"
    if not report.trees:
        return f"<section><h2>Files</h2><p>{text}.</p></section>"
    name = next(iter(report.trees[best]["posterior"].data_vars))
    code = f"""import arviz as az
import vaezoo

draws = vaezoo.to_arviz(vaezoo.open_tree("{best}.nc"))
az.summary(draws, var_names=["{name}"], coords={{"datum": [0]}}, kind="stats")"""
    return (
        f"<section><h2>How are the draws opened?</h2><p>{text}, draws in {files}.</p>"
        f"<pre>{escape(code)}</pre></section>"
    )
