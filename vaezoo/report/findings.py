"""What an analysis found, as data: words, tables, figures and the page are made from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import xarray as xr

from vaezoo.diagnostics.calibration import Calibration
from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.collapse import Collapse
from vaezoo.diagnostics.costs import AnalysisPlan
from vaezoo.diagnostics.exam import Exam
from vaezoo.diagnostics.grading import VERDICTS
from vaezoo.diagnostics.guide import GuideCheck
from vaezoo.diagnostics.predictive import PredictiveCheck
from vaezoo.diagnostics.second_opinion import SecondOpinion
from vaezoo.diagnostics.sequences import SequenceCheck
from vaezoo.markup import table
from vaezoo.training.metrics import Metrics

__all__ = ["Report", "Scope"]

Quality = Literal["good", "fair", "poor", "unknown"]
MOST_NOT_TRUSTED, MOST_REPAIRED = 0.05, 0.2


@dataclass(frozen=True)
class Scope:
    """What was analysed.

    Attributes
    ----------
    run, model
        Names of the run and of its model.
    weights
        The epoch and the step that its weights are of.
    data, split, total
        Name of the data, which rows, and how many of them there are.
    seed
        Seed of all draws.
    scale
        Largest grey level of the data.
    latents
        Shapes of the latents by site; of a sequence, of one step.
    date
        When, ``2026-01-31 12:00 UTC``.
    """

    run: str
    weights: str
    model: str
    data: str
    split: str
    total: int
    seed: int
    scale: float
    latents: Mapping[str, tuple[int, ...]]
    date: str


@dataclass(frozen=True, repr=False)
class Report:
    """Every check of a run that makes sense for its pair; what does not is None.

    Attributes
    ----------
    scope, plan
        What was analysed, and how much of it.
    metrics
        ELBO and its terms, over the data that were looked at.
    guide
        Importance weights of the guide, where there is no ``posteriors``.
    posteriors
        The verdicts on data without time.
    sequences
        The verdicts on sequences.
    exam
        Whether checks of the run miss parts of posteriors, on data that the model made.
    second_opinion
        Long chains, annealing and classifiers of level ``full``.
    calibration, collapse, predictive
        See :mod:`vaezoo.diagnostics.calibration`, :mod:`vaezoo.diagnostics.collapse`,
        :mod:`vaezoo.diagnostics.predictive`.
    skipped
        Why a check was left out, by its name.
    trees
        Draws for ArviZ: ``q`` of the guide, ``mcmc`` of chains, ``checked`` of the posterior.
    seconds
        What it took.
    """

    scope: Scope
    plan: AnalysisPlan
    metrics: Metrics
    guide: GuideCheck | None = None
    posteriors: PosteriorCheck | None = None
    sequences: SequenceCheck | None = None
    exam: Exam | None = None
    second_opinion: SecondOpinion | None = None
    calibration: Calibration | None = None
    collapse: Collapse | None = None
    predictive: Mapping[str, PredictiveCheck] | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    trees: Mapping[str, xr.DataTree] = field(default_factory=dict)
    seconds: float = 0.0

    def __repr__(self) -> str:
        scope, num_data = self.scope, self.plan.num_data
        shares = ", ".join(f"{share:.0%} {name}" for name, share in self.shares.items())
        return (
            f"Report({scope.run!r}, {num_data} of {scope.total} {scope.split} data of "
            f"{scope.data}, level {self.plan.level}: {self.quality}{shares and '; '}{shares})"
        )

    def _repr_html_(self) -> str:
        """Return a table for a notebook; :func:`vaezoo.report.verdict` has the words."""
        scope = self.scope
        rows = {
            f"{scope.run}: {scope.model}": self.quality,
            "data": f"{self.plan.num_data} of {scope.total} {scope.split} data of {scope.data}",
            "level": self.plan.level,
            **{name: f"{share:.0%}" for name, share in self.shares.items()},
            "ELBO": f"{self.metrics.elbo:.2f} nats",
            **{f"left out: {name}": why for name, why in self.skipped.items()},
        }
        return table(rows.items())

    @property
    def judged(self) -> PosteriorCheck | SequenceCheck | None:
        """Where the verdicts are."""
        return self.posteriors or self.sequences

    @property
    def graded(self) -> PosteriorCheck | SequenceCheck | GuideCheck | None:
        """Where the grades of each datum are: with the verdicts, or else those of the guide."""
        return self.judged or self.guide

    @property
    def shares(self) -> dict[str, float]:
        """Share of the data of each verdict; empty without verdicts."""
        if self.judged is None:
            return {}
        places = self.judged.verdict
        return {name: float((places == i).double().mean()) for i, name in enumerate(VERDICTS)}

    @property
    def quality(self) -> Quality:
        """``good``, ``fair`` or ``poor``: how much of ``q`` and of ``checked`` can be relied on.

        Poor is more than 5 % of the data not trusted; without verdicts, more than 20 % with a
        k-hat that is bad. Good is at most 20 % repaired.
        """
        if self.shares:
            if self.shares["not trusted"] > MOST_NOT_TRUSTED:
                return "poor"
            return "good" if self.shares["repaired"] <= MOST_REPAIRED else "fair"
        if self.guide is None:
            return "unknown"
        grades = self.guide.grades["k_hat"]
        if float((grades == 2).double().mean()) > MOST_REPAIRED:
            return "poor"
        return "good" if float((grades == 0).double().mean()) >= 1 - MOST_REPAIRED else "fair"
