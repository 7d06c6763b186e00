"""Whatever asks a run takes the pairs that training takes, and refuses those that it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from torch import Tensor

import vaezoo
from vaezoo import RequestError, Run
from vaezoo.checks import admission
from vaezoo.models.vae_linear import VAELinear
from vaezoo.pairs.sites import Args

ROWS = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
SOUND = """
import pyro
from torch import Tensor, nn
from pyro import distributions as dist

class Mine(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, *x_shape), nn.Linear(*x_shape, 2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))
"""
UNSOUND = SOUND.replace("self.encoder(x), 0.5", "self.encoder(x - x.mean(0)), 0.5")
SAYS = r"changed.py:18: site 'z' of a datum depends on the other rows .*\[rows\]"


class Mixing(VAELinear):
    """Its guide looks at the other rows of the batch."""

    def guide(self, x: Tensor) -> None:
        super().guide(x - x.mean(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the sound pair, in a file, and write it down unsound as ``changed.py``."""
    place = tmp_path_factory.mktemp("runs")
    (place / "mine.py").write_text(SOUND)
    (place / "changed.py").write_text(UNSOUND)
    np.save(place / "rows.npy", ROWS)
    vaezoo.fit(str(place / "mine.py"), place / "rows.npy", training={"steps": 2}, out=place / "run")
    return place / "run"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the times that a pair is examined."""
    times: list[int] = []
    examine = admission.conformance_of

    def counting(pair: torch.nn.Module, args: Args, **options: object) -> object:
        times.append(len(args[0]))
        return examine(pair, args)

    monkeypatch.setattr(admission, "conformance_of", counting)
    return times


ASK: dict[str, Callable[[Run], object]] = {
    "evaluate": lambda run: vaezoo.evaluate(run, iwae=[1]),
    "encode": vaezoo.encode,
    "reconstruct": vaezoo.reconstruct,
    "posterior": lambda run: vaezoo.draw_posterior(run, limit=3, num_samples=4),
    "analyse": lambda run: vaezoo.analyse(run, level="quick", limit=4),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_a_changed_file_is_refused_in_the_words_of_check(
    folder: Path, ask: Callable[[Run], object]
) -> None:
    run = vaezoo.load_run(folder, model=folder.parent / "changed.py")
    with pytest.raises(RequestError, match=SAYS):
        ask(run)


def test_a_changed_file_is_not_trained_further(folder: Path) -> None:
    with pytest.raises(RequestError, match=SAYS):
        vaezoo.resume(folder, steps=4, model=folder.parent / "changed.py")


def test_a_pair_put_into_a_run_is_refused() -> None:
    run = vaezoo.fit(VAELinear, ROWS, training={"steps": 2})
    run.pair = Mixing(x_shape=(4,))
    with pytest.raises(RequestError, match=r"site 'z' of a datum depends on the other rows"):
        vaezoo.evaluate(run, iwae=[1])


def test_what_was_trained_is_not_examined_again(folder: Path, counted: list[int]) -> None:
    vaezoo.evaluate(folder, iwae=[1])
    assert counted == []


def test_a_pair_is_examined_once(folder: Path, counted: list[int]) -> None:
    (folder.parent / "alike.py").write_text(SOUND + "\n# a comment\n")
    run = vaezoo.load_run(folder, model=folder.parent / "alike.py")
    vaezoo.evaluate(run, iwae=[1])
    vaezoo.encode(run)
    assert counted == [7]


def test_weights_stay_what_they_are(folder: Path) -> None:
    (folder.parent / "alike.py").write_text(SOUND + "\n# a comment\n")
    run = vaezoo.load_run(folder, model=folder.parent / "alike.py")
    before = {name: value.clone() for name, value in run.pair.state_dict().items()}
    pyro.set_rng_seed(0)
    state = torch.get_rng_state()
    run.batches()
    after = run.pair.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), state)
