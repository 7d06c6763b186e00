"""A pair is checked on its user's data, as training checks it."""

from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from click.testing import CliRunner
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError, evaluate, fit
from vaezoo.cli import main
from vaezoo.models.vae_linear import VAELinear
from vaezoo.testing import check_class, check_pair

ROWS = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


class OfWidth(nn.Module):
    """A pair for conditions of any width, in the hundreds as well."""

    def __init__(self, *, x_shape: tuple[int, ...], c_dim: int = 300) -> None:
        super().__init__()
        self.prior = nn.Linear(c_dim, 2)
        self.decoder, self.encoder = nn.Linear(2, *x_shape), nn.Linear(*x_shape, 2)

    def model(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.prior(c), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


class Overflows(VAELinear):
    """Finite on small data only."""

    def model(self, x: Tensor) -> None:
        super().model(x.exp().log())


class Planar(VAELinear):
    """A flow that cannot be inverted knows the density of its last draw alone."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__(x_shape=x_shape, z_dim=2)
        self.flow = nn.ModuleList([dist.transforms.Planar(2), dist.transforms.Planar(2)])
        self.loc = nn.Linear(x_shape[0], 2)

    def guide(self, x: Tensor) -> None:
        loc = self.loc(x)
        with pyro.plate("data", len(x)):
            base = dist.Normal(loc, 0.5).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, list(self.flow)))


class PlanarOfBatch(Planar):
    """Its guide looks at the other rows."""

    def guide(self, x: Tensor) -> None:
        super().guide(x - x.mean(0))


def test_what_such_a_flow_begins_with_goes_by_rows() -> None:
    assert [failure.check for failure in check_class(PlanarOfBatch).failures] == ["rows"]


def test_a_flow_of_its_own_draws_only_is_checked_and_trained() -> None:
    check_class(Planar).raise_if_failed()
    run = fit(Planar, ROWS, training={"steps": 2})
    assert run.info["status"] == "finished"
    assert len(evaluate(run, iwae=[2]).iwae) == 1


def test_conditions_are_those_of_the_data() -> None:
    data = {"x": ROWS, "c": np.ones((30, 300), np.float32)}
    report = check_class(OfWidth, data=data)
    assert report.ok
    assert report.arguments == "x observed (4 float32); c condition (300 float32)"


def test_an_instance_is_checked_on_data() -> None:
    assert check_pair(VAELinear(x_shape=(4,)), data=ROWS).ok


def test_check_and_training_say_the_same_of_data() -> None:
    report = check_class(Overflows, data=ROWS * 1e3)
    assert [failure.check for failure in report.failures] == ["finite"]
    with pytest.raises(RequestError) as refusal:
        fit(Overflows, ROWS * 1e3)
    assert str(refusal.value) == str(report.failures[0])


def test_either_a_batch_or_data_are_given() -> None:
    with pytest.raises(RequestError, match="either a batch, `args`, or `data`"):
        check_pair(VAELinear(x_shape=(4,)), (torch.ones(3, 4),), data=ROWS)


def test_command_takes_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    result = CliRunner().invoke(main, ["check", "vae-linear", "--data", str(tmp_path / "rows.npy")])
    assert result.exit_code == 0
    assert "x observed (4 float32)\n" in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--standardize"], "--standardize is about data; name them with --data"),
        (["--data", "digits", "--x-shape", "3"], "--x-shape is of made-up data"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["check", "vae-linear", *words])
    assert result.exit_code == 2
    assert says in result.output
