"""The verdict in a few lines of plain words, wrapped at 80 columns."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from vaezoo.diagnostics.calibration import Calibration, Ranks
from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.collapse import Collapse
from vaezoo.diagnostics.guide import GuideCheck
from vaezoo.diagnostics.predictive import PredictiveCheck
from vaezoo.diagnostics.sequences import SequenceCheck
from vaezoo.inference.importance import largest_good_k
from vaezoo.report.findings import Report
from vaezoo.runs.summary import sum_of_terms

__all__ = ["average", "blamed", "labelled", "rates_of", "verdict"]

MOST_NAMES = 4
WIDTH = 80
COMMON = 0.25  # of the sequences have a frame that is spoken of
GOOD_R_HAT, GOOD_C2ST = 1.05, 0.6
LARGEST_ERROR = 0.05  # nats: a gap below is none


def verdict(report: Report) -> str:
    """Return the verdict: a headline, and a line for each check with a label of its own.

    Parameters
    ----------
    report
        What an analysis returned.

    Examples
    --------
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> report = vaezoo.analyse(run, limit=2, level="quick")
    >>> labels = [line[2:13].strip() for line in verdict(report).splitlines()[1:]]
    >>> "k-hat" in labels, "calibration" in labels, "latents" in labels
    (True, True, True)
    """
    wrapped = textwrap.wrap(_headline(report), WIDTH, subsequent_indent="  ")
    for label, text in labelled(report):
        indent = " " * 14
        wrapped += textwrap.wrap(f"  {label:<11} {text}", WIDTH, subsequent_indent=indent)
    return "\n".join(wrapped)


def _headline(report: Report) -> str:
    scope, plan = report.scope, report.plan
    sizes = ", ".join(_shape(name, shape) for name, shape in scope.latents.items())
    latents = f"latents {sizes}{_in_use(report)}, " if sizes else ""
    return (
        f"{scope.run}: {scope.model}, {latents}{plan.num_data} of {scope.total} "
        f"{scope.split} data of {scope.data}, level {plan.level}, seed {scope.seed}, "
        f"{report.seconds:.0f} s"
    )


def _in_use(report: Report) -> str:
    """Return how many elements have a KL of a size that counts, as in the figure of latents.

    Where elements depend on each other they have one KL together: those count whose mean varies
    over the data.
    """
    latents = report.collapse
    if latents is None:
        return ""
    number: int | None = len(latents.kl_per_element) - len(latents.collapsed)
    vectors = {name for name, shape in report.scope.latents.items() if shape}
    if vectors & latents.kl_per_element.keys():
        number = latents.active_units
    return "" if number is None else f" ({number} in use)"


def _shape(name: str, shape: tuple[int, ...]) -> str:
    return f"{name} {' x '.join(map(str, shape))}" if shape else name


def labelled(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what each check says, with its label; last come checks that were left out, and why."""
    if report.shares:
        yield "posterior", _shares(report.shares, report.plan.num_data)
    if report.posteriors:
        yield from _of_posteriors(report.posteriors, report.plan.num_samples)
    elif report.sequences:
        yield from _of_sequences(report.sequences)
    elif report.guide:
        yield from _of_guide(report.guide)
    else:
        metrics = report.metrics
        yield "bound", f"ELBO {metrics.elbo:.2f} = {sum_of_terms(asdict(metrics), digits=2)}"
    if report.exam:
        yield "exam", report.exam.explain()
    yield from _of_second_opinion(report)
    if report.calibration:
        yield "calibration", _of_calibration(report.calibration)
    if report.collapse:
        yield "latents", _of_latents(report.collapse, per_frame=report.sequences is not None)
    for name, check in (report.predictive or {}).items():
        yield f"data {name}", _of_data(check)
    for name, why in report.skipped.items():
        yield "left out", f"{name}: {why}"


def _shares(shares: Mapping[str, float], number: int) -> str:
    counts = [f"{name} {round(share * number)}" for name, share in shares.items()]
    advice = "use checked.nc" if shares["repaired"] else "q.nc will do"
    if shares["not trusted"]:
        advice += ", but not for what is not trusted (diagnostics.nc)"
    return f"{', '.join(counts)} of {number}; {advice}"


def _of_posteriors(check: PosteriorCheck, num_samples: int) -> Iterator[tuple[str, str]]:
    yield "log p(x)", _of_evidence(check)
    yield from _of_gaps(check)
    yield "k-hat", _of_k_hat(check.k_hat, check.ess, num_samples)
    yield "modes", _of_modes(check.num_modes)


