"""Networks that read whole sequences, and the order of padded frames."""

import torch
from torch import Tensor, nn

from vaezoo.pairs.lengths import frame_mask, reversed_frames
from vaezoo.sequences.reading import read, read_backwards


def gru_of(cell: nn.GRUCell) -> nn.GRU:
    """Return torch's own network with the weights of a cell."""
    gru = nn.GRU(cell.input_size, cell.hidden_size, batch_first=True)
    gru.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    return gru


def test_a_cell_reads_as_torch_does() -> None:
    cell, x = nn.GRUCell(3, 5), torch.randn(4, 7, 3)
    torch.testing.assert_close(read(cell, x), gru_of(cell)(x)[0])


def test_reading_backwards_starts_at_the_last_frame() -> None:
    """Row by row, without padding, reversed by hand."""
    cell, x, length = nn.GRUCell(3, 5), torch.randn(3, 6, 3), torch.tensor([6, 1, 4])
    states, gru = read_backwards(cell, x, length), gru_of(cell)
    for row, n in enumerate(length.tolist()):
        by_hand = gru(x[row : row + 1, :n].flip(1))[0].flip(1)[0]
        torch.testing.assert_close(states[row, :n], by_hand)


def test_padding_is_not_read() -> None:
    cell, x, length = nn.GRUCell(3, 5), torch.randn(3, 6, 3), torch.tensor([6, 1, 4])
    mask = frame_mask(length, 6).unsqueeze(-1)
    other = torch.where(mask, x, 9.0)
    ours, theirs = (read_backwards(cell, values, length) * mask for values in (x, other))
    assert torch.equal(ours, theirs)


def test_frames_reversed_twice_are_as_before() -> None:
    x, length = torch.randn(5, 8, 2, 3), torch.tensor([8, 1, 5, 2, 7])
    assert torch.equal(reversed_frames(reversed_frames(x, length), length), x)


def test_gradients_of_reading_are_torchs() -> None:
    cell, x = nn.GRUCell(3, 5), torch.randn(2, 4, 3)

    def gradient(states: Tensor, weight: Tensor) -> Tensor:
        return torch.autograd.grad(states.square().sum(), weight)[0]

    gru = gru_of(cell)
    torch.testing.assert_close(
        gradient(read(cell, x), cell.weight_hh), gradient(gru(x)[0], gru.weight_hh_l0)
    )
