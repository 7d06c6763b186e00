"""What a study is, as data: variants on data sets, scales, measures, and claims that are judged."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from vaezoo.errors import RequestError, nearest
from vaezoo.study.measures import UNITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vaezoo.data import Data
    from vaezoo.predict.evaluation import Evaluation
    from vaezoo.runs import Run

__all__ = ["SCALES", "Cell", "Claim", "Measure", "Relation", "Scale", "Study", "Trained", "Variant"]

ScaleName = Literal["smoke", "quick", "full"]
SCALES: tuple[ScaleName, ...] = ("smoke", "quick", "full")
Relation = Literal["larger", "smaller", "same"]


@dataclass(frozen=True)
class Variant:
    """One of the things that a study sets side by side.

    Attributes
    ----------
    name
        What it is called in tables.
    model, config, training, data_settings
        As :func:`vaezoo.fit` takes them; what a scale says of the training applies where the
        variant says nothing.
    data
        The only data sets that it is trained on; all by default.
    scales
        The only scales at which it is there; all by default.
    """

    name: str
    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    data_settings: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    scales: tuple[ScaleName, ...] = SCALES


@dataclass(frozen=True)
class Scale:
    """How large a study is.

    Attributes
    ----------
    seeds
        How many trainings each variant has on each data set.
    minutes
        What it takes on two cores, about, as measured.
    training
        For all variants, as ``{"steps": 1000}``.
    data
        On which data sets; those of the study by default.
    limit
        Of how many test data the measures are taken at most.
    """

    seeds: int
    minutes: float
    training: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    limit: int = 500


@dataclass(frozen=True)
class Claim:
    """A sentence that a study decides, by a rule that is stated before anything is trained.

    It holds on a data set when the interval of the difference *of* one variant from another lies
    beyond *by* in the direction of the relation, and is refuted when the interval ends short of it;
    else it is open. Two are *the same* when the interval lies within *by* of zero.

    Attributes
    ----------
    text
        The sentence, as somebody might say it.
    measure
        A name that a measure of the study gives.
    of, than
        Two variants; or a variant and a number.
    relation, by
        What the difference must be, and the least of it that matters, in units of the measure.
    rows
        Of the questions by which it is said or presumed.
    """

    text: str
    measure: str
    of: str
    than: str | float
    relation: Relation = "larger"
    by: float = 0.0
    rows: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The rule in words.

        Examples
        --------
        >>> Claim("More is better", "elbo", "many", "few", by=0.5).rule
        'elbo of many minus that of few: above 0.5'
        """
        subject = f"{self.measure} of {self.of}"
        if isinstance(self.than, str):
            subject += f" minus that of {self.than}"
        else:
            subject += f" minus {self.than:g}" if self.than else ""
        how = {
            "larger": f"above {self.by:g}",
            "smaller": f"below {-self.by:g}" if self.by else "below 0",
            "same": f"within {self.by:g} of 0",
        }
        return f"{subject}: {how[self.relation]}"


@dataclass(frozen=True)
class Cell:
    """A variant on a data set: its runs differ in their seed."""

    data: str
    variant: Variant
    training: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """All that its runs are made by, as JSON holds it."""
        own = self.variant
        settings = {"data": self.data, "model": own.model, "config": dict(own.config)}
        return settings | {
            "training": dict(self.training),
            "data_settings": dict(own.data_settings),
        }


@dataclass(frozen=True)
class Trained:
    """A run of a study, with what its measures need.

    Attributes
    ----------
    run
        Trained; its data are at hand.
    cell, scale
        What it is one of.
    """

    run: "Run"
    cell: Cell
    scale: Scale

    @property
    def variant(self) -> Variant:
        """The variant that it is of."""
        return self.cell.variant

    @property
    def has_density(self) -> bool:
        """Whether it was trained by a bound on log p(x), as autoencoders are not."""
        return any("elbo" in record.get("validation", {}) for record in self.run.metrics)

    @cached_property
    def has_codes(self) -> bool:
        """Whether its data have codes, as those of a density without latents have not."""
        import vaezoo

        try:
            vaezoo.encode(self.run, limit=1)
        except RequestError:
            return False
        return True

    @cached_property
    def evaluation(self) -> "Evaluation":
        """ELBO and its terms of the test data; several measures ask for it."""
        import vaezoo

        return vaezoo.evaluate(self.run, iwae=(1,), limit=self.scale.limit)


Measure = Callable[[Trained], "Mapping[str, float | NDArray[np.floating]]"]


@dataclass(frozen=True)
class Study:
    """A question, and how it is answered; its prose is the docstring of its file.

    Attributes
    ----------
    name
        What ``vaezoo study run`` takes.
    rows
        Which of the questions of the project it answers.
    variants
        What is set side by side.
    data
        Data sets by the name that they have here: a name of :func:`vaezoo.load_data`, or a function
        that makes or cuts them.
    measures
        Functions of a run to numbers by name: one for the run, or one for each test datum ``(N,)``.
    claims
        What is decided.
    scales
        By ``smoke``, ``quick``, ``full``.
    reference
        The variant from which differences are shown; the first by default.
    units
        Of measures that are the study's own, by name.
    answer
        From the result to sentences that answer the question; by default, what became of the
        claims.
    """

    name: str
    rows: tuple[str, ...]
    variants: Sequence[Variant]
    data: "Mapping[str, str | Callable[[], Data]]"
    measures: Sequence[Measure]
    claims: Sequence[Claim]
    scales: Mapping[ScaleName, Scale]
    reference: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    answer: Callable[[Any], str] | None = None
    module: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", self.module or sys._getframe(2).f_globals["__name__"])
        names = [variant.name for variant in self.variants]
        for claim in self.claims:
            for name in (claim.of, claim.than):
                if isinstance(name, str) and name not in names:
                    raise RequestError(f"{self.name} has no '{name}'; {nearest(name, names)}")

    @property
    def text(self) -> str:
        """The docstring of its file: question, hypothesis, what would refute it, limits."""
        return sys.modules[self.module].__doc__ or ""

    @property
    def question(self) -> str:
        """The first line of that."""
        return self.text.strip().partition("\n")[0]

    @property
    def standard(self) -> str:
        """The variant from which differences are shown."""
        return self.reference or self.variants[0].name

    def unit(self, measure: str) -> str:
        """Return the unit of a measure; empty for a pure number."""
        return self.units.get(measure, UNITS.get(measure, ""))

    def scale(self, name: str) -> Scale:
        """Return a scale by its name."""
        if name not in self.scales:
            raise RequestError(f"{self.name} has no scale '{name}'; {nearest(name, self.scales)}")
        return self.scales[name]  # type: ignore[index]

    def cells(self, scale: str) -> list[Cell]:
        """Return what is trained at a scale, by data set."""
        size = self.scale(scale)
        return [
            Cell(data, variant, {**size.training, **variant.training})
            for data in size.data or self.data
            for variant in self.variants
            if scale in variant.scales and (not variant.data or data in variant.data)
        ]
