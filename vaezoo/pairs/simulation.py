"""Data that the model makes, in the place of a batch."""

import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.pieces import in_pieces, trial_rows
from vaezoo.pairs.sites import (
    Args,
    argument_names,
    lengths_of,
    model_of,
    sample_sites,
    site_values,
    trace_pair,
)

__all__ = ["simulate"]

ROWS_OF_MODEL = 1000


def simulate(
    pair: nn.Module, args: Args, number: int | None = None
) -> tuple[dict[str, Tensor], Args]:
    """Draw latents and data from the model, for use inside :func:`vaezoo.pairs.particles.probing`.

    Parameters
    ----------
    pair
        Any pair.
    args
        A batch, tensors of ``(B, ...)``.
    number
        Data N; by default as many as there are rows. With more, rows are used again.

    Returns
    -------
    dict
        Latents by site, ``(N, *event)``.
    tuple
        The arguments of ``(N, ...)``: data of the model where there were data, with the padding of
        the rows, and all else, as labels and lengths, as it was.

    Raises
    ------
    RequestError
        When the model observes what is none of its arguments.

    Examples
    --------
    >>> from vaezoo.pairs.particles import probing
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> with probing(pair, x.device):
    ...     latents, (simulated,) = simulate(pair, (x,), 10)
    >>> latents["z"].shape, simulated.shape
    (torch.Size([10, 2]), torch.Size([10, 4]))
    """
    places = _places_of_data(pair, args)
    rows = torch.arange(number or len(args[0]), device=args[0].device) % len(args[0])

    def draw(some: Tensor) -> dict[str, Tensor]:
        model = poutine.uncondition(model_of(pair))
        sites = sample_sites(poutine.trace(model).get_trace(*[arg[some] for arg in args]))
        return site_values(pair, {name: site["value"] for name, site in sites.items()})

    values = in_pieces(draw, rows, ROWS_OF_MODEL)
    simulated = [arg[rows] for arg in args]
    for name, place in places.items():
        x = values.pop(name).reshape(simulated[place].shape).to(args[place].dtype)
        simulated[place] = _with_padding(pair, args, rows, x, simulated[place])
    return values, tuple(simulated)


def _places_of_data(pair: nn.Module, args: Args) -> dict[str, int]:
    """Return which argument each observed site is, by what the model observes."""
    few = trial_rows(args)
    names, places = argument_names(pair), {}
    observed = {name: site["value"] for name, site in trace_pair(pair, few).observed.items()}
    for name, value in site_values(pair, observed).items():
        same = [i for i, arg in enumerate(few) if _is_same(arg, value)]
        if not same:
            raise RequestError(
                f"data of the model take the place of the batch, and what site "
                f"'{name}' observes is none of {', '.join(names)}; observe an argument as it is"
            )
        places[name] = next((i for i in same if names[i] == name), same[0])
    return places


def _is_same(arg: Tensor, value: Tensor) -> bool:
    return arg.numel() == value.numel() and bool((arg.reshape(value.shape) == value).all())


def _with_padding(pair: nn.Module, args: Args, rows: Tensor, x: Tensor, old: Tensor) -> Tensor:
    """Return new data; behind the end of a sequence, what stood there."""
    length = lengths_of(pair, args)
    return x if length is None else fill_padding(x, length[rows], old)
