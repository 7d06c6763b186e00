"""What the check refuses, training refuses, in the same words; what it passes, is trained."""

import re
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor, nn

from vaezoo import RequestError, fit
from vaezoo.registry import get_model
from vaezoo.testing import check_class, check_pair

BROKEN = Path(__file__).parents[1] / "testing" / "broken_pairs"
NOTED = {"no_rsample", "unused_parameter", "zero_gradient"}
OF_SEQUENCES = {"no_mask", "teacher_forcing"}
VECTORS = np.random.default_rng(0).normal(size=(21, 5)).astype(np.float32)
PATHS = [np.random.default_rng(n).normal(size=(1 + n % 6, 4)).astype(np.float32) for n in range(21)]
LABELS = np.arange(21) % 2
ONCE = {"steps": 2}


class Base(nn.Module):
    """z of two numbers, x of five."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 5), nn.Linear(5, 2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


class PlateOfElements(Base):
    """The elements of x in a plate inside that of the data."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            with pyro.plate("latents", 2, dim=-1):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("elements", 5, dim=-1):
                pyro.sample("x", dist.Normal(self.decoder(z), 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("latents", 2, dim=-1):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0))


class SharedPlate(Base):
    """As many latents outside the data plate as a made-up batch has rows."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(7, 5))

    def model(self, x: Tensor) -> None:
        with pyro.plate("topics", 7):
            mu = pyro.sample("mu", dist.Normal(x.new_zeros(5), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z) + mu.mean(0), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("topics", 7):
            pyro.sample("mu", dist.Normal(self.loc, 1.0).to_event(1))
        super().guide(x)


class ScaledPrior(Base):
    """The author weighs the prior."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=0.1):
                z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)


class Subsampled(Base):
    """The plate takes the batch for a subsample."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", 800, subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", 800, subsample=torch.arange(len(x))):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


class Summed(Base):
    """A discrete latent that is summed out."""

    marks = {"enumerate": "parallel"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.logits = nn.Linear(3, 5), nn.Linear(5, 3)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.OneHotCategorical(x.new_ones(3) / 3), infer=self.marks)
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z) + self.shift(c), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("c", dist.OneHotCategorical(logits=self.logits(x)), infer=self.marks)
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


class Scored(Summed):
    """The same without a mark."""

    marks = {}  # noqa: RUF012


SOUND = {
    "plate of elements": PlateOfElements,
    "shared plate": SharedPlate,
    "scaled": ScaledPrior,
    "subsampled": Subsampled,
    "summed out": Summed,
    "score function": Scored,
}


@pytest.mark.parametrize("name", SOUND)
def test_what_the_check_passes_is_trained(name: str) -> None:
    check_pair(SOUND[name](), (torch.as_tensor(VECTORS[:7]),)).raise_if_failed()
    assert fit(SOUND[name](), VECTORS, training=ONCE).info["status"] == "finished"


def test_the_zoo_is_trained_on_what_it_is_checked_on(structure: str) -> None:
    assert fit(structure, training=ONCE).info["status"] == "finished"


def without_numbers(words: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?", "N", words)


REFUSED = {path.stem for path in BROKEN.glob("*.py")} - NOTED


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_the_check_refuses_is_not_trained(name: str) -> None:
    """Numbers of made-up rows may be others than those of the data."""
    file = str(BROKEN / f"{name}.py")
    failure = check_class(get_model(file)).failures[0]
    data = PATHS if name in OF_SEQUENCES else {"x": VECTORS, "label": LABELS}
    with pytest.raises(RequestError) as refused:
        fit(file, data, training=ONCE)
    assert without_numbers(str(refused.value)).startswith(without_numbers(str(failure)))


@pytest.mark.parametrize("name", sorted(NOTED))
def test_what_is_worth_a_word_is_trained(name: str) -> None:
    run = fit(str(BROKEN / f"{name}.py"), VECTORS, training=ONCE)
    assert run.info["status"] == "finished"


class Process(nn.Module):
    """A prior over whole paths, of as many frames as the batch has; it may read the length."""

    def __init__(self, *, reads_length: bool) -> None:
        super().__init__()
        self.reads_length = reads_length
        self.encoder, self.decoder = nn.Linear(4, 2), nn.Linear(2, 4)

    def model(self, x: Tensor, length: Tensor) -> None:
        frames = torch.arange(x.shape[1]) < length[:, None]
        there = frames if self.reads_length else torch.ones_like(frames)
        with pyro.plate("data", len(x)):
            prior = dist.Normal(x.new_zeros(x.shape[1], 2), 1.0).to_event(1)
            z = pyro.sample("z", prior.mask(there).to_event(1))
            x_given_z = dist.Normal(self.decoder(z), 1.0).to_event(1)
            pyro.sample("x", x_given_z.mask(frames).to_event(1), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        frames = torch.arange(x.shape[1]) < length[:, None]
        there = frames if self.reads_length else torch.ones_like(frames)
        loc = self.encoder(x * frames[..., None])
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1).mask(there).to_event(1))


@pytest.mark.parametrize("reads_length", [True, False])
def test_the_number_of_padding_frames_changes_nothing(reads_length: bool) -> None:
    args = (torch.randn(7, 6, 4), torch.tensor([6, 1, 2, 3, 4, 5, 6]))
    failures = check_pair(Process(reads_length=reads_length), args).failures
    assert [f.check for f in failures] == ([] if reads_length else ["padding"])
    assert all("how many frames lie beyond" in failure.what for failure in failures)


class CodeInTheModel(Base):
    """An autoencoder that computes its code in the model."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = self.decoder(self.encoder(x))
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """It draws nothing."""


def test_a_code_that_is_no_site_is_told_where_it_belongs() -> None:
    with pytest.raises(RequestError, match=r"no latent lies between; draw the code in the guide"):
        fit(CodeInTheModel, VECTORS, training=ONCE)
