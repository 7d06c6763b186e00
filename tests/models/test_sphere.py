"""Latents on a sphere: von Mises-Fisher posteriors in the zoo."""

import torch
from torch.distributions import kl_divergence

from vaezoo.models.vae_sphere import VAEVonMisesFisher
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.sites import trace_pair


def test_the_kl_of_a_datum_is_the_closed_form() -> None:
    pair, x = VAEVonMisesFisher(x_shape=(6,), z_dim=7), torch.ones(4, 6)
    trace = trace_pair(pair, (x,))
    p, q = trace.latents["z"]
    terms = elbo_terms(pair, (x,), trace=trace)
    torch.testing.assert_close(terms.kl["z"], kl_divergence(q["fn"], p["fn"]))


def test_gradients_reach_direction_and_concentration() -> None:
    pair, x = VAEVonMisesFisher(x_shape=(6,), z_dim=5), torch.ones(4, 6)
    elbo_terms(pair, (x,)).recon.sum().backward()
    for head in (pair.direction, pair.log_kappa):
        assert all(float(p.grad.abs().sum()) > 0 for p in head.parameters() if p.grad is not None)
        assert all(p.grad is not None for p in head.parameters())
