"""What a run is, in a few lines: as text, and as a table for a notebook."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaezoo.config import layers
from vaezoo.errors import RequestError, refusing
from vaezoo.markup import table
from vaezoo.options import SIMPLE_MODELS
from vaezoo.registry import entry_of
from vaezoo.settings import DataSettings, Training

__all__ = [
    "as_html",
    "as_text",
    "best_record",
    "has_elbo",
    "headline",
    "list_changes",
    "list_numbers",
    "of_weights",
    "say_evaluation",
    "say_folder",
    "say_result",
    "say_settings",
    "sum_of_terms",
]

Rows = Mapping[str, str]


def list_changes(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the settings that differ from their defaults, in the order of these.

    A part is called by its name, its options with a dot.

    Examples
    --------
    >>> defaults = {"z_dim": 50, "likelihood": {"name": "gaussian", "sigma": "shared"}}
    >>> list_changes({"z_dim": 2, "likelihood": {"name": "gaussian", "sigma": "fixed:1"}}, defaults)
    "z_dim=2, likelihood.sigma='fixed:1'"
    >>> list_changes({"z_dim": 50, "likelihood": {"name": "bernoulli"}}, defaults)
    "likelihood='bernoulli'"
    >>> list_changes(defaults, defaults)
    'all by default'
    """
    before, after = dict(_flat(defaults)), dict(_flat(values))
    changes = [
        f"{name.removesuffix('.name')}={after[name]!r}"
        for name in [*before, *(name for name in after if name not in before)]
        if name in after and (name not in before or before[name] != after[name])
    ]
    return ", ".join(changes) or "all by default"


def say_settings(
    cls: type[nn.Module],
    config: Mapping[str, Any],
    data: DataSettings,
    shape: tuple[int, ...],
    training: Training,
) -> dict[str, str]:
    """Return which settings of a run differ from their defaults: of model, data and training."""
    defaults, schedule = _defaults_of(cls, config)
    own = {key: getattr(data, key) for key in ("name", "dir", "categories")}
    unset = {**DataSettings(name="").model_dump(), **own}
    return {
        "model": f"{entry_of(cls).name}: {list_changes(config, defaults)}",
        "data": f"{data.name} {shape}: {list_changes(data.model_dump(), unset)}",
        "training": list_changes(training.model_dump(), schedule.model_dump()),
    }


def _defaults_of(
    cls: type[nn.Module], config: Mapping[str, Any]
) -> tuple[dict[str, Any], Training]:
    """Return the settings that a run would have by default, with the options of its own parts."""
    try:
        plain, training = layers(cls, None, {})
    except RequestError:  # it has settings without a default
        return {}, Training()
    names = {n: {"name": v["name"]} for n, v in config.items() if isinstance(v, Mapping)}
    alike, _ = layers(cls, None, names)
    return {**alike, **{n: {**alike[n], "name": plain[n]["name"]} for n in names}}, training


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def best_record(metrics: Sequence[dict[str, Any]], epoch: int | None) -> dict[str, Any]:
    """Return the record of the best epoch; when it is not told, the one of the best score.

    Examples
    --------
    >>> records = [{"epoch": 1, "validation": {"elbo": -3.0}}]
    >>> best_record([*records, {"epoch": 2, "validation": {"elbo": -2.0}}], None)["epoch"]
    2
    """
    of_epoch = (record for record in metrics if record["epoch"] == epoch)
    return next(of_epoch, None) or max(metrics, key=lambda r: headline(r["validation"])[1])


def has_elbo(info: Mapping[str, Any], metrics: Sequence[dict[str, Any]]) -> bool:
    """Return whether a run measured an ELBO, as no autoencoder does; also where nothing is known.

    Examples
    --------
    >>> has_elbo({}, [{"epoch": 1, "validation": {"reconstruction": -3.0}}]), has_elbo({}, [])
    (False, True)
    """
    return not metrics or "elbo" in best_record(metrics, info.get("best_epoch"))["validation"]


