"""``explore``: the latent space of a run on a page."""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from vaezoo.data import DataLike
from vaezoo.errors import RequestError, require_positive
from vaezoo.explorer.grid import grid_of
from vaezoo.explorer.looks import Looks, looks_of
from vaezoo.explorer.page import as_floats, live_page, static_page, summary
from vaezoo.explorer.server import PageServer
from vaezoo.explorer.space import LatentSpace, Point, space_of
from vaezoo.explorer.verdicts import Verdicts, verdicts_of
from vaezoo.options import InterpolationPath, require_choice
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.storage import write_bytes

__all__ = ["Explorer", "explore"]


@dataclass(frozen=True, repr=False)
class Explorer:
    """The latent space of a run, to be served as a page or written as one file.

    In a notebook it is the page that needs no server.

    Attributes
    ----------
    space
        Codes, latents and the plane of the map.
    looks
        How data are drawn.
    verdicts
        What an analysis of the run said of the data; None without one.
    row
        The datum that it starts from.
    num_values
        Points of the decoded grid, each way.
    """

    space: LatentSpace
    looks: Looks
    verdicts: Verdicts | None
    row: int
    num_values: int

    def __repr__(self) -> str:
        return f"Explorer({self.space.run.name!r}: {summary(self.space)})"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.page())}" sandbox="allow-scripts" '
            'style="width:100%;height:44rem;border:0" title="latent space"></iframe>'
        )

    def page(self) -> str:
        """Return one HTML page with a decoded grid, which needs no server and no other file."""
        grid = grid_of(self.space, self.looks, self.num_values, self.row)
        return static_page(self.space, self.looks, grid, self.row)

    def save(self, path: str | Path) -> None:
        """Write :meth:`page` to a file."""
        write_bytes(Path(path), self.page().encode())

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[PageServer]:
        """Yield a server of the page at a port of this machine, by default any that is free.

        Its method ``serve_forever`` answers, until ``shutdown`` is called in another thread.

        Examples
        --------
        >>> import vaezoo
        >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5})
        >>> with vaezoo.explore(run).serving() as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
        """
        nonce, judged = secrets.token_urlsafe(16), self.verdicts is not None
        page = live_page(self.space, self.looks, self.row, is_judged=judged, nonce=nonce)
        # One at a time: Pyro's handlers and torch's generators are the whole process's.
        lock = threading.Lock()
        reading = {"datum": _locked(self._datum, lock)}
        if self.space.has_frames:
            reading["path"] = _locked(self._path, lock)
        with PageServer(page, reading, {"decode": _locked(self._decode, lock)}, port) as server:
            yield server

    def _datum(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        row = _whole("row", asked.get("row"), len(self.space.codes))
        label = None if self.space.label is None else float(self.space.label[row])
        return {
            "row": row,
            "label": label if label == label else None,
            "verdict": self._verdict(row),
            "covariance": self.space.spread(row).tolist(),
            **as_floats(self.space.datum(row)),
        }

    def _path(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        row = _whole("row", asked.get("row"), len(self.space.codes))
        covariances = self.space.spreads(row).tolist()
        return {"places": self.space.path(row).tolist(), "covariances": covariances}

    def _verdict(self, row: int) -> str:
        if self.verdicts is None or row >= len(self.verdicts.words):
            return ""
        words, reasons = self.verdicts.words[row], self.verdicts.reasons[row]
        return f"posterior: {words}{f' ({reasons})' if reasons else ''}"

    def _decode(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        decoded = self.space.decode(_point(asked, self.space))
        values, place = decoded.values.tolist(), decoded.place.tolist()
        return {"values": values, "place": place, **as_floats(decoded.x)}


def explore(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 500,
    row: int = 0,
    latents: Sequence[str] | None = None,
    num_values: int = 15,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    notify: Callable[[str], object] = print,
) -> Explorer:
    """Put the latent space of a run on a page: codes on a map, and what the model makes of them.

    Parameters
    ----------
    run
        A trained run, or its folder; that of an autoencoder is as good.
    data, split, limit
        Whose codes: by default those of the first 500 test rows.
    row
        The datum that it starts from.
    latents
        Two elements for the map, as ``["z[3]", "z[7]"]``; by default the only two, or the first two
        principal components of the codes.
    num_values
        Points of the decoded grid of a saved page, each way.
    given
        Other conditions than those of the data, by name.
    seed
        Seed of draws.
    data_dir
        Where original data files lie.
    notify
        Is told what is left out: an analysis that cannot be read.

    Returns
    -------
    Explorer
        What a notebook shows; ``save("explore.html")`` writes the same as one file, and
        ``serving()`` is the live page of ``vaezoo explore``. Of a sequence a latent is moved by as
        much in every frame, or in one frame alone, and the sequence hears its own draws.

    Raises
    ------
    RequestError
        For latents that cannot be moved (discrete, on a sphere, shared by all data), names and rows
        that there are not, and fewer than three data.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 5})
    >>> vaezoo.explore(run, num_values=5).page().startswith("<!doctype html>")
    True
    """
    require_positive("num_values", num_values, "value")
    run = as_run(run)
    how: dict[str, Any] = {"split": split, "limit": limit, "given": given}
    space = space_of(run, data, latents=latents or (), seed=seed, data_dir=data_dir, **how)
    if not 0 <= row < len(space.codes):
        raise RequestError(f"`row` is one of 0 to {len(space.codes) - 1}, not {row}")
    verdicts = None if data is not None else verdicts_of(run, run.data.name, split, notify)
    return Explorer(space, looks_of(run, space.x), verdicts, row, num_values)


def _locked(
    answer: Callable[[Mapping[str, Any]], Any], lock: threading.Lock
) -> Callable[[Mapping[str, Any]], Any]:
    def alone(asked: Mapping[str, Any]) -> Any:
        with lock:
            return answer(asked)

    return alone


def _point(asked: Mapping[str, Any], space: LatentSpace) -> Point:
    """Return the point that a page asks for."""
    number = len(space.codes)
    to, values, at = asked.get("to"), asked.get("values"), asked.get("at", 0.0)
    path: InterpolationPath = asked.get("path", "linear")
    require_choice("path", path, InterpolationPath)
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= 1:
        raise RequestError("`at` is between 0 and 1")
    if values is not None:
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            raise RequestError("`values` is a list of numbers")
        values = tuple(map(float, values))
    row, frame = _whole("row", asked.get("row"), number), asked.get("frame")
    target = None if to is None else _whole("to", to, number)
    if frame is not None:
        frame = _whole("frame", frame, space.frames_of(row, target), "frame")
    return Point(row, target, at, path, values, frame)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _whole(name: str, value: Any, number: int, what: str = "row") -> int:
    """Return the number of a row, or of what else there are so many of."""
    text = str(value)
    if isinstance(value, bool | float) or not text.isdecimal() or len(text) > 9:
        raise RequestError(f"`{name}` is a {what}, 0 to {number - 1}")
    if int(text) >= number:
        raise RequestError(f"`{name}` is a {what}, 0 to {number - 1}, not {text}")
    return int(text)
