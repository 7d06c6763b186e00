"""How the sequences of a run are plotted."""

from dataclasses import dataclass

from vaezoo.data import SOURCES
from vaezoo.data.sets.sources import Picture
from vaezoo.pairs.sites import takes_lengths
from vaezoo.runs import Run

__all__ = ["Style", "sequence_style"]

_NUM_NOTES = 88
_PEN_COLUMNS = ("dx", "dy", "pen")


@dataclass(frozen=True)
class Style:
    """How the sequences of a run are plotted.

    Attributes
    ----------
    picture
        ``image`` (a frame is a row of pixels), ``roll``, ``sound``, ``pen`` or ``lines``.
    scale
        The value that is white in an image.
    rate
        Samples a second, of sound.
    names
        Of the elements of a frame.
    """

    picture: Picture
    scale: float = 1.0
    rate: int | None = None
    names: tuple[str, ...] = ()

    def name_of(self, index: int) -> str:
        """Return the name of an element of a frame."""
        return self.names[index] if self.names else f"x{index}"


def sequence_style(run: Run) -> Style | None:
    """Return how the sequences of a run are plotted; None when its data are no sequences.

    Named data sets say it themselves. Of the user's own data, frames of 88 values are piano-rolls,
    and columns ``dx, dy, pen`` a drawing; all others are curves.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("rnn", config={"hidden": 4}, training={"steps": 1})
    >>> sequence_style(run).picture  # rows of digits
    'image'
    """
    if not takes_lengths(run.pair):
        return None
    source = SOURCES.get(run.data.name)
    names = tuple(run.info.get("columns", ()))
    picture: Picture = "lines"
    if source and source.picture:
        picture = source.picture
    elif names == _PEN_COLUMNS:
        picture = "pen"
    elif run.shapes["x"][1:] == (_NUM_NOTES,):
        picture = "roll"
    return Style(picture, run.transform.scale, source.rate if source else None, names)
