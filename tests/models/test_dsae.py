"""The disentangled sequential autoencoder: one content, and dynamics that know of themselves."""

import pytest
import torch
from pyro import poutine
from torch import Tensor

from vaezoo.models.dsae import DSAE
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.sites import Args, sample_sites, trace_pair
from vaezoo.sequences.missing import incomplete_form

LENGTH = torch.tensor([6, 1, 4])


@pytest.fixture(scope="module")
def pair() -> DSAE:
    torch.manual_seed(0)
    return DSAE(x_shape=(5,), f_dim=3, z_dim=2, hidden=8).double()


@pytest.fixture(scope="module")
def args() -> Args:
    torch.manual_seed(1)
    return torch.bernoulli(torch.full((3, 6, 5), 0.5, dtype=torch.float64)), LENGTH


def latents_of(pair: DSAE, args: Args) -> dict[str, Tensor]:
    torch.manual_seed(2)
    with torch.no_grad():
        return {name: q["value"] for name, (_, q) in trace_pair(pair, args).latents.items()}


def test_content_is_one_latent_and_dynamics_one_for_each_frame(pair: DSAE, args: Args) -> None:
    shapes = {name: value.shape for name, value in latents_of(pair, args).items()}
    assert shapes == {"f": (3, 3), **{f"z_{t}": (3, 2) for t in range(6)}}


def test_padding_changes_nothing(pair: DSAE, args: Args) -> None:
    x, length = args
    latents, there = latents_of(pair, args), torch.arange(6) < length[:, None]
    with hold(latents):
        elbos = [
            elbo_terms(pair, (torch.where(there[..., None], x, fill), length)).elbo
            for fill in (0.0, 1.0)
        ]
    torch.testing.assert_close(*elbos)


def test_density_of_the_frames_by_hand(pair: DSAE, args: Args) -> None:
    latents = latents_of(pair, args)
    z = torch.stack([latents[f"z_{t}"] for t in range(6)], 1)
    with hold(latents):
        terms = elbo_terms(pair, args)
    by_frame = pair.frames(z, latents["f"]).log_prob(args[0])
    there = torch.arange(6) < LENGTH[:, None]
    torch.testing.assert_close(terms.recon, (by_frame * there).sum(1))


@pytest.mark.parametrize(("changed", "moves"), [("f", False), ("z_0", True), ("z_3", False)])
def test_dynamics_hear_of_the_dynamics_before_alone(
    pair: DSAE, args: Args, changed: str, moves: bool
) -> None:
    latents = latents_of(pair, args)
    priors = []
    for values in (latents, {**latents, changed: latents[changed] + 1}):
        with hold(values), torch.no_grad():
            sites = sample_sites(poutine.trace(pair.model).get_trace(*args))
        priors.append(sites["z_2"]["fn"].mean)
    assert torch.equal(*priors) != moves


def test_content_hears_of_every_frame_of_its_sequence(pair: DSAE, args: Args) -> None:
    x, length = args
    for t in range(6):
        other = torch.cat([x[:, :t], 1 - x[:, t : t + 1], x[:, t + 1 :]], 1)
        with torch.no_grad():
            one, two = (pair.content(pair.read(data, length)[0]).mean for data in (x, other))
        assert torch.equal((one != two).any(1), t < length)


def test_frames_may_be_missing(pair: DSAE, args: Args) -> None:
    """What is nan counts for nothing, in a mixture of frames that are there and are not."""
    x, length = args[0].clone(), args[1]
    x[0, 1], x[2, 0, 3] = torch.nan, torch.nan
    latents = latents_of(pair, args)
    with hold(latents):
        terms = elbo_terms(incomplete_form(pair, (x, length)), (x, length))
    z = torch.stack([latents[f"z_{t}"] for t in range(6)], 1)
    entries = pair.frames(z, latents["f"]).base_dist.log_prob(args[0])
    there = (torch.arange(6) < length[:, None])[..., None] & ~x.isnan()
    torch.testing.assert_close(terms.recon, (entries * there).sum((1, 2)))
