"""Of which step a picture in a run folder is: written below it, and in its file.

A picture whose stamp is not that of the weights in the folder is of older ones.
"""

import io
import json
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vaezoo.runs.run import Run

__all__ = ["Stamp", "read_stamp", "stamp_of_records", "stamp_of_weights", "stamped", "stamps_in"]

_KEY = "vaezoo"
_STRIP, _MARGIN, _GREY = 14, 4, 110  # pixels; a grey level


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


def stamped(content: bytes, stamp: Stamp) -> bytes:
    """Return a picture with a line below it that says of which step it is.

    Parameters
    ----------
    content
        A PNG file.
    stamp
        Is kept in the text of the file, too.
    """
    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
        picture = opened.convert("L" if opened.mode == "L" else "RGB")
    text = str(stamp)
    width = max(picture.width, 2 * _MARGIN + int(ImageDraw.Draw(picture).textlength(text)))
    canvas = Image.new(picture.mode, (width, picture.height + _STRIP), "white")
    canvas.paste(picture)
    fill = _GREY if picture.mode == "L" else (_GREY,) * 3
    ImageDraw.Draw(canvas).text((_MARGIN, picture.height), text, fill=fill)
    kept, whole = PngInfo(), io.BytesIO()
    kept.add_text(_KEY, json.dumps(asdict(stamp)))
    canvas.save(whole, "png", pnginfo=kept)
    return whole.getvalue()


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
