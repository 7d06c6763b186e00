"""Particle filters, against linear-Gaussian sequences whose answers are known."""

import math
from collections.abc import Callable

import pytest
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from vaezoo import RequestError
from vaezoo.inference.filtering import Filtered, free_running, particle_filter
from vaezoo.models.vae_linear import VAELinear
from vaezoo.models.vrnn import VRNN
from vaezoo.pairs.accounting import log_weights
from vaezoo.pairs.sites import Args
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import SequencePair, Side
from vaezoo.testing.sequence_pairs import KalmanPair, damped_rotation

ANCHOR = -60.282481


class Drift(SequencePair):
    """A model without latents: N(x_t; x_{t-1}, I)."""

    has_latents = False
    hidden = 3

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        return dist.Normal(h, 1.0).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return f


MODEL, X = damped_rotation()
LENGTHS = torch.tensor([20, 1, 7, 13])


def copies(num: int, frames: int = 20) -> Args:
    """The seeded sequence several times."""
    return X[:, :frames].repeat(num, 1, 1), torch.full((num,), frames)


def ragged() -> Args:
    """Sequences of several lengths, with nonsense behind their ends."""
    x = MODEL.C @ torch.randn(4, 20, 2, 1, dtype=torch.float64)
    return torch.where((torch.arange(20) < LENGTHS[:, None])[..., None], x[..., 0], 99.0), LENGTHS


def small_vrnn() -> VRNN:
    return VRNN(x_shape=(4,), z_dim=2, hidden=8)


# The exact guide


def test_path_elbo_of_the_exact_guide_is_the_log_evidence() -> None:
    args = ragged()
    weights = log_weights(training_form(KalmanPair(MODEL)), args, 5)
    exact = MODEL.log_evidence(*args).expand(5, 4)
    torch.testing.assert_close(weights, exact, atol=1e-9, rtol=0)


def test_seeded_elbo_of_the_exact_guide() -> None:
    weights = log_weights(training_form(KalmanPair(MODEL)), copies(1), 1)
    assert float(weights) == pytest.approx(ANCHOR, abs=1e-6)


@pytest.mark.parametrize("num_particles", [1, 7])
def test_exact_guide_without_resampling_gives_the_log_evidence(num_particles: int) -> None:
    args = ragged()
    filtered = particle_filter(KalmanPair(MODEL), args, num_particles, threshold=0)
    exact = MODEL.log_evidence(*args)
    torch.testing.assert_close(filtered.log_evidence, exact, atol=1e-9, rtol=0)


def test_exact_guide_ends_with_equal_weights() -> None:
    args = ragged()
    filtered = particle_filter(KalmanPair(MODEL), args, 7, threshold=0)
    last = filtered.ess.gather(1, (LENGTHS - 1).unsqueeze(1))
    torch.testing.assert_close(last, torch.full_like(last, 7.0))


def test_a_batch_of_one_equals_a_batch_of_many() -> None:
    x, length = ragged()
    whole = particle_filter(KalmanPair(MODEL), (x, length), 3, threshold=0).log_evidence
    rows = [
        particle_filter(KalmanPair(MODEL), (row[None], n[None]), 3, threshold=0).log_evidence
        for row, n in zip(x, length, strict=True)
    ]
    torch.testing.assert_close(whole, torch.cat(rows))


def test_paths_of_the_exact_guide_are_the_smoother() -> None:
    """Means of 4,000 equal weights, within 6 standard errors; failure rate below 1e-6."""
    args = copies(1)
    filtered = particle_filter(KalmanPair(MODEL), args, 4000, threshold=0, keep_paths=True)
    exact = MODEL.smoothed(*args)
    assert filtered.paths is not None
    error = (filtered.paths.mean(1) - exact.mean).abs() / exact.sd
    assert float(error.max()) < 6 / math.sqrt(4000)


# What the filter estimates


# Not the smoother's: reading ahead it is narrower than what a filter aims at, so that its weights
# at single frames have heavy tails, and means of them no standard error.
PROPOSALS = {
    "filter": (KalmanPair(MODEL, look_ahead=False), "posterior"),
    "prior": (KalmanPair(MODEL), "prior"),
}


