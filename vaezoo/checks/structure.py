"""What a pair is made of: its arguments, sites, plates, and shapes."""

import pyro

from vaezoo.checks.subject import Failure, Failures, Subject
from vaezoo.errors import nearest
from vaezoo.pairs.admission import examine
from vaezoo.pairs.families import family, is_discrete
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import (
    sample_sites,
)

__all__ = [
    "check_arguments",
    "check_plate",
    "check_reparameterised",
    "check_runs",
    "check_shapes",
    "check_sites",
    "check_store",
]


def check_arguments(subject: Subject) -> Failures:
    """Model and guide take the same arguments."""
    model, guide = subject.arguments("model"), subject.arguments("guide")
    if model != guide:
        yield Failure(
            "arguments",
            subject.where("guide"),
            f"model({', '.join(model)}) and guide({', '.join(guide)}) take different arguments",
            f"write def guide(self, {', '.join(model)})",
        )


def check_runs(subject: Subject) -> Failures:
    """Guide and model run at two batch sizes; an exception becomes the failure."""
    subject.first = subject.trace(subject.args)
    subject.second = subject.trace(subject.pick(subject.rows))
    yield from ()


def check_sites(subject: Subject) -> Failures:
    """Model and guide have the same latent sites."""
    sites = sample_sites(subject.first.model).items()
    latents = [name for name, site in sites if not site["is_observed"]]
    for finding in examine(subject.first):
        name, where = finding.site, subject.where(finding.side, finding.site)
        if finding.kind == "model only":
            what = f"the guide has no site '{name}', a latent of the model"
            repair = f"add pyro.sample('{name}', ...) to the guide, or obs= to the model"
            yield Failure("sites", where, what, repair)
        elif finding.kind in ("guide only", "observed"):
            state = "observes" if finding.kind == "observed" else "has no site"
            what = f"the guide draws '{name}', but the model {state} {f'{name!r}'}"
            repair = f"remove it from the guide, or rename it ({nearest(name, latents)})"
            yield Failure("sites", where, what, repair)


def check_plate(subject: Subject) -> Failures:
    """There is one plate over the batch, with every site inside it."""
    batch, plate = len(subject.args[0]), ""
    for side, name, site in subject.sites(subject.first):
        where = subject.where(side, name)
        stack = site["cond_indep_stack"]
        if not stack:
            repair = "indent it under: with pyro.plate('data', len(x))"
            yield Failure("plate", where, f"site '{name}' lies outside the data plate", repair)
        for frame in stack:
            plate = plate or frame.name
            if frame.name != plate:
                what = f"site '{name}' lies in a second plate, '{frame.name}' beside '{plate}'"
                yield Failure("plate", where, what, "keep one plate and use .to_event(...) instead")
            elif frame.size != batch:
                what = f"the plate '{plate}' has size {frame.size} for a batch of {batch}"
                yield Failure("plate", where, what, f"write pyro.plate('{plate}', len(x))")


def check_shapes(subject: Subject) -> Failures:
    """Every site has a log-density for each datum, ``(B,)``, at two batch sizes."""
    other = {(side, name): site for side, name, site in subject.sites(subject.second)}
    for side, name, site in subject.sites(subject.first):
        where, batch = subject.where(side, name), (len(subject.args[0]),)
        shape, event = tuple(log_density(site).shape), tuple(site["fn"].event_shape)
        small = tuple(other[side, name]["fn"].event_shape) if (side, name) in other else event
        if shape != batch:
            what = f"site '{name}' has log-densities of shape {shape} instead of {batch}"
            extra = len(shape) - 1
            repair = f"add .to_event({extra})" if extra > 0 else "keep one value per row of x"
            yield Failure("shapes", where, what, repair)
        elif event != small:
            what = f"the event shape of site '{name}' changes with the batch: {event} and {small}"
            yield Failure("shapes", where, what, "take a smaller number in .to_event(...)")


def check_reparameterised(subject: Subject) -> Failures:
    """Latents are discrete or have a path derivative."""
    for name, site in sample_sites(subject.first.guide).items():
        fn = site["fn"]
        if not fn.has_rsample and not is_discrete(fn):
            what = f"the {family(fn)} of the continuous latent '{name}' has no rsample"
            repair = "choose a reparameterised family"
            yield Failure("reparameterised", subject.where("guide", name), what, repair)


def check_store(subject: Subject) -> Failures:
    """Nothing is left in the global parameter store."""
    seen: set[str] = set()
    for name in pyro.get_param_store():
        where = subject.where("param", name)
        if where not in seen:
            what = f"'{name.replace('$$$', '.')}' is left in the global parameter store"
            repair = "make it an nn.Parameter or a sub-module; drop pyro.param and pyro.module"
            yield Failure("store", where, what, repair)
        seen.add(where)
