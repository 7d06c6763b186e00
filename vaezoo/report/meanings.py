"""What a report means, for somebody who sees its page first: the words beside its numbers."""

from collections.abc import Mapping

from vaezoo.report.findings import Report
from vaezoo.report.tables import grade_counts

__all__ = ["CHECKS", "LABELS", "meaning"]

LABELS: Mapping[str, str] = {
    "posterior": "The verdict on each datum: trusted, the guide will do; repaired, checked.nc "
    "will; not trusted, neither.",
    "log p(x)": "ELBO and IWAE are bounds from below, made of draws of the guide; checked does not "
    "rest on the guide. +- is the standard error of the mean over data.",
    "gap": "log p(x) - ELBO. The approximation is what no encoder could win with this form of the "
    "guide, the amortisation what a better encoder would.",
    "k-hat": "Tail of the guide's importance weights; ESS is the share of its draws that count.",
    "modes": "Where chains ended that start at the prior and share nothing.",
    "exam": "On data that the model made, of whose posteriors one draw is known: is it where the "
    "check looked?",
    "filters": "How far particle filters with other particles are apart in log p(x).",
    "particles": "Of a filter that draws from the guide, frame by frame.",
    "long chains": "Of Hamiltonian Monte Carlo, which do not rest on the guide.",
    "classifier": "Accuracy of 0.5 is a guide that cannot be told from the chains.",
    "annealing": "Log p(x) of data that the model made, from below and from above.",
    "calibration": "On data that the model made itself, whose latents are known.",
    "latents": "KL of the guide to the prior. Information is what latents say of the datum, "
    "marginal how far the codes of all data are from the prior.",
    "data": "Data that the model makes, against those that there are.",
}
_OF_GUIDE = {
    "k_hat": "tail of the guide's importance weights; good up to 0.7, bad above 1",
    "ess": "share of the guide's draws that count; good from 10 %, bad below 1 %",
    "log_evidence": "log p(x) by the guide and without it, nats; good within 0.2, bad beyond 0.5",
    "mean_shift": "mean of the guide, worst latent, in sd; good below 0.25, bad from 0.5",
    "sd_ratio": "sd of the guide over that of the posterior, worst latent; good in 0.8 ... 1.25",
    "distribution": "largest difference of distribution functions, worst latent; good below 0.1",
}
CHECKS: Mapping[str, Mapping[str, str]] = {
    "data": {
        **_OF_GUIDE,
        "reference": "share of the repaired draws that count; good from 200 of them",
        "modes": "share of the posterior that was found by luck; good below 20 %",
        "exam": "of the whole run: were posteriors of data that the model made found whole?",
    },
    "sequences": {
        "log_evidence": _OF_GUIDE["log_evidence"],
        "mean_shift": _OF_GUIDE["mean_shift"],
        "sd_ratio": _OF_GUIDE["sd_ratio"],
        "filters": "how far filters are apart in log p(x), nats; good within 0.2",
        "ancestors": "paths of the filters that count, at the worst frame; good from 100",
    },
}


def meaning(report: Report) -> tuple[str, str]:
    """Return a word or two on a report, and a sentence whose numbers are those of its figures.

    Examples
    --------
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> meaning(vaezoo.analyse(run, limit=2, level="quick"))[0] in ("not contradicted", "poor")
    True
    """
    if report.shares:
        return report.quality, _of_verdicts(report)
    if report.guide is None:
        return report.quality, "This pair has no posterior that could be checked."
    grades = grade_counts(report)["k_hat"]
    if report.quality == "good":
        return "not contradicted", (
            "The guide's own draws say nothing against it. What it never visits they do not see: "
            "level standard looks there."
        )
    number = grades["caution"] + grades["bad"]
    return report.quality, (
        f"Importance weights of the guide are noise for {number} of {report.plan.num_data} data."
    )


def _of_verdicts(report: Report) -> str:
    number = report.plan.num_data
    counts = {name: round(share * number) for name, share in report.shares.items()}
    if report.quality == "poor":
        return (
            f"{counts['not trusted']} of {number} posteriors cannot be trusted, not even after "
            "repair: leave them out. Which they are is in checked.nc and diagnostics.nc."
        )
    if report.quality == "good":
        rest = f"; checked.nc has the other {counts['repaired']}" if counts["repaired"] else ""
        return f"Draws of the guide can be used for {counts['trusted']} of {number} data{rest}."
    return f"The guide is off for {counts['repaired']} of {number} data{_how_far(report)}. Use " + (
        "checked.nc, which has them repaired."
    )


def _how_far(report: Report) -> str:
    """Say by how much a guide is off, for those data, as the figure of the moments shows."""
    check = report.posteriors
    if check is None:
        return ""
    is_off = check.verdict > 0
    shift, ratio = (float(v[is_off].median()) for v in (check.mean_shift, check.sd_ratio))
    return (
        f", at their median by {shift:.2f} sd in the mean and {ratio:.2f} times the sd, in the "
        "worst latent of each"
    )
