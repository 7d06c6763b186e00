"""Sequences with missing frames and entries, and the form of any pair that explains them."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.distributions.entries import observed_entries
from vaezoo.errors import RequestError
from vaezoo.observations.missing import (
    filled,
    missing_arguments,
    refuse_missing_conditions,
    what_is_wrong,
    with_missing,
)
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["IncompleteSequencePair", "incomplete_form", "pair_for"]

ROWS_OF_TRIAL = 100


class IncompleteSequencePair(SequencePair):
    """A sequence pair of data with missing entries, with the parameters of another.

    Everything that runs a sequence pair takes its conditionals through time, so that here they are
    those of the entries that are there. The features of a frame, which the guide and the next state
    see, are those of the frame with zeros where entries are missing, unless the pair makes finite
    ones of nan.

    Parameters
    ----------
    pair
        The pair.
    sees_nan
        Which of its methods ``initial``, ``embed`` and ``encode`` are handed nan.

    Notes
    -----
    Where the transition does not see x, as in state space models, log p of what is there is exact.
    Where it does, it is the density of what is there given that the rest was what it is filled
    with; :func:`vaezoo.impute` draws the rest from the model instead.
    """

    def __init__(self, pair: SequencePair, sees_nan: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.pair = pair
        self.sees_nan = sees_nan
        self.has_latents = pair.has_latents  # type: ignore[misc]
        self.inputs = pair.inputs  # type: ignore[misc]
        self.hidden = getattr(pair, "hidden", 0)
        for name in ("prior", "posterior", "transition"):
            if hasattr(pair, name):
                setattr(self, name, _called_as(getattr(pair, name), getattr(pair, name)))
        self.likelihood = _called_as(pair.likelihood, self._likelihood)
        for name in ("initial", "encode"):
            setattr(self, name, _called_as(getattr(pair, name), partial(self._with_x, name)))
        self.train(pair.training)

    def _likelihood(self, *args: Tensor) -> TorchDistribution:
        fn: TorchDistribution = observed_entries(self.pair.likelihood(*args))
        return fn

    def _with_x(self, name: str, x: Tensor, *others: Tensor) -> Tensor:
        value: Tensor = getattr(self.pair, name)(self._given(name, x), *others)
        return value

    def embed(self, x: Tensor) -> Tensor:
        """Return the features of frames with zeros where entries are missing."""
        return self.pair.embed(self._given("embed", x))

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """Say that the guide may read otherwise than by features; each pair has its own below."""
        raise NotImplementedError

    def _given(self, name: str, x: Tensor) -> Tensor:
        return x if name in self.sees_nan else filled(x)


def _called_as(fn: Callable[..., Any], run: Callable[..., Any]) -> Any:
    """Return a function that says it is called as another, and is no module of its own."""
    like = partial(run)
    called = fn.forward if isinstance(fn, nn.Module) else fn
    like.__signature__ = inspect.signature(called)  # type: ignore[attr-defined]
    return like


def pair_for(pair: nn.Module, batches: Batches) -> nn.Module:
    """Return the form of a pair that explains batches: itself where they have all entries.

    Raises
    ------
    RequestError
        When the pair cannot do without the entries that are missing.

    Examples
    --------
    >>> from vaezoo.data import Transform, from_arrays
    >>> from vaezoo.testing.pairs import LinearPair
    >>> pair, cpu, x = LinearPair(), torch.device("cpu"), np.random.rand(20, 4)
    >>> pair_for(pair, Batches(from_arrays(x), Transform(), ("x",), cpu)) is pair
    True
    >>> x[3, 1] = np.nan
    >>> type(pair_for(pair, Batches(from_arrays(x), Transform(), ("x",), cpu))).__name__
    'IncompletePair'
    """
    if not batches.incomplete:
        return pair
    return incomplete_form(pair, batches.with_gaps(ROWS_OF_TRIAL))


def incomplete_form(pair: nn.Module, args: Args) -> nn.Module:
    """Return a pair whose likelihood counts what is there; of one step, a pair of one step again.

    Parameters
    ----------
    pair
        Any pair.
    args
        Rows of its data, tensors of ``(B, ...)``, some with missing entries.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> pair = VRNN(x_shape=(2,), hidden=8, z_dim=4)
    >>> x = torch.tensor([[[1.0, 2.0], [torch.nan, 3.0], [torch.nan, torch.nan]]])
    >>> isinstance(incomplete_form(pair, (x, torch.tensor([3]))), SequencePair)
    True
    """
    if not isinstance(pair, SequencePair):
        return with_missing(pair, args)
    missing = missing_arguments(pair, args)
    if not missing:
        return pair
    refuse_missing_conditions(pair.inputs, missing)
    candidate = IncompleteSequencePair(pair, _sees_nan(pair, args))
    reason = what_is_wrong(candidate, args)
    if reason:
        raise RequestError(reason)
    return candidate


def _sees_nan(pair: SequencePair, args: Args) -> frozenset[str]:
    """Return the methods that make finite values of frames that are nan."""
    x, length, *inputs = args
    named = pair.name_inputs(inputs)
    calls = {
        "initial": lambda: pair.first_state(x, named),
        "embed": lambda: pair.embed(x.flatten(0, 1)),
        "encode": lambda: pair.encode_sequence(x, length, named),
    }
    with probing(pair, x.device):
        return frozenset(name for name, call in calls.items() if _is_finite(call))


def _is_finite(call: Callable[[], Tensor]) -> bool:
    try:
        return bool(call().isfinite().all())
    except Exception:  # whatever a pair does with nan
        return False
