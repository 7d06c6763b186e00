"""The page: its text, style and scripts put together, and what it is told of a latent space."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.explorer.grid import Grid
from vaezoo.explorer.looks import Looks
from vaezoo.explorer.space import LatentSpace, Point

__all__ = ["as_floats", "live_page", "space_facts", "static_page", "summary"]

MOST_OPEN = 12  # latents that have a slider at once
MOST_SLIDERS = 200
MOST_CURVES = 6  # latents that are shown along a sequence
DIGITS = 5  # of what is only drawn
LIVE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
STATIC_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

Facts = Mapping[str, Any]


def space_facts(space: LatentSpace, looks: Looks) -> dict[str, Any]:
    """Return what both pages are told: where codes lie, their labels, and how data are drawn."""
    labels = None if space.label is None else [_number(value) for value in space.label.tolist()]
    return {
        "looks": asdict(looks),
        "points": np.round(space.plane.points.astype(np.float64), DIGITS).tolist(),
        "axes": list(space.plane.names),
        "labels": labels,
    }


def live_page(space: LatentSpace, looks: Looks, row: int, *, is_judged: bool, nonce: str) -> str:
    """Return the page whose pictures come from a server."""
    used = space.used
    others = [place for place in range(len(space.units)) if place not in used[:MOST_OPEN]]
    units = zip(space.units, space.change.tolist(), strict=True)
    unjudged = "not in the analysis of this run" if is_judged else ""
    facts = {
        **space_facts(space, looks),
        "row": row,
        "directions": space.plane.axes.tolist(),
        "units": [{"name": u.name, "low": u.low, "high": u.high, "kl": u.kl} for u, _ in units],
        "open": used[:MOST_OPEN],
        "folded": others[:MOST_SLIDERS],
        "others": _say_others(len(others), used),
        "unjudged": unjudged,
        "frames": space.has_frames,
    }
    hears = ", hearing its own draws" if space.is_sequence else ""
    values = {"title": space.run.name, "summary": summary(space), "nonce": nonce, "hears": hears}
    policy = LIVE_POLICY.format(nonce=nonce)
    return _assembled("live", {**values, "policy": policy}, facts)


def static_page(space: LatentSpace, looks: Looks, grid: Grid, row: int) -> str:
    """Return the page that needs no server: a plane decoded beforehand."""
    walk = _walk_facts(space, row) if space.has_frames else None
    facts = {**space_facts(space, looks), "grid": _grid_facts(grid), "walk": walk}
    number = f"{len(grid.places[0])} x {len(grid.places[1])} points"
    if looks.kind not in ("image", "table"):
        few = (range(0, len(p), every) for p, every in zip(grid.places, grid.every, strict=True))
        number += f", {' x '.join(str(len(some)) for some in few)} of them drawn"
    as_in = f"the codes of row {row}" if space.is_sequence else "the mean code"
    text = f"{number}; what lies across the plane is as in {as_in}."
    values = {"title": space.run.name, "summary": summary(space), "nonce": ""}
    more = {"policy": STATIC_POLICY, "grid": text, "sprite": grid.as_url(), "row": str(row)}
    return _assembled("static", {**values, **more}, facts)


def summary(space: LatentSpace) -> str:
    """Return in a line what is explored."""
    run, unit = space.run, "sequences" if space.is_sequence else "data"
    used = f"{len(space.used)} of {len(space.units)} latents in use"
    model, data = (Path(name).name for name in (run.model, run.data.name))
    return (
        f"{model} on {data}: codes of {len(space.codes)} {unit} ({space.split}), "
        f"{used}, step {run.info.get('best_step', 0)}"
    )


def as_floats(x: Array) -> dict[str, Any]:
    """Return an array as a page reads it: its shape, and its 32-bit floats in base64."""
    values = np.ascontiguousarray(x, "<f4")
    return {"shape": list(x.shape), "x": base64.b64encode(values.tobytes()).decode()}


def _grid_facts(grid: Grid) -> dict[str, Any]:
    return {
        "places": [np.round(place, DIGITS).tolist() for place in grid.places],
        "step": list(grid.step),
        "shape": list(grid.x.shape[2:]),
        "tile": list(grid.tile),
        "every": list(grid.every),
        "columns": len(grid.places[0]),
        "rows": len(grid.places[1]),
        "ends": [np.atleast_1d(end).tolist() for end in (grid.low, grid.high)],
    }


def _walk_facts(space: LatentSpace, row: int) -> dict[str, Any]:
    """Return the codes of a sequence frame by frame, and what the model makes of them."""
    some = (space.used or [*range(len(space.units))])[:MOST_CURVES]
    values = space.values_along(row)[:, some]
    return {
        "path": np.round(space.path(row), DIGITS).tolist(),
        "names": [space.units[place].name for place in some],
        "values": np.round(values, DIGITS).tolist(),
        "low": values.min(0).tolist(),
        "high": values.max(0).tolist(),
        **as_floats(space.decode(Point(row)).x),
    }


def _say_others(number: int, used: Sequence[int]) -> str:
    """Return what stands above the sliders that are folded away."""
    most = f", the first {MOST_SLIDERS}" if number > MOST_SLIDERS else ""
    if not used:
        return f"none of {number} latents is in use{most}"
    in_use = f", {len(used) - MOST_OPEN} of them in use" if len(used) > MOST_OPEN else ""
    one = number == 1
    return f"{number} other latent{'' if one else 's'}{in_use or ', not in use'}{most}"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _assembled(kind: str, values: Mapping[str, str], facts: Facts) -> str:
    """Return the HTML of a kind of page, with texts escaped and facts as JSON."""
    body = _filled(_asset(f"{kind}.html"), {name: escape(text) for name, text in values.items()})
    scripts = "\n".join(_asset(f"{name}.js") for name in ("draw", "map", kind))
    parts = {
        **{name: escape(text) for name, text in values.items()},
        "style": _asset("explore.css"),
        "body": body,
        "facts": json.dumps(facts, allow_nan=False).replace("<", "\\u003c"),
        "script": scripts,
    }
    return _filled(_asset("page.html"), parts)


def _filled(text: str, parts: Mapping[str, str]) -> str:
    """Fill in each ``{{name}}`` once: what is filled in is not looked at again."""
    pieces = text.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def _asset(name: str) -> str:
    return files("vaezoo.explorer").joinpath("assets", name).read_text(encoding="utf-8")