@pytest.mark.parametrize(("pair", "proposal"), PROPOSALS.values(), ids=PROPOSALS)
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_evidence_is_unbiased(pair: KalmanPair, proposal: Side, threshold: float) -> None:
    """Mean of Z / p(x) over 2,000 filters is 1 within 6 standard errors.

    Failure rate below 1e-6; 8 frames of small values, where no draw decides the mean alone.
    """
    x, length = copies(2000, frames=8)
    args = (0.2 * x, length)
    filtered = particle_filter(pair, args, 30, threshold=threshold, proposal=proposal)
    ratio = (filtered.log_evidence - MODEL.log_evidence(*args)).exp()
    error = float(ratio.std()) / math.sqrt(2000)
    assert error < 0.03
    assert abs(float(ratio.mean()) - 1) < 6 * error


@pytest.mark.parametrize(("pair", "proposal"), PROPOSALS.values(), ids=PROPOSALS)
def test_bound_rises_to_the_evidence(pair: KalmanPair, proposal: Side) -> None:
    """The gap shrinks tenfold from 5 to 50 and to 500 particles, or nearly so.

    The bound is never above log p(x) by 4 standard errors: failure rate 1e-4 for each number.
    """
    args = copies(200)
    exact, gaps = MODEL.log_evidence(*args), []
    for num_particles in (5, 50, 500):
        gap = exact - particle_filter(pair, args, num_particles, proposal=proposal).log_evidence
        assert float(gap.mean()) > -4 * float(gap.std()) / math.sqrt(200)
        gaps.append(float(gap.mean()))
    assert gaps[0] > 4 * gaps[1]
    assert gaps[1] > 4 * gaps[2]


def test_resampling_raises_the_bound() -> None:
    """FIVO against IWAE with the filter's guide, 10 particles; failure rate below 1e-6."""
    pair, args = KalmanPair(MODEL, look_ahead=False), copies(400)
    fivo = particle_filter(pair, args, 10).log_evidence
    iwae = particle_filter(pair, args, 10, threshold=0).log_evidence
    error = float((fivo.var() + iwae.var()).sqrt()) / math.sqrt(400)
    assert float(fivo.mean() - iwae.mean()) > 4 * error


def test_resampling_costs_a_guide_that_reads_ahead() -> None:
    """Its bound is exact without, and with it 0.09 nats lower, 7 standard errors."""
    args = copies(2000)
    gap = MODEL.log_evidence(*args) - particle_filter(KalmanPair(MODEL), args, 5).log_evidence
    assert float(gap.mean()) > 2 * float(gap.std()) / math.sqrt(2000)


@pytest.mark.parametrize(("pair", "proposal"), PROPOSALS.values(), ids=PROPOSALS)
def test_moments_are_those_of_the_kalman_filter(pair: KalmanPair, proposal: Side) -> None:
    """20 filters with 2,000 particles; frames where the effective number is 200 or more.

    0.1 sd is then more than 6 standard errors. The sequence has two frames that the prior did not
    expect, and is left with 10 and 20 particles.
    """
    args = copies(20)
    filtered = particle_filter(pair, args, 2000, proposal=proposal)
    exact = MODEL.filtered(*args)
    usable = filtered.ess.median(0).values >= 200
    assert int(usable.sum()) >= 17
    error = (filtered.mean.mean(0) - exact.mean[0]).abs() / exact.sd[0]
    assert float(error[usable].max()) < 0.1
    assert float((filtered.sd.mean(0) / exact.sd[0] - 1)[usable].abs().max()) < 0.1


def test_paths_of_the_filter_are_the_smoother_near_its_end() -> None:
    """The last three frames, whose paths are many; 0.1 sd is more than 6 standard errors."""
    args = copies(10)
    pair = KalmanPair(MODEL, look_ahead=False)
    filtered = particle_filter(pair, args, 2000, keep_paths=True)
    assert filtered.paths is not None
    w = filtered.log_weights.exp()[..., None, None]
    mean, exact = (w * filtered.paths).sum(1).mean(0), MODEL.smoothed(*args)
    error = (mean - exact.mean[0]).abs() / exact.sd[0]
    assert float(error[-3:].max()) < 0.1


def test_paths_begin_with_few_ancestors() -> None:
    filtered = particle_filter(KalmanPair(MODEL), copies(1), 200, proposal="prior", keep_paths=True)
    assert filtered.paths is not None
    first, last = (len(filtered.paths[0, :, t].unique(dim=0)) for t in (0, -1))
    assert first < last == 200


