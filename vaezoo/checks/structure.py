"""What a pair is made of: its arguments, sites, plates, and shapes."""

import pyro

from vaezoo.checks.remarks import Failure, Remarks
from vaezoo.checks.subject import Subject, density_of
from vaezoo.pairs.admission import UNCOUNTED, examine, words_of
from vaezoo.pairs.plates import (
    counted_data,
    in_data_plate,
    outermost_frame,
)
from vaezoo.pairs.sites import PairTrace, Site

__all__ = [
    "check_arguments",
    "check_plate",
    "check_runs",
    "check_shapes",
    "check_sites",
    "check_store",
]


def check_arguments(subject: Subject) -> Remarks:
    """Model and guide take the same arguments."""
    model, guide = subject.arguments("model"), subject.arguments("guide")
    if model != guide:
        yield Failure(
            "arguments",
            subject.where("guide"),
            f"model({', '.join(model)}) and guide({', '.join(guide)}) take different arguments",
            f"write def guide(self, {', '.join(model)})",
        )


def check_runs(subject: Subject) -> Remarks:
    """Guide and model run at two batch sizes; an exception becomes the failure."""
    subject.first = subject.trace(subject.args)
    subject.second = subject.trace(subject.pick(subject.rows))
    yield from ()


def check_sites(subject: Subject) -> Remarks:
    """Model and guide have the same latent sites, and the model observes something."""
    for finding in examine(subject.first):
        if finding.kind in ("model only", *UNCOUNTED):
            where = subject.where(finding.side, finding.site)
            yield Failure("sites", where, *words_of(finding, subject.first, subject.pair))
    for name, (prior, posterior) in subject.first.latents.items():
        if name not in subject.first.bases and not _count_alike(name, prior, posterior):
            what = f"site '{name}' is not masked alike in model and guide: log p and log q count "
            repair = "write in both: with pyro.poutine.mask(mask=...)"
            if name.endswith("_unobserved"):
                repair = (
                    "write in the guide, for obs_mask=there: with pyro.poutine.mask(mask=~there)"
                )
            yield Failure("sites", subject.where("guide", name), f"{what}for other data", repair)
    if not subject.first.observed:
        what, repair = "the model observes nothing", "give the site of the data obs=x"
        yield Failure("sites", subject.where("model"), what, repair)


def _count_alike(name: str, prior: Site, posterior: Site) -> bool:
    """Whether a latent counts for the same data on both sides, by their masks.

    What ``obs_mask`` leaves to the guide is masked whether or not the rows at hand show it.
    """
    p, q = (counted_data(site) for site in (prior, posterior))
    if p is None or q is None:
        alone = q if p is None else p
        return alone is None or (bool(alone.all()) and not name.endswith("_unobserved"))
    return bool((p == q).all())


def check_plate(subject: Subject) -> Remarks:
    """The plate of the data is the outermost of every site that a datum owns."""
    batch, data = len(subject.args[0]), subject.first.data_plate
    if data is not None and data.size != batch:
        observed = subject.first.observed.items()
        name, site = next((n, s) for n, s in observed if outermost_frame(s) == data)
        what = (
            f"the plate '{data.name}' of site '{name}' has size {data.size} for a batch of {batch}"
        )
        rows = [frame.name for frame in site["cond_indep_stack"] if frame.size == batch]
        repair = f"write pyro.plate('{data.name}', len(x))"
        if rows:
            repair = f"open the plate of the data, '{rows[0]}', outside of any other plate"
        yield Failure("plate", subject.where("model", name), what, repair)
        return
    for side, name, site in subject.sites(subject.first):
        wrong = _misplaced(subject, side, name, site)
        if wrong:
            yield Failure("plate", subject.where(side, name), *wrong)


