"""The probabilistic transformer: who sees what, and its prior over whole paths."""

import pytest
import torch
from pyro import poutine
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn.functional import pad

from vaezoo.config import build_model
from vaezoo.models.transformer_vae import CausalPath, TransformerVAE
from vaezoo.observations.missing import with_missing
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.sites import sample_sites, trace_pair
from vaezoo.registry import get_model
from vaezoo.sequences import frame_mask

LENGTH = torch.tensor([6, 4, 1])
SMALL = {"z_dim": 3, "hidden": 8, "num_heads": 2, "num_layers": 2}


@pytest.fixture
def pair() -> TransformerVAE:
    torch.manual_seed(0)
    made = build_model(get_model("transformer-vae"), SMALL, (4,)).double()
    assert isinstance(made, TransformerVAE)
    return made


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(1)).round().double()


def path() -> Tensor:
    return torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(2)).double()


def before(z: Tensor) -> Tensor:
    return pad(z[..., :-1, :], (0, 0, 1, 0))


def line(h: Tensor) -> TorchDistribution:
    """z_t = 2 z_{t-1} + 1."""
    return Normal(2 * h + 1, 1e-6).to_event(1)


@pytest.mark.parametrize("t", [0, 2, 4])
def test_a_frame_depends_on_no_later_latent(pair: TransformerVAE, x: Tensor, t: int) -> None:
    z, length = path(), torch.full((3,), 6)
    other = torch.cat([z[:, : t + 1], -z[:, t + 1 :]], 1)
    logits, priors = [], []
    for value in (z, other):
        with hold({"z": value}):
            sites = sample_sites(poutine.trace(pair.model).get_trace(x, length))
        logits.append(sites["x"]["fn"].base_dist.base_dist.base_dist.logits)
        priors.append(sites["z"]["fn"].steps(value).mean)
    torch.testing.assert_close(logits[0][:, : t + 1], logits[1][:, : t + 1])
    torch.testing.assert_close(priors[0][:, : t + 2], priors[1][:, : t + 2])
    assert bool((logits[0][:, t + 1] != logits[1][:, t + 1]).any())


def test_the_prior_of_a_latent_sees_all_before(pair: TransformerVAE) -> None:
    z = path().requires_grad_()
    means = pair.prior(pair.states(z)).mean
    for t in range(1, 6):
        (grad,) = torch.autograd.grad(means[:, t].sum(), z, retain_graph=True)
        assert bool((grad[:, :t] != 0).any(-1).all())
        assert bool((grad[:, t:] == 0).all())


def test_the_guide_sees_the_frames_to_come(pair: TransformerVAE, x: Tensor) -> None:
    other = torch.cat([x[:, :5], 1 - x[:, 5:]], 1)
    first, second = (
        poutine.trace(pair.guide).get_trace(data, torch.full((3,), 6)).nodes["z"]["fn"].mean[:, 0]
        for data in (x, other)
    )
    assert bool((first != second).any(1).all())


@pytest.mark.parametrize("more", [0, 3])
def test_padding_changes_neither_elbo_nor_gradient(
    pair: TransformerVAE, x: Tensor, more: int
) -> None:
    z = path()
    beyond = ~frame_mask(LENGTH, 6)[..., None]
    padded = pad(torch.where(beyond, 1 - x, x), (0, 0, 0, more), value=1.0)
    z_padded = pad(torch.where(beyond, 5.0, z), (0, 0, 0, more), value=-3.0)
    results = []
    for data, latents in ((x, z), (padded, z_padded)):
        with hold({"z": latents}):
            elbo = elbo_terms(pair, (data, LENGTH)).elbo
        results.append((elbo, torch.autograd.grad(elbo.sum(), list(pair.parameters()))))
    torch.testing.assert_close(results[1], results[0])


def test_a_frame_that_is_missing_is_left_out(pair: TransformerVAE, x: Tensor) -> None:
    z, incomplete = path(), x.clone()
    incomplete[:, 2] = torch.nan
    args = (incomplete, torch.full((3,), 6))
    with hold({"z": z}):
        recon = elbo_terms(with_missing(pair, args), args).recon
    by_frame = pair.decoder(pair.states(z), z).log_prob(x)
    torch.testing.assert_close(recon, by_frame.sum(1) - by_frame[:, 2])


def test_kl_is_that_of_the_steps_at_the_path(pair: TransformerVAE, x: Tensor) -> None:
    trace = trace_pair(pair, (x, LENGTH))
    p, q = trace.latents["z"]
    q_steps = q["fn"].base_dist.base_dist
    p_steps = pair.prior(pair.states(q["value"]))
    by_hand = (kl_divergence(q_steps, p_steps) * frame_mask(LENGTH, 6)).sum(1)
    torch.testing.assert_close(kl_divergence(q["fn"], p["fn"]), by_hand)


def test_a_path_is_drawn_step_by_step() -> None:
    fn = CausalPath(before, line, torch.ones(2, 5) > 0, torch.zeros(2, 0, 1))
    wanted = torch.tensor([1.0, 3.0, 7.0, 15.0, 31.0]).expand(2, 5).unsqueeze(-1)
    torch.testing.assert_close(fn.sample(), wanted, atol=1e-3, rtol=0)


def test_a_path_goes_on_from_its_first_steps() -> None:
    fn = CausalPath(before, line, torch.ones(2, 5) > 0, torch.zeros(2, 0, 1))
    rest = fn.prefix_condition(torch.full((2, 3, 1), 4.0)).sample()
    torch.testing.assert_close(
        rest, torch.tensor([9.0, 19.0]).expand(2, 2).unsqueeze(-1), atol=1e-3, rtol=0
    )


def test_density_of_a_path_is_that_of_its_beginning_and_of_its_rest(pair: TransformerVAE) -> None:
    z, there = path(), torch.ones(3, 6) > 0
    fn = CausalPath(pair.states, pair.prior, there, z[:, :0])
    beginning = CausalPath(pair.states, pair.prior, there[:, :2], z[:, :0]).log_prob(z[:, :2])
    rest = fn.prefix_condition(z[:, :2]).log_prob(z[:, 2:])
    torch.testing.assert_close(fn.log_prob(z), beginning + rest)
