"""Pieces cover all rows, and what is joined is what was cut."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vaezoo.pairs.pieces import (
    in_pieces,
    join,
    join_sequences,
    rows_at_once,
    slices,
    split_rows,
)


@dataclass(frozen=True)
class Result:
    """By draw and datum, by datum, one that may be left out, and a number."""

    latents: dict[str, Tensor]
    acceptance: Tensor
    paths: Tensor | None
    seconds: float


@pytest.mark.parametrize(("number", "size"), [(1, 1), (5, 2), (6, 2), (3, 10)])
def test_slices_cover_each_row_once(number: int, size: int) -> None:
    pieces = slices(number, size)
    assert [i for piece in pieces for i in range(number)[piece]] == list(range(number))
    assert all(piece.stop - piece.start <= size for piece in pieces)
    assert pieces[-1].stop == number


def test_split_rows_are_the_rows() -> None:
    args = (torch.arange(10).reshape(5, 2), torch.arange(5))
    parts = list(split_rows(args, 2))
    assert all(torch.equal(a, b) for a, b in zip(join(parts), args, strict=True))


def test_what_is_joined_is_what_was_cut() -> None:
    whole = Result({"z": torch.rand(3, 7, 2)}, torch.rand(7), None, 6.0)
    parts = [
        Result({"z": whole.latents["z"][:, s]}, whole.acceptance[s], None, 2.0)
        for s in slices(7, 3)
    ]
    joined = join(parts, dims={"latents": 1})
    assert torch.equal(joined.latents["z"], whole.latents["z"])
    assert torch.equal(joined.acceptance, whole.acceptance)
    assert (joined.paths, joined.seconds) == (None, 6.0)


def test_function_in_pieces_is_that_of_all_rows() -> None:
    values = torch.rand(11, 3)
    tensor, named = in_pieces(lambda x: (x.sum(1), {"twice": 2 * x}), values, 4)
    assert torch.equal(tensor, values.sum(1))
    assert torch.equal(named["twice"], 2 * values)


def test_draws_and_frames_leave_room_for_fewer_rows() -> None:
    assert rows_at_once(10, most=100) == 10
    assert rows_at_once(1000, most=100) == 1
    assert rows_at_once(num_frames=2**20) == 1
    assert rows_at_once(2, num_frames=100) == rows_at_once(num_frames=100) // 2


def test_joined_sequences_are_filled_up() -> None:
    parts = [torch.ones(2, 1, 3, 4), torch.ones(2, 2, 5, 4)]
    joined = join_sequences(parts, torch.nan, dim=1, num_frames=6)
    assert joined.shape == (2, 3, 6, 4)
    assert joined.isnan().all(-1).sum(-1)[0].tolist() == [3, 1, 1]