def _misplaced(subject: Subject, side: str, name: str, site: Site) -> tuple[str, str] | None:
    """Return what is wrong with the plates of a site, and what to write."""
    data, own = subject.first.data_plate, outermost_frame(site)
    partner = subject.first.model.nodes.get(name)
    if side == "guide" and partner and not _goes_with(site, partner):
        theirs = outermost_frame(partner)
        if theirs is None and _follows_batch(subject, "model", name):
            return None  # it is the model's that is misplaced
        plates = [f"'{f.name}' of {f.size}" if f else "none" for f in (own, theirs)]
        repair = f"write pyro.plate('{theirs.name}', ...)" if theirs else "draw it before the plate"
        what = f"site '{name}' lies in plate {plates[0]}, in the model in plate {plates[1]}"
        return what.replace("plate none", "no plate"), f"{repair}, as in the model"
    if own is None:
        fits = not site["is_observed"] and not _follows_batch(subject, side, name)
        repair = "indent it under: with pyro.plate('data', len(x))"
        return None if fits else (f"site '{name}' lies outside the data plate", repair)
    if data is not None and in_data_plate(site, data, of_guide=side == "guide"):
        told = side == "guide" and partner and _rows_not_first(name, partner)
        return None if told else _rows_not_first(name, site)
    if side == "guide" or data is None:
        return None
    if data.name in {frame.name for frame in site["cond_indep_stack"]}:
        what = f"the plate '{own.name}' of site '{name}' lies outside the data plate '{data.name}'"
        return what, f"open the plate '{data.name}' first"
    if _follows_rows(subject, name):
        what = f"site '{name}' lies in a second data plate, '{own.name}' beside '{data.name}'"
        repair = f"make one, rows = pyro.plate('{data.name}', len(x)), and write twice: with rows"
        return what, repair
    if site["is_observed"]:
        what = f"site '{name}' is observed in the plate '{own.name}' of {own.size}"
        return what, f"observe it in the plate '{data.name}' of the data"
    return None


def _rows_not_first(name: str, site: Site) -> tuple[str, str] | None:
    """Return what is wrong where values are (K, B), of K elements, and not (B, K)."""
    own = outermost_frame(site)
    left = [f for f in site["cond_indep_stack"] if f.vectorized and own and f.dim < own.dim]
    if not (own and left):
        return None
    what = f"the values of site '{name}' have the plate '{left[0].name}' before their rows"
    depth = min(frame.dim for frame in left)
    others = f"the plate '{left[0].name}' a dim right of it"
    return what, f"write pyro.plate('{own.name}', len(x), dim={depth}), and give {others}"


def _follows_rows(subject: Subject, name: str) -> bool:
    """Whether the outermost plate of a site of the model has the size of every batch."""
    frames = [outermost_frame(trace.model.nodes[name]) for trace in (subject.first, subject.second)]
    sizes = [len(subject.args[0]), len(subject.rows)]
    return [frame.size for frame in frames if frame] == sizes


def _goes_with(site: Site, partner: Site) -> bool:
    """Whether the outermost plate of a site of the guide is that of the model, by its size."""
    sizes = [frame and frame.size for frame in map(outermost_frame, (site, partner))]
    return sizes[0] == sizes[1]


def _follows_batch(subject: Subject, side: str, name: str) -> bool:
    """Whether a site outside of any plate has rows nevertheless, those of the batch."""
    site = _node(subject.first, side, name)
    other = _node(subject.second, side, name)
    shapes = [(s["fn"].batch_shape, s["fn"].event_shape) for s in (site, other) if s]
    return bool(site["fn"].batch_shape) or len(set(shapes)) > 1


def _node(trace: PairTrace, side: str, name: str) -> Site:
    return (trace.guide if side == "guide" else trace.model).nodes.get(name)


def check_shapes(subject: Subject) -> Remarks:
    """Every site has a log-density for each datum, ``(B,)``, at two batch sizes."""
    data = subject.first.data_plate
    for side, name, site in subject.sites(subject.first):
        where, batch = subject.where(side, name), (len(subject.args[0]),)
        other = _node(subject.second, side, name) or site
        density = density_of(site)
        shape = batch if density is None else tuple(density.shape)
        event = tuple(site["fn"].event_shape)
        small = tuple(other["fn"].event_shape)
        partner = subject.first.model.nodes.get(name, site)
        if in_data_plate(partner, data) and shape != batch:
            what = f"site '{name}' has log-densities of shape {shape} instead of {batch}"
            extra = len(shape) - 1
            repair = f"add .to_event({extra})" if extra > 0 else "keep one value per row of x"
            yield Failure("shapes", where, what, repair)
        elif event != small:
            what = f"the event shape of site '{name}' changes with the batch: {event} and {small}"
            yield Failure("shapes", where, what, "take a smaller number in .to_event(...)")


def check_store(subject: Subject) -> Remarks:
    """Nothing is left in the global parameter store."""
    seen: set[str] = set()
    for name in pyro.get_param_store():
        where = subject.where("param", name)
        if where not in seen:
            what = f"'{name.replace('$$$', '.')}' is left in the global parameter store"
            repair = "make it an nn.Parameter or a sub-module; drop pyro.param and pyro.module"
            yield Failure("store", where, what, repair)
        seen.add(where)
