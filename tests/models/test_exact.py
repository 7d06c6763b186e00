"""What is known of pairs of the zoo on paper: subspaces, and KL terms by two ways."""

import math

import pytest
import torch
from torch import Tensor

from vaezoo.config import build_model
from vaezoo.errors import VaezooError
from vaezoo.models.autoencoders import LinearAE
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO
from vaezoo.pairs.accounting import closed_form_sites, elbo_terms
from vaezoo.pairs.sites import trace_pair
from vaezoo.parts.axes import POSTERIORS, PRIORS

FIXED = {"likelihood": {"name": "gaussian", "sigma": "fixed:1"}}


def principal(x: Tensor, number: int) -> Tensor:
    """The first principal components of rows, ``(D, number)``."""
    return torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -number:]


def largest_angle(a: Tensor, b: Tensor) -> float:
    """The largest principal angle between the spaces of columns, in radians."""
    a, b = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    sine = torch.linalg.svdvals(b - a @ (a.T @ b)).max()
    return math.asin(min(float(sine), 1.0))


def test_the_linear_autoencoder_spans_the_principal_components() -> None:
    """Baldi & Hornik 1989: every minimum has that subspace."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 8, generator=generator, dtype=torch.float64)
    x = x * torch.tensor([5.0, 4.0, 3.0, 1.0, 0.8, 0.6, 0.4, 0.2])
    x = x @ torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    pair = build_model(LinearAE, {"z_dim": 3, **FIXED}, (8,)).double()
    search = torch.optim.LBFGS(pair.parameters(), max_iter=800, line_search_fn="strong_wolfe")
    objective = ELBO()
    objective.prepare(pair, (x,))

    def closure() -> Tensor:
        search.zero_grad()
        loss = objective.loss(pair, (x,))
        loss.backward()
        return loss

    search.step(closure)
    with torch.no_grad():
        mean = pair.decoder(torch.eye(4, 3, dtype=x.dtype)).mean  # of each code, and of none
    assert largest_angle((mean[:3] - mean[3]).T, principal(x, 3)) < 1e-3


@pytest.mark.parametrize("prior", PRIORS.choices)
@pytest.mark.parametrize("posterior", POSTERIORS.choices)
def test_kl_by_draws_is_that_in_closed_form(posterior: str, prior: str) -> None:
    """Failure rate below 1e-7 for each pair that has both: the means are within 6 errors."""
    few = {"num_components": 4} if prior in ("vamp", "mog") else {}
    config = {
        "z_dim": 3,
        "hidden": [8],
        "posterior": {"name": posterior},
        "prior": {"name": prior, **few},
    }
    try:
        pair = build_model(VAEBernoulli, config, (6,))
    except VaezooError:
        pytest.skip("a combination without a meaning")
    args = ((torch.rand(6) < 0.5).float().expand(4000, 6),)
    trace = trace_pair(pair, args)
    if not closed_form_sites(trace):
        pytest.skip("no closed form")
    with torch.no_grad():
        exact = elbo_terms(pair, args, trace=trace).elbo
        by_draws = elbo_terms(pair, args, trace=trace, closed_form=()).elbo
    difference = by_draws - exact
    error = float(difference.std()) / math.sqrt(len(difference))
    assert abs(float(difference.mean())) <= 6 * error + 1e-5