def say_result(info: Mapping[str, Any], metrics: list[dict[str, Any]], unit: str) -> str:
    """Return how long a run was trained, and its validation ELBO in the best epoch.

    Parameters
    ----------
    info, metrics
        Of the run.
    unit
        What the ELBO is an average over: ``datum`` or ``frame``.
    """
    if not metrics:
        return str(info.get("status", "not trained"))
    last, device = metrics[-1], info.get("device", "?")
    best = best_record(metrics, info.get("best_epoch"))
    name, value = headline(best["validation"])
    status = info.get("status", "finished")
    length = f"{_count(last['epoch'], 'epoch')}, {_count(last['step'], 'step')}"
    return (
        f"{'' if status == 'finished' else f'{status}; '}{length} in {last['seconds']:.3g} s on "
        f"{device}; validation {name} {value:.4g} nats per {unit} in epoch "
        f"{best['epoch']}"
    )


def of_weights(evaluations: Sequence[Mapping[str, Any]], step: int) -> list[Mapping[str, Any]]:
    """Return the evaluations of the weights of a step, the latest last.

    Examples
    --------
    >>> of_weights([{"asked": {"step": 12}}, {"asked": {"step": 15}}], 12)
    [{'asked': {'step': 12}}]
    """
    return [record for record in evaluations if record["asked"].get("step") == step]


def say_evaluation(evaluations: Sequence[Mapping[str, Any]], step: int, unit: str) -> str:
    """Return what the latest evaluation of the weights of a step has found; empty without one.

    Examples
    --------
    >>> asked = {"data": "digits", "split": "test", "step": 12}
    >>> result = {"metrics": {"elbo": -9.0}, "iwae": [{"num_samples": 10, "value": -8.5}]}
    >>> say_evaluation([{"asked": asked, "result": result}], 12, "datum")
    'digits, test: ELBO -9, IWAE 10 -8.5 nats per datum'
    >>> say_evaluation([{"asked": asked, "result": result}], 15, "datum")
    ''
    """
    of_step = of_weights(evaluations, step)
    if not of_step:
        return ""
    more = f"; {len(evaluations)} in all" if len(evaluations) > 1 else ""
    with refusing("evaluation.json is damaged; mend or delete it"):
        asked, result = of_step[-1]["asked"], of_step[-1]["result"]
        name, value = headline(result["metrics"])
        numbers = [f"{name} {value:.4g}"]
        if bounds := result.get("iwae"):
            numbers.append(f"IWAE {bounds[-1]['num_samples']} {bounds[-1]['value']:.4g}")
        where = f"{asked['data']}, {asked['split']}"
        return f"{where}: {', '.join(numbers)} nats per {unit}{more}"


