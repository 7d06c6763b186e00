"""A result as one page that needs no other file."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from vaezoo.study.design import Study
from vaezoo.study.result import Result
from vaezoo.study.words import claim_rows, measure_tables

__all__ = ["page_of"]

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.scrolled { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; }
td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #999; } img { max-width: 100%; background: #fff; }
pre { overflow-x: auto; white-space: pre-wrap; } .answer { font-size: 1.1rem; }
"""


def page_of(study: Study, result: Result, picture: Path) -> str:
    """Return the HTML."""
    image = base64.b64encode(picture.read_bytes()).decode()
    tables = "".join(f"<h3>{escape(d)}</h3>{_table(rows)}" for d, rows in measure_tables(result))
    failed = "".join(f"<li>{escape(line)}</li>" for line in result.failed)
    settings = [
        ("variant", "model", "settings", "training"),
        *((v.name, v.model, _said(v.config), _said(v.training)) for v in study.variants),
    ]
    again = f'vaezoo.run_study("{study.name}", scale="{result.scale}", seeds={result.seeds})'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(study.name)}: {escape(study.question)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(study.question)}</h1>
<p class="answer">{escape(result.answer)}</p>
<h2>Claims, judged by rules that were stated before</h2>
{_table(claim_rows(result))}
<h2>What was measured</h2>
<p>Means over {result.seeds} seeds and data, with standard errors; * differs from
{escape(study.reference or study.variants[0].name)} by more than the noise.</p>
{tables}
<p><img alt="measures of each variant" src="data:image/png;base64,{image}"></p>
{f"<h2>Failed</h2><ul>{failed}</ul>" if failed else ""}
<h2>Question, hypothesis, limits</h2>
<pre>{escape(study.text.strip())}</pre>
<h2>Settings</h2>
{_table(settings)}
<h2>Again</h2>
<pre>{escape(again)}</pre>
<p>{escape(result.made)}</p>
</body>
</html>
"""


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body
    )
    return f'<div class="scrolled"><table><tr>{cells}</tr>{lines}</table></div>'


def _said(values: object) -> str:
    return ", ".join(f"{name}={value}" for name, value in dict(values).items())  # type: ignore[call-overload]
