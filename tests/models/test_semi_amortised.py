"""A guide that is refined for each datum, where the best one is known exactly."""

import pytest
import torch
from torch import Tensor, nn

import vaezoo
from vaezoo.exact.linear_gaussian import LinearGaussian
from vaezoo.models.semi_amortised import SemiAmortised
from vaezoo.parts.likelihoods.real import Gaussian
from vaezoo.parts.networks import DecoderNet
from vaezoo.testing.pairs import CORRELATED


def linear_pair(steps: int) -> SemiAmortised:
    """A decoder W z of correlated columns with sigma 0.5, and an encoder that knows nothing."""

    def likelihood(net: DecoderNet) -> nn.Module:
        return Gaussian(net, sigma="fixed:0.5")

    torch.manual_seed(0)
    pair = SemiAmortised(
        x_shape=(4,), z_dim=2, hidden=(), refine_steps=steps, likelihood=likelihood
    )
    with torch.no_grad():
        for parameter in pair.decoder.parameters():
            parameter.copy_(CORRELATED) if parameter.dim() == 2 else parameter.zero_()
        for parameter in [*pair.loc.parameters(), *pair.log_sigma.parameters()]:
            parameter.mul_(0.1)
    return pair.double()


def gap(steps: int) -> Tensor:
    """log p(x) minus the ELBO of the refined guide, ``(3,)`` in nats."""
    pair, x = linear_pair(steps), torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():
        q = pair.refined(x, pair.loc(x), pair.log_sigma(x))
        elbo = pair.elbo(x, *q)  # exact: log p(x | z) is quadratic in z
    return LinearGaussian(CORRELATED, torch.zeros(4).double(), 0.5).log_prob(x) - elbo


def test_steps_fall_to_the_gap_of_the_best_diagonal_guide() -> None:
    gaps = torch.stack([gap(steps) for steps in range(12)])
    least = LinearGaussian(CORRELATED, torch.zeros(4).double(), 0.5).mean_field_gap()
    assert bool((gaps.diff(dim=0) < 0).all())
    assert torch.allclose(gap(400), torch.full((3,), least, dtype=torch.float64), atol=1e-6)


def test_the_encoder_is_trained_through_all_steps() -> None:
    """Its gradient is that of the bound at the last step, by differences."""
    pair, x = linear_pair(3), torch.randn(3, 4, dtype=torch.float64)
    start = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)

    def bound(loc: Tensor) -> Tensor:
        return pair.elbo(x, *pair.refined(x, loc, torch.zeros_like(loc))).sum()

    assert torch.autograd.gradcheck(bound, (start,))


def test_what_is_asked_of_a_run_has_the_refined_guide() -> None:
    pair, x = linear_pair(8).float(), torch.randn(40, 4)
    run = vaezoo.fit(pair, x.numpy(), training={"steps": 1, "lr": 1e-9})
    codes = vaezoo.encode(run, split="all")["z"]
    with torch.no_grad():
        loc, _ = pair.refined(x, pair.loc(x), pair.log_sigma(x))
    assert codes == pytest.approx(loc.numpy(), abs=1e-4)
