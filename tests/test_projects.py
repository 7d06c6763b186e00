"""Files of several modules, and what the files of two users register under one name."""

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import RequestError, get_model
from vaezoo.config import build_model, resolve
from vaezoo.parts import LIKELIHOODS
from vaezoo.registry import digest_of, read_code

PAIR = """
import pyro, torch
import pyro.distributions as dist
from torch import nn
{imports}

class P(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.enc, self.dec = {layer}(x_shape[0], 2), {layer}(2, x_shape[0])

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.dec(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.enc(x), 1.0).to_event(1))
"""

FORMS = {
    "from layers import affine": "affine",
    "import layers": "layers.affine",
    "import layers as shapes": "shapes.affine",
    "import nets.blocks": "nets.blocks.affine",
    "import nets.blocks as blocks": "blocks.affine",
    "from nets import blocks": "blocks.affine",
    "from nets.blocks import affine": "affine",
    "from nets import affine": "affine",
    "from plain.blocks import affine": "affine",
    "def affine(*sizes):\n    import layers\n    return layers.affine(*sizes)": "affine",
}


def project(folder: Path, imports: str = "from layers import affine", layer: str = "affine") -> str:
    (folder / "nets").mkdir(parents=True)
    (folder / "plain").mkdir()
    affine = "from torch import nn\n\ndef affine(a, b):\n    return nn.Linear(a, b)\n"
    for name, text in {
        "layers.py": affine,
        "plain/blocks.py": affine,
        "nets/__init__.py": "from .blocks import affine\n",
        "nets/blocks.py": "from layers import affine\n",
        "unused.py": "raise RuntimeError\n",
        "pair.py": PAIR.format(imports=imports, layer=layer),
    }.items():
        (folder / name).write_text(text)
    return str(folder / "pair.py")


def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 3)).astype("f4")


@pytest.mark.parametrize("imports", FORMS)
def test_a_sibling_is_imported_in_every_form(tmp_path: Path, imports: str) -> None:
    cls = get_model(project(tmp_path, imports, FORMS[imports]))
    assert build_model(cls, {}, (3,)).enc.in_features == 3


