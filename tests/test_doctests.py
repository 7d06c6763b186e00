"""The examples of every docstring, as they stand there."""

import doctest
import importlib
import pkgutil

import numpy as np
import torch

import vaezoo

TEMPLATES = "vaezoo.testing.templates"  # of files to write, filled in when they are written
MODULES = [
    module.name
    for module in pkgutil.walk_packages(vaezoo.__path__, "vaezoo.")
    if not module.name.startswith(TEMPLATES) and not module.name.endswith("__main__")
]
NAMES = {"np": np, "torch": torch, "vaezoo": vaezoo}


def test_examples_say_what_comes_out() -> None:
    finder, failures = doctest.DocTestFinder(exclude_empty=True), []
    for name in MODULES:
        module = importlib.import_module(name)
        for example in finder.find(module, name, extraglobs=NAMES):
            torch.manual_seed(0)
            outcome = doctest.DocTestRunner(verbose=False).run(example)
            if outcome.failed:
                failures.append(example.name)
    assert failures == []
