"""Analyse a run: every check that makes sense for its pair, in one call."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
import xarray as xr

from vaezoo import registry
from vaezoo.checks.blame import class_of
from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.diagnostics.calibration import calibrate
from vaezoo.diagnostics.checking import check_posteriors
from vaezoo.diagnostics.collapse import collapse
from vaezoo.diagnostics.costs import LEVELS, AnalysisPlan, plan_analysis
from vaezoo.diagnostics.exam import examine, with_exam
from vaezoo.diagnostics.guide import check_guide
from vaezoo.diagnostics.predictive import predictive_checks
from vaezoo.diagnostics.second_opinion import consult
from vaezoo.diagnostics.sequences import check_sequences
from vaezoo.errors import RequestError, RunError, nearest, require_whole
from vaezoo.options import Level
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, is_autoencoder, trace_pair
from vaezoo.report.findings import Report, Scope
from vaezoo.report.tables import per_datum, ranks_table
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runs.stamps import stamp_of_weights
from vaezoo.runtime.device import seeded
from vaezoo.runtime.optional import reason_of
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import SequencePair
from vaezoo.training.metrics import measure
from vaezoo.trees.checked import chains_tree, checked_tree
from vaezoo.trees.drawing import Draws
from vaezoo.trees.groups import NUM_CHAINS
from vaezoo.trees.pieces import join_trees
from vaezoo.trees.posterior import plan_draws

__all__ = ["analyse", "prepare"]

MOST_GIB = 0.5
DATA_FOR_TIMING = 64

Progress = Callable[[str, int, int], None]
Result = TypeVar("Result")


def analyse(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 100,
    level: Level = "standard",
    budget: float | None = None,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check the posteriors of a run, and what else there is to know of its latents.

    Parameters
    ----------
    run
        A trained run, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split
        Which rows; of values in memory all rows are taken.
    limit
        Only the first so many; None for all.
    level
        ``quick`` looks at draws of the guide only, and cannot see what it missed. ``standard``
        checks each posterior by scouts and a mixture. ``full`` sends more scouts, and adds long
        chains, annealing with bounds from both sides, and classifiers.
    budget
        Seconds that it may take: fewer data are looked at, if need be.
    given
        Other conditions than those of the data, by name: a value for all rows, or for each.
    seed
        Seed of all draws.
    data_dir
        Where original data files lie.
    progress
        Is told what begins, how many parts are done, and of how many.

    Raises
    ------
    RequestError
        When the data do not fit the run, what is given is no condition, or the budget is too short
        for ten data.

    Examples
    --------
    >>> from vaezoo.report import verdict
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> report = vaezoo.analyse(run, limit=2, level="quick")  # in earnest, take more and "standard"
    >>> print(verdict(report).splitlines()[0])
    vae-linear: vae-linear, latents z 2 (2 in use), 2 of 180 test data of digits,
    >>> sorted(report.trees)  # draws for ArviZ
    ['q']
    """
    analysis = prepare(
        run,
        data,
        split=split,
        limit=limit,
        level=level,
        budget=budget,
        given=given,
        seed=seed,
        data_dir=data_dir,
    )
    return analysis.run_checks(progress)