def _of_evidence(check: PosteriorCheck) -> str:
    """Return bounds and log p(x), all over the same data: those whose log p(x) is relied on."""
    good = check.verdict < 2
    left_out = int((~good).sum())
    if left_out == len(good):
        bounds = f"ELBO {_mean(check.elbo)}, IWAE {_mean(check.iwae)} nats"
        return f"{bounds}; not trusted for any datum, so that log p(x) is not known"
    bounds = f"ELBO {_mean(check.elbo[good])}, IWAE {_mean(check.iwae[good])}"
    mean, error = average(check.log_evidence[good], check.standard_error[good])
    data = f"mean of {int(good.sum())} data"
    without = f", without {left_out} not trusted" if left_out else ""
    return f"{bounds}, checked {mean:.2f} +- {error:.2f} nats, {data}{without}"


def _of_gaps(check: PosteriorCheck) -> Iterator[tuple[str, str]]:
    """Say what is lost, over the same data."""
    approximation, amortisation = check.approximation_gap, check.amortisation_gap
    good = check.verdict < 2
    if not good.any():
        return
    if approximation is None or amortisation is None:
        gap = float(check.gap[good].mean())
        yield "gap", f"{gap:.2f} nats; it is split for guides that are diagonal Gaussians only"
        return
    gap, left = float(check.gap[good].mean()), float(approximation[good].mean())
    won = float(amortisation[good].mean())
    text = f"{gap:.2f} nats = approximation {left:.2f} + amortisation {won:.2f}"
    if left < -LARGEST_ERROR:
        text += "; a Gaussian has a higher ELBO than log p(x), which is too low"
    elif gap > LARGEST_ERROR:
        text += f"; a better encoder would recover {_share(min(1.0, won / gap))}"
    yield "gap", text


def average(values: Tensor, errors: Tensor) -> tuple[float, float]:
    """Return a mean over data, and its standard error: over the data, and of the value of each.

    Parameters
    ----------
    values, errors
        A value of each datum and its Monte Carlo error, ``(B,)``.

    Examples
    --------
    >>> average(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
    (2.0, 1.0)
    """
    values, errors = values.double(), errors.double()
    # The spread of estimates over data already holds their own errors; of one datum there is none.
    variance = values.var() if len(values) > 1 else errors.square().sum()
    return float(values.mean()), float((variance / len(values)).sqrt())


def _of_modes(num_modes: Tensor) -> str:
    several = int((num_modes > 1).sum())
    if not several:
        return f"one for each of {len(num_modes)}, as far as scouts from the prior saw"
    return f"several for {several} of {len(num_modes)}, up to {int(num_modes.max())}"


def _of_guide(check: GuideCheck) -> Iterator[tuple[str, str]]:
    number, total = int((~check.is_contradicted).sum()), len(check.k_hat)
    yield (
        "posterior",
        f"not contradicted {number} of {total}: by draws of the guide, which do not see what it "
        "misses",
    )
    yield (
        "log p(x)",
        f"ELBO {_mean(check.elbo)}, IWAE {_mean(check.iwae)}, PSIS {_mean(check.psis)}; "
        "not checked against other draws than the guide's",
    )
    yield "k-hat", _of_k_hat(check.k_hat, check.ess, check.num_samples)


def _of_k_hat(k_hat: Tensor, ess: Tensor, num_samples: int) -> str:
    limit = largest_good_k(num_samples)
    above = float((k_hat > limit).double().mean())
    return (
        f"median {float(k_hat.median()):.2f}, above {limit:.1f} for {_share(above)}; "
        f"ESS median {_share(ess.median())} of the draws"
    )


def _of_sequences(check: SequenceCheck) -> Iterator[tuple[str, str]]:
    yield "log p(x)", f"{_of_frames(check)}; {check.num_particles} particles"
    yield (
        "filters",
        f"four differ by {float(check.difference.median()):.2f} nats per sequence (median), "
        f"{float(check.difference.max()):.2f} at most; {float(check.ancestors.median()):.0f} of "
        f"their paths count (median)",
    )
    by_frame = check.ess.nanmedian(0).values
    is_common = (~check.ess.isnan()).double().mean(0) >= COMMON
    worst = int(torch.where(is_common, by_frame, 2.0).argmin())
    yield (
        "particles",
        f"ESS median {_share(check.ess.nanmedian())}, lowest at frame {worst}: "
        f"{_share(by_frame[worst])}; k-hat median {float(check.k_hat.nanmedian()):.2f}",
    )