def test_bad_proposal_has_few_effective_particles() -> None:
    """A guide that is off by ten standard deviations."""
    good = particle_filter(KalmanPair(MODEL, look_ahead=False), copies(1), 100).ess
    bad = particle_filter(KalmanPair(MODEL, look_ahead=False, shift=3.0), copies(1), 100).ess
    assert float(good.median()) > 50
    assert float(bad.median()) < 10


def test_effective_sample_size_is_between_one_and_k() -> None:
    filtered = particle_filter(KalmanPair(MODEL), copies(20), 30, proposal="prior")
    assert float(filtered.ess.min()) >= 1 - 1e-9
    assert float(filtered.ess.max()) <= 30 + 1e-9


# One particle, no resampling, no latents


def test_one_particle_is_a_draw_of_the_elbo() -> None:
    """Means of 4,000 draws within 6 standard errors; failure rate below 1e-6."""
    pair, args = KalmanPair(MODEL, shift=0.1), copies(4000, frames=5)
    elbo = log_weights(training_form(pair), args, 1)[0]
    log_evidence = particle_filter(pair, args, 1).log_evidence
    error = float((elbo.var() + log_evidence.var()).sqrt()) / math.sqrt(4000)
    assert abs(float(elbo.mean() - log_evidence.mean())) < 6 * error


def test_one_particle_always_has_ess_one() -> None:
    filtered = particle_filter(small_vrnn(), vrnn_args(), 1)
    assert torch.equal(filtered.ess[~filtered.ess.isnan()], torch.ones(15, dtype=torch.float64))


def test_threshold_zero_is_the_importance_weighted_bound() -> None:
    """Means over 2,000 copies within 6 standard errors; failure rate below 1e-6."""
    pair, args = KalmanPair(MODEL, look_ahead=False), copies(2000, frames=5)
    iwae = log_weights(training_form(pair), args, 10).logsumexp(0) - math.log(10)
    log_evidence = particle_filter(pair, args, 10, threshold=0).log_evidence
    error = float((iwae.var() + log_evidence.var()).sqrt()) / math.sqrt(2000)
    assert abs(float(iwae.mean() - log_evidence.mean())) < 6 * error


@pytest.mark.parametrize("num_particles", [1, 50])
def test_without_latents_the_evidence_is_exact(num_particles: int) -> None:
    x, length = torch.randn(4, 20, 3), LENGTHS
    before = torch.cat([torch.zeros(4, 1, 3), x[:, :-1]], 1)
    steps = dist.Normal(before, 1.0).to_event(1).log_prob(x)
    exact = (steps * (torch.arange(20) < length[:, None])).sum(1)
    filtered = particle_filter(Drift(), (x, length), num_particles)
    torch.testing.assert_close(filtered.log_evidence.float(), exact)
    assert set(filtered.ess[~filtered.ess.isnan()].tolist()) == {num_particles}


# Padding, chunks, requests


def vrnn_args(padding: float = 0.0, num_frames: int = 6) -> Args:
    draw = torch.Generator().manual_seed(1)
    length = torch.tensor([6, 1, 3, 5])
    x = torch.bernoulli(torch.full((4, 6, 4), 0.5), generator=draw)
    x = torch.where((torch.arange(6) < length[:, None])[..., None], x, padding)
    return torch.cat([x, torch.full((4, num_frames - 6, 4), padding)], 1), length


def filtered(args: Args) -> Filtered:
    torch.manual_seed(0)
    return particle_filter(small_vrnn(), args, 20, threshold=1.0, keep_paths=True)


@pytest.mark.parametrize("field", ["log_evidence", "ess", "mean", "sd", "log_weights", "paths"])
def test_padding_changes_nothing(field: str) -> None:
    one, two = getattr(filtered(vrnn_args()), field), getattr(filtered(vrnn_args(1.0)), field)
    assert one.shape[0] == 4
    torch.testing.assert_close(one, two, atol=0, rtol=0, equal_nan=True)


def test_more_padding_changes_nothing() -> None:
    one, two = filtered(vrnn_args()), filtered(vrnn_args(num_frames=9))
    assert two.ess.shape == (4, 9)
    assert torch.equal(one.log_evidence, two.log_evidence)


def test_values_behind_the_length_are_nan() -> None:
    result, behind = filtered(vrnn_args()), torch.arange(6) >= vrnn_args()[1][:, None]
    assert torch.equal(result.ess.isnan(), behind)
    assert torch.equal(result.log_predictive.isnan(), behind)
    assert torch.equal(result.mean.isnan().all(-1), behind)


