"""A model, a prior, a likelihood and an objective of one file: every command has them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Vaezoo = Callable[..., Result]

FILE = '''"""A VAE, and what it may be built from."""

import pyro
from pyro import distributions as dist
from torch import nn

from vaezoo import parts, register
from vaezoo.objectives import ELBO, OBJECTIVES


@parts.PRIORS.register("wide")
class Wide(nn.Module):
    """p(z) = N(0, 4 I)."""

    def __init__(self, z_dim, *pair):
        super().__init__()
        self.z_dim = z_dim

    def forward(self, *ignored):
        return dist.Normal(0.0, 2.0).expand([self.z_dim]).to_event(1)


@parts.LIKELIHOODS.register("half")
class Half(nn.Module):
    """p(x | z) = N(mu(z), 1/4)."""

    def __init__(self, net):
        super().__init__()
        self.net, self.head = net, net.head()

    def forward(self, z):
        return dist.Normal(self.head(self.net(z)), 0.5).to_event(len(self.net.x_shape))


@OBJECTIVES.register("twice")
class Twice(ELBO):
    """Two draws."""

    def __init__(self):
        super().__init__(num_particles=2)


@register("mine", data="vectors")
class Mine(nn.Module):
    """A small VAE."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: int = 2,
        likelihood: parts.Likelihood = Half,
        prior: parts.Prior = Wide,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ):
        super().__init__()
        self.prior = prior(z_dim)
        self.decoder = likelihood(parts.Decoder(z_dim, [8], x_shape))
        self.encoder = posterior(parts.Encoder(x_shape, [8]), z_dim)

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.decoder(pyro.sample("z", self.prior())), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x))
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_show_has_them(vaezoo: Vaezoo, file: str) -> None:
    output = vaezoo("show", file).output
    assert {"half", "wide", "twice"} <= set(output.replace(",", " ").split())


def test_check_passes(vaezoo: Vaezoo, file: str) -> None:
    result = vaezoo("check", file)
    assert result.exit_code == 0, result.output


def test_train_takes_them_and_those_of_every_pair(
    vaezoo: Vaezoo, file: str, tmp_path: Path
) -> None:
    out, own = str(tmp_path / "run"), ("--prior", "wide", "--objective", "twice")
    result = vaezoo("train", file, *own, "--likelihood", "half", "--steps", "2", "--out", out)
    assert result.exit_code == 0, result.output
    assert vaezoo("evaluate", out, "--limit", "8").exit_code == 0
    other = ("--prior", "laplace", "--likelihood", "laplace", "--objective", "iwae")
    result = vaezoo("train", file, *other, "--steps", "2", "--out", str(tmp_path / "other"))
    assert result.exit_code == 0, result.output


def test_they_are_those_of_the_file_alone(vaezoo: Vaezoo, file: str) -> None:
    vaezoo("show", file)
    result = vaezoo("train", "vae-gaussian", "--prior", "wide", "--steps", "1")
    assert result.exit_code == 2
    assert "no prior 'wide'" in result.output


def test_list_has_the_model_of_an_installed_package(
    vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_zoo.py").write_text(FILE.replace('"mine"', '"theirs"'), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    class Point:
        name, value = "theirs", "their_zoo:Mine"

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point])
    assert "theirs" in {entry["name"] for entry in json.loads(vaezoo("list", "--json").stdout)}
