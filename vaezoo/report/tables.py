"""The tables of a report: a JSON object of averages, and labelled arrays of each datum."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.diagnostics.calibration import Ranks
from vaezoo.diagnostics.grading import GRADES, VERDICTS
from vaezoo.report.findings import Report
from vaezoo.report.words import average, verdict

__all__ = ["diagnostics", "grade_counts", "medians", "per_datum", "ranks_table", "to_dict"]

Table = dict[str, Any]
_GRADED = {"reference": "reference_ess", "modes": "unconfirmed", "filters": "difference"}
GAPS = ("gap", "approximation_gap", "amortisation_gap")


def to_dict(report: Report) -> Table:
    """Return what ``report.json`` holds: averages over data, shares and grades.

    What is not finite is None, since JSON has no other word for it.
    """
    table: Table = {
        "subject": asdict(report.scope),
        "plan": asdict(report.plan),
        "seconds": report.seconds,
        "quality": report.quality,
        "verdict": verdict(report).splitlines(),
        "shares": report.shares,
        "metrics": report.metrics.to_dict(),
        "skipped": dict(report.skipped),
        **_averages(report),
        **_of_evidence(report),
        "grades": grade_counts(report),
        **_of_calibration(report),
        **_of_collapse(report),
        "predictive": {name: check.grades for name, check in (report.predictive or {}).items()},
        "exam": _of_exam(report),
        "second_opinion": _of_second_opinion(report),
    }
    finite: Table = _finite(table)
    return finite


def _averages(report: Report) -> Table:
    """Return means and medians over data; none without a posterior."""
    values = _of_each(report)
    if not values:
        return {}
    return {
        "means": {name: _mean(value) for name, value in values.items()},
        "medians": {name: _median(value) for name, value in values.items()},
    }


def _of_evidence(report: Report) -> Table:
    """Return log p(x) over the data for which it can be relied on; its error holds their spread."""
    check = report.judged
    if check is None:
        return {}
    good = check.verdict < 2
    table: Table = {"num_data": int(good.sum()), "not_trusted": int((~good).sum())}
    if good.any():
        errors = report.posteriors.standard_error if report.posteriors else 0 * check.elbo
        table["mean"], table["standard_error"] = average(check.log_evidence[good], errors[good])
    return {"log_evidence": table}


def _of_calibration(report: Report) -> Table:
    calibration = report.calibration
    if calibration is None:
        return {}
    guide, repaired = calibration.guide, calibration.repaired
    table = {"coverage": guide.coverage, "grades": guide.grades, "words": guide.words}
    if repaired:
        table["coverage_repaired"] = repaired.coverage
    return {"calibration": table}


def _of_collapse(report: Report) -> Table:
    collapse = report.collapse
    if collapse is None:
        return {}
    derived = {"marginal": collapse.marginal, "collapsed": collapse.collapsed}
    return {"collapse": {**asdict(collapse), **derived}}


def grade_counts(report: Report) -> dict[str, dict[str, int]]:
    """Return how many data have which grade, by check."""
    grades = report.graded.grades if report.graded else {}
    return {
        name: {grade: int((places == i).sum()) for i, grade in enumerate(GRADES)}
        for name, places in grades.items()
    }


def _of_exam(report: Report) -> Table | None:
    exam = report.exam
    if exam is None:
        return None
    names = ("passed", "num_judged", "num_missed", "most_missed")
    return {"num_data": len(exam.judged), **{name: getattr(exam, name) for name in names}}


def medians(report: Report) -> dict[str, float]:
    """Return the median over data of what is graded, by check."""
    values = _of_each(report)
    if "log_evidence" in values and "iwae" in values:
        values["log_evidence"] = (values["log_evidence"] - values["iwae"]).abs()
    values |= {name: values[of] for name, of in _GRADED.items() if of in values}
    names = [*(report.graded.grades if report.graded else ())]
    return {name: _median(values[name]) for name in names if name in values}


def _of_second_opinion(report: Report) -> Table | None:
    opinion = report.second_opinion
    if opinion is None:
        return None
    table = {
        "r_hat": _mean(opinion.convergence.r_hat),
        "least_ess": float(opinion.convergence.ess_bulk.min()),
        "bidirectional_gap": opinion.bounds.mean_gap,
        "annealed": len(opinion.annealed),
        "seconds": opinion.seconds,
    }
    compared = {f.name: getattr(opinion.comparison, f.name) for f in fields(opinion.comparison)}
    return {**table, **{name: _mean(values) for name, values in compared.items()}}


def _of_each(report: Report) -> dict[str, Tensor]:
    """Return all values of each datum ``(B,)``, and of each frame ``(B, T)``."""
    source = report.graded
    if source is None:
        return {}
    values = {f.name: getattr(source, f.name) for f in fields(source)}
    values |= {name: getattr(source, name, None) for name in GAPS}
    tensors = {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and name not in ("verdict", "mode")
    }
    if report.second_opinion:
        for result in (report.second_opinion.comparison, report.second_opinion.convergence):
            tensors |= {f"long_{f.name}": getattr(result, f.name) for f in fields(result)}
    return tensors


def per_datum(report: Report) -> xr.Dataset:
    """Return all values of each datum, along ``datum``; of sequences some along ``time``.

    Examples
    --------
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> report = vaezoo.analyse(run, limit=2, level="quick")
    >>> table = per_datum(report)
    >>> table["k_hat"].dims, table["iwae"].shape
    (('datum',), (2,))
    """
    variables: dict[str, Any] = {}
    for name, values in _of_each(report).items():
        dims = ("datum", "time")[: values.dim()]
        variables[name] = (dims, values.cpu().numpy())
    if report.graded is not None:
        for name, places in report.graded.grades.items():
            variables[f"grade_{name}"] = ("datum", places.cpu().numpy().astype(np.int8))
    if report.judged is not None:
        variables["verdict"] = ("datum", report.judged.verdict.cpu().numpy().astype(np.int8))
    dataset = xr.Dataset(variables, coords={"datum": np.arange(report.plan.num_data)})
    dataset.attrs = {"verdicts": ", ".join(VERDICTS), "grades": ", ".join(GRADES)}
    return dataset


def diagnostics(report: Report) -> xr.DataTree:
    """Return ``per_datum``, and the ranks of the calibration as ``prior_sbc``."""
    groups = {"per_datum": per_datum(report)}
    if report.calibration:
        groups["prior_sbc"] = ranks_table(report.calibration.guide)
        if report.calibration.repaired:
            groups["prior_sbc_repaired"] = ranks_table(report.calibration.repaired)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(run=report.scope.run, level=report.plan.level, seed=report.scope.seed)
    return tree


def ranks_table(ranks: Ranks) -> xr.Dataset:
    """Return the PIT of simulations as ``plot_ecdf_pit`` of ArviZ 1.x takes a ``prior_sbc``."""
    pit = ranks.pit.cpu().numpy()[None]
    coords = {"chain": [0], "draw": np.arange(pit.shape[1]), "quantity": list(ranks.names)}
    return xr.Dataset({"pit": (("chain", "draw", "quantity"), pit)}, coords=coords)


def _mean(values: Tensor) -> float:
    return float(values.double().nanmean())


def _median(values: Tensor) -> float:
    return float(torch.nanmedian(values.double()))


def _finite(value: Any) -> Any:
    """Replace what JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
