"""How many threads a step gets."""

import pytest
import torch

from vaezoo.runtime import threads
from vaezoo.runtime.threads import count_flops, threads_for


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine whose torch has four threads; what it was set to since."""
    chosen = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return chosen


@pytest.mark.parametrize(("units", "expected"), [(0, 1), (0.9, 1), (2.5, 2), (4, 4), (1e9, 4)])
def test_a_step_gets_as_many_threads_as_it_keeps_busy(
    units: float, expected: int, four_threads: list[int]
) -> None:
    with threads_for(int(units * threads.FLOPS_PER_THREAD)):
        assert four_threads[-1] == expected
    assert four_threads[-1] == 4


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_choice_of_the_user_stands(
    name: str, four_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "3")
    with threads_for(0):
        assert four_threads == [4]


def test_threads_are_set_back_after_a_failure(four_threads: list[int]) -> None:
    with pytest.raises(ValueError, match="no"), threads_for(0):
        raise ValueError("no")
    assert four_threads[-1] == 4


def test_operations_are_counted() -> None:
    """A product of (m, k) and (k, n) takes 2 m k n."""
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    assert count_flops(lambda: a @ b) == 2 * 3 * 4 * 5
    assert count_flops(lambda: a + 1) == 0


def test_operations_inside_functions_of_torch_are_counted() -> None:
    """A product takes 2 B x in x out forward, and again for the gradient of its weight."""
    layer, x = torch.nn.Linear(4, 5), torch.ones(3, 4)
    assert count_flops(lambda: layer(x).sum().backward()) == 4 * 3 * 4 * 5