def list_numbers(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the numbers of an evaluation, each with its name, and what it is.

    Parameters
    ----------
    result
        As :attr:`Run.evaluations` holds it, or only its ``metrics`` and ``floors``.

    Examples
    --------
    >>> bound = {"num_samples": 10, "value": -8.5, "standard_error": 0.04}
    >>> metrics = {"elbo": -9.0, "recon": -8.0, "kl": 1.0, "kl_per_latent": {"z": [0.6, 0.4]}}
    >>> metrics["active_units"] = 2
    >>> for row in list_numbers({"metrics": metrics, "iwae": [bound]}):
    ...     print(*row, sep=" | ")
    ELBO | -9.000 | -8.000 - KL 1.000
    IWAE 10 | -8.500 ± 0.040 | bound on log p(x), from K = 10 draws of the guide
    active units | 2 | of 2
    """
    metrics = result["metrics"]
    name, value = headline(metrics)
    terms = sum_of_terms(metrics, digits=3) if metrics.get("kl_per_latent") else ""
    rows = [(name, f"{value:.3f}", terms or ("log p(x | z)" if name != "ELBO" else ""))]
    for kind, (key, what) in _BOUNDS.items():
        rows += [_bound(f"{kind} {b['num_samples']}", b, what) for b in result.get(key, ())]
    for name, floor in result.get("floors", {}).items():
        what = f"{SIMPLE_MODELS.get(name, name)}, fitted to training rows"
        rows.append((name, f"{floor:.3f}", what))
    for name, value in result.get("in_units", {}).items():
        rows.append((f"{name}, in units", f"{value:.3f}", "in the units of the data"))
    return rows + list(_of_latents(metrics, result))


_BOUNDS = {
    "IWAE": ("iwae", "bound on log p(x), from K = {} draws of the guide"),
    "FIVO": ("fivo", "bound by a particle filter, the guide proposing"),
    "predictive": ("predictive", "the same, the prior proposing: each frame from those before"),
}


def _bound(name: str, bound: Mapping[str, Any], what: str) -> tuple[str, str, str]:
    error = bound.get("standard_error")
    value = f"{bound['value']:.3f}{'' if error is None else f' ± {error:.3f}'}"
    return name, value, what.format(bound["num_samples"])


def _of_latents(
    metrics: Mapping[str, Any], result: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    if metrics.get("bits_per_dim") is not None:
        yield "bits per dim", f"{metrics['bits_per_dim']:.4f}", ""
    if metrics.get("active_units") is not None:
        total = sum(map(len, metrics.get("kl_per_latent", {}).values()))
        yield "active units", str(metrics["active_units"]), f"of {total}" if total else ""
    if result.get("information") is not None:
        rows = result["information_rows"]
        yield "information", f"{result['information']:.3f}", f"of z about x, on {rows} rows"


def headline(values: Mapping[str, Any]) -> tuple[str, float]:
    """Return the figure that sums up metrics, and its name: the ELBO where there is one.

    Examples
    --------
    >>> headline({"elbo": -1.0, "recon": -0.5, "kl": 0.5}), headline({"reconstruction": -0.5})
    (('ELBO', -1.0), ('reconstruction', -0.5))
    """
    if "elbo" in values:
        return "ELBO", float(values["elbo"])
    return "reconstruction", float(values["reconstruction"])


def sum_of_terms(values: Mapping[str, Any], digits: int) -> str:
    """Return what an ELBO is the sum of, in nats.

    Examples
    --------
    >>> sum_of_terms({"recon": -1.0, "kl": 0.5}, 2)
    '-1.00 - KL 0.50'
    >>> sum_of_terms({"recon": -1.0, "kl": 0.5, "factors": -0.2}, 1)
    '-1.0 - KL 0.5 + factors -0.2'
    >>> sum_of_terms({"recon": -1.0, "kl": 0.0, "kl_global": 9.0, "num_data": 80}, 1)
    '-1.0 - KL 0.0 - global KL 9.0 / 80'
    """
    words = f"{values['recon']:.{digits}f} - KL {values['kl']:.{digits}f}"
    if values.get("factors") is not None:
        words += f" + factors {values['factors']:.{digits}f}"
    if values.get("kl_global") is not None:
        number = values.get("num_data") or math.inf
        words += f" - global KL {values['kl_global']:.{digits}f} / {number:.0f}"
    return words


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def say_folder(path: Path | None, source: Path | None) -> str:
    """Return where a run lies, and where its figures go.

    Examples
    --------
    >>> say_folder(Path("runs/mine"), None), say_folder(None, None)
    ('runs/mine', 'none, kept in memory')
    """
    if source is not None:
        return f"{source}; figures and results in {path}"
    return str(path) if path else "none, kept in memory"


def as_text(rows: Rows) -> str:
    """Return one line for each row.

    Examples
    --------
    >>> print(as_text({"model": "vae-gaussian", "data": "digits"}))
    model  vae-gaussian
    data   digits
    """
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def as_html(rows: Rows) -> str:
    """Return a table of two columns."""
    return table(rows.items())