def test_parts_of_the_evidence_add_up_to_it() -> None:
    result = filtered(vrnn_args())
    torch.testing.assert_close(result.log_predictive.nansum(1), result.log_evidence)


def test_chunks_change_nothing_for_the_exact_guide() -> None:
    args = ragged()
    whole = particle_filter(KalmanPair(MODEL), args, 6, threshold=0)
    parts = particle_filter(KalmanPair(MODEL), args, 6, threshold=0, max_rows=13)
    torch.testing.assert_close(whole.log_evidence, parts.log_evidence)
    assert parts.ess.shape == whole.ess.shape


class Impossible(KalmanPair):
    """Frames that no particle can explain."""

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        return dist.Uniform(z.new_full((len(z), 3), 50.0), 51.0, validate_args=False).to_event(1)


def test_what_is_impossible_has_no_evidence() -> None:
    filtered = particle_filter(Impossible(MODEL), copies(2), 5)
    assert filtered.log_evidence.tolist() == [-math.inf, -math.inf]
    assert bool(filtered.mean.isfinite().all())


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "no sequences": (
        lambda: particle_filter(VAELinear(x_shape=(3,)), copies(1), 5),
        "a particle filter needs sequences, and VAELinear takes no argument 'length'",
    ),
    "no particles": (
        lambda: particle_filter(KalmanPair(MODEL), copies(1), 0),
        "1 particle or more",
    ),
    "threshold": (
        lambda: particle_filter(KalmanPair(MODEL), copies(1), 5, threshold=2),
        "a share of the particles",
    ),
    "prefix": (lambda: free_running(KalmanPair(MODEL), copies(1), 5, prefix=-1), "a prefix >= 0"),
}


@pytest.mark.parametrize(("request_", "message"), BAD.values(), ids=BAD)
def test_bad_requests(request_: Callable[[], object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        request_()


# Free-running prediction


def marginals(prefix: int) -> Tensor:
    """log p(x_t | x_1 ... x_s) of the seeded sequence for t > s, ``(T - s,)``."""
    if prefix:
        seen = MODEL.filtered(X, torch.tensor([20]))
        m, P = seen.mean[0, prefix - 1], seen.covariance[0, prefix - 1]
        m, P = MODEL.A @ m, MODEL.A @ P @ MODEL.A.T + MODEL.Q
    else:
        m, P = MODEL.m0, MODEL.P0
    found = []
    for t in range(prefix, 20):
        S = MODEL.C @ P @ MODEL.C.T + MODEL.R
        found.append(torch.distributions.MultivariateNormal(MODEL.C @ m, S).log_prob(X[0, t]))
        m, P = MODEL.A @ m, MODEL.A @ P @ MODEL.A.T + MODEL.Q
    return torch.stack(found)


@pytest.mark.parametrize("prefix", [0, 1, 12])
def test_free_running_is_prediction_from_the_prefix(prefix: int) -> None:
    """10 estimates with 4,000 particles; 0.1 nats is more than 6 standard errors of their mean."""
    scores = free_running(KalmanPair(MODEL, look_ahead=False), copies(10), 4000, prefix=prefix)
    assert bool(scores[:, :prefix].isnan().all())
    difference = scores[:, prefix:].mean(0) - marginals(prefix)
    assert float(difference.abs().max()) < 0.1


def test_free_running_does_not_see_the_future() -> None:
    """A guide that reads ahead reads the prefix only."""
    x, length = copies(1)
    other = torch.cat([x[:, :10], x[:, 10:] + 5.0], 1)
    values = []
    for frames in (x, other):
        torch.manual_seed(0)
        frames = torch.cat([frames[:, :10], x[:, 10:11], frames[:, 11:]], 1)
        values.append(free_running(KalmanPair(MODEL), (frames, length), 50, prefix=10)[0, 10])
    assert torch.equal(*values)


def test_free_running_without_latents_feeds_back_its_own_frames() -> None:
    """A random walk from the last frame given: variance 1 + t. Failure rate below 1e-6."""
    x = torch.randn(1, 8, 3)
    scores = free_running(Drift(), (x, torch.tensor([8])), 20_000, prefix=4)[0, 4:]
    sd = torch.arange(1.0, 5).sqrt()[:, None]
    exact = dist.Normal(x[0, 3], sd).log_prob(x[0, 4:]).sum(-1)
    torch.testing.assert_close(scores.float(), exact, atol=0.2, rtol=0)
