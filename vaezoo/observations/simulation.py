"""Data that the model makes, in the place of a batch."""

import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.observations.roles import Roles, by_argument, roles_of
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.pieces import in_pieces, trial_rows
from vaezoo.pairs.sites import (
    Args,
    argument_names,
    lengths_of,
    model_of,
    sample_sites,
    site_values,
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
    roles = _roles_of_data(pair, args)
    names = argument_names(pair)
    rows = torch.arange(number or len(args[0]), device=args[0].device) % len(args[0])

    def draw(some: Tensor) -> dict[str, Tensor]:
        model = poutine.uncondition(model_of(pair))
        sites = sample_sites(poutine.trace(model).get_trace(*[arg[some] for arg in args]))
        return site_values(pair, {name: site["value"] for name, site in sites.items()})

    values = in_pieces(draw, rows, ROWS_OF_MODEL)
    arguments = dict(zip(names, [arg[rows] for arg in args], strict=True))
    for name, x in by_argument(roles, values, arguments).items():
        arguments[name] = _with_padding(
            pair, args, rows, x.to(arguments[name].dtype), arguments[name]
        )
    latents = {name: value for name, value in values.items() if name not in roles.observed}
    return latents, tuple(arguments.values())


def _roles_of_data(pair: nn.Module, args: Args) -> Roles:
    """Return what the model observes; a refusal where that is none of its arguments."""
    roles = roles_of(pair, trial_rows(args))
    for name, taken in roles.observed.items():
        if taken is None:
            raise RequestError(
                f"data of the model take the place of the batch, and what site '{name}' observes "
                f"is none of {', '.join(argument_names(pair))}; observe an argument as it is"
            )
    return roles


def _with_padding(pair: nn.Module, args: Args, rows: Tensor, x: Tensor, old: Tensor) -> Tensor:
    """Return new data; behind the end of a sequence, what stood there."""
    length = lengths_of(pair, args)
    return x if length is None else fill_padding(x, length[rows], old)
