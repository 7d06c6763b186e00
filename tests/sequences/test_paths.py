"""A path is a distribution of whole sequences: drawn once, and run through once."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, kl_divergence

from vaezoo import RequestError
from vaezoo.pairs.plates import total_log_density
from vaezoo.pairs.sites import run_guide, sample_sites, trace_pair
from vaezoo.sequences import PathPair, as_sequence_pair, training_form
from vaezoo.sequences.unrolled import Step, by_rows, loop
from vaezoo.testing.pairs import LinearPair
from vaezoo.testing.sequence_pairs import LinearRecurrence

Args = tuple[Tensor, Tensor]


def batch(seed: int) -> Args:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 5, 1, generator=generator), torch.tensor([5, 1, 3])


def log_joint(form: nn.Module, args: Args, z: Tensor) -> Tensor:
    model = poutine.condition(form.model, {"z": z})  # type: ignore[arg-type]
    return total_log_density(sample_sites(poutine.trace(model).get_trace(*args)).values())


@pytest.fixture
def path() -> TorchDistribution:
    site: Any = run_guide(PathPair(LinearRecurrence()), batch(0)).nodes["z"]
    fn: TorchDistribution = site["fn"]
    return fn


def test_shapes_and_support_are_those_of_a_step_for_all_steps() -> None:
    trace = trace_pair(PathPair(LinearRecurrence()), batch(0))
    for site in (*trace.latents["z"], *trace.observed.values()):
        assert (site["fn"].batch_shape, site["fn"].event_shape) == ((3,), (5, 1))
        assert isinstance(site["fn"].support, constraints.independent)
        assert site["fn"].support.event_dim == 2


@pytest.mark.parametrize("site", ["z", "x"])
def test_it_stays_with_its_sequences(site: str) -> None:
    fn: Any = trace_pair(PathPair(LinearRecurrence()), batch(0)).model.nodes[site]["fn"]
    assert fn.expand((3,)) is fn
    with pytest.raises(NotImplementedError, match="belongs to the sequences"):
        fn.expand((4, 3))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda path: path.sample((2,)), "a path is drawn once"),
        (lambda path: path.mean, "the mean of a path is known for its first step only"),
    ],
)
def test_what_a_path_does_not_have_is_said(
    path: TorchDistribution, ask: Callable[[TorchDistribution], object], says: str
) -> None:
    with pytest.raises(NotImplementedError, match=says):
        ask(path)


def test_no_kl_of_a_path_that_was_not_drawn() -> None:
    """Pyro then takes the difference of the densities."""
    prior: Any = trace_pair(PathPair(LinearRecurrence()), batch(0)).model.nodes["z"]["fn"]
    prior.walk.unrolled = None
    with pytest.raises(NotImplementedError, match="no path was drawn"):
        kl_divergence(prior, prior)


def test_guide_and_model_go_through_time_once() -> None:
    steps: list[str] = []

    def counting(step: Step, inputs: Sequence[Tensor], h: Tensor) -> tuple[Tensor, list[Tensor]]:
        steps.append(step.kind)
        return loop(step, inputs, h)

    trace_pair(PathPair(LinearRecurrence(), counting), batch(0))
    assert steps == ["posterior"]


def test_a_path_that_no_model_took_is_forgotten() -> None:
    form, z = PathPair(LinearRecurrence()), torch.randn(3, 5, 1)
    run_guide(form, batch(0))
    left_over = log_joint(form, batch(1), z)
    torch.testing.assert_close(left_over, log_joint(PathPair(LinearRecurrence()), batch(1), z))


def test_rows_are_ordered_by_step() -> None:
    x = torch.arange(12).reshape(3, 2, 2)
    assert torch.equal(by_rows(x), torch.cat([x[:, 0], x[:, 1]]))


def test_only_what_is_written_as_one_step_has_another_form() -> None:
    pair = LinearPair()
    assert training_form(pair) is pair
    with pytest.raises(RequestError, match="a forecast needs a sequence pair"):
        as_sequence_pair(pair, "a forecast")
