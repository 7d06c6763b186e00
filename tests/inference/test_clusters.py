"""Clusters of chains: modes that lie apart, whatever their number, shape and company."""

import math

import pytest
import torch
from torch import Tensor

from vaezoo.inference.clusters import cluster, is_settled, pooled_covariance

SETTLED = torch.ones(32, 1, dtype=torch.bool)


def chains(
    centres: Tensor, *, number: int = 32, length: int = 20, size: int = 2, seed: int = 0
) -> Tensor:
    """Return independent chains around centres ``(K, L)``, one after the other, ``(S, N, 1, L)``.

    Chains wander: their means differ by as much as an sd, as those of short chains do.
    """
    draw = torch.Generator().manual_seed(seed)
    loc = centres[torch.arange(number) % len(centres)]
    mean = loc + 0.5 * torch.randn(number, size, generator=draw)
    return (mean + torch.randn(length, number, size, generator=draw)).unsqueeze(2)


@pytest.mark.parametrize("size", [1, 2, 20, 50])
@pytest.mark.parametrize("number", [1, 2, 8])
def test_modes_are_counted(size: int, number: int) -> None:
    """Modes 20 sds apart; 50 seeds of each were right. Failure rate below 1e-2 for each."""
    centres = torch.zeros(number, size)
    centres[:, 0] = 20.0 * torch.arange(number)
    clusters = cluster(chains(centres, size=size), SETTLED)
    assert int((clusters.size > 0).sum()) == number
    assert clusters.size[:number, 0].tolist() == [32 / number] * number


def test_distance_between_modes_does_not_widen_them() -> None:
    near, far = (
        cluster(chains(torch.tensor([[0.0, 0.0], [gap, 0.0]])), SETTLED) for gap in (30.0, 3000.0)
    )
    widths = [c.factor[:2].diagonal(dim1=-2, dim2=-1) for c in (near, far)]
    torch.testing.assert_close(widths[0], widths[1], rtol=1e-3, atol=0)
    assert (
        float(pooled_covariance(chains(torch.tensor([[0.0, 0.0], [3e3, 0.0]])), SETTLED).max()) < 3
    )


def test_moments_of_a_mode_are_those_of_its_chains() -> None:
    draws = chains(torch.tensor([[0.0, 0.0], [40.0, -7.0]]))
    clusters = cluster(draws, SETTLED)
    means = {(round(float(a), 3), round(float(b), 3)) for a, b in clusters.loc[:2, 0]}
    expected = (draws[:, i::2].mean((0, 1, 2)) for i in (0, 1))
    assert means == {(round(float(a), 3), round(float(b), 3)) for a, b in expected}


def test_members_are_counted_by_where_they_started() -> None:
    centres = torch.tensor([[0.0, 0.0], [40.0, 0.0]])
    clusters = cluster(chains(centres), SETTLED)
    assert clusters.members_of(slice(0, 6))[:2, 0].tolist() == [3, 3]


def test_what_hangs_or_hops_is_in_no_mode() -> None:
    draws = chains(torch.zeros(1, 2))
    log_joint = -0.5 * draws.square().sum(-1)
    log_joint[:, 3] -= 500  # hangs
    draws[::2, 5] += 40  # hops
    settled = is_settled(draws, log_joint)
    assert settled[:, 0].logical_not().nonzero().flatten().tolist() == [3, 5]
    label = cluster(draws, settled).label[:, 0]
    assert label[[3, 5]].tolist() == [1, 1]


def test_all_may_hop() -> None:
    """A posterior of modes that are close: chains that go between them say how it is."""
    draws = chains(torch.zeros(1, 2))
    draws[::2] += 8
    assert bool(is_settled(draws, torch.zeros(20, 32, 1)).all())


def test_each_datum_is_clustered_by_itself() -> None:
    one = chains(torch.zeros(1, 2))
    two = chains(torch.tensor([[0.0, 0.0], [40.0, 0.0]]))
    both = cluster(torch.cat([one, two], 2), SETTLED.expand(-1, 2))
    alone = cluster(two, SETTLED)
    assert (both.size > 0).sum(0).tolist() == [1, 2]
    torch.testing.assert_close(both.factor[:, 1], alone.factor[:, 0])


def test_chains_that_stand_still_have_a_shape() -> None:
    still = torch.zeros(20, 32, 1, 3)
    clusters = cluster(still, SETTLED)
    assert bool(clusters.factor.isfinite().all())
    assert math.isfinite(float(clusters.factor[0, 0].diagonal().log().sum()))


def test_chains_none_of_which_has_settled_have_a_metric_all_the_same() -> None:
    draws = torch.randn(6, 8, 2, 3, generator=torch.Generator().manual_seed(0))
    covariance = pooled_covariance(draws, torch.zeros(8, 2, dtype=torch.bool))
    assert torch.equal(covariance, torch.diag_embed(covariance.diagonal(dim1=1, dim2=2)))
    assert (covariance.diagonal(dim1=1, dim2=2) > 0).all()
