"""A mixture whose density is a product of matrices, against that of torch."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vaezoo.distributions.mixture_of_normals import MixtureOfNormals


@pytest.fixture(params=[1.0, 1e-4])
def arguments(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor]:
    """Five components in three dimensions; of standard deviations about 1, and very small ones."""
    torch.manual_seed(0)
    return torch.randn(5), 3 * torch.randn(5, 3), request.param * (0.5 + torch.rand(5, 3))


def of_torch(arguments: tuple[Tensor, Tensor, Tensor]) -> MixtureSameFamily:
    logits, loc, scale = (tensor.double() for tensor in arguments)
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))


def test_density_is_that_of_torch(arguments: tuple[Tensor, Tensor, Tensor]) -> None:
    fn = MixtureOfNormals(*arguments)
    z = fn.expand((7, 2)).sample()
    exact = of_torch(arguments).log_prob(z.double())
    torch.testing.assert_close(fn.log_prob(z), exact.float(), rtol=1e-5, atol=1e-4)


def test_moments_are_those_of_torch(arguments: tuple[Tensor, Tensor, Tensor]) -> None:
    fn, exact = MixtureOfNormals(*arguments).expand((2,)), of_torch(arguments)
    torch.testing.assert_close(fn.mean, exact.mean.float().expand(2, 3))
    torch.testing.assert_close(fn.variance, exact.variance.float().expand(2, 3))


def test_draws_have_the_moments(arguments: tuple[Tensor, Tensor, Tensor]) -> None:
    """Failure rate below 1e-6: six standard errors of 20,000 draws."""
    fn = MixtureOfNormals(*arguments)
    z = fn.expand((20_000,)).sample()
    assert bool(((z.mean(0) - fn.mean).abs() < 6 * (fn.variance / len(z)).sqrt()).all())


def test_one_value_in_a_batch_has_a_density_for_each_row() -> None:
    fn = MixtureOfNormals(torch.zeros(2), torch.zeros(2, 3), torch.ones(2, 3)).expand((4,))
    assert fn.log_prob(torch.zeros(3)).shape == (4,)
