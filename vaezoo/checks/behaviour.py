"""How a pair behaves: finite, reproducible, row by row, and blind to the data."""

import torch
from torch import Tensor

from vaezoo.checks.comparison import close, first_change, latent_values, same_value
from vaezoo.checks.remarks import Failure, Note, Remarks
from vaezoo.checks.subject import Subject, base_of, density_of, gradients
from vaezoo.distributions.families import is_discrete, is_improper, is_point, unwrapped
from vaezoo.observations.predictions import prior_predictive, reconstruct
from vaezoo.pairs.sites import PairTrace, Site, sample_sites, site_values

__all__ = [
    "check_finite",
    "check_gradients",
    "check_predictive",
    "check_rows",
    "check_seeds",
]

_LARGE = 1e6  # of data that explain what overflows; a fault of the pair is found with less


def check_finite(subject: Subject) -> Remarks:
    """Every term of the ELBO is finite, in training and in evaluation."""
    reported: set[str] = set()
    for training in (True, False):
        trace = subject.trace(subject.args, training=training)
        for side, name, site in subject.sites(trace):
            density = density_of(site)
            if density is None:
                continue
            bad = ~torch.isfinite(density)
            if bad.any() and name not in reported:
                reported.add(name)
                value = float(density[bad][0])
                what = f"log-density of site '{name}' is {value} in {int(bad.sum())} rows"
                yield Failure("finite", subject.where(side, name), what, _repair(subject.args[0]))


def _repair(x: Tensor) -> str:
    largest = float(x.abs().max())
    if largest > _LARGE:
        return f"scale the data, which reach {largest:g} (`standardize=True`)"
    return "give its scale a floor, and keep what goes into exp or log in range"


def check_gradients(subject: Subject) -> Remarks:
    """The ELBO has a finite gradient for every parameter; one that has none is told."""
    named = {name: p for name, p in subject.pair.named_parameters() if p.requires_grad}
    runs = [gradients(subject, list(named.values()), seed) for seed in (0, 1)]
    for name, *all_grads in zip(named, *runs, strict=True):
        grads, where = [g for g in all_grads if g is not None], subject.where_attribute(name)
        if not all(bool(grad.isfinite().all()) for grad in grads):
            what = f"parameter '{name}' gets a gradient that is NaN or infinite"
            repair = "keep what goes into exp, log, sqrt and a division in range"
            yield Failure("gradients", where, what, repair)
        elif not any(grad.any() for grad in grads):
            gradient = (
                "a gradient that is zero everywhere" if grads else "no gradient from the ELBO"
            )
            what = f"parameter '{name}' gets {gradient}"
            repair = "use it in model or guide, remove it, or freeze it by requires_grad=False"
            yield Note("gradients", where, what, repair)


def check_seeds(subject: Subject) -> Remarks:
    """One seed gives one loss, two seeds give two draws, and all noise is in sample sites."""
    again = subject.trace(subject.args)
    base = subject.trace(subject.args)
    changed = first_change(subject, base, again)
    if changed:
        what = f"site '{changed[1]}' is not the same twice with the same seed"
        repair = "draw with pyro.sample or torch, not with numpy or random"
        yield Failure("seeds", subject.where(*changed), what, repair)
        return
    other = subject.trace(subject.args, seed=1)
    names = _random_latents(base)
    if names and all(same_value(base.guide.nodes[n], other.guide.nodes[n]) for n in names):
        what = f"two seeds give the same draw of '{names[0]}'"
        repair = "remove the seed (torch.manual_seed) from the pair"
        yield Failure("seeds", subject.where("guide", names[0]), what, repair)
        return
    held = subject.trace(subject.args, seed=1, held=latent_values(base))
    changed = first_change(subject, base, held)
    if changed:
        what = f"site '{changed[1]}' changes with the seed although the latents are held fixed"
        repair = "make the noise a latent, pyro.sample(...), or drop it outside training"
        yield Failure("seeds", subject.where(*changed), what, repair)


def _random_latents(trace: PairTrace) -> list[str]:
    """Return the continuous latents that are not point estimates."""
    sites = sample_sites(trace.guide).items()
    return [n for n, s in sites if not (is_point(s["fn"]) or is_discrete(s["fn"]))]


def check_rows(subject: Subject) -> Remarks:
    """A datum's log-densities do not change when other rows move or leave."""
    base = subject.trace(subject.args)
    held = latent_values(base, subject.rows)
    fewer = subject.trace(subject.pick(subject.rows), held=held)
    changed = first_change(subject, base, fewer, subject.rows)
    if changed:
        what = f"site '{changed[1]}' of a datum depends on the other rows of its batch"
        repair = "compute per row: no mean, sum, max or reshape over dimension 0"
        yield Failure("rows", subject.where(*changed), what, repair)


def check_predictive(subject: Subject) -> Remarks:
    """Predictions have the shapes of the data and do not see the data."""
    yield from _predicted_shapes(subject)
    posterior = latent_values(subject.trace(subject.args))
    for held in (posterior,) if _is_flat(subject) else ({}, posterior):
        one = subject.predict(subject.args, held)
        two = sample_sites(subject.predict(subject.with_other_data(), held))
        for name, site in sample_sites(one).items():
            if name in two and not _same_prediction(site, two[name]):
                what = f"the prediction of site '{name}' depends on the data to be predicted"
                repair = "use the value that pyro.sample returns, x = pyro.sample(..., obs=x)"
                if not subject.first.latents:
                    what += ", and no latent lies between"
                    repair = "draw the code in the guide, pyro.sample('z', dist.Delta(code)"
                    repair += ".to_event(1)), and from a prior in the model"
                yield Failure("predictive", subject.where("model", name), what, repair)
                return


def _same_prediction(a: Site, b: Site) -> bool:
    """Return whether two predictions are one: few draws of few values are alike by chance."""
    if not (same_value(a, b) and is_discrete(a["fn"])):
        return same_value(a, b)
    p, q = (unwrapped(site["fn"]).log_prob(a["value"]) for site in (a, b))
    return p.shape == q.shape and close(p, q)


def _is_flat(subject: Subject) -> bool:
    """Return whether a prior is improper, as that of an autoencoder: there are no draws from it."""
    return any(is_improper(p["fn"]) for p, _ in subject.first.latents.values())


def _predicted_shapes(subject: Subject) -> Remarks:
    if _is_flat(subject):
        predicted = reconstruct(subject.pair, subject.args, x="sample")
    else:
        predicted = prior_predictive(subject.pair, subject.args)
    values = {name: site["value"] for name, site in subject.first.observed.items()}
    for name, value in site_values(subject.pair, values).items():
        shape = tuple(predicted[name].shape) if name in predicted else None
        if shape != tuple(value.shape):
            site = next(key for key in subject.first.observed if base_of(key) == name)
            what = f"site '{name}' is predicted as {shape}, but observed as {tuple(value.shape)}"
            repair = "compare .to_event(...) and the shape of its parameters with the data"
            yield Failure("predictive", subject.where("model", site), what, repair)
