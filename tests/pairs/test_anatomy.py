"""What a pair is made of: sites, sides and edges that are known by construction."""

from collections.abc import Mapping

import pytest
import torch

from vaezoo import get_model, list_models
from vaezoo.models.vae import VAE, VAEBernoulli
from vaezoo.pairs.anatomy import Anatomy, anatomy
from vaezoo.testing.check import small_pair
from vaezoo.testing.pairs import NoLatents


def of(name: str) -> Anatomy:
    return anatomy(*small_pair(get_model(name)))


def total(sizes: Mapping[str, int]) -> int:
    return sum(sizes.values())


@pytest.mark.parametrize("name", list_models())
def test_every_trained_parameter_is_on_a_side(name: str) -> None:
    pair, args = small_pair(get_model(name))
    parts = anatomy(pair, args)
    number = sum(p.numel() for p in pair.parameters() if p.requires_grad)
    sides = total(parts.theta) + total(parts.phi) + total(parts.shared)
    unused = number - sides  # as an encoder beside a posterior that knows nothing of x
    assert unused == 0 or name == "vae-noiseonly"


def test_the_parameters_of_a_vae_are_counted() -> None:
    """Two layers a side: 6 to 4, and two heads of 2; 2 to 4, and 4 to 6."""
    parts = anatomy(VAEBernoulli(x_shape=(6,), z_dim=2, hidden=(4,)), (torch.ones(3, 6),))
    assert parts.phi == {"encoder": (6 * 4 + 4) + 2 * (4 * 2 + 2)}
    assert parts.theta == {"decoder": (2 * 4 + 4) + (4 * 6 + 6)}
    assert parts.shared == {}


def test_a_prior_of_the_posterior_shares_its_encoder() -> None:
    assert list(of("vampprior").shared) == ["encoder"]


def test_edges_of_model_and_guide_run_in_their_own_directions() -> None:
    parts = of("iwae-2l")
    assert set(parts.edges) == {("z2", "z1"), ("z1", "x")}
    assert set(parts.guide_edges) == {("z1", "z2")}


def test_steps_of_a_sequence_are_one_site() -> None:
    z, x = of("vrnn").sites
    assert (z.name, x.name, z.steps) == ("z", "x", 6)
    assert ("z", "z") in of("vrnn").edges


def test_an_autoencoder_has_edges_though_nothing_can_be_drawn() -> None:
    parts = of("ae")
    assert parts.edges == (("z", "x"),)
    assert (parts.sites[0].model, parts.sites[0].guide) == ("ImproperUniform", "Delta")


def test_a_pair_without_latents_has_no_side_of_a_guide() -> None:
    parts = anatomy(NoLatents(), (torch.zeros(3, 4),))
    assert [site.guide for site in parts.sites] == [None]
    assert parts.phi == {}


def test_a_pair_is_left_as_it_was() -> None:
    pair = VAE(x_shape=(6,), z_dim=2, hidden=(4,))
    before = torch.get_rng_state()
    anatomy(pair, (torch.ones(3, 6),))
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.grad is None for p in pair.parameters())
