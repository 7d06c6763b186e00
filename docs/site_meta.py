"""What search engines and previews of links read: a description of each page, and a sitemap."""

import html
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from docutils import nodes

__all__ = ["describe", "write_sitemap"]

_LENGTH = 200


def describe(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Put the title and the first words of a page into its head."""
    if doctree is None:
        return
    texts = (paragraph.astext() for paragraph in doctree.findall(nodes.paragraph))
    words = " ".join(next((text for text in texts if len(text) > 40), "").split())
    if len(words) > _LENGTH:
        words = words[:_LENGTH].rpartition(" ")[0] + " ..."
    title = re.sub(r"<[^>]+>", "", context.get("title", ""))
    tags = {
        'name="description"': words,
        'property="og:description"': words,
        'property="og:title"': title,
        'property="og:type"': "article",
        'property="og:site_name"': "vaezoo",
    }
    context["metatags"] = context.get("metatags", "") + "".join(
        f'\n<meta {name} content="{html.escape(html.unescape(text))}">'
        for name, text in tags.items()
        if text
    )


def write_sitemap(app: Any, exception: Exception | None) -> None:
    """Write ``sitemap.xml`` of all pages, where the address of the site is stated."""
    base = app.config.html_baseurl
    if exception or not base or app.builder.name != "html":
        return
    pages = (app.builder.get_target_uri(name) for name in sorted(app.env.found_docs))
    entries = "".join(
        f"<url><loc>{escape(base.rstrip('/'))}/{page}</loc></url>\n" for page in pages
    )
    text = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}</urlset>\n'
    )
    Path(app.outdir, "sitemap.xml").write_text(text, encoding="utf-8")
