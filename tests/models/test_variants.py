"""Variants of a pair: registrations with a docstring, other defaults and no code."""

import inspect
from pathlib import Path

import pytest
import torch

from vaezoo import RequestError, build_model, fit, get_model, list_models, register
from vaezoo.config import layers, resolve
from vaezoo.models.vae import VAE, BetaVAE, VAEBernoulli, VAEGaussian
from vaezoo.registry import appendix_of, entry_of

VARIANTS = [cls for cls in map(get_model, list_models()) if issubclass(cls, VAE)]
MINE = '''
from vaezoo import register
from vaezoo.models.vae import VAE

@register("mine", data="images", defaults={"z_dim": 3, "hidden": (8,)})
class Mine(VAE):
    """A small one."""
'''

every_variant = pytest.mark.parametrize("cls", VARIANTS)


def test_entries_of_one_class() -> None:
    names = {entry_of(cls).name for cls in VARIANTS}
    assert {"vae-bernoulli", "vae-gaussian", "beta-vae", "vampprior", "vae-iaf", "iwae"} <= names


@every_variant
def test_a_variant_has_no_code(cls: type) -> None:
    own = set(vars(cls)) - {"__module__", "__doc__", "__vaezoo_entry__", "__firstlineno__"}
    assert own <= {"__init__", "__static_attributes__", "__annotations__"}
    assert inspect.unwrap(cls.__init__) is VAE.__init__  # type: ignore[misc]


@every_variant
def test_defaults_and_presets_are_settings_that_its_constructor_takes(cls: type) -> None:
    for preset in (None, *entry_of(cls).presets):
        assert layers(cls, preset)


@every_variant
def test_a_variant_is_documented_by_itself(cls: type) -> None:
    assert appendix_of(cls).startswith(entry_of(cls).summary)


def test_defaults_belong_to_the_variant_alone() -> None:
    assert resolve(BetaVAE, {})["hidden"] == [1200, 1200]
    assert resolve(VAEGaussian, {})["likelihood"]["name"] == "gaussian"
    assert resolve(VAE, {}) == resolve(VAEBernoulli, {})


def test_built_directly_a_variant_has_its_own_defaults() -> None:
    pair = VAEGaussian(x_shape=(8, 8))
    assert pair.encoder.head.loc.weight.shape == (10, 200)
    assert VAEGaussian(x_shape=(8, 8), z_dim=2).encoder.head.loc.weight.shape == (2, 200)


def test_same_settings_and_seed_are_the_same_pair() -> None:
    settings = resolve(VAE, {"z_dim": 2, "hidden": [6]})
    states = []
    for cls in VARIANTS:
        torch.manual_seed(0)
        states.append(build_model(cls, settings, (5,)).state_dict())
    for state in states:
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())


def test_a_default_that_no_argument_takes_is_refused() -> None:
    with pytest.raises(RequestError, match="Wrong has no argument 'z_dims'; did you mean 'z_dim'"):

        @register("wrong", defaults={"z_dims": 3})
        class Wrong(VAE):
            pass


def test_a_variant_in_a_file_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    cls = get_model(str(path))
    assert (entry_of(cls).name, entry_of(cls).summary) == ("mine", "A small one.")
    run = fit(str(path), "digits", training={"steps": 2})
    assert run.config["z_dim"] == 3
    assert run.name == "mine"
