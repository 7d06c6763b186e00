"""Data are made up for pairs of their own widths, and the pair's own faults are told as such."""

import pyro
import pytest
import torch
from click.testing import CliRunner
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor, nn

from vaezoo import RequestError, SequencePair
from vaezoo.cli import main
from vaezoo.testing import check_class


class Pair(nn.Module):
    """Conditions ``c`` go through a layer, beside x in the guide."""

    def __init__(self, *, x_shape: tuple[int, ...], c_dim: int = 300) -> None:
        super().__init__()
        self.prior = nn.Linear(c_dim, 2)
        self.decoder, self.encoder = nn.Linear(2, *x_shape), nn.Linear(x_shape[0] + c_dim, 2)

    def model(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.prior(c), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = self.encoder(torch.cat([x, c], -1))
            pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))


class SixColumns(nn.Module):
    """For six columns, whatever ``x_shape`` is; ``seen`` says which of them count."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 6), nn.Linear(12, 2)

    def model(self, x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            site = dist.Normal(self.decoder(z), 1.0).mask(seen > 0).to_event(1)
            pyro.sample("x", site, obs=x)

    def guide(self, x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = self.encoder(torch.cat([x * seen, seen.float()], -1))
            pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))


class Weighted(nn.Module):
    """``w`` is a weight, which Pyro wants above 0."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, *x_shape), nn.Linear(*x_shape, 2)

    def model(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=w):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=w):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


class NoWidth(Pair):
    """Its conditions are words."""

    def guide(self, x: Tensor, c: Tensor) -> None:
        super().guide(x, torch.tensor([len(str(word)) for word in c.tolist()]) @ c)


class KeepsInputs(SequencePair):
    """Its model does not hand ``u`` on to the conditionals."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden, self.size = 2, x_shape[0]

    def prior(self, h: Tensor, u: Tensor) -> dist.Distribution:
        return dist.Normal(h + u.sum(-1, keepdim=True), 1.0).to_event(1)

    def posterior(self, e: Tensor, h: Tensor, u: Tensor) -> dist.Distribution:
        return dist.Normal(h, 1.0).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> dist.Distribution:
        return dist.Normal(z.mean(-1, keepdim=True).expand(-1, self.size), 1.0).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return z

    def model(self, x: Tensor, length: Tensor, u: Tensor) -> None:
        super().model(x, length)

    def guide(self, x: Tensor, length: Tensor, u: Tensor) -> None:
        super().guide(x, length)


@pytest.mark.parametrize("c_dim", [3, 300])
def test_conditions_have_the_width_of_the_layers(c_dim: int) -> None:
    check_class(Pair, settings={"c_dim": c_dim}).raise_if_failed()


class Lazy(Weighted):
    """Its lazy layer is reached by no data."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__(x_shape=x_shape)
        self.encoder = nn.LazyLinear(2)

    def guide(self, x: Tensor, w: Tensor) -> None:
        super().guide(x.reshape(-1, 99), w)


def test_what_a_lazy_pair_raises_at_first_is_told_by_its_line() -> None:
    failure = check_class(Lazy).failures[0]
    assert failure.check == "runs"
    assert "test_made_up_data.py:" in failure.where
    assert "99" in failure.what


def test_weights_are_above_zero() -> None:
    check_class(Weighted).raise_if_failed()


def test_a_pair_of_one_width_gets_it_and_is_told() -> None:
    report = check_class(SixColumns)
    report.raise_if_failed()
    assert [row.event_shape for row in report.shapes] == [(2,), (6,)]
    assert "x of shape (5,) fails" in str(report.notes[0])
    assert "(6,) is what was made up" in str(report.notes[0])


def test_a_shape_that_is_asked_for_is_the_only_one() -> None:
    with pytest.raises(RequestError, match="argument 'seen'"):
        check_class(SixColumns, x_shape=(5,))


def test_a_fault_of_the_pair_is_not_laid_on_its_argument() -> None:
    with pytest.raises(RequestError, match=r"hand all of them on, `super\(\).model"):
        check_class(KeepsInputs)


def test_where_nothing_can_be_made_up_data_are_asked_for() -> None:
    with pytest.raises(RequestError, match=r"argument 'c' \(the last try: .*\).*`data=FILE`"):
        check_class(NoWidth)


def test_the_command_names_its_flag() -> None:
    spec = f"{__file__}:SixColumns"
    result = CliRunner().invoke(main, ["check", spec, "--x-shape", "5"])
    assert result.exit_code == 2
    assert "--data FILE" in result.output
