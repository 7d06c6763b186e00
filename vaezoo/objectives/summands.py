"""What adds up to the ELBO of a batch, term by term, and the gradient of draws without a path."""

from collections.abc import Collection

import torch
from torch import Tensor

from vaezoo.pairs.divergences import kl_of
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import in_data_plate, log_density, score_function, sum_over_plates
from vaezoo.pairs.sites import PairTrace, Site, density_sites, sample_sites

__all__ = ["Summands", "leave_one_out", "score_surrogate"]


class Summands:
    """The terms whose sum is the weighted ELBO of a batch, in the order of the sites.

    Parameters
    ----------
    trace
        Of both sides.
    closed_form
        Latents whose KL term is taken in closed form.
    beta
        Weight of the terms of latents.
    rows
        Which rows count, ``(B,)``, boolean.
    weights
        Of rows that stand for the values of latents that are summed out.

    Attributes
    ----------
    local, whole
        Terms of the data, each ``(B,)``, and of the data set, each ``()``.
    """

    def __init__(
        self,
        trace: PairTrace,
        closed_form: Collection[str],
        beta: float | Tensor,
        rows: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        self.trace, self.closed_form, self.beta, self.rows = trace, closed_form, beta, rows
        self.weights = weights
        self.data_plate = trace.data_plate
        self.local: list[Tensor] = []
        self.whole: list[Tensor] = []
        self._add_all()

    def _add_all(self) -> None:
        trace, latents = self.trace, self.trace.latents
        model = {
            name: (site, self._density(site))
            for name, site in density_sites(trace.model).items()
            if site["is_observed"] or (name in latents and name not in self.closed_form)
        }
        guide = {name: self._log_q(name) for name in self._drawn() if name not in self.closed_form}
        for name, site in density_sites(trace.model).items():
            if name in model:
                self._add(*model[name])
            if name in self.closed_form:
                self._add(site, -self._kl(name, site))
            elif name in latents and trace.same_order:
                self._add(site, -guide.pop(name))
        for name, log_q in guide.items():
            self._add(latents[name][0], -log_q)
        for site in trace.penalties.values():
            rows = self._rows(site, of_guide=True)
            self._add(site, -log_density(site, weight=self.beta, rows=rows), of_guide=True)

    def _drawn(self) -> list[str]:
        """Return the latents in the order of the guide."""
        latents = self.trace.latents
        return [name for name in sample_sites(self.trace.guide) if name in latents]

    def _density(self, site: Site) -> Tensor:
        weight = 1.0 if site["is_observed"] else self.beta
        return log_density(site, weight=weight, rows=self._rows(site))

    def _kl(self, name: str, site: Site) -> Tensor:
        rows = self._rows(site)
        return kl_of(self.trace, name, self.closed_form, weight=self.beta, rows=rows)

    def _log_q(self, name: str) -> Tensor:
        p, q = self.trace.latents[name]
        rows = self._rows(p)
        log_q = log_density(q, weight=self.beta, rows=rows)
        if score_function(q) is not None and not q["fn"].has_rsample:
            log_q = log_q.detach()  # the mean of its gradient is zero, its noise is not
        if name in self.trace.bases:
            base = self.trace.bases[name]
            log_q = log_q + log_density(base, weight=self.beta, rows=rows)
        return log_q

    def _rows(self, site: Site, *, of_guide: bool = False) -> Tensor | None:
        return self.rows if in_data_plate(site, self.data_plate, of_guide=of_guide) else None

    def _add(self, site: Site, term: Tensor, *, of_guide: bool = False) -> None:
        if in_data_plate(site, self.data_plate, of_guide=of_guide):
            self.local.append(term if self.weights is None else term * self.weights)
        else:
            self.whole.append(sum_over_plates(term, site))

    def local_sum(self) -> Tensor:
        """Return the sum over terms and data."""
        total = self.local[0].sum()
        for term in self.local[1:]:
            total = total + term.sum()
        return total

    def whole_sum(self) -> Tensor:
        """Return the sum of the terms of the data set."""
        return torch.stack(self.whole).sum()


def score_surrogate(
    trace: PairTrace,
    terms: Summands,
    particles: Particles,
    units: Tensor,
    rows: Tensor | None,
    num_units: Tensor,
    num_data: float | Tensor,
) -> Tensor | None:
    """Return a scalar with the score-function gradient of latents without a path derivative.

    The gradient of E_q[f] is E_q[(f - b) d log q] for any b that does not depend on the draw
    (Williams 1992; the baseline b of :func:`leave_one_out`, Mnih & Rezende 2016,
    arXiv:1602.06725). None where each latent has a path derivative.

    Parameters
    ----------
    trace, terms, particles
        The draws, the terms of their ELBO, and how they are laid out.
    units
        Units of each row, ``(B,)``.
    rows
        Which rows count.
    num_units
        By what the sum over data is divided.
    num_data
        The number N of data.
    """
    local: list[Tensor] = []
    whole: list[Tensor] = []
    for p, q in trace.latents.values():
        if terms.weights is not None and is_marked(q):
            continue  # summed out
        is_local = in_data_plate(p, terms.data_plate)
        score = score_function(q, rows if is_local else None)
        if score is not None:
            (local if is_local else whole).append(score if is_local else sum_over_plates(score, q))
    if not local and not whole:
        return None
    elbo = torch.stack([term.detach() for term in terms.local]).sum(0)
    surrogate = elbo.new_zeros(())
    if local:
        centred = elbo - leave_one_out(elbo, particles, units, rows)
        surrogate = surrogate + (centred * torch.stack(local).sum(0)).sum() / num_units
    if whole:
        signal = elbo.sum() / num_units + terms.whole_sum().detach() / num_data
        surrogate = surrogate + signal * torch.stack(whole).sum()
    return surrogate


def leave_one_out(
    values: Tensor, particles: Particles, units: Tensor, rows: Tensor | None = None
) -> Tensor:
    """Return for each draw the mean of the others: of its datum, or else of the other data.

    Parameters
    ----------
    values
        One of each draw, in the layout of the particles; 0 in rows that do not count.
    particles
        How the draws are laid out.
    units
        Units of each row, ``(B,)``; other data are compared per unit.
    rows
        Which rows count, ``(B,)``, boolean.

    Examples
    --------
    >>> leave_one_out(torch.tensor([1.0, 2.0, 6.0]), Particles(), torch.ones(3))
    tensor([4.0000, 3.5000, 1.5000])
    """
    if particles.number > 1:
        by_datum = particles.by_datum(values)
        others = (by_datum.sum(0) - by_datum) / (particles.number - 1)
        return particles.by_row(others)
    units = units.to(values)
    counted = units if rows is None else units * rows
    others = (values.sum() - values) / (counted.sum() - counted).clamp(min=1)
    return others * units
