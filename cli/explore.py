"""``vaezoo explore``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    Names,
    echo_json,
    echo_note,
    json_option,
    limit_option,
    out_option,
    seed_option,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.explorer.exploring import Explorer
    from vaezoo.runs import Run


__all__ = ["explore"]


@click.command()
@takes_data
@limit_option(500, "How many rows are on the map.")
@click.option(
    "--row", type=click.IntRange(min=0), default=0, show_default=True, help="The datum to start at."
)
@click.option(
    "--latents",
    type=Names(),
    metavar="NAMES",
    help="The two of the map, as 'z[3],z[7]'.  [default: principal components]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Of this machine.  [default: a free one]",
)
@click.option("--browser/--no-browser", default=True, help="Open the page.  [default: open it]")
@click.option("--static", "is_static", is_flag=True, help="Write one file instead, with a grid.")
@click.option(
    "--num-values",
    type=click.IntRange(min=2),
    default=15,
    show_default=True,
    help="Points of that grid, each way.",
)
@out_option(".html", text="The .html file of --static.  [default: RUN/explore.html]")
@given_option
@json_option
@seed_option
@takes_run
def explore(
    run: "Run",
    port: int,
    browser: bool,
    is_static: bool,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Move the latents of a model by hand, on a page in the browser.

    Sliders for the latents in use, a map of codes to tap on, a datum to start from with what its
    guide says, and another to walk to; of a sequence also the way of its codes, frame by frame.
    The page is served to this machine only; nothing else has its address, which holds a secret.

    \b
    Examples:
      vaezoo explore runs/my-run
      vaezoo explore runs/my-run --static -o explore.html
    """
    from vaezoo.errors import RequestError
    from vaezoo.explorer.page import summary

    if out is not None and not is_static:
        raise RequestError("-o is for one file: add --static")
    explorer = vaezoo.explore(run, notify=echo_note, **options)
    facts = {"summary": summary(explorer.space), "latents": len(explorer.space.units)}
    if not is_static:
        _serve(explorer, port, browser, facts, as_json)
        return
    path = out or run.folder() / "explore.html"
    explorer.save(path)
    if as_json:
        echo_json({**facts, "page": str(path)})
    else:
        echo(f"{facts['summary']} -> {path}")


def _serve(
    explorer: "Explorer", port: int, browser: bool, facts: dict[str, Any], as_json: bool
) -> None:
    with explorer.serving(port) as server:
        if as_json:
            echo_json({**facts, "url": server.url})
        else:
            echo(f"{facts['summary']}\n{server.url}\nCtrl-C ends it")
        sys.stdout.flush()
        if browser:
            _open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            echo("ended", err=True)


def _open(url: str) -> None:
    """Open a page, unless the only browser would be one of this terminal."""
    import webbrowser

    has_screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_screen:
        webbrowser.open(url)
