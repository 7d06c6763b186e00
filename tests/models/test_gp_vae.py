"""The Gaussian process VAE against Gaussian process regression."""

import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

from vaezoo.config import build_model
from vaezoo.models.gp_vae import GPVAE, Kernel, gram, markov_normal
from vaezoo.observations.missing import with_missing
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.registry import get_model
from vaezoo.sequences import frame_mask

C, SIGMA, SCALES = torch.tensor([[0.8, -0.5]]).double(), 0.6, torch.tensor([2.5])
LENGTH = torch.tensor([6, 4, 1])


class LinearEmission(torch.nn.Module):
    """x_t = C z_t + noise."""

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Normal(z @ C, SIGMA).to_event(1)


class Exact(GPVAE):
    """A linear decoder, and as the guide the exact posterior in the form that the pair has."""

    def posterior(self, x: Tensor, there: Tensor) -> dist.TorchDistribution:
        seen = there & ~x.isnan().any(-1)
        precision = torch.linalg.inv(covariance(there)) + torch.diag_embed(
            seen * C.square().sum() / SIGMA**2
        )
        d, a = markov_form(precision)
        scaled = (x.nan_to_num() @ C.T)[..., 0] * seen / SIGMA**2
        loc = torch.linalg.solve(precision, scaled)
        return markov_normal(loc[:, None], d[:, None], a[:, None]).to_event(1)


def covariance(there: Tensor) -> Tensor:
    """Covariance of z over time, ``(B, T, T)``; beyond the end it is independent."""
    both = there[:, :, None] & there[:, None, :]
    num_frames = there.shape[1]
    return torch.where(both, gram("matern", SCALES, num_frames), torch.eye(num_frames).double())


def markov_form(precision: Tensor) -> tuple[Tensor, Tensor]:
    """Return d and a of precisions ``(B, T, T)``, from B B^T with B upper triangular."""
    B = torch.linalg.cholesky(precision.flip(-2, -1)).flip(-2, -1)
    d = B.diagonal(dim1=-2, dim2=-1)
    above = B.diagonal(offset=1, dim1=-2, dim2=-1)
    torch.testing.assert_close(B, torch.diag_embed(d) + torch.diag_embed(above, offset=1))
    return d, torch.cat([torch.zeros_like(d[:, :1]), -above / d[:, 1:]], 1)


def evidence(x: Tensor, length: Tensor) -> Tensor:
    """log p of the entries of x that are there, ``(B,)``, by Gaussian process regression."""
    there = frame_mask(length, x.shape[1])
    joint = torch.einsum("bst,i,j->bsitj", covariance(there), C[0], C[0]).flatten(3).flatten(1, 2)
    joint = joint + SIGMA**2 * torch.eye(joint.shape[-1]).double()
    values = []
    for row, K, seen in zip(x, joint, there, strict=True):
        keep = (seen[:, None] & ~row.isnan()).flatten()
        normal = dist.MultivariateNormal(torch.zeros(int(keep.sum())).double(), K[keep][:, keep])
        values.append(normal.log_prob(row.flatten()[keep]))
    return torch.stack(values)


@pytest.fixture
def pair() -> GPVAE:
    torch.manual_seed(0)
    made = Exact(x_shape=(2,), z_dim=1, kernel="matern", length_scale=2.5, noise=0.0, hidden=8)
    made.decoder = LinearEmission()
    return made.double()


def frames(*, gap: bool) -> Tensor:
    x = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(1)).double()
    x[:2, 2] = torch.nan if gap else x[:2, 2]
    return x


def analytic_elbo(pair: GPVAE, x: Tensor) -> Tensor:
    """The ELBO ``(B,)`` with its expectation over q in closed form: x is normal given z."""
    there = frame_mask(LENGTH, x.shape[1])
    q = pair.posterior(x, there).base_dist
    seen = there & ~x.isnan().any(-1)
    at_mean = LinearEmission()(q.loc.mT).log_prob(x.nan_to_num())
    spread = 0.5 * C.square().sum() / SIGMA**2 * q.variance[:, 0]
    kl = torch.distributions.kl_divergence(q, pair.prior(there, x.dtype).base_dist)[:, 0]
    return ((at_mean - spread) * seen).sum(1) - kl


