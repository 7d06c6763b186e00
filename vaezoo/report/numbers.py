"""The numbers of a report: a JSON object of averages, and labelled arrays of each datum."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.diagnostics.checking import GRADES, VERDICTS

if TYPE_CHECKING:
    from vaezoo.diagnostics.calibration import Ranks
    from vaezoo.report.findings import Report

__all__ = ["diagnostics", "numbers"]

Numbers = dict[str, Any]


def numbers(report: "Report") -> Numbers:
    """Return averages over data, shares and grades; what is not finite is null."""
    found: Numbers = {
        "subject": asdict(report.subject),
        "plan": asdict(report.plan),
        "seconds": report.seconds,
        "quality": report.quality,
        "verdict": report.verdict.splitlines(),
        "shares": report.shares,
        "metrics": report.metrics.to_dict(),
        "skipped": dict(report.skipped),
    }
    for name, values in _of_each(report).items():
        found.setdefault("means", {})[name] = _mean(values)
        found.setdefault("medians", {})[name] = _median(values)
    found["grades"] = _grades(report)
    if report.calibration:
        found["calibration"] = {
            "coverage": report.calibration.guide.coverage,
            "grades": report.calibration.guide.grades,
            "words": report.calibration.guide.words,
        }
        if report.calibration.repaired:
            found["calibration"]["coverage_repaired"] = report.calibration.repaired.coverage
    if report.collapse:
        found["collapse"] = {
            **asdict(report.collapse),
            "marginal": report.collapse.marginal,
            "collapsed": report.collapse.collapsed,
        }
    found["predictive"] = {name: check.grades for name, check in (report.predictive or {}).items()}
    found["referee"] = _of_referee(report)
    finite: Numbers = _finite(found)
    return finite


def _grades(report: "Report") -> dict[str, dict[str, int]]:
    """Return how many data have which grade, by check."""
    source = report.judged or report.guide
    if source is None:
        return {}
    return {
        name: {GRADES[i]: int((places == i).sum()) for i in range(len(GRADES))}
        for name, places in source.grades.items()
    }


def _of_referee(report: "Report") -> Numbers | None:
    referee = report.referee
    if referee is None:
        return None
    found = {
        "r_hat": _mean(referee.convergence.r_hat),
        "least_ess": float(referee.convergence.ess_bulk.min()),
        "bidirectional_gap": referee.bounds.mean_gap,
        "annealed": len(referee.annealed),
        "seconds": referee.seconds,
    }
    compared = {f.name: getattr(referee.comparison, f.name) for f in fields(referee.comparison)}
    return {**found, **{name: _mean(values) for name, values in compared.items()}}


def _of_each(report: "Report") -> dict[str, Tensor]:
    """Return all numbers of each datum ``(B,)``, and of each frame ``(B, T)``."""
    source = report.judged or report.guide
    if source is None:
        return {}
    values = {f.name: getattr(source, f.name) for f in fields(source)}
    found = {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and name not in ("verdict", "chain_log_joint")
    }
    for name in ("gap", "approximation_gap", "amortisation_gap"):
        value = getattr(source, name, None)
        if value is not None:
            found[name] = value
    if report.referee:
        for result in (report.referee.comparison, report.referee.convergence):
            found |= {f"long_{f.name}": getattr(result, f.name) for f in fields(result)}
    return found


def diagnostics(report: "Report") -> xr.DataTree:
    """Return ``per_datum``, and the ranks of the calibration as ``prior_sbc``."""
    variables: dict[str, Any] = {}
    for name, values in _of_each(report).items():
        dims = ("datum", "time")[: values.dim()]
        variables[name] = (dims, values.cpu().numpy())
    source = report.judged or report.guide
    for name, places in (source.grades if source else {}).items():
        variables[f"grade_{name}"] = ("datum", places.cpu().numpy().astype(np.int8))
    if report.judged is not None:
        variables["verdict"] = ("datum", report.judged.verdict.cpu().numpy().astype(np.int8))
    dataset = xr.Dataset(variables, coords={"datum": np.arange(report.plan.num_data)})
    dataset.attrs = {"verdicts": ", ".join(VERDICTS), "grades": ", ".join(GRADES)}
    groups = {"per_datum": dataset}
    if report.calibration:
        groups["prior_sbc"] = _ranks(report.calibration.guide)
        if report.calibration.repaired:
            groups["prior_sbc_repaired"] = _ranks(report.calibration.repaired)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(run=report.subject.run, level=report.plan.level, seed=report.subject.seed)
    return tree


def _ranks(ranks: "Ranks") -> xr.Dataset:
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
