"""What the ELBO is one of, and how noisy its gradient: nothing is wrong, but it is told."""

from collections.abc import Callable
from typing import Any

import torch

from vaezoo.checks.remarks import Note, Remarks
from vaezoo.checks.subject import Subject
from vaezoo.distributions.families import family, is_discrete, is_point
from vaezoo.pairs.admission import Finding, Kind, examine
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.plates import author_scale, data_frame, log_density
from vaezoo.pairs.sites import PairTrace, sample_sites

__all__ = ["check_density", "check_reparameterised"]


def check_reparameterised(subject: Subject) -> Remarks:
    """Latents have a path derivative, or are summed out; others are told."""
    for name, site in sample_sites(subject.first.guide).items():
        fn = site["fn"]
        if fn.has_rsample or is_point(fn) or is_marked(site):
            continue
        noisy = "so that its gradient is that of a score function, which is noisy"
        if is_discrete(fn):
            what = f"the latent '{name}' is discrete, {noisy}"
            repair = "mark it infer={'enumerate': 'parallel'}, and it is summed out"
        else:
            what = f"the {family(fn)} of the continuous latent '{name}' has no rsample, {noisy}"
            repair = "choose a reparameterised family"
        yield Note("reparameterised", subject.where("guide", name), what, repair)


def check_density(subject: Subject) -> Remarks:
    """What the ELBO is one of, where it is not that of a plain density of the data."""
    findings = {finding.kind: finding for finding in reversed(examine(subject.first))}
    for kind, told in _TOLD.items():  # the first site of each kind
        if kind in findings:
            side = "guide" if kind in ("point", "noise", "penalty") else "model"
            what, repair = told(findings[kind], subject.first)
            yield Note("density", subject.where(side, findings[kind].site), what, repair)


def _scaled(finding: Finding, trace: PairTrace) -> tuple[str, str]:
    sites = (trace.model.nodes.get(finding.site), trace.guide.nodes.get(finding.site))
    scales = [torch.as_tensor(author_scale(site)) for site in sites if site]
    scale = next(scale for scale in scales if bool((scale != 1).any()))
    by = f"{float(scale):g}" if scale.numel() == 1 else "a tensor"
    what = f"the author scales site '{finding.site}' by {by}"
    return what, "ELBO and log p(x) are those of a tempered density"


def _subsampled(finding: Finding, trace: PairTrace) -> tuple[str, str]:
    frame: Any = data_frame(trace.observed.values())
    what = f"the plate '{frame.name}' takes the batch for a subsample of {frame.full_size}"
    return what, "what is told is per datum all the same"


def _penalty(finding: Finding, trace: PairTrace) -> tuple[str, str]:
    value = float(log_density(trace.penalties[finding.site]).mean())
    what = f"pyro.factor '{finding.site}' of the guide is a penalty"
    return what, f"it is added to the loss, {value:+.3g} nats here"


_TOLD: dict[Kind, Callable[[Finding, PairTrace], tuple[str, str]]] = {
    "factor": lambda f, _: (
        f"pyro.factor '{f.site}' counts in log p, which is then not normalised",
        "compare its ELBO with none but that of the same factor",
    ),
    "global": lambda f, _: (
        f"all data share site '{f.site}'",
        "its KL counts once for the data set, 1 / N in each datum",
    ),
    "point": lambda f, _: (
        f"the guide gives site '{f.site}' one value, as an autoencoder does",
        "it has a reconstruction, and no ELBO",
    ),
    "noise": lambda f, _: (f"site '{f.site}' of the guide is noise", "it has no density"),
    "penalty": _penalty,
    "scaled": _scaled,
    "subsampled plate": _subsampled,
}
