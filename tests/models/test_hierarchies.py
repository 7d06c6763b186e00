"""Deep hierarchies: levels that begin as their prior, and that each reach x."""

import torch

from vaezoo.models.hvae import HVAE
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.sites import trace_pair


def test_the_posterior_of_each_level_begins_as_its_prior() -> None:
    x = torch.rand(7, 8, 8).round()
    terms = elbo_terms(HVAE(x_shape=(8, 8), z_dims=(5, 3, 2), hidden=16), (x,))
    assert list(terms.kl) == ["z3", "z2", "z1"]
    assert all(torch.equal(kl, torch.zeros_like(kl)) for kl in terms.kl.values())


def test_every_level_reaches_x_by_a_way_of_its_own() -> None:
    """A chain of conditionals would lose all but z1, given z1."""
    torch.manual_seed(0)
    pair, x = HVAE(x_shape=(6,), z_dims=(2, 2, 2, 2), hidden=8), torch.rand(1, 6).round()
    trace = trace_pair(pair, (x,))
    values = {name: q["value"].detach().requires_grad_() for name, (_, q) in trace.latents.items()}
    h = pair.top
    for level, name in zip(reversed(pair.levels), ("z4", "z3", "z2", "z1"), strict=True):
        h = level(h, values[name])
    log_prob = pair.decoder(h).log_prob(x).sum()
    gradients = torch.autograd.grad(log_prob, list(values.values()))
    assert all(float(gradient.abs().sum()) > 0 for gradient in gradients)
