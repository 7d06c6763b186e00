"""What losses of other libraries mean: the same gradients, and nothing that is said of no file."""

import math
from collections.abc import Callable

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Laplace, Normal
from torch.nn.functional import binary_cross_entropy, l1_loss, mse_loss

from vaezoo import explain_loss
from vaezoo.cli import main
from vaezoo.errors import RequestError
from vaezoo.recipes import RECIPES, Error, Meaning, Reduction

D, Z = 12, 3
ERRORS: dict[Error, Callable[[Tensor, Tensor], Tensor]] = {
    "mse-sum": lambda mu, x: mse_loss(mu, x, reduction="sum"),
    "mse-half": lambda mu, x: mse_loss(mu, x, reduction="sum") / 2,
    "mse-mean": mse_loss,
    "bce-sum": lambda mu, x: binary_cross_entropy(mu, x, reduction="sum"),
    "bce-mean": binary_cross_entropy,
    "l1-sum": lambda mu, x: l1_loss(mu, x, reduction="sum"),
    "l1-mean": l1_loss,
}


def density_of(meaning: Meaning, mu: Tensor) -> tuple[Distribution, float]:
    if meaning.scale is None:
        return Bernoulli(mu), meaning.beta
    return (Normal if meaning.family == "Gaussian" else Laplace)(mu, meaning.scale), 1.0


def gradients(loss: Tensor, of: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, of, retain_graph=True)])


@pytest.mark.parametrize("recon", ERRORS)
@pytest.mark.parametrize("kld", ["sum", "mean"])
def test_a_recipe_has_the_gradient_of_what_it_is_said_to_be(recon: Error, kld: Reduction) -> None:
    """But for a factor of the whole, by which no recipe differs for Adam."""
    torch.manual_seed(0)
    x = torch.bernoulli(torch.full((D,), 0.5))
    mu = torch.rand(D).clamp(0.1, 0.9).requires_grad_()
    loc = torch.randn(Z).requires_grad_()
    kl = loc.square() / 2  # of N(loc, 1) from N(0, 1), by latent
    loss = ERRORS[recon](mu, x) + 0.3 * (kl.sum() if kld == "sum" else kl.mean())
    ours = gradients(loss, (mu, loc))

    meaning = explain_loss(recon, dim=D, kld=kld, kld_weight=0.3, z_dim=Z)
    density, beta = density_of(meaning, mu)
    theirs = gradients(-density.log_prob(x).sum() + beta * kl.sum(), (mu, loc))
    torch.testing.assert_close(ours / ours.norm(), theirs / theirs.norm())


def test_a_scale_of_one_has_the_same_gradient_with_its_beta() -> None:
    meaning = explain_loss("mse-mean", dim=784)
    assert meaning.beta == pytest.approx(392)
    assert meaning.scale == pytest.approx(math.sqrt(392))


def test_nothing_gains_more_than_the_variance_of_its_elements() -> None:
    """Halves of zeros and ones have the variance 1/4, the largest in [0, 1]."""
    meaning = explain_loss("mse-half", dim=100)
    x = torch.tensor([0.0, 1.0]).repeat(50)
    gain = Normal(x, 1.0).log_prob(x).sum() - Normal(0.5, 1.0).log_prob(x).sum()
    assert meaning.most_gain == pytest.approx(float(gain))


def test_every_recipe_names_the_file_that_it_was_read_in() -> None:
    assert all(recipe.source and recipe.note for recipe in RECIPES.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "kears"}, "no recipe 'kears'; did you mean 'keras'"),
        ({"recon": "mse-sum"}, "name a `recipe`, or give `recon` and `dim`"),
        ({"recipe": "keras", "kld_weight": 0.0}, "without a KL it is an autoencoder"),
        ({"recipe": "keras", "dim": 0}, "numbers of elements, 1 or more"),
    ],
)
def test_what_makes_no_loss_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        explain_loss(**options)  # type: ignore[arg-type]


def test_the_command_says_it_in_80_columns() -> None:
    words = ["explain-loss", "--recon", "mse-mean", "--kld-weight", "0.00025", "--dim", "784"]
    result = CliRunner().invoke(main, words)
    assert "a Gaussian, sigma 0.313, beta 1" in result.stdout
    assert "vaezoo train vae-gaussian --sigma fixed:0.313" in result.stdout
    listed = CliRunner().invoke(main, ["explain-loss"]).stdout
    assert max(map(len, (result.stdout + listed).splitlines())) <= 80