def test_siblings_of_two_projects_do_not_meet(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    (tmp_path / "two/layers.py").write_text(
        "from torch import nn\n\ndef affine(a, b):\n    return nn.Linear(a, b, bias=False)\n"
    )
    biases = [build_model(get_model(path), {}, (3,)).enc.bias is None for path in (one, two)]
    assert biases == [False, True]
    assert not {"layers", "nets", "plain"} & sys.modules.keys()


def test_a_sibling_that_changed_is_read_again(tmp_path: Path) -> None:
    path = project(tmp_path)
    before = get_model(path)
    assert get_model(path) is before
    (tmp_path / "layers.py").write_text("def affine(a, b):\n    return (a, b)\n")
    assert build_model(get_model(path), {}, (3,)).enc == (3, 2)


def test_an_error_in_a_sibling_names_its_line(tmp_path: Path) -> None:
    path = project(tmp_path)
    (tmp_path / "layers.py").write_text("a = 1\nb = a / 0\n")
    with pytest.raises(RequestError, match=r"layers.py:2: ZeroDivisionError"):
        get_model(path)


def test_a_library_beside_a_pair_is_not_run_twice(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir(parents=True)
    (tmp_path / "torch/__init__.py").write_text("raise RuntimeError\n")
    assert get_model(project(tmp_path)).__name__ == "P"


def test_a_run_holds_what_its_pair_imports(tmp_path: Path) -> None:
    path = project(tmp_path / "project", "from nets import affine")
    run = vaezoo.fit(path, data(), training={"epochs": 1}, out=tmp_path / "run")
    shutil.rmtree(tmp_path / "project")
    copies = {file.relative_to(tmp_path / "run").as_posix() for file in tmp_path.rglob("*.py")}
    assert copies == {"model.py", "layers.py", "nets/__init__.py", "nets/blocks.py"}
    loaded = vaezoo.load_run(shutil.move(tmp_path / "run", tmp_path / "elsewhere"))
    x = torch.from_numpy(data())
    assert torch.equal(loaded.pair.enc(x), run.pair.enc(x))


def test_a_sibling_may_be_called_as_the_copy_is(tmp_path: Path) -> None:
    path = project(tmp_path / "project", "from model import affine")
    (tmp_path / "project/layers.py").rename(tmp_path / "project/model.py")
    vaezoo.fit(path, data(), training={"epochs": 1}, out=tmp_path / "run")
    assert vaezoo.load_run(tmp_path / "run").model.endswith("pair.py:P")


def test_a_sibling_that_nobody_read_is_not_run(tmp_path: Path) -> None:
    path = project(tmp_path / "project")
    vaezoo.fit(path, data(), training={"epochs": 1}, out=tmp_path / "run")
    with (tmp_path / "run/layers.py").open("a") as file:
        file.write("# by somebody else\n")
    with pytest.raises(RequestError, match="was not trained here; read it, then name it"):
        vaezoo.load_run(tmp_path / "run")


def test_one_file_is_trusted_by_its_own_checksum(tmp_path: Path) -> None:
    """So that runs from before, of one file each, stay trusted."""
    (tmp_path / "pair.py").write_text("import torch\n")
    own = hashlib.sha256(b"import torch\n").hexdigest()
    assert digest_of(read_code(tmp_path / "pair.py")) == own


LIKELIHOOD = """
from torch import nn
from pyro import distributions as dist
from vaezoo import parts, register
from vaezoo.models.vae import VAE

@parts.LIKELIHOODS.register("{name}")
class Mine(nn.Module):
    def __init__(self, net, *, scale: float = {scale}) -> None:
        super().__init__()
        self.net, self.loc, self.scale = net, net.head(), scale

    def forward(self, z):
        return dist.Normal(self.loc(self.net(z)), self.scale).to_event(1)

@register("my-vae", defaults={{"likelihood": {default}}})
class My(VAE):
    "A VAE."
"""


def file_of(folder: Path, scale: float, name: str = "mine", default: str = "Mine") -> str:
    folder.mkdir()
    (folder / "pair.py").write_text(LIKELIHOOD.format(scale=scale, name=name, default=default))
    return str(folder / "pair.py")


def test_what_a_file_registers_belongs_to_it(tmp_path: Path) -> None:
    one, two = file_of(tmp_path / "one", 1.0), file_of(tmp_path / "two", 2.0)
    for path, scale in ((one, 1.0), (two, 2.0), (one, 1.0)):
        config = resolve(get_model(path), {"likelihood": "mine"})
        assert config["likelihood"] == {"name": "mine", "scale": scale}
        assert build_model(path, config, (3,)).decoder.scale == scale
    assert "mine" not in LIKELIHOODS.choices


def test_the_copy_of_a_run_does_not_change_what_a_file_means(tmp_path: Path) -> None:
    path = file_of(tmp_path / "one", 1.0)
    vaezoo.fit(path, data(), training={"epochs": 1}, out=tmp_path / "run")
    Path(path).write_text(LIKELIHOOD.format(scale=2.0, name="mine", default="Mine"))
    assert vaezoo.load_run(tmp_path / "run").pair.decoder.scale == 1.0
    assert build_model(path, {}, (3,)).decoder.scale == 2.0


def test_others_do_not_have_what_a_file_registers(tmp_path: Path) -> None:
    get_model(file_of(tmp_path / "one", 1.0))
    with pytest.raises(RequestError, match="no likelihood 'mine'"):
        resolve(get_model("vae-gaussian"), {"likelihood": "mine"})


def test_a_file_comes_before_what_every_pair_has(tmp_path: Path) -> None:
    path = file_of(tmp_path / "one", 3.0, name="gaussian")
    assert build_model(path, {"likelihood": "gaussian"}, (3,)).decoder.scale == 3.0


def test_a_default_of_a_name_with_two_meanings_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path / "one", 3.0, name="gaussian", default="parts.Gaussian")
    with pytest.raises(RequestError, match="the likelihood 'gaussian' of every pair, and this"):
        resolve(get_model(path), {})
