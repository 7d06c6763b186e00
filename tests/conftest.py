"""What all tests share: one thread, a seed, a home of their own, and a small trained run."""

import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

if TYPE_CHECKING:
    from torch import nn

    from vaezoo.exact.linear_gaussian import LinearGaussian

_HOMES = (
    "HOME",
    "USERPROFILE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "LOCALAPPDATA",
)
_HOME_VARIABLE = "VAEZOO_TEST_HOME"


# One of each model and guide of the zoo, and of parts that change what a site draws. What holds for
# these holds for registrations that have other settings.
STRUCTURES = (
    *("ae", "aevb", "cvae", "factor-analysis", "fsq", "gmvae", "independent", "iwae-2l"),
    *("ladder-vae", "maf", "miwae", "mixture", "mvae", "pca", "prodlda", "ssvae"),
    *("vae-bernoulli", "vae-counts"),
    *("vae-full-rank", "vae-gaussian", "vae-gumbel", "vae-iaf", "vae-linear", "vae-mixture"),
    *("vae-sphere", "vae-tabular", "vae-tied", "vampprior", "vq-vae"),
)
SEQUENCES = (
    "dmm",
    "gp-vae",
    "latent-ode",
    "lgssm",
    "markov",
    "rnn",
    "srnn",
    "storn",
    "transformer-vae",
    "vrnn",
)


# Ctrl-C does nothing to what runs in the background of a script, or under nohup; here it is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Give the whole session, with the processes that it starts, one thread and an empty home."""
    if _HOME_VARIABLE not in os.environ:
        home = tempfile.mkdtemp(prefix="vaezoo-home-")
        os.environ.update({_HOME_VARIABLE: home, "OMP_NUM_THREADS": "1"})
        os.environ.update(dict.fromkeys(_HOMES, home))
        config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
        config.add_cleanup(lambda: os.environ.pop(_HOME_VARIABLE, None))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    import pyro

    pyro.set_rng_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_data_folder() -> Iterator[None]:
    """Before any fixture of a module trains on what happens to lie at hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VAEZOO_DATA", raising=False)
        yield


@pytest.fixture(autouse=True)
def _empty_parameter_store() -> Iterator[None]:
    yield
    if "pyro" in sys.modules:
        import pyro

        names = list(pyro.get_param_store())
        pyro.clear_param_store()
        assert not names, f"left in Pyro's global store: {names}"


@pytest.fixture(params=[*STRUCTURES, *SEQUENCES])
def structure(request: pytest.FixtureRequest) -> str:
    """The name of a model of the zoo, one of each structure."""
    return str(request.param)


_SLOW = (pytest.mark.slow, pytest.mark.timeout(900))


@pytest.fixture(params=[*STRUCTURES, *(pytest.param(n, marks=_SLOW) for n in SEQUENCES)])
def quick_structure(request: pytest.FixtureRequest) -> str:
    """The name of a model of the zoo, one of each structure; those of sequences are slow."""
    return str(request.param)


@pytest.fixture
def vaezoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command line in this process, in the test's own folder."""
    from vaezoo.cli import main

    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path) -> Result:
        return CliRunner().invoke(main, list(map(str, words)), prog_name="vaezoo")

    return invoke


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``vae-bernoulli`` on the digits, two epochs; not to be changed."""
    from vaezoo.training.fit import fit

    folder = tmp_path_factory.mktemp("trained") / "run"
    config = {"z_dim": 2, "hidden": [16]}
    fit("vae-bernoulli", "digits", config=config, training={"epochs": 2}, out=folder)
    return folder


@pytest.fixture(scope="session")
def exact_pair() -> "Callable[[LinearGaussian], nn.Module]":
    """Build the linear pair at a solution, in float64: its guide is the exact posterior."""
    import torch

    from vaezoo.models.vae_linear import VAELinear

    def build(solution: "LinearGaussian") -> VAELinear:
        pair = VAELinear(x_shape=solution.bias.shape, z_dim=solution.weight.shape[1]).double()
        covariance = torch.linalg.inv(solution.precision)
        gain = solution.weight @ covariance / solution.sigma**2
        with torch.no_grad():
            pair.decoder.weight.copy_(solution.weight)
            pair.decoder.bias.copy_(solution.bias)
            pair.log_sigma.fill_(math.log(solution.sigma))
            pair.encoder.weight.copy_(gain.T)
            pair.encoder.bias.copy_(-solution.bias @ gain)
            pair.log_s.copy_(0.5 * covariance.diagonal().log())
        return pair

    return build


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, ``run`` in the test's own folder."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="session")
def trained_from_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a pair that a user wrote, one epoch; not to be changed."""
    from vaezoo.testing import scaffold
    from vaezoo.training.fit import fit

    home = tmp_path_factory.mktemp("trained")
    scaffold.write(home / "my_vae.py")
    config = {"z_dim": 2, "hidden": 8}
    fit(str(home / "my_vae.py"), "digits", config=config, training={"epochs": 1}, out=home / "run")
    return home / "run"
