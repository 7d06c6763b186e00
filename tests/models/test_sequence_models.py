"""Models of the zoo written as one step: their forms, padding, rows, feedback, and their guides.

All in float64, so that what should be equal is equal to ten digits.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, linear

from vaezoo.config import build_model, schema
from vaezoo.models.dmm import FLOOR, GatedTransition
from vaezoo.objectives import ELBO
from vaezoo.observations.predictions import prior_predictive
from vaezoo.pairs.accounting import Terms, elbo_terms
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, Site, run_guide, sample_sites, trace_pair
from vaezoo.registry import get_model, list_models
from vaezoo.sequences.paths import PathPair
from vaezoo.sequences.sequence_pair import SequencePair
from vaezoo.testing import made_up_batch

X_SHAPE = (4,)
SMALL = {"z_dim": 3, "a_dim": 2, "hidden": 8, "transition_hidden": 5, "emission_hidden": 6}
NAMES = [name for name in list_models() if issubclass(get_model(name), SequencePair)]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NAMES),
    ("vrnn", {"prior": "static"}),
    ("vrnn-lstm", {"prior": "static", "layers": 1}),
    ("srnn", {"residual": False}),
]

every_pair = pytest.mark.parametrize("pair", CASES, ids=str, indirect=True)


def made(name: str, **settings: Any) -> SequencePair:
    cls = get_model(name)
    small = {key: value for key, value in SMALL.items() if key in schema(cls).model_fields}
    torch.manual_seed(0)
    pair = build_model(cls, {**small, **settings}, X_SHAPE).double()
    assert isinstance(pair, SequencePair)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return pair


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> SequencePair:
    name, settings = request.param
    return made(name, **settings)


def batch(pair: SequencePair) -> tuple[Tensor, Tensor]:
    """Seven sequences of 1 to 6 frames that the pair can explain."""
    torch.manual_seed(1)
    x, length = made_up_batch(pair.float(), X_SHAPE)
    pair.double()
    return x.double(), length


def values(pair: nn.Module, args: Args) -> dict[str, Tensor]:
    """Draws of the latents."""
    torch.manual_seed(2)
    with torch.no_grad():
        return {name: site["value"] for name, site in guide_sites(pair, args).items()}


def guide_sites(pair: nn.Module, args: Args) -> dict[str, Site]:
    return sample_sites(run_guide(pair, args))


def terms_at(pair: nn.Module, args: Args, latents: dict[str, Tensor]) -> Terms:
    torch.manual_seed(3)
    with hold(latents):
        return elbo_terms(pair, args)


def gradient(loss: Tensor, pair: nn.Module) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, list(pair.parameters()), allow_unused=True)


# The two forms


def loss_and_gradient(form: nn.Module, args: Args) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    objective = ELBO()
    objective.prepare(form, args)
    torch.manual_seed(4)
    loss = objective.loss(form, args)
    return loss, gradient(loss, form)


@every_pair
def test_a_site_per_path_trains_as_a_site_per_step_does(pair: SequencePair) -> None:
    args = batch(pair)
    by_step, by_path = loss_and_gradient(pair, args), loss_and_gradient(PathPair(pair), args)
    torch.testing.assert_close(by_path, by_step, rtol=1e-9, atol=1e-10)


def densities(pair: nn.Module, args: Args, latents: dict[str, Tensor]) -> list[Tensor]:
    """Return log p(z), log p(x | z) and log q(z | x)."""
    with hold(latents), torch.no_grad():
        trace = trace_pair(pair, args)
    sides = zip(*trace.latents.values(), strict=True) if latents else ()
    groups = [*sides, trace.observed.values()]
    return [torch.stack([log_density(site) for site in sites]).sum(0) for sites in groups]


@every_pair
def test_both_forms_have_the_same_densities(pair: SequencePair) -> None:
    args = batch(pair)
    latents = values(pair, args)
    names = dict.fromkeys(name.partition("_")[0] for name in latents)
    path = {n: torch.stack([latents[f"{n}_{t}"] for t in range(6)], 1) for n in names}
    by_step, by_path = densities(pair, args, latents), densities(PathPair(pair), args, path)
    torch.testing.assert_close(by_path, by_step, rtol=1e-9, atol=1e-10)


# Padding, rows, lengths


def other_padding(x: Tensor, length: Tensor) -> Args:
    padding = torch.arange(x.shape[1]) >= length[:, None]
    return torch.where(padding[..., None], 1 - x, x), length


def longer_padding(x: Tensor, length: Tensor) -> Args:
    return torch.cat([x, 1 - x[:, :3]], 1), length


@every_pair
@pytest.mark.parametrize("change", [other_padding, longer_padding])
def test_padding_changes_neither_loss_nor_gradient(
    pair: SequencePair, change: Callable[[Tensor, Tensor], Args]
) -> None:
    args = batch(pair)
    latents = values(pair, args)
    losses = [terms_at(pair, batch, latents).elbo for batch in (args, change(*args))]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-9, atol=1e-10)
    gradients = [gradient(loss.sum(), pair) for loss in losses]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-10)


@every_pair
def test_a_batch_of_one_equals_a_batch_of_many(pair: SequencePair) -> None:
    x, length = batch(pair)
    latents = values(pair, (x, length))
    together = terms_at(pair, (x, length), latents)
    for b in range(len(x)):
        row = {name: value[b : b + 1] for name, value in latents.items()}
        alone = terms_at(pair, (x[b : b + 1], length[b : b + 1]), row)
        torch.testing.assert_close(alone.recon[0], together.recon[b])
        torch.testing.assert_close(alone.elbo[0], together.elbo[b])


@every_pair
@pytest.mark.parametrize("form", [lambda pair: pair, PathPair], ids=["steps", "path"])
def test_sequences_of_one_frame(
    pair: SequencePair, form: Callable[[SequencePair], nn.Module]
) -> None:
    x, _ = batch(pair)
    loss = -elbo_terms(form(pair), (x[:, :1], torch.ones(len(x), dtype=torch.int64))).elbo.sum()
    gradients = [grad for grad in gradient(loss, pair) if grad is not None]
    assert bool(torch.isfinite(loss))
    assert gradients
    assert all(bool(torch.isfinite(grad).all()) for grad in gradients)


# Feedback


@every_pair
def test_predictions_do_not_see_the_data(pair: SequencePair) -> None:
    x, length = batch(pair)
    predictions = []
    for data in (x, 1 - x):
        torch.manual_seed(5)
        predictions.append(prior_predictive(pair, (data, length))["x"])
    assert torch.equal(*predictions)
    assert not torch.equal(predictions[0][:, 0], predictions[0][:, 1])


@every_pair
def test_what_is_drawn_is_what_the_next_step_is_given(pair: SequencePair) -> None:
    """The densities of a draw are those of the same sequence when it is observed."""
    x, length = batch(pair)
    length = torch.full_like(length, x.shape[1])
    with torch.no_grad():
        prediction = poutine.trace(poutine.uncondition(pair.model)).get_trace(x, length)
        sites = sample_sites(prediction)
        frames = torch.stack([sites[f"x_{t}"]["value"] for t in range(x.shape[1])], 1)
        with hold({name: site["value"] for name, site in sites.items()}):
            observed = poutine.trace(pair.model).get_trace(frames, length)
    for name, site in sample_sites(observed).items():
        torch.testing.assert_close(log_density(site), log_density(sites[name]))


@pytest.mark.parametrize(
    ("name", "fed_back"), [("vrnn", True), ("srnn", True), ("storn", True), ("dmm", False)]
)
def test_frames_reach_the_next_step_beside_the_latents(name: str, fed_back: bool) -> None:
    pair = made(name)
    x, length = batch(pair)
    latents = values(pair, (x, length))
    other = torch.cat([1 - x[:, :1], x[:, 1:]], 1)
    means = []
    for data in (x, other):
        with hold(latents), torch.no_grad():
            means.append(poutine.trace(pair.model).get_trace(data, length).nodes["x_1"]["fn"].mean)
    assert torch.equal(*means) != fed_back


# What the guide sees


@pytest.mark.parametrize(
    ("name", "smooths"), [("vrnn", False), ("storn", False), ("srnn", True), ("dmm", True)]
)
@pytest.mark.parametrize("t", [0, 2])
def test_who_looks_at_frames_to_come(name: str, smooths: bool, t: int) -> None:
    pair = made(name)
    x, length = batch(pair)
    x, length = x[length == 6], length[length == 6]
    latents = values(pair, (x, length))
    other = torch.cat([x[:, : t + 1], 1 - x[:, t + 1 :]], 1)
    means = []
    for data in (x, other):
        with hold(latents), torch.no_grad():
            means.append(guide_sites(pair, (data, length))[f"z_{t}"]["fn"].mean)
    assert torch.equal(*means) != smooths


@pytest.mark.parametrize("name", ["vrnn", "storn", "srnn", "dmm"])
def test_every_guide_looks_at_its_own_frame(name: str) -> None:
    pair = made(name)
    x, length = batch(pair)
    latents = values(pair, (x, length))
    other = torch.cat([1 - x[:, :1], x[:, 1:]], 1)
    means = []
    for data in (x, other):
        with hold(latents), torch.no_grad():
            means.append(guide_sites(pair, (data, length))["z_0"]["fn"].mean)
    assert bool((means[0] != means[1]).any(1).all())


# One by one


def test_density_of_the_rnn_by_hand() -> None:
    pair = made("rnn")
    x, length = batch(pair)
    h, by_hand = torch.zeros(len(x), 8).double(), torch.zeros(len(x)).double()
    for t in range(x.shape[1]):
        probability = pair.likelihood(h[:, :0], h).base_dist.logits.sigmoid()
        losses = binary_cross_entropy(probability, x[:, t], reduction="none").sum(1)
        by_hand = by_hand - losses * (t < length)
        h = pair.gru(pair.phi_x(x[:, t]), h)
    torch.testing.assert_close(elbo_terms(pair, (x, length)).recon, by_hand)


def test_elbo_of_the_rnn_is_its_density() -> None:
    terms = elbo_terms(pair := made("rnn"), batch(pair))
    assert torch.equal(terms.elbo, terms.recon)
    assert not terms.kl


@pytest.mark.parametrize(("name", "settings"), [("vrnn", {"prior": "static"}), ("storn", {})])
def test_static_prior_is_standard_normal_at_every_step(name: str, settings: dict[str, str]) -> None:
    pair = made(name, **settings)
    args = batch(pair)
    for site in (p for p, _ in trace_pair(pair, args).latents.values()):
        by_hand = -0.5 * (site["value"].square() + torch.log(torch.tensor(2 * torch.pi))).sum(1)
        torch.testing.assert_close(site["fn"].log_prob(site["value"]), by_hand)


def test_prior_of_the_vrnn_knows_the_past() -> None:
    pair = made("vrnn")
    x, length = batch(pair)
    sites = [trace_pair(pair, (data, length)).latents["z_1"][0] for data in (x, 1 - x)]
    assert not torch.equal(sites[0]["fn"].mean, sites[1]["fn"].mean)


def test_memory_of_the_srnn_is_the_same_in_guide_and_model() -> None:
    """What ``encode`` reads with all frames at once is what ``transition`` makes step by step."""
    pair = made("srnn")
    x, length = batch(pair)
    read: list[Tensor] = []
    handle = pair.smoother.register_forward_hook(lambda _, args, out: read.append(args[0]))
    pair.encode(x, torch.full_like(length, x.shape[1]))
    handle.remove()
    d = torch.stack(read, 1).flip(1)[..., : pair.hidden]
    h, z = pair.initial(x), torch.randn(len(x), 3).double()
    for t in range(x.shape[1]):
        torch.testing.assert_close(d[:, t], h[:, : pair.hidden])
        h = pair.transition(pair.embed(x[:, t]), z, h)
        torch.testing.assert_close(h[:, pair.hidden :], z)


@pytest.mark.parametrize("residual", [True, False])
def test_guide_of_the_srnn_corrects_the_prior(residual: bool) -> None:
    pair = made("srnn", residual=residual)
    h, e = torch.randn(5, 11).double(), torch.randn(5, 8).double()
    nu, tau = pair.encoder.head(pair.encoder.net(torch.cat([e, h[:, 8:]], 1)))
    loc = nu + pair.prior(h).mean if residual else nu
    torch.testing.assert_close(pair.posterior(e, h).mean, loc)
    torch.testing.assert_close(pair.posterior(e, h).stddev, tau)


def test_storn_feeds_frame_and_latent_to_one_network() -> None:
    """g_t = GRU([x_{t-1}, z_t], g_{t-1}), and p(x_t | g_t)."""
    pair = made("storn")
    x, z = batch(pair)[0], torch.randn(7, 2, 3).double()
    g = torch.zeros(7, 8).double()
    h, before = pair.initial(x), torch.zeros_like(x[:, 0])
    for t in range(2):
        g = pair.generator(torch.cat([before, z[:, t]], 1), g)
        logits = pair.likelihood(z[:, t], h).base_dist.logits
        torch.testing.assert_close(logits, pair.decoder.logits(g))
        h, before = pair.transition(x[:, t], z[:, t], h), x[:, t]


def test_gated_transition_by_hand() -> None:
    """Krishnan et al. 2017: mu = (1 - g)(W z + b) + g m, sigma^2 = softplus(V relu(m) + v)."""
    net, z = GatedTransition(3, 5).double(), torch.randn(7, 3).double()

    def two_layers(one: nn.Linear, two: nn.Linear) -> Tensor:
        return linear(linear(z, one.weight, one.bias).clamp(min=0), two.weight, two.bias)

    g = 1 / (1 + (-two_layers(net.gate[0], net.gate[2])).exp())
    m = two_layers(net.proposal[0], net.proposal[2])
    variance = (net.variance(m.clamp(min=0)).exp() + 1).log() + FLOOR**2
    torch.testing.assert_close(net(z).mean, (1 - g) * z + g * m)  # W is the identity at first
    torch.testing.assert_close(net(z).variance, variance)


def test_first_latent_of_the_dmm_is_learned() -> None:
    pair = made("dmm")
    x, length = batch(pair)
    assert torch.equal(pair.initial(x)[3], pair.z_before)
    (grad,) = torch.autograd.grad(elbo_terms(pair, (x, length)).elbo.sum(), pair.z_before)
    assert bool((grad != 0).all())


def test_guide_of_the_dmm_combines_past_and_future() -> None:
    pair = made("dmm")
    z, r = torch.randn(7, 3).double(), torch.randn(7, 8).double()
    combined = 0.5 * (torch.tanh(z @ pair.combiner.weight.T + pair.combiner.bias) + r)
    torch.testing.assert_close(pair.posterior(r, z).mean, pair.encoder.head.loc(combined))
