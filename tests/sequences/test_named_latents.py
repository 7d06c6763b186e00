"""Steps with several named latents, and several observed values: the same in both forms."""

from typing import Any

import pytest
import torch
from pyro import poutine
from pyro.distributions import Categorical, Normal, TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from vaezoo import RequestError
from vaezoo.diagnostics.sequences import check_sequences
from vaezoo.engine.recurrence.planned import Planned
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.sites import trace_pair
from vaezoo.sequences import PathPair, Rollout, SequencePair
from vaezoo.sequences.unrolled import loop
from vaezoo.testing import check_pair

X = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
LENGTH = torch.tensor([5, 1, 3, 5])


def normal(h: Tensor) -> TorchDistribution:
    loc, scale = h.chunk(2, -1)
    fn: TorchDistribution = Normal(loc, softplus(scale) + 0.1).to_event(1)
    return fn


class TwoLatents(SequencePair):
    """w_t | w_{t-1} and z_t | w_t; x_t | z_t, w_t."""

    hidden = 2

    def __init__(self, *, x_shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        size = x_shape[0]
        self.pw, self.pz, self.px = nn.Linear(2, 4), nn.Linear(2, 6), nn.Linear(5, 2 * size)
        self.qw, self.qz = nn.Linear(size + 2, 4), nn.Linear(size + 4, 6)

    def prior(self, h: Tensor) -> dict[str, Any]:
        return {"w": normal(self.pw(h)), "z": lambda w: normal(self.pz(w))}

    def posterior(self, e: Tensor, h: Tensor) -> dict[str, Any]:
        e = torch.cat([e, h], -1)
        return {"w": normal(self.qw(e)), "z": lambda w: normal(self.qz(torch.cat([e, w], -1)))}

    def likelihood(self, z: dict[str, Tensor], h: Tensor) -> TorchDistribution:
        return normal(self.px(torch.cat([z["w"], z["z"]], -1)))

    def transition(self, f: Tensor, z: dict[str, Tensor], h: Tensor) -> Tensor:
        return torch.tanh(z["w"] + h)


class OtherOrder(TwoLatents):
    """A guide that draws z first."""

    def posterior(self, e: Tensor, h: Tensor) -> dict[str, Any]:
        e = torch.cat([e, h], -1)
        q_w = lambda z: normal(self.qw(e) + z.sum(-1, keepdim=True))  # noqa: E731
        return {"z": normal(self.qz(torch.cat([e, h], -1))), "w": q_w}


class SwitchingSystem(SequencePair):
    """s_t discrete, z_t | s_t, z_{t-1}."""

    hidden = 2

    def __init__(self, *, x_shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        size = x_shape[0]
        self.ps, self.pz, self.px = nn.Linear(2, 3), nn.Linear(5, 4), nn.Linear(2, 2 * size)
        self.qs, self.qz = nn.Linear(size, 3), nn.Linear(size + 5, 4)

    def prior(self, h: Tensor) -> dict[str, Any]:
        return {
            "s": Categorical(logits=self.ps(h)),
            "z": lambda s: normal(self.pz(torch.cat([h, one_hot(s, 3).float()], -1))),
        }

    def posterior(self, e: Tensor, h: Tensor) -> dict[str, Any]:
        return {
            "s": Categorical(logits=self.qs(e)),
            "z": lambda s: normal(self.qz(torch.cat([e, h, one_hot(s, 3).float()], -1))),
        }

    def likelihood(self, z: dict[str, Tensor], h: Tensor) -> TorchDistribution:
        return normal(self.px(z["z"]))

    def transition(self, f: Tensor, z: dict[str, Tensor], h: Tensor) -> Tensor:
        return z["z"]


class TwoViews(TwoLatents):
    """y_t is observed beside x_t, and the next state hears both."""

    def __init__(self, *, x_shape: tuple[int, ...] = (3,)) -> None:
        super().__init__(x_shape=x_shape)
        self.py = nn.Linear(3, 4)

    def likelihood(self, z: dict[str, Tensor], h: Tensor) -> Any:
        return {"x": super().likelihood(z, h), "y": normal(self.py(z["z"]))}

    def transition(self, f: Tensor, z: dict[str, Tensor], h: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(z["w"] + h + y)


PAIRS = (TwoLatents, OtherOrder, SwitchingSystem, TwoViews)


def made(cls: type[SequencePair]) -> tuple[SequencePair, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    y = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(1))
    return cls(), (X, LENGTH, y) if cls is TwoViews else (X, LENGTH)


@pytest.mark.parametrize("cls", PAIRS)
def test_they_keep_the_contract(cls: type[SequencePair]) -> None:
    pair, args = made(cls)
    report = check_pair(pair, args)
    assert report.ok, str(report)


@pytest.mark.parametrize("cls", PAIRS)
def test_both_forms_have_the_same_density_and_gradients(cls: type[SequencePair]) -> None:
    """On the same latents: log p - log q of each site, and what moves each parameter."""
    pair, args = made(cls)
    path = PathPair(pair)
    guide = poutine.trace(path.guide).get_trace(*args)
    whole = {name: site["value"].detach() for name, site in guide.nodes.items() if _is_site(site)}
    steps = {f"{name}_{t}": v[:, t] for name, v in whole.items() for t in range(X.shape[1])}
    sums, gradients = [], []
    for form, values in ((path, whole), (pair, steps)):
        sites: dict[str, Tensor] = {}
        for side in (form.guide, form.model):
            trace = poutine.trace(poutine.condition(side, data=values)).get_trace(*args)
            trace.compute_log_prob()
            for name, site in trace.nodes.items():
                if _is_site(site):
                    name = f"{side.__name__}/{name.split('_')[0]}"
                    sites[name] = sites.get(name, torch.zeros(4)) + site["log_prob"]
        loss = sum(value.sum() * (i + 1) for i, (_, value) in enumerate(sorted(sites.items())))
        sums.append(sites)
        gradients.append(torch.autograd.grad(loss, list(pair.parameters())))
    assert sums[0].keys() == sums[1].keys()
    for name, value in sums[0].items():
        torch.testing.assert_close(value, sums[1][name], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def _is_site(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and site["name"] != "data"


def test_what_a_loop_drew_has_the_density_of_its_conditionals() -> None:
    """The conditionals that leave the loop as parameters are those of the same path."""
    pair, args = made(TwoLatents)
    path = PathPair(pair)
    trace = poutine.trace(path.guide).get_trace(*args)
    trace.compute_log_prob()
    values = {name: trace.nodes[name]["value"].clone() for name in ("w", "z")}
    again = poutine.trace(poutine.condition(path.guide, data=values)).get_trace(*args)
    again.compute_log_prob()
    for name in values:
        ours, theirs = (t.nodes[name]["log_prob"] for t in (trace, again))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_each_latent_has_its_own_divergence() -> None:
    pair, args = made(TwoLatents)
    terms = elbo_terms(PathPair(pair), args)
    assert set(terms.kl) == {"w", "z"}
    assert {name: tuple(kl.shape) for name, kl in terms.kl_per_latent.items()} == {
        "w": (4, 2),
        "z": (4, 3),
    }


def test_whole_numbers_stay_whole_numbers() -> None:
    pair, args = made(SwitchingSystem)
    latents = trace_pair(PathPair(pair), args).latents
    assert latents["s"][1]["value"].dtype == torch.int64


def test_beside_whole_numbers_others_keep_their_gradients() -> None:
    pair, args = made(SwitchingSystem)
    latents = trace_pair(PathPair(pair), args).latents
    (gradient,) = torch.autograd.grad(latents["z"][1]["value"].sum(), pair.qz.weight)
    assert gradient.abs().sum() > 0


def test_two_latents_have_a_plan() -> None:
    """On the same path the recurrence of training gives the gradients of a plain loop."""
    pair, args = made(TwoLatents)
    recurrence, gradients = Planned(), []
    elbo_terms(PathPair(pair, recurrence), args).elbo.sum().backward()
    guide = poutine.trace(PathPair(pair).guide).get_trace(*args)
    values = {name: guide.nodes[name]["value"].detach() for name in ("w", "z")}
    for runs in (recurrence, loop):
        model = poutine.condition(PathPair(pair, runs).model, data=values)
        log_p = poutine.trace(model).get_trace(*args).log_prob_sum()
        gradients.append(torch.autograd.grad(log_p, list(pair.pz.parameters())))
    assert not recurrence.failed
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_an_analysis_has_the_paths_of_each_latent() -> None:
    pair, args = made(SwitchingSystem)
    draws = check_sequences(pair, args, num_particles=50).draws
    assert {name: tuple(value.shape) for name, value in draws.items()} == {
        "s": (400, 4, 5),
        "z": (400, 4, 5, 2),
    }


def test_what_a_model_draws_is_what_its_next_state_hears() -> None:
    pair, _ = made(TwoViews)
    rollout = Rollout(pair, pair.initial(X), {"y": torch.zeros(4, 2)})
    rollout.generate()
    assert not torch.equal(rollout.inputs["y"], torch.zeros(4, 2))


def test_names_of_prior_and_posterior_have_to_agree() -> None:
    class Other(TwoLatents):
        def posterior(self, e: Tensor, h: Tensor) -> dict[str, Any]:
            return {"w": Normal(h, 1.0).to_event(1), "v": Normal(h, 1.0).to_event(1)}

    with pytest.raises(RequestError, match=r"posterior of a step draws v and w.*prior w and z"):
        Other().guide(X, LENGTH)


def test_one_side_with_names_alone_is_refused() -> None:
    class Half(TwoLatents):
        def posterior(self, e: Tensor, h: Tensor) -> Any:
            return Normal(h, 1.0).to_event(1)

    pair = PathPair(Half())
    with pytest.raises(RequestError, match=r"prior .* a mapping .* posterior one distribution"):
        pair.guide(X, LENGTH)


def test_a_value_that_comes_later_is_named() -> None:
    class Backwards(TwoLatents):
        def prior(self, h: Tensor) -> dict[str, Any]:
            return {"z": lambda w: normal(self.pz(w)), "w": normal(self.pw(h))}

    with pytest.raises(RequestError, match="'z' of a step takes 'w'"):
        Backwards().model(X, LENGTH)


def test_what_is_observed_is_an_argument() -> None:
    class NoArgument(TwoLatents):
        def likelihood(self, z: dict[str, Tensor], h: Tensor) -> Any:
            return {"x": super().likelihood(z, h), "y": Normal(h, 1.0).to_event(1)}

    with pytest.raises(RequestError, match="observes x, y"):
        NoArgument().model(X, LENGTH)