def _of_frames(check: SequenceCheck) -> str:
    """Return bounds and log p(x) per frame, with the error of the latter."""
    some, rates = _relied_on(check), rates_of(check)
    length, left_out = check.length[some].double(), int((~some).sum())
    texts = {name: f"{name} {rate:.3f}" for name, rate in rates.items()}
    if "checked" in rates:
        rest = (check.log_evidence[some] - rates["checked"] * length) / length.mean()
        errors = 0.5 * check.difference[some] / length.mean()
        texts["checked"] += f" +- {average(rest, errors)[1]:.3f}"
    without = f", without {left_out} of {len(some)} not trusted" if left_out else ""
    return f"{', '.join(texts.values())} nats per frame{without}"


def _relied_on(check: SequenceCheck) -> Tensor:
    """Return which sequences are trusted or repaired; all, where none is."""
    good = check.verdict < 2
    return good if good.any() else ~good


def rates_of(check: SequenceCheck) -> dict[str, float]:
    """Return bounds and log p(x) by name, in nats per frame, all over the same sequences.

    Those are the ones whose log p(x) is relied on; where there are none, it is left out.
    """
    some = _relied_on(check)
    bounds = {"ELBO": check.elbo, "IWAE": check.iwae, "FIVO": check.fivo}
    if (check.verdict < 2).any():
        bounds["checked"] = check.log_evidence
    if check.exact is not None:
        bounds["exact"] = check.exact
    frames = float(check.length[some].double().sum())
    return {name: float(v[some].sum()) / frames for name, v in bounds.items()}


def _of_second_opinion(report: Report) -> Iterator[tuple[str, str]]:
    opinion = report.second_opinion
    if opinion is None:
        return
    met, least = _met(opinion.convergence.r_hat), float(opinion.convergence.ess_bulk.min())
    yield (
        "long chains",
        f"R-hat <= {GOOD_R_HAT} for {_share(met)}, least ESS {least:.0f}",
    )
    told = float((opinion.comparison.c2st > GOOD_C2ST).double().mean())
    yield (
        "classifier",
        f"tells the guide from the chains for {_share(told)} of the data "
        f"(median accuracy {float(opinion.comparison.c2st.median()):.2f})",
    )
    yield (
        "annealing",
        f"bounds on data of the model {opinion.bounds.mean_gap:.2f} nats apart; "
        f"{len(opinion.annealed)} data annealed",
    )


def _of_calibration(check: Calibration) -> str:
    words = check.guide.words
    names = [f"{name} {words[name]}" if name in words else name for name in blamed(check.guide)]
    number = sum(grade != "good" for grade in check.guide.grades.values())
    more = f" and {number - len(names)} more" if number > len(names) else ""
    return check.explain() + (f"; not calibrated: {', '.join(names)}{more}" if names else "")


def blamed(ranks: Ranks) -> list[str]:
    """Return the quantities that are least calibrated, the worst first; few, or none.

    Examples
    --------
    >>> pit = torch.stack([torch.linspace(0, 1, 999), torch.linspace(0, 1, 999) ** 2], 1)
    >>> names = ("z[0]", "z[1]")
    >>> blamed(Ranks(names, pit, "z[0]"))
    ['z[1]']
    """
    names = sorted(ranks.names, key=lambda name: ranks.p_values[name])
    return [name for name in names if ranks.grades[name] != "good"][:MOST_NAMES]


def _of_latents(check: Collapse, *, per_frame: bool) -> str:
    unit = " nats per frame" if per_frame else " nats"
    if check.information is None or check.marginal is None:
        text = f"KL {check.kl:.2f}{unit}"
    else:
        at_least = "at least " if check.is_capped else ""
        text = (
            f"KL {check.kl:.2f}{unit} = information {at_least}{check.information:.2f} + "
            f"marginal {check.marginal:.2f}"
        )
    number, total = len(check.collapsed), len(check.kl_per_element)
    if number > MOST_NAMES:
        return f"{text}; collapsed: {number} of {total}"
    return f"{text}; collapsed: {_names(list(check.collapsed)) or 'none'}"


def _of_data(check: PredictiveCheck) -> str:
    grades = check.grades
    bad, caution = ([n for n, grade in grades.items() if grade == g] for g in ("bad", "caution"))
    if not bad and not caution:
        return "replicated data look like the data"
    differ = [*bad, *(f"{name} (a little)" for name in caution)]
    return f"replicated data differ in {_names(differ)}"


def _met(r_hat: Tensor) -> float:
    return float((r_hat <= GOOD_R_HAT).double().mean())


def _share(share: float | Tensor) -> str:
    return f"{100 * float(share):.0f} %"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _mean(values: Tensor, digits: int = 2) -> str:
    return f"{float(values.mean()):.{digits}f}"
