"""Of which run and step a picture is, and what it shows: written below it, and in its file.

A picture whose stamp is not that of the weights in the folder is of older ones.
"""

import io
import json
import stat
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaezoo.runs.run import Run

__all__ = [
    "DESCRIPTION",
    "Stamp",
    "read_stamp",
    "stamp_of_records",
    "stamp_of_weights",
    "stamped",
    "stamps_in",
]

DESCRIPTION = "Description"  # of the keywords that the standard of PNG names
_KEY = "vaezoo"
_STRIP, _MARGIN, _GREY = 14, 4, 110  # pixels; a grey level
_CHARACTER, _SHORTEST = 6, 32  # pixels, about; characters of the shortest line
_USUAL = 640  # pixels, the width of a picture whose text is not enlarged


@dataclass(frozen=True)
class Stamp:
    """What a picture shows the state of.

    Attributes
    ----------
    run
        Id of the run.
    epoch, step
        Of its training.

    Examples
    --------
    >>> str(Stamp("4f2a", 3, 120))
    'epoch 3, step 120'
    """

    run: str
    epoch: int
    step: int

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step}"


def stamp_of_weights(run: Run) -> Stamp:
    """Return the stamp of what is made with a run's weights, the best of its training."""
    return Stamp(run.id, int(run.info.get("best_epoch", 0)), int(run.info.get("best_step", 0)))


def stamp_of_records(run: Run) -> Stamp:
    """Return the stamp of what is made of the records of all epochs."""
    last = run.metrics[-1] if run.metrics else {"epoch": 0, "step": 0}
    return Stamp(run.id, int(last["epoch"]), int(last["step"]))


def stamped(content: bytes, stamp: Stamp, name: str = "", note: str = "") -> bytes:
    """Return a picture with lines below it that say what it shows, and of which step.

    Parameters
    ----------
    content
        A PNG file. What it says of itself, under *Description*, stands in the lines.
    stamp
        Is kept in the text of the file, too.
    name
        Of the run and of the figure.
    note
        What else has to be said of it.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
        picture = opened.convert("L" if opened.mode == "L" else "RGB")
        said = [text for text in (opened.info.get(DESCRIPTION), note) if text]
    canvas = _with_lines(picture, "; ".join(filter(None, (name, *said, str(stamp)))))
    kept, whole = PngInfo(), io.BytesIO()
    kept.add_text(_KEY, json.dumps(asdict(stamp)))
    if said:
        kept.add_itxt(DESCRIPTION, "; ".join(said))
    canvas.save(whole, "png", pnginfo=kept)
    return whole.getvalue()


def _with_lines(picture: Any, text: str) -> Any:
    """Return a picture with a text below it, larger below one that will be shown smaller."""
    from PIL import Image, ImageDraw, ImageFont

    zoom = max(1.0, picture.width / _USUAL)
    font, height = ImageFont.load_default(size=10 * zoom), round(_STRIP * zoom)
    plain = text.encode("latin-1", "replace").decode("latin-1")  # characters that the font has
    lines = textwrap.wrap(plain, max(_SHORTEST, int(picture.width / (_CHARACTER * zoom))))
    width = max(picture.width, *(2 * _MARGIN + int(font.getlength(line)) for line in lines))
    canvas = Image.new(picture.mode, (width, picture.height + height * len(lines)), "white")
    canvas.paste(picture)
    fill = _GREY if picture.mode == "L" else (_GREY,) * 3
    for number, line in enumerate(lines):
        place = (_MARGIN, picture.height + number * height)
        ImageDraw.Draw(canvas).text(place, line, fill=fill, font=font)
    return canvas


def read_stamp(path: Path) -> Stamp | None:
    """Return the stamp of a picture; None for what has none, or is no picture."""
    from PIL import Image

    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with Image.open(path, formats=("PNG",)) as picture:
            values = json.loads(picture.info[_KEY])
            return Stamp(str(values["run"]), int(values["epoch"]), int(values["step"]))
    except Exception:  # whatever else lies there
        return None


def stamps_in(folder: Path) -> Iterator[tuple[Path, Stamp]]:
    """Yield the pictures of a run folder that have a stamp, each with it."""
    figures = folder / "figures"
    if figures.is_symlink():
        return
    for path in sorted(figures.glob("*.png")):
        if stamp := read_stamp(path):
            yield path, stamp
