"""What check refuses, training refuses in the same words, and the reverse: over all test pairs."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vaezoo import RequestError, fit
from vaezoo.config import build_model, layers
from vaezoo.pairs.sites import argument_names
from vaezoo.registry import entry_of, get_model, list_models
from vaezoo.registry.files import load_python
from vaezoo.testing.check import X_SHAPES, check_class, made_up_batch

TESTS = Path(__file__).parents[1]
NEVER_TRAINED = {"KalmanPair", "LabelledPair"}  # built from an object; for rows of one number
Arrays = dict[str, np.ndarray[Any, Any]]


def pairs_of(*names: str) -> list[type[nn.Module]]:
    """Return the pairs that some modules define, files by their path below the tests."""
    pairs: list[type[nn.Module]] = []
    for name in names:
        module = load_python(TESTS / name) if name.endswith(".py") else import_module(name)
        own = [v for v in vars(module).values() if getattr(v, "__module__", "") == module.__name__]
        pairs += [v for v in own if hasattr(v, "guide") and v.__name__ not in NEVER_TRAINED]
    return pairs


def arrays_for(cls: type[nn.Module]) -> Arrays:
    """Return 28 made-up rows of the first shape on which a pair passes, or else of the first."""
    config, _ = layers(cls, None, {})
    candidates: list[Arrays] = []
    for shape in X_SHAPES[entry_of(cls).data]:
        torch.manual_seed(0)
        pair = build_model(cls, config, shape)
        try:
            args = made_up_batch(pair, shape)
        except RequestError:  # of this shape there are none
            continue
        rows = [np.tile(arg.numpy(), (4, *[1] * (arg.dim() - 1))) for arg in args]
        candidates.append(dict(zip(argument_names(pair), rows, strict=True)))
        if check_class(cls, x_shape=shape).ok:
            return candidates[-1]
    return candidates[0]


def first_words(line: str) -> str:
    """Return a refusal up to its numbers, which go with the weights."""
    return line.partition(" (and ")[0].partition(" is ")[0]


def refusal_of(cls: type[nn.Module], data: Arrays) -> str:
    """Return how training refuses a pair; empty when it takes it."""
    try:
        fit(cls, data, training={"steps": 1})
    except RequestError as refusal:
        return str(refusal)
    return ""


def assert_agreement(cls: type[nn.Module]) -> None:
    """Assert that check says of data what training says, and passes no more that are made up."""
    data = arrays_for(cls)
    report = check_class(cls, data=data)
    failures = [*map(str, report.failures), ""]
    assert first_words(refusal_of(cls, data)) == first_words(failures[0])
    assert report.ok or not check_class(cls).ok


SMALL = pairs_of("vaezoo.testing.pairs", "vaezoo.testing.sequence_pairs")
NETWORKS = pairs_of("training/gallery.py")
KINDS = pairs_of("matrix/rows.py", "matrix/frames.py")


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_small_pairs(cls: type[nn.Module]) -> None:
    assert_agreement(cls)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch itself, while it compiles
@pytest.mark.parametrize("cls", [*NETWORKS, *KINDS], ids=lambda cls: cls.__name__)
def test_pairs_of_every_kind(cls: type[nn.Module]) -> None:
    assert_agreement(cls)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_the_zoo(name: str) -> None:
    assert_agreement(get_model(name))
