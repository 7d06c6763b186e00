"""Scouts: they find what the guide misses, in any dimension, and do not rest on it."""

import pytest
import torch
from torch import Tensor

from vaezoo.inference.proposals import scout
from vaezoo.inference.scouts import FEWEST_ARRIVED, Scouts, ScoutSettings
from vaezoo.testing.pairs import SquaresPair

NARROW = ScoutSettings(patience=1)


def sent(size: int, settings: ScoutSettings | None = None, noise: float = 0.1) -> Scouts:
    """Return scouts of 6 data whose modes lie at z_1 = -1.5 and 1.5."""
    x = torch.randn(6, size, generator=torch.Generator().manual_seed(size))
    x[:, 0] = 2.25
    return scout(SquaresPair(noise), (x,), settings=settings)


@pytest.mark.parametrize("size", [2, 10, 30])
def test_both_modes_are_found(size: int) -> None:
    """48 starts, each in a mode at random: fewer than 8 in one of 12 in 1 of 10,000 cases."""
    found = sent(size).found
    assert found.shape == (2, 6)
    assert int(found.min()) >= 8


def test_modes_are_where_they_are() -> None:
    first = sent(10).clusters.loc[:, :, 0]
    torch.testing.assert_close(first.abs(), torch.full_like(first, 1.5), atol=0.05, rtol=0)
    assert bool((first[0] * first[1] < 0).all())


def test_scouts_do_not_need_a_guide() -> None:
    alone = sent(10, ScoutSettings(from_guide=0, around_guide=0))
    assert alone.draws.shape[1] == 48
    assert int(alone.found.min()) >= 8  # failure rate 1e-4, as above


def test_more_are_sent_where_few_arrive() -> None:
    """A posterior 10,000 times narrower than its prior; a first way is too short for most."""
    once, again = (sent(2, settings, noise=3e-5) for settings in (NARROW, None))
    settings = ScoutSettings()
    assert float(once.arrived(NARROW).median()) < FEWEST_ARRIVED
    assert float(again.arrived(settings).median()) > FEWEST_ARRIVED


def test_data_are_replaced_one_by_one() -> None:
    one, other = sent(2), sent(2, ScoutSettings(from_prior=48, num_warmup=50))
    rows = torch.tensor([1, 4])
    mixed = one.with_data(rows, _rows(other, rows))
    torch.testing.assert_close(mixed.draws[:, :, [0, 2, 3, 5]], one.draws[:, :, [0, 2, 3, 5]])
    torch.testing.assert_close(mixed.draws[:, :, rows], other.draws[:, :, rows])
    torch.testing.assert_close(mixed.clusters.loc[:, rows], other.clusters.loc[:, rows])


def test_more_modes_make_room_for_themselves() -> None:
    one, rows = sent(2), torch.tensor([0])
    single = one._padded(4)
    mixed = one.with_data(rows, _rows(single, rows))
    assert mixed.found.shape == (4, 6)
    assert int(mixed.found.sum()) == int(one.found.sum())


def test_as_many_data_at_once_as_fit() -> None:
    settings = ScoutSettings()
    sizes = [settings.data_at_once(number) for number in (1, 20, 200, 5000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def _rows(scouts: Scouts, rows: Tensor) -> Scouts:
    """Return scouts of some data."""
    values = [value.index_select(dim, rows) for value, dim in scouts._values()]
    draws, log_joint, label, size, loc, factor, found = values
    return Scouts(draws, log_joint, type(scouts.clusters)(label, size, loc, factor), found)
