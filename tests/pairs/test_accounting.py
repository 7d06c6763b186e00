"""The accounting of a datum: masks, scales, plates and factors count, the same way for everyone."""

from collections.abc import Sequence

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vaezoo.objectives.base import weighted
from vaezoo.pairs.accounting import (
    elbo_terms,
    log_joint,
    log_mean_exp,
    log_weights,
    num_units,
    units_per_row,
)
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import log_density, total_log_density
from vaezoo.pairs.sites import trace_pair
from vaezoo.testing.pairs import LinearPair, NoLatents
from vaezoo.testing.sequence_pairs import LinearRecurrence

X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def test_the_scale_of_an_author_counts() -> None:
    trace = trace_pair(LinearPair(), (X,))
    (x,) = trace.observed.values()
    torch.testing.assert_close(log_density({**x, "scale": 0.25}), 0.25 * log_density(x))


def test_a_weight_is_that_of_latents() -> None:
    trace = trace_pair(LinearPair(), (X,))
    (p, _), (x,) = trace.latents["z"], trace.observed.values()
    both = 0.25 * log_density(p) + log_density(x)
    torch.testing.assert_close(total_log_density([p, x], weight=0.25), both)
    torch.testing.assert_close(log_joint(trace.model, weight=0.25), both)


def test_a_masked_row_has_no_density() -> None:
    mask = torch.tensor([True, False, True])
    trace = Particles().trace(*weighted(LinearPair(), Particles(), 1.0, mask), (X,))
    for site in (*trace.latents["z"], *trace.observed.values()):
        assert (log_density(site) == 0).tolist() == [False, True, False]


def test_terms_are_those_of_the_closed_form() -> None:
    pair = LinearPair()
    trace = trace_pair(pair, (X,))
    _, q = trace.latents["z"]
    terms = elbo_terms(pair, (X,), trace=trace)
    mean, sd = q["fn"].mean, q["fn"].stddev
    kl = kl_divergence(Normal(mean, sd), Normal(torch.zeros_like(mean), 1.0))
    torch.testing.assert_close(terms.kl_per_latent["z"], kl)
    torch.testing.assert_close(terms.kl_total, kl.sum(-1))
    torch.testing.assert_close(terms.elbo, terms.recon - kl.sum(-1))


def test_without_latents_there_is_no_kl() -> None:
    terms = elbo_terms(NoLatents(), (X,))
    assert terms.kl == {}
    assert torch.equal(terms.elbo, terms.recon)


class Unordered(LinearPair):
    """Two latents more, which model and guide draw in another order."""

    def model(self, x: Tensor) -> None:
        super().model(x)
        _draw(("a", "b"), x)

    def guide(self, x: Tensor) -> None:
        super().guide(x)
        _draw(("b", "a"), x)


def _draw(names: Sequence[str], x: Tensor) -> None:
    with pyro.plate("more", len(x)):
        for name in names:
            pyro.sample(name, dist.Normal(x.new_zeros(()), 1.0))


def test_latents_in_another_order_have_no_closed_form() -> None:
    """The prior of one may depend on the draw of the other."""
    terms = elbo_terms(Unordered(), (X,))
    assert set(terms.kl) == {"z", "a", "b"}
    assert terms.kl_per_latent == {}


def test_steps_of_a_sequence_are_one_latent() -> None:
    x, length = torch.randn(3, 4, 1), torch.tensor([4, 1, 2])
    pair = LinearRecurrence()
    terms = elbo_terms(pair, (x, length))
    assert terms.kl["z"].shape == (3,)
    assert terms.kl_per_latent["z"].shape == (3, 1)
    torch.testing.assert_close(terms.kl_per_latent["z"].sum(-1), terms.kl["z"])
    assert units_per_row(pair, (x, length)).tolist() == [4, 1, 2]
    assert int(num_units(pair, (x, length), torch.tensor([True, False, True]))) == 6


@pytest.mark.parametrize("max_rows", [1, 3, 7, 8192])
def test_weights_of_the_exact_guide_are_the_evidence_in_pieces_of_any_size(max_rows: int) -> None:
    pair = LinearPair()
    weights = log_weights(pair, (X,), 5, max_rows=max_rows)
    torch.testing.assert_close(weights, pair.log_evidence(X).expand(5, 3))


def test_mean_of_weights_along_either_dimension() -> None:
    log_w = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(log_mean_exp(log_w), log_w.exp().mean(0).log())
    torch.testing.assert_close(log_mean_exp(log_w, 1), log_w.exp().mean(1).log())
