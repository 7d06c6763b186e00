"""Sphinx configuration: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import model_pages  # noqa: E402 (they lie beside this file)
import results_table  # noqa: E402
import site_meta  # noqa: E402
import study_pages  # noqa: E402

# What the executed pages see: this Python's commands, one thread, no data of this machine's owner.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("VAEZOO_DATA", None)
os.environ.pop("MPLBACKEND", None)  # else a kernel shows no figures
kernel_settings = tempfile.TemporaryDirectory()
startup = Path(kernel_settings.name) / "profile_default" / "startup"
startup.mkdir(parents=True)
shutil.copy(HERE / "kernel_startup.py", startup)
os.environ["IPYTHONDIR"] = kernel_settings.name

project = "vaezoo"
author = "The vaezoo authors"
project_copyright = author
version = release = metadata.version("vaezoo")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_click",
]
exclude_patterns = ["_build", "results/*"]
smartquotes = False

html_theme = "furo"
html_title = f"vaezoo {release}"
html_static_path = ["_static"]
html_css_files = ["vaezoo.css"]
html_copy_source = False
html_baseurl = os.environ.get("VAEZOO_DOCS_URL", "")  # where it is published: for sitemap.xml

# Hosts that answer programs with an error, and pages whose anchors a script makes.
linkcheck_ignore = [r"https://(dx\.)?doi\.org/", r"https://www\.arviz\.org"]
linkcheck_anchors = False
linkcheck_timeout = 20

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Every page runs in an empty folder of its own; a cell that fails, fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"DataLike": "DataLike"}
maximum_signature_line_length = 80
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False


def add_files(app, docname, source):
    """Put files that may or may not exist behind a page; links to no page become plain text."""
    files = {
        "results": sorted(HERE.glob("results/*.md")),
        "contributing": sorted(HERE.parent.glob("CONTRIBUTING.md")),
    }
    for file in files.get(docname, []):
        app.env.note_dependency(str(file))
        text = re.sub(r"\A# ", "## ", file.read_text(encoding="utf-8"))
        text = re.sub(r"\]\(docs/", "](", text)
        text = re.sub(r"\[([^\]]+)\]\((?!https?:|#|[\w-]+\.md)[^)]*\)", r"\1", text)
        source[0] += f"\n{text}\n"
    if docname == "all-results":
        for file in HERE.glob("results/*.csv"):
            app.env.note_dependency(str(file))
        source[0] += f"\n{results_table.table_of_all(HERE / 'results')}"
    if docname == "questions":
        source[0] = study_pages.fill(source[0])


def show_as_shell(app, doctree):
    """Show a cell of shell commands without its first line, ``%%bash``."""
    for block in doctree.findall(nodes.literal_block):
        first, _, commands = block.astext().partition("\n")
        if first == "%%bash":
            block.rawsource = commands
            block.children = [nodes.Text(commands)]
            block["language"] = "bash"


def show_example(app, context, lines):
    """Show the examples of a command's help, which click keeps line by line, as code."""
    code = [line.startswith("| ") for line in lines]
    for index in reversed(range(len(lines))):
        if code[index] and index and code[index - 1]:
            lines[index] = f"   {lines[index].removeprefix('| ').strip()}"
        elif code[index]:
            head = lines[index].removeprefix("| ")
            lines[index : index + 1] = [head, "", ".. code-block:: bash", ""]


def name_aliases(app, what, name, obj, options, signature, returns):
    """Show an alias in a union by its name; Sphinx shows the object that stands for it."""
    return signature and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature), returns


def setup(app):
    model_pages.write(HERE / "models")
    study_pages.write(HERE / "studies")
    app.connect("source-read", add_files)
    app.connect("doctree-read", show_as_shell)
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("sphinx-click-process-description", show_example)
    app.connect("html-page-context", site_meta.describe)
    app.connect("build-finished", site_meta.write_sitemap)