def prepare(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 100,
    level: Level = "standard",
    budget: float | None = None,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> "Analysis":
    """Return what :func:`analyse` would do, and how long it would take, as ``plan``.

    Examples
    --------
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> analysis = prepare(run, limit=2, level="quick")
    >>> analysis.plan.num_data, analysis.plan.seconds > 0  # `analysis.run_checks()` does it
    (2, True)
    """
    if level not in LEVELS:
        raise RequestError(f"no level '{level}'; {nearest(level, LEVELS)}")
    require_whole("limit", limit)
    if limit is not None and limit < 1:
        raise RequestError(f"an analysis takes 1 datum or more, got {limit}")
    run = as_run(run)
    with seeded(seed, run.device):
        batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
        run = run.explaining(batches)
        total = batches.size(split)
        some = batches.whole(split, limit=min(DATA_FOR_TIMING, limit or total))
        _refuse_unusable(run, some)
        plan = plan_analysis(run.pair, some, total, level, limit or total, budget)
    return Analysis(run, batches, split, plan, seed)


def _refuse_unusable(run: Run, args: Args) -> None:
    """Refuse a model that observes nothing, and a guide whose draws are not finite."""
    with probing(run.pair, run.device):
        trace = trace_pair(training_form(run.pair), args)
    if not trace.observed:
        raise RequestError(
            f"the model of {run.name} observes nothing, so that there is no posterior; "
            "give its likelihood obs=x"
        )
    if is_autoencoder(trace):
        raise RequestError(
            f"the guide of {run.name} gives each latent one value, as an autoencoder does, so that "
            "there is no posterior to analyse; `vaezoo.evaluate(run)`, `vaezoo.reconstruct(run)` "
            "and `vaezoo.encode(run)` work"
        )
    for name, (_, q) in trace.latents.items():
        if not bool(torch.as_tensor(q["value"]).isfinite().all()):
            raise RequestError(
                f"the guide of {run.name} draws values of '{name}' that are not finite; "
                "train it again, with a smaller `lr` or `clip_norm`"
            )


@dataclass
class Analysis:
    """An analysis that is planned, and why some of its checks make no sense, once that is clear.

    Attributes
    ----------
    run, batches, split
        What is analysed.
    plan
        How much is done, and how long it will take.
    seed
        Seed of all draws.
    skipped
        Why a check was left out, by its name.
    """

    run: Run
    batches: Batches
    split: str
    plan: AnalysisPlan
    seed: int
    skipped: dict[str, str] = field(default_factory=dict)

    def run_checks(self, progress: Progress | None = None) -> Report:
        """Do it.

        Parameters
        ----------
        progress
            Is told what begins, how many parts are done, and of how many.
        """
        begun = time.perf_counter()
        report = self._measure()
        parts: dict[str, Callable[[Report], Report]] = {
            "draws of the guide": self._draw,
            "posteriors": self._check_posterior,
            "calibration": self._calibrate,
            "latents": self._collapse,
            "replicated data": self._replicate,
        }
        for number, (name, part) in enumerate(parts.items()):
            if progress:
                progress(name, number, len(parts))
            report = part(report)
        return replace(report, skipped=self._reasons(), seconds=time.perf_counter() - begun)

    # The parts: each takes the report so far, and adds to it

    def _measure(self) -> Report:
        run = self.run
        with seeded(self.seed, run.device):
            metrics = measure(training_form(run.pair), [self._args], run.transform)
        return Report(self._scope(), self.plan, metrics)

    def _draw(self, report: Report) -> Report:
        draws = self._draws
        return replace(report, trees={"q": join_trees(draws.pieces())}) if draws else report

    def _check_posterior(self, report: Report) -> Report:
        if isinstance(self.run.pair, SequencePair):
            particles = self.plan.num_particles
            check = self._check("posterior", check_sequences, num_particles=particles)
            return self._with_trees(replace(report, sequences=check))
        if self.plan.level != "quick":
            report = self._check_data(report)
        if report.judged is None:
            return replace(report, guide=self._check("importance weights", check_guide))
        return self._with_trees(report)

    def _check_data(self, report: Report) -> Report:
        """Check the posteriors of data without time, and ask for a second opinion if planned."""
        check = self._check(
            "posterior",
            check_posteriors,
            scouting=self.plan.scouting,
            num_samples=self.plan.num_samples,
            num_resampled=self._draws.num_samples if self._draws else self.plan.num_kept,
        )
        if check is None:
            return report
        if self.plan.level == "full":
            check, opinion = consult(self.run.pair, self._args, check, self.plan, self.seed)
            report = replace(report, second_opinion=opinion)
        sizes = {"num_data": self.plan.num_examined, "num_samples": self.plan.num_samples}
        exam = self._check("exam", examine, scouting=self.plan.scouting, **sizes)
        return replace(report, posteriors=with_exam(check, exam) if exam else check, exam=exam)

    def _calibrate(self, report: Report) -> Report:
        sizes = {
            "num_simulations": self.plan.num_simulations,
            "num_samples": self.plan.num_ranked,
        }
        calibration = self._check("calibration", calibrate, **sizes)
        sides = {"q": calibration and calibration.guide}
        sides["checked"] = calibration and calibration.repaired
        trees = dict(report.trees)
        for name, ranks in sides.items():
            if name in trees and ranks:
                trees[name]["prior_sbc"] = xr.DataTree(ranks_table(ranks))
        return replace(report, calibration=calibration, trees=trees)

    def _collapse(self, report: Report) -> Report:
        return replace(report, collapse=self._check("latents", collapse))

    def _replicate(self, report: Report) -> Report:
        return replace(report, predictive=self._check("data", predictive_checks))

    # What the parts share

    @cached_property
    def _args(self) -> Args:
        return self.batches.whole(self.split, limit=self.plan.num_data)

    @cached_property
    def _draws(self) -> Draws | None:
        return self._try("draws", self._plan_draws)

    def _plan_draws(self) -> Draws:
        """Return draws of the guide, as many as fit into half a GiB."""
        draws = plan_draws(
            self.run,
            self.batches.data,
            split=self.split,
            limit=self.plan.num_data,
            num_samples=self.plan.num_kept,
            seed=self.seed,
        )
        share = MOST_GIB * 2**30 / max(1, draws.estimate_size())
        if share >= 1:
            return draws
        fewer = max(NUM_CHAINS, int(self.plan.num_kept * share) // NUM_CHAINS * NUM_CHAINS)
        return replace(draws, num_samples=fewer)

    def _scope(self) -> Scope:
        return Scope(
            run=self.run.name,
            weights=str(stamp_of_weights(self.run)),
            model=registry.entry_of(class_of(self.run.pair)).name,
            data=self.batches.data.name,
            split=self.split,
            total=self.batches.size(self.split),
            seed=self.seed,
            scale=self.run.transform.scale,
            latents=self._draws.rows.latents if self._draws else {},
            date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )

    def _with_trees(self, report: Report) -> Report:
        """Add the trees of checked draws and of chains, where there are any."""
        if self._draws is None or report.judged is None:
            return report
        q, trees = report.trees["q"], dict(report.trees)
        trees["checked"] = checked_tree(self._draws, q, report.judged, per_datum(report))
        if report.second_opinion is not None:
            trees["mcmc"] = chains_tree(self._draws, q, report.second_opinion.chains)
        return replace(report, trees=trees)

    def _check(self, name: str, check: Callable[..., Result], **sizes: Any) -> Result | None:
        """Return what a check of the pair finds on the data."""
        return self._try(name, lambda: check(self.run.pair, self._args, seed=self.seed, **sizes))

    def _try(self, name: str, function: Callable[[], Result]) -> Result | None:
        """Return what a check finds, or None where it does not make sense for the pair."""
        try:
            return function()
        except RunError:  # a full disk
            raise
        except Exception as error:
            self.skipped[name] = reason_of(error)
            return None

    def _reasons(self) -> dict[str, str]:
        """Return why checks were left out, checks with the same reason together."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.skipped.items():
            reasons.setdefault(why, []).append(name)
        return {", ".join(names): why for why, names in reasons.items()}
