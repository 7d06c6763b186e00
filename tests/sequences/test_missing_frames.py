"""Sequences with missing frames and entries, against the Kalman filter and against each other."""

import math

import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

from vaezoo.errors import RequestError
from vaezoo.inference.filtering import particle_filter
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.vrnn import VRNN
from vaezoo.pairs.accounting import log_weight, log_weights
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.sites import trace_pair
from vaezoo.sequences import SequencePair
from vaezoo.sequences.missing import incomplete_form
from vaezoo.sequences.paths import training_form

NAN = math.nan
LENGTH = torch.tensor([6, 4, 5])


@pytest.fixture
def x() -> Tensor:
    """Sequences with missing entries, and a frame of the first that is missing as a whole."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 3, generator=generator)
    x[torch.rand(3, 6, 3, generator=generator) < 0.3] = NAN
    x[0, 2] = NAN
    return torch.where(frame_mask(LENGTH, 6).unsqueeze(-1), x, 0.0)


@pytest.fixture
def lgssm() -> LGSSM:
    torch.manual_seed(0)
    return LGSSM(x_shape=(3,), z_dim=2).eval()


def dense(pair: LGSSM, row: Tensor) -> Tensor:
    """Return log p of what is there in a sequence, from the covariance of all its frames."""
    model, steps = pair.exact(), len(row)
    L, means, blocks = len(model.m0), [], {}
    P = model.P0
    for t in range(steps):
        P = model.A @ P @ model.A.T + model.Q if t else P
        blocks[t, t] = P
        for later in range(t + 1, steps):
            blocks[later, t] = model.A @ blocks[later - 1, t]
        means.append(torch.zeros(L, dtype=torch.float64))
    full = torch.cat(
        [
            torch.cat([blocks[s, t] if s >= t else blocks[t, s].T for t in range(steps)], 1)
            for s in range(steps)
        ]
    )
    C = torch.block_diag(*[model.C] * steps)
    covariance = C @ full @ C.T + torch.block_diag(*[model.R] * steps)
    there = ~row.flatten().isnan()
    mean = torch.as_tensor(model.d).repeat(steps)
    normal = torch.distributions.MultivariateNormal(mean[there], covariance[there][:, there])
    return normal.log_prob(row.flatten()[there].double())


def test_kalman_filter_leaves_out_what_is_missing(lgssm: LGSSM, x: Tensor) -> None:
    exact = torch.stack([dense(lgssm, row[:end]) for row, end in zip(x, LENGTH, strict=True)])
    assert torch.allclose(lgssm.exact().log_evidence(x, LENGTH), exact, atol=1e-9)


def test_kalman_smoother_goes_through_missing_frames(lgssm: LGSSM, x: Tensor) -> None:
    moments = lgssm.exact().smoothed(x, LENGTH)
    filtered = lgssm.exact().filtered(x, LENGTH)
    assert moments.mean[0].isfinite().all()
    assert (moments.sd[0, 2] <= filtered.sd[0, 2]).all()


def test_complete_sequences_keep_their_evidence(lgssm: LGSSM, x: Tensor) -> None:
    whole = torch.cat([x, torch.ones(1, 6, 3)])
    length = torch.cat([LENGTH, torch.tensor([6])])
    alone = lgssm.exact().log_evidence(whole[3:], length[3:])
    assert torch.allclose(lgssm.exact().log_evidence(whole, length)[3:], alone)


def test_particle_filter_estimates_the_density_of_what_is_there(lgssm: LGSSM, x: Tensor) -> None:
    """The estimate of log p has a standard error below 0.02 nats: 5 of them fail once in 1e6."""
    torch.manual_seed(0)
    pair = incomplete_form(lgssm, (x, LENGTH))
    estimate = particle_filter(pair, (x, LENGTH), 20_000, proposal="prior").log_evidence
    exact = lgssm.exact().log_evidence(x, LENGTH)
    assert torch.allclose(estimate.double(), exact, atol=0.1)


def test_importance_weights_estimate_it_too(lgssm: LGSSM, x: Tensor) -> None:
    """The same bound by importance weights of short sequences, 5 standard errors of 0.04."""
    torch.manual_seed(0)
    short = x[:, :2], LENGTH.clamp(max=2)
    log_w = log_weights(training_form(incomplete_form(lgssm, short)), short, 20_000).double()
    estimate = log_w.logsumexp(0) - math.log(20_000)
    assert torch.allclose(estimate, lgssm.exact().log_evidence(*short), atol=0.2)


@pytest.mark.parametrize("cls", [LGSSM, VRNN])
def test_path_and_steps_agree(cls: type[SequencePair], x: Tensor) -> None:
    torch.manual_seed(0)
    x = torch.where(x.isnan(), x, (x > 0).float())
    pair = cls(x_shape=(3,), z_dim=2)
    steps = incomplete_form(pair, (x, LENGTH))
    paths = training_form(steps)
    z = trace_pair(paths, (x, LENGTH)).latents["z"][1]["value"].detach()
    with hold({"z": z}):
        trace = trace_pair(paths, (x, LENGTH))
    with hold({f"z_{t}": z[:, t] for t in range(6)}):
        by_step = trace_pair(steps, (x, LENGTH))
    assert torch.allclose(log_weight(by_step), log_weight(trace), atol=1e-5)
    parameters = list(pair.parameters())
    ours = torch.autograd.grad(log_weight(trace).sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad(log_weight(by_step).sum(), parameters, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-4)


def test_what_is_missing_does_not_matter(lgssm: LGSSM, x: Tensor) -> None:
    """The density is that of a sequence which ends before its missing frames."""
    cut = x[:1].clone()
    cut[:, 3:] = NAN
    exact = lgssm.exact()
    six, three = torch.tensor([6]), torch.tensor([3])
    assert torch.allclose(exact.log_evidence(cut, six), exact.log_evidence(cut[:, :3], three))
    log_w = []
    for frames, length in ((cut, six), (cut[:, :3], three)):
        torch.manual_seed(0)
        pair = incomplete_form(lgssm, (frames, length))
        log_w.append(particle_filter(pair, (frames, length), 5, proposal="prior").log_evidence)
    assert torch.isfinite(torch.stack(log_w)).all()


def test_a_pair_of_one_step_stays_one(lgssm: LGSSM, x: Tensor) -> None:
    assert isinstance(incomplete_form(lgssm, (x, LENGTH)), SequencePair)
    assert incomplete_form(lgssm, (x.nan_to_num(), LENGTH)) is lgssm


class Joint(LGSSM):
    def likelihood(self, z: Tensor, h: Tensor) -> torch.distributions.Distribution:  # type: ignore[override]
        return dist.MultivariateNormal(self.emission(z), torch.eye(3))


def test_joint_frames_are_missing_as_wholes_only(x: Tensor) -> None:
    pair = Joint(x_shape=(3,), z_dim=2)
    whole = torch.where(x.isnan().any(-1, keepdim=True), NAN, x)
    incomplete_form(pair, (whole, LENGTH))
    with pytest.raises(RequestError, match="its elements are not independent"):
        incomplete_form(pair, (x, LENGTH))


class Steered(SequencePair):
    """z_t = u_t + noise, seen through noise."""

    hidden = 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def prior(self, h: Tensor, u: Tensor) -> dist.Independent:
        return dist.Normal(self.gain * u, 1.0).to_event(1)

    def posterior(self, e: Tensor, h: Tensor, u: Tensor) -> dist.Independent:
        return dist.Normal(0.5 * (e + u), 0.5**0.5).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> dist.Independent:
        return dist.Normal(z, 1.0).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return z


def test_steps_with_further_arguments_take_gaps_too() -> None:
    """Weights of one frame: 20,000 draws, whose mean has an error below 0.01 of p(x)."""
    torch.manual_seed(0)
    u = torch.randn(2, 4, 1)
    x = torch.randn(2, 4, 1)
    x[:, 1] = NAN
    args = x, torch.tensor([4, 4]), u
    pair = incomplete_form(Steered(), args)
    log_w = log_weights(training_form(pair), args, 20_000)
    estimate = log_w.logsumexp(0) - math.log(20_000)
    seen = dist.Normal(u, 2**0.5).log_prob(x.nan_to_num())[:, [0, 2, 3]]
    assert torch.allclose(estimate, seen.sum((1, 2)), atol=0.1)


def test_a_condition_of_a_step_cannot_be_missing() -> None:
    u = torch.full((2, 4, 1), NAN)
    with pytest.raises(RequestError, match="'u' has missing entries"):
        incomplete_form(Steered(), (torch.randn(2, 4, 1), torch.tensor([4, 4]), u))
