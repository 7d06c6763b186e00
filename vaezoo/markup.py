"""HTML of what the library says: tables for notebooks, and whole pages that need no other file.

Tables in Markdown, too, for cards and for the pages of the documentation.

Every text is escaped, wherever it came from, unless it is :class:`Html` already. A page has no
script and fetches nothing; it follows a reader's light or dark screen, fits a phone, and prints.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import compress

__all__ = [
    "Html",
    "as_html",
    "definitions",
    "document",
    "figure",
    "filled",
    "joined",
    "markdown",
    "section",
    "table",
]

WIDE = 1_000  # pixels, from which a picture has a row to itself

# Hues that a colour-blind reader tells apart; a word always stands beside a colour.
STYLE = """
:root { color-scheme: light dark; --ink: #222; --page: #fff; --soft: #f5f5f2; --line: #bbb;
  --faint: #595959; --good: #1b6e54; --fair: #8a5d00; --poor: #a82c17; --unknown: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e0; --page: #16181a; --soft: #212427;
  --line: #555; --faint: #aaa; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .4rem; }
h3 { font-size: 1.02rem; margin: 0 0 .3rem; }
a { color: inherit; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff;
  background: var(--unknown); }
.good { background: var(--good); } .fair { background: var(--fair); }
.poor { background: var(--poor); }
dl { background: var(--soft); padding: .8rem 1rem; margin: 1rem 0 1.6rem; display: grid;
  grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; }
dt { font-weight: 600; } dd { margin: 0; } small { color: var(--faint); display: block; }
pre { background: var(--soft); padding: .8rem 1rem; overflow-x: auto; overflow-wrap: normal;
  font-size: .87rem; }
.figures { display: grid; gap: 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; } figure.wide { grid-column: 1 / -1; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 3px; }
figcaption { font-size: .87rem; color: var(--faint); }
.scrolled { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-size: .9rem; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td small { min-width: 11rem; } th { border-bottom: 1px solid var(--line); font-weight: 600; }
@media (max-width: 34rem) { dl { display: block; } dd { margin: 0 0 .6rem; }
  table { font-size: .8rem; } td, th { padding-right: .45rem; } td small { min-width: 8rem; }
  .wide img { max-width: none; width: 46rem; } }
@media print { :root { color-scheme: light; --ink: #000; --page: #fff; --soft: #f5f5f2;
  --line: #999; --faint: #444; } body { margin: 0; max-width: none; font-size: 10pt; }
  details::details-content { content-visibility: visible; }
  h2, h3 { break-after: avoid; } dl, tr { break-inside: avoid; }
  pre { white-space: pre-wrap; } * { print-color-adjust: exact; } }
"""


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def as_html(value: object) -> Html:
    """Return a value as HTML: escaped, unless it is HTML already.

    Examples
    --------
    >>> as_html("<b>"), as_html(Html("<b>x</b>")), as_html(0.5)
    ('&lt;b&gt;', '<b>x</b>', '0.5')
    """
    return value if isinstance(value, Html) else Html(escape(str(value)))


def joined(parts: Iterable[object], between: str = "\n") -> Html:
    """Return parts one after the other.

    Examples
    --------
    >>> joined(["a&b", Html("<br>")], " ")
    'a&amp;b <br>'
    """
    return Html(between.join(map(as_html, parts)))


def filled(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return rows of a table, the headings first, without columns that are empty below these.

    Examples
    --------
    >>> filled([("latent", "KL", "lost"), ("z[0]", "", "0.1"), ("z[1]", "", "")])
    [('latent', 'lost'), ('z[0]', '0.1'), ('z[1]', '')]
    """
    kept = [any(cells[1:]) for cells in zip(*rows, strict=True)]
    return [tuple(compress(row, kept)) for row in rows]


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Html:
    """Return a table, which looks the same in a notebook; it scrolls where it is too wide.

    Parameters
    ----------
    rows
        Of cells. Without headings the first cell of a row is its heading.
    head
        Headings of the columns.

    Examples
    --------
    >>> "<th" in table([("model", "vae<1>")]), "vae&lt;1&gt;" in table([("model", "vae<1>")])
    (True, True)
    """
    lines = [_row(head, len(head))] if head else []
    lines += [_row(row, 0 if head else 1) for row in rows]
    return Html(f'<div class="scrolled"><table>{"".join(lines)}</table></div>')


def _row(cells: Sequence[object], headings: int) -> str:
    """A row, whose first cells are headings; aligned here, as notebooks align to the right."""
    kinds = ["th"] * headings + ["td"] * (len(cells) - headings)
    texts = (
        f'<{kind} style="text-align:left">{as_html(cell)}</{kind}>'
        for kind, cell in zip(kinds, cells, strict=True)
    )
    return f"<tr>{''.join(texts)}</tr>"


def markdown(rows: Iterable[Sequence[object]]) -> str:
    r"""Return a table in Markdown, whose first row holds the headings.

    Examples
    --------
    >>> print(markdown([("density", "nats"), ("p(x | z)", -1.5)]))
    | density | nats |
    | --- | --- |
    | p(x \| z) | -1.5 |
    """
    head, *body = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))


def definitions(rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> Html:
    """Return what names stand for, one below the other.

    Examples
    --------
    >>> print(definitions({"seed": 0}))
    <dl>
    <dt>seed</dt><dd>0</dd>
    </dl>
    """
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    lines = [f"<dt>{as_html(name)}</dt><dd>{as_html(value)}</dd>" for name, value in pairs]
    return Html("\n".join(["<dl>", *lines, "</dl>"]))


def figure(name: str, title: str, caption: str, picture: bytes) -> Html:
    """Return a picture with its title above it and its caption below, all of it in the text.

    Parameters
    ----------
    name
        By which a link finds it.
    title, caption
        What it shows, and what its shape means.
    picture
        Content of a ``.png`` file.
    """
    source = base64.b64encode(picture).decode()
    is_wide = int.from_bytes(picture[16:20], "big") > WIDE  # where a .png says how wide it is
    kind = ' class="wide"' if is_wide else ""
    return Html(
        f'<figure id="{escape(name)}"{kind}><h3>{escape(title)}</h3><div class="scrolled">'
        f'<img alt="{escape(title)}" src="data:image/png;base64,{source}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def section(title: str, *parts: object, name: str = "") -> Html:
    """Return parts below a heading, with a name by which a link finds them.

    Examples
    --------
    >>> print(section("Checks", "none", name="checks"))
    <section id="checks"><h2>Checks</h2>
    none
    </section>
    """
    place = f' id="{escape(name)}"' if name else ""
    return Html(f"<section{place}><h2>{escape(title)}</h2>\n{joined(parts)}\n</section>")


def document(title: str, *parts: object) -> str:
    """Return a whole page.

    Parameters
    ----------
    title
        Of the page, and its first line.
    parts
        What stands below, as :func:`section` and the others return it.

    Examples
    --------
    >>> page = document("a < b", section("Numbers", table([("ELBO", -8.5)])))
    >>> "<title>a &lt; b</title>" in page, "<script" in page
    (True, False)
    """
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
{joined(parts)}
</body>
</html>
"""
