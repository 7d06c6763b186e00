"""A decoder whose weights are a latent of the data set."""

import math

import pytest
import torch
from pyro import distributions as dist
from torch.distributions import kl_divergence

import vaezoo
from vaezoo.models.bayesian_decoder import BayesianDecoder
from vaezoo.models.vae import VAE
from vaezoo.objectives import ELBO, Context
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.sites import trace_pair


def pair_and_rows() -> tuple[BayesianDecoder, torch.Tensor]:
    torch.manual_seed(0)
    return BayesianDecoder(x_shape=(6,), z_dim=2, hidden=4), torch.rand(5, 6).round()


def test_theta_are_the_weights_of_the_net_of_a_vae() -> None:
    """Given theta and z, p(x | z, theta) is that of a decoder with these weights."""
    pair, x = pair_and_rows()
    plain = VAE(x_shape=(6,), z_dim=2, hidden=(4,), activation="tanh")
    with torch.no_grad():
        theta = torch.cat([p.flatten() for p in plain.decoder.parameters()])
        z = torch.randn(5, 2)
        assert torch.equal(pair.decoder(theta, z).log_prob(x), plain.decoder(z).log_prob(x))


def test_kl_of_theta_counts_once_for_the_data_set() -> None:
    """In closed form, with weight 1 / N in each of N data."""
    pair, x = pair_and_rows()
    trace = trace_pair(pair, (x,))
    sides = trace.global_latents["theta"]
    kl = kl_divergence(*(side["fn"].base_dist for side in reversed(sides))).sum()
    terms = elbo_terms(pair, (x,), trace=trace)
    assert torch.allclose(terms.kl_global["theta"], kl)
    losses = []
    for num_data in (math.inf, 100.0):
        torch.manual_seed(1)
        losses.append(ELBO().loss(pair, (x,), Context(num_data=num_data)))
    assert torch.allclose(losses[1] - losses[0], kl / 100, rtol=1e-3)


def test_the_prior_of_a_weight_has_the_variance_of_its_fan_in() -> None:
    pair, x = pair_and_rows()
    p, _ = trace_pair(pair, (x,)).latents["theta"]
    assert p["fn"].base_dist.scale.unique().tolist() == pytest.approx([0.5, 2**-0.5, 1.0])


def test_samples_have_weights_of_the_guide() -> None:
    """Means of one draw of theta: all samples share it, and the guide's are close to its mean."""
    pair, x = pair_and_rows()
    with torch.no_grad():
        pair.theta_log_scale.fill_(-20.0)
        pair.theta_loc.zero_()
        pair.theta_loc[-6:] = 3.0  # the biases of the logits
    run = vaezoo.fit(pair, x.repeat(8, 1).numpy(), training={"steps": 1, "lr": 1e-9})
    new = torch.as_tensor(vaezoo.sample(run, 4))
    assert torch.allclose(new, dist.Bernoulli(logits=torch.tensor(3.0)).mean, atol=1e-4)
