"""State space models whose inner latents are summed out, against what they stand for.

All in float64.
"""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vaezoo.exact.kalman import KalmanModel
from vaezoo.models.kvae import KVAE
from vaezoo.models.slds import FLOOR, SLDS
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import trace_pair
from vaezoo.sequences import SequencePair

LENGTH = torch.tensor([6, 1, 4])


def kvae(num_matrices: int) -> KVAE:
    torch.manual_seed(0)
    pair = KVAE(x_shape=(5,), a_dim=2, z_dim=3, num_matrices=num_matrices, hidden=8).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return pair


def codes() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 6, 2, dtype=torch.float64)


def log_prior(pair: SequencePair, name: str, values: Tensor) -> Tensor:
    """Return log p of latents ``(B, T, L)`` up to the length of each sequence, ``(B,)``."""
    x = torch.zeros(*values.shape[:2], 5, dtype=values.dtype)
    with hold({f"{name}_{t}": values[:, t] for t in range(values.shape[1])}), torch.no_grad():
        trace = trace_pair(pair, (x, LENGTH))
    return torch.stack([log_density(p) for p, _ in trace.latents.values()]).sum(0)


def joint(model: KalmanModel, row: int, num_frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the covariance of all z ``(T * L,)``, all C as one matrix, and all noise of a."""
    size = len(model.m0)
    lower = torch.eye(num_frames * size, dtype=torch.float64)
    for t in range(1, num_frames):
        before, now = (slice(s * size, (s + 1) * size) for s in (t - 1, t))
        lower[now, : t * size] = model.A[row, t] @ lower[before, : t * size]
    noise = torch.block_diag(model.P0, *[model.Q] * (num_frames - 1))
    C = torch.block_diag(*model.C[row, :num_frames])
    return lower @ noise @ lower.T, C, torch.block_diag(*[model.R] * num_frames)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_codes_of_the_kvae_have_the_density_of_the_joint_gaussian(row: int) -> None:
    pair, a = kvae(num_matrices=3), codes()
    num_frames = int(LENGTH[row])
    covariance, C, noise = joint(pair.dynamics(a), row, num_frames)
    flat = a[row, :num_frames].flatten()
    exact = torch.distributions.MultivariateNormal(flat * 0, C @ covariance @ C.T + noise)
    torch.testing.assert_close(log_prior(pair, "a", a)[row], exact.log_prob(flat))


def test_codes_of_the_kvae_have_the_evidence_of_their_kalman_filter() -> None:
    pair, a = kvae(num_matrices=3), codes()
    exact = pair.dynamics(a).log_evidence(a, LENGTH)
    torch.testing.assert_close(log_prior(pair, "a", a), exact)


def test_a_kvae_of_one_matrix_is_a_linear_state_space_model() -> None:
    """Fixed emissions: what no LSTM changes."""
    pair, a = kvae(num_matrices=1), codes()
    steps = pair.dynamics(a)
    fixed = KalmanModel(pair.A[0], steps.Q, pair.C[0], steps.R, steps.m0, steps.P0)
    torch.testing.assert_close(log_prior(pair, "a", a), fixed.log_evidence(a, LENGTH).detach())


@pytest.mark.parametrize("row", [0, 1, 2])
def test_inner_latents_of_the_kvae_have_the_posterior_of_the_joint_gaussian(row: int) -> None:
    pair, a = kvae(num_matrices=3), codes()
    num_frames, model = int(LENGTH[row]), pair.dynamics(a)
    covariance, C, noise = joint(model, row, num_frames)
    gain = torch.linalg.solve(C @ covariance @ C.T + noise, C @ covariance).T
    moments = model.smoothed(a, LENGTH)
    mean = gain @ a[row, :num_frames].flatten()
    sd = (covariance - gain @ C @ covariance).diagonal().sqrt()
    torch.testing.assert_close(moments.mean[row, :num_frames].flatten(), mean)
    torch.testing.assert_close(moments.sd[row, :num_frames].flatten(), sd)


# Switches


def slds(num_regimes: int) -> SLDS:
    torch.manual_seed(0)
    pair = SLDS(x_shape=(5,), z_dim=2, num_regimes=num_regimes, hidden=8).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return pair


def enumerated(pair: SLDS, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p(z) of a path ``(T, L)``, and p(s_t | z) ``(T, K)``, over all K^T switches."""
    K, T = len(pair.first), len(z)
    paths = torch.cartesian_prod(*[torch.arange(K)] * T).reshape(-1, T)
    log_p = pair.first.log_softmax(0)[paths[:, 0]]
    scale = [(log_var.exp() + FLOOR**2).sqrt() for log_var in (pair.log_v, pair.log_q)]
    for t in range(T):
        s = paths[:, t]
        loc = pair.A[s] @ z[t - 1] + pair.b[s] if t else pair.m[s]
        log_p = log_p + torch.distributions.Normal(loc, scale[t > 0][s]).log_prob(z[t]).sum(-1)
        if t:
            log_p = log_p + pair.switching.log_softmax(-1)[paths[:, t - 1], s]
    share = one_hot(paths, K).double() * log_p.softmax(0)[:, None, None]
    return log_p.logsumexp(0).detach(), share.sum(0).detach()


@pytest.mark.parametrize("num_regimes", [1, 2, 3])
def test_switches_are_summed_out_as_by_enumeration(num_regimes: int) -> None:
    pair, z = slds(num_regimes), codes()
    exact = [enumerated(pair, z[row, :n])[0] for row, n in enumerate(LENGTH.tolist())]
    torch.testing.assert_close(log_prior(pair, "z", z), torch.stack(exact))


def test_regimes_of_each_step_are_those_of_enumeration() -> None:
    """K^T = 3^8 paths."""
    torch.manual_seed(2)
    pair, z, length = slds(3), torch.randn(2, 8, 2, dtype=torch.float64), torch.tensor([8, 5])
    ours = pair.switches(z, length)
    for row, n in enumerate(length.tolist()):
        torch.testing.assert_close(ours[row, :n], enumerated(pair, z[row, :n])[1])
    assert bool(ours[1, 5:].isnan().all())