@pytest.mark.parametrize("gap", [False, True])
def test_elbo_of_the_exact_guide_is_the_evidence(pair: GPVAE, gap: bool) -> None:
    x = frames(gap=gap)
    torch.testing.assert_close(analytic_elbo(pair, x), evidence(x, LENGTH))


def test_elbo_of_another_guide_is_below_the_evidence(pair: GPVAE) -> None:
    x = frames(gap=False)
    pair.posterior = GPVAE.posterior.__get__(pair)  # type: ignore[method-assign]
    assert bool((analytic_elbo(pair, x) < evidence(x, LENGTH)).all())


def test_weights_of_the_exact_guide_are_all_the_evidence_where_frames_miss(pair: GPVAE) -> None:
    """log p(x, z) - log q(z | x) is log p(x) at any z."""
    x = frames(gap=True)
    form = with_missing(pair, (x, LENGTH))
    with torch.no_grad():
        trace = elbo_terms(form, (x, LENGTH), closed_form=())
    torch.testing.assert_close(trace.elbo, evidence(x, LENGTH))


def test_coefficients_of_the_exact_posterior_are_those_the_guide_can_have(pair: GPVAE) -> None:
    q = pair.posterior(frames(gap=False), frame_mask(LENGTH, 6)).base_dist
    d, a = markov_form(q.precision_matrix[:, 0])
    assert bool((d >= 1 - 1e-9).all())
    assert bool((a.abs() < 1).all())


@pytest.mark.parametrize(
    ("kernel", "of_lag"),
    [
        ("cauchy", lambda lag: 1 / (1 + lag**2)),
        ("rbf", lambda lag: torch.exp(-(lag**2) / 2)),
        ("matern", lambda lag: torch.exp(-lag)),
    ],
)
def test_prior_has_the_covariance_of_its_kernel(kernel: Kernel, of_lag: object) -> None:
    pair = build_model(
        get_model("gp-vae"),
        {"kernel": kernel, "length_scale": 3.0, "num_scales": 2, "z_dim": 2},
        (4,),
    )
    prior = pair.prior(torch.tensor([[True] * 5, [True] * 2 + [False] * 3]), torch.float64)
    t = torch.arange(5).double()
    for j, scale in enumerate((3.0, 1.5)):
        K = of_lag((t[:, None] - t).abs() / scale) + 1e-3 * torch.eye(5)  # type: ignore[operator]
        torch.testing.assert_close(prior.base_dist.covariance_matrix[0, j], K)
        shorter = torch.block_diag(K[:2, :2], torch.eye(3))
        torch.testing.assert_close(prior.base_dist.covariance_matrix[1, j], shorter)


def test_neighbours_of_the_guide_correlate_by_the_coefficient() -> None:
    d, a = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([9.0, 0.5, -0.8])
    S = markov_normal(torch.zeros(3), d, a).covariance_matrix
    torch.testing.assert_close(S[0, 0], torch.tensor(1.0))
    torch.testing.assert_close(S[1, 1], torch.tensor(0.5**2 + 1 / 4))
    torch.testing.assert_close(S[2, 1], -0.8 * S[1, 1])
    torch.testing.assert_close(S[2, 0], torch.tensor(-0.8 * 0.5))


def test_a_diagonal_guide_has_no_correlations() -> None:
    pair = build_model(get_model("gp-vae"), {"posterior": "diagonal", "z_dim": 2}, (4,))
    S = pair.posterior(torch.rand(3, 5, 4), frame_mask(torch.tensor([5, 2, 1]), 5)).base_dist
    torch.testing.assert_close(S.covariance_matrix, torch.diag_embed(S.variance))
