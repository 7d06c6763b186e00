"""A step that is not finite names what it comes from, and gives advice that fits the run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from vaezoo import fit
from vaezoo.data import from_arrays
from vaezoo.errors import RunError, VaezooError
from vaezoo.settings import DataSettings
from vaezoo.testing import scaffold

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(50, 4)).astype(np.float32)
BINARY = (REAL > 0).astype(np.float32)


class Pair(nn.Module):
    """A pair that goes wrong when the engine takes its steps, not while it is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Linear(4, 4)
        self.log_scale = nn.Parameter(torch.zeros(4))

    def goes_wrong(self, x: Tensor) -> bool:
        return len(x) == 10 and self.training and torch.is_grad_enabled()

    def scale(self, x: Tensor) -> Tensor:
        return self.log_scale.exp()

    def encode(self, x: Tensor) -> Tensor:
        return self.mean(x)

    def extra(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, self.scale(x)).to_event(1), obs=x)
            pyro.factor("extra", self.extra(x))

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x), 0.5).to_event(1))


class NoScale(Pair):
    def scale(self, x: Tensor) -> Tensor:
        return self.log_scale.exp() * (0.0 if len(x) == 10 else 1.0)


class HugeScale(Pair):
    def scale(self, x: Tensor) -> Tensor:
        return (self.log_scale + (100.0 if len(x) == 10 else 0.0)).exp()


class NoMean(Pair):
    def encode(self, x: Tensor) -> Tensor:
        return self.mean(x) / (0.0 if len(x) == 10 else 1.0)


class NoGradient(Pair):
    def encode(self, x: Tensor) -> Tensor:
        h = self.mean(x)
        return h + (h - h).abs().sqrt() if self.goes_wrong(x) else h


class InfiniteFactor(Pair):
    def extra(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), float("inf") if len(x) == 10 else 0.0)


TRAINING = {"epochs": 2, "batch_size": 10, "engine": "eager"}
CAUSES: dict[str, tuple[Any, np.ndarray, Mapping[str, Any], str, str]] = {
    "data 1e10": (
        "vae-gaussian",
        REAL * 1e10,
        {},
        r"gradient.*\[-2\.\d+e\+10",
        "standard",
    ),
    "data 1e20": ("vae-gaussian", REAL * 1e20, {}, r"site 'x'.*-inf", "reach 1.49343e+20"),
    "beta 1e30": ("vae-bernoulli", BINARY, {"beta": 1e30}, r"gradient.*'encoder.*1e\+30", "`beta`"),
    "beta 1e38": ("vae-bernoulli", BINARY, {"beta": 1e38}, r"loss overflows.*1e\+38", "`beta`"),
    "lr 1e3": ("vae-bernoulli", BINARY, {"lr": 1e3}, r"site 'z'.*not finite", "`lr`"),
    "lr 1e38": ("vae-gaussian", REAL, {"lr": 1e38}, r"'(en|de)coder.*not finite", "`lr`"),
    "scale 0": (NoScale, REAL, {}, r"site 'x'.*scale is 0", "site 'x'"),
    "scale inf": (HugeScale, REAL, {}, r"site 'x'.*scale is not finite", "site 'x'"),
    "mean": (NoMean, REAL, {}, r"site 'z'.*(loc|value) is not finite", "site 'z'"),
    "gradient": (NoGradient, REAL, {}, r"gradient of 'mean\.weight' is not finite", "look at"),
    "factor": (InfiniteFactor, REAL, {}, r"site 'extra'", "site 'extra'"),
}


def failure_of(cause: str, folder: Path) -> str:
    """Train on values as they are: a file, since what is in memory is standardised."""
    model, x, training, _, _ = CAUSES[cause]
    np.save(folder / "x.npy", x)
    settings = DataSettings(name=str(folder / "x.npy"), standardize=False)
    with pytest.raises(VaezooError) as caught:
        fit(model, settings, training={**TRAINING, **training})
    return str(caught.value)


@pytest.mark.parametrize("cause", CAUSES)
def test_the_culprit_is_named_with_what_to_do(cause: str, tmp_path: Path) -> None:
    message = failure_of(cause, tmp_path)
    *_, says, advice = CAUSES[cause]
    what, _, ways = message.rpartition("; ")
    assert re.search(says, what), message
    assert advice in ways, message


@pytest.mark.parametrize(
    ("cause", "useless"),
    [
        ("data 1e10", ["beta", "`lr`", "clip_norm"]),
        ("beta 1e30", ["standardize", "sigma", "`lr`"]),
        ("lr 1e3", ["beta", "standardize", "sigma"]),
        ("lr 1e38", ["beta", "standardize"]),
        ("scale 0", ["beta", "standardize", "`lr`"]),
    ],
)
def test_advice_that_cannot_help_is_not_given(
    cause: str, useless: list[str], tmp_path: Path
) -> None:
    _, _, ways = failure_of(cause, tmp_path).rpartition("; ")
    assert [word for word in useless if word in ways] == []


def test_advice_knows_the_precision() -> None:
    training = {**TRAINING, "lr": 1e38, "precision": "bf16"}
    with pytest.raises(VaezooError, match="precision='float32'"):
        fit("vae-bernoulli", from_arrays(BINARY), training=training)


@pytest.mark.parametrize("size", [10**6, 2**31 - 1])
def test_a_batch_size_far_above_the_rows_takes_all_rows(size: int) -> None:
    run = fit("vae-gaussian", from_arrays(REAL), training={"steps": 1, "batch_size": size})
    assert run.info["steps"] == 1


NUMBERS = {"batch_size": 10**30, "steps": 10**30, "num_particles": 10**30, "beta": 1e308}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_torch_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(VaezooError, match=rf"{name}: expected less"):
        fit("vae-gaussian", from_arrays(REAL), training={name: NUMBERS[name]})


@pytest.mark.parametrize("raised", ["SystemExit(5)", "GeneratorExit", "KeyError('late')"])
def test_what_a_file_raises_in_the_midst_is_told_by_its_line(
    raised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = scaffold.source(Path("late.py")).splitlines()
    guide = next(n for n, line in enumerate(lines) if line.startswith("    def guide("))
    count = "self.__dict__['calls'] = self.__dict__.get('calls', 0) + 1"
    late = f"if self.__dict__['calls'] > 100: raise {raised}"
    lines[guide + 2 : guide + 2] = [f"        {count}", f"        {late}"]
    Path("late.py").write_text("\n".join(lines))
    with pytest.raises(RunError, match=rf"late.py:{guide + 4}: {raised.partition('(')[0]}"):
        fit("./late.py", from_arrays(BINARY), training={"steps": 200, "engine": "eager"})
