"""What an analysis found: a verdict in plain words, numbers, trees of draws, a page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from vaezoo.diagnostics.calibration import Calibration
from vaezoo.diagnostics.checking import VERDICTS, PosteriorCheck
from vaezoo.diagnostics.collapse import Collapse
from vaezoo.diagnostics.costs import Plan
from vaezoo.diagnostics.guide import GuideCheck
from vaezoo.diagnostics.predictive import PredictiveCheck
from vaezoo.diagnostics.referee import Referee
from vaezoo.diagnostics.sequences import SequenceCheck
from vaezoo.report.numbers import diagnostics, numbers
from vaezoo.report.words import verdict_lines
from vaezoo.runtime.storage import write_bytes
from vaezoo.training.metrics import Metrics
from vaezoo.trees.files import save_netcdf

__all__ = ["Quality", "Report", "Subject"]

Quality = Literal["good", "fair", "poor", "unknown"]
MOST_NOT_TRUSTED, MOST_REPAIRED = 0.05, 0.2


@dataclass(frozen=True)
class Subject:
    """What was analysed.

    Attributes
    ----------
    run, model
        Names of the run and of its model.
    data, split, total
        Name of the data, which rows, and how many of them there are.
    seed
        Seed of all draws.
    scale
        Largest grey level of the data.
    latents
        Shapes of the latents by site; of a sequence, of one step.
    """

    run: str
    model: str
    data: str
    split: str
    total: int
    seed: int
    scale: float
    latents: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Report:
    """Every check of a run that makes sense for its pair; what does not is None.

    Attributes
    ----------
    subject, plan
        What was analysed, and how much of it.
    metrics
        ELBO and its terms, over the data that were looked at.
    guide
        Importance weights of the guide, where there is no ``posteriors``.
    posteriors
        The verdicts on data without time.
    sequences
        The verdicts on sequences.
    referee
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

    subject: Subject
    plan: Plan
    metrics: Metrics
    guide: GuideCheck | None
    posteriors: PosteriorCheck | None
    sequences: SequenceCheck | None
    referee: Referee | None
    calibration: Calibration | None
    collapse: Collapse | None
    predictive: Mapping[str, PredictiveCheck] | None
    skipped: Mapping[str, str]
    trees: Mapping[str, xr.DataTree]
    seconds: float

    @property
    def judged(self) -> PosteriorCheck | SequenceCheck | None:
        """Where the verdicts are."""
        return self.posteriors or self.sequences

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

    @property
    def verdict(self) -> str:
        """The verdict in about eight lines."""
        return "\n".join(verdict_lines(self))

    @property
    def per_datum(self) -> xr.Dataset:
        """All numbers of each datum, along ``datum``; of sequences some along ``time``."""
        return diagnostics(self)["per_datum"].to_dataset()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``report.json`` holds."""
        return numbers(self)

    def save(self, folder: str | Path) -> list[Path]:
        """Write trees, ``diagnostics.nc``, ``report.json`` and ``report.html``; return their names.

        Raises
        ------
        RunError
            When something cannot be written. What is small comes first.
        """
        from vaezoo.report.page import page

        folder = Path(folder)
        names = [folder / "report.json", folder / "report.html", folder / "diagnostics.nc"]
        content = json.dumps(self.to_dict(), indent=2)
        write_bytes(names[0], content.encode())
        write_bytes(names[1], page(self).encode())
        save_netcdf(diagnostics(self), names[2])
        for name, tree in self.trees.items():
            names.append(folder / f"{name}.nc")
            save_netcdf(tree, names[-1])
        return names
