"""What the documentation says of its pages to search engines."""

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="module")
def site_meta() -> ModuleType:
    pytest.importorskip("docutils")
    path = Path(__file__).parents[1] / "docs" / "site_meta.py"
    spec = importlib.util.spec_from_file_location("site_meta", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_description_is_the_first_paragraph_escaped(site_meta: ModuleType) -> None:
    core = pytest.importorskip("docutils.core")
    text = 'Short.\n\nWhat "q" & p are, said in more than forty letters, at least.\n'
    context: dict[str, Any] = {"title": "Which <code>x</code>?"}
    site_meta.describe(None, "page", "page.html", context, core.publish_doctree(text))
    assert 'content="What &quot;q&quot; &amp; p are' in context["metatags"]
    assert 'property="og:title" content="Which x?"' in context["metatags"]


def _built(folder: Path, base: str) -> SimpleNamespace:
    builder = SimpleNamespace(name="html", get_target_uri=lambda name: f"{name}.html")
    return SimpleNamespace(
        outdir=folder,
        builder=builder,
        config=SimpleNamespace(html_baseurl=base),
        env=SimpleNamespace(found_docs={"index", "models/vrnn"}),
    )


def test_sitemap_has_every_page(site_meta: ModuleType, tmp_path: Path) -> None:
    site_meta.write_sitemap(_built(tmp_path, "https://example.org/a&b/"), None)
    places = [place.text for place in ET.parse(tmp_path / "sitemap.xml").findall("{*}url/{*}loc")]
    base = "https://example.org/a&b"
    assert places == [f"{base}/index.html", f"{base}/models/vrnn.html"]


def test_no_sitemap_without_an_address(site_meta: ModuleType, tmp_path: Path) -> None:
    site_meta.write_sitemap(_built(tmp_path, ""), None)
    assert not (tmp_path / "sitemap.xml").exists()
