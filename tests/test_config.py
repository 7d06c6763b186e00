"""Settings: defaults, presets, files and flags, and what is refused."""

from pathlib import Path

import pytest
import torch

from vaezoo import RequestError, build_model, get_model
from vaezoo.config import layers, merge, read_file, resolve
from vaezoo.models.vae import BetaVAE, VAEBernoulli, VAEGaussian
from vaezoo.settings import Training, checked


def test_defaults_are_those_of_the_constructor() -> None:
    config = resolve(VAEBernoulli, {})
    assert config["z_dim"] == 20
    assert config["hidden"] == [500]
    assert config["likelihood"] == {"name": "bernoulli"}


def test_a_resolved_configuration_resolves_to_itself() -> None:
    config = resolve(VAEGaussian, {"likelihood": {"sigma": "shared"}})
    assert resolve(VAEGaussian, config) == config


def test_a_setting_overrides_a_preset_overrides_a_default() -> None:
    config, training = layers(VAEBernoulli, "mnist", {"z_dim": 5})
    assert (config["z_dim"], config["hidden"], config["activation"]) == (5, [256, 256], "relu")
    assert training == Training(batch_size=128, epochs=166)


def test_a_length_that_is_asked_for_replaces_that_of_a_preset() -> None:
    assert layers(VAEBernoulli, "mnist", {"training": {"steps": 5}})[1].epochs is None
    assert layers(VAEBernoulli, "mnist", {"training": {"lr": 0.1}})[1].epochs == 166


def test_the_preset_default_is_none_of_the_others() -> None:
    assert layers(VAEBernoulli, "default") == layers(VAEBernoulli, None)


def test_the_preset_default_always_applies() -> None:
    assert layers(BetaVAE, None)[1].beta == 4.0
    assert layers(BetaVAE, None, {"training": {"beta": 2}})[1].beta == 2.0


def test_a_training_setting_may_stand_among_the_others() -> None:
    assert layers(VAEBernoulli, None, {"lr": 0.1})[1].lr == 0.1


@pytest.mark.parametrize("likelihood", ["gaussian", {"name": "gaussian"}])
def test_a_part_is_named_by_a_word_or_a_table(likelihood: object) -> None:
    assert resolve(VAEBernoulli, {"likelihood": likelihood})["likelihood"]["sigma"] == "per-pixel"


def test_options_of_a_part_that_is_replaced_do_not_carry_over() -> None:
    base = {"likelihood": {"name": "gaussian", "sigma": "shared"}}
    assert merge(base, {"likelihood": "bernoulli"}) == {"likelihood": {"name": "bernoulli"}}


def test_options_of_a_part_that_stays_are_kept() -> None:
    base = {"likelihood": {"name": "gaussian", "sigma": "shared"}}
    merged = merge(base, {"likelihood": {"floor": 0.1}})
    assert merged == {"likelihood": {"name": "gaussian", "sigma": "shared", "floor": 0.1}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"z_dims": 3}, "no setting 'z_dims'; did you mean 'z_dim'"),
        ({"z_dim": 0}, "z_dim: expected greater than 0"),
        ({"z_dim": "many"}, "z_dim: expected a valid integer"),
        ({"hidden": 4}, r"hidden: expected a list, as \[64, 64\]"),
        ({"net": "mpl"}, "net: expected 'mlp' or 'conv'"),
        ({"likelihood": "bernouli"}, "no likelihood 'bernouli'; did you mean 'bernoulli'"),
        ({"likelihood": {"sgma": 1}}, "likelihood 'bernoulli': no setting 'sgma'"),
        ({"likelihood": 3}, "likelihood: expected one of"),
        ({"x_shape": [3]}, "no setting 'x_shape'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        resolve(VAEBernoulli, settings)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(RequestError) as failure:
        resolve(VAEBernoulli, {"z_dims": 3, "z_dim": -1, "likelihood": "none"})
    for word in ("z_dims", "z_dim:", "likelihood"):
        assert word in str(failure.value)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(RequestError, match="no preset 'mnits'; did you mean 'mnist'"):
        layers(VAEBernoulli, "mnits")


def test_unknown_training_setting_is_refused() -> None:
    with pytest.raises(RequestError, match="no setting 'batchsize'; did you mean 'batch_size'"):
        checked(Training, {"batchsize": 3})


def test_unknown_entry_of_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("modle = 'vae-bernoulli'")
    with pytest.raises(RequestError, match="no entry 'modle'; did you mean 'model'"):
        read_file(file)


@pytest.mark.parametrize("name", ["vae-bernoulli", "vae-gaussian", "beta-vae"])
@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (28, 20), (3, 64, 64), (1, 15, 9), (64, 64)])
def test_convolutions_return_to_the_shape_of_the_image(name: str, shape: tuple[int, ...]) -> None:
    import torch

    pair = build_model(get_model(name), {"net": "conv", "hidden": [16]}, shape)
    decoder, encoder = pair.decoder.net, pair.encoder.net
    h = decoder(torch.zeros(3, resolve(get_model(name), {})["z_dim"]))
    assert decoder.head()(h).shape == (3, *shape)
    assert encoder(torch.zeros(2, 3, *shape)).shape == (2, 3, 16)


def test_convolutions_need_images() -> None:
    with pytest.raises(RequestError, match="net 'conv' needs images"):
        build_model(VAEBernoulli, {"net": "conv"}, (10,))


class Gapped(torch.nn.Module):
    """A pair with a size that may be None."""

    def __init__(
        self, *, x_shape: tuple[int, ...], size: int | None = 5, rest: int | None = None
    ) -> None:
        super().__init__()


def test_none_is_a_setting_where_it_is_the_default() -> None:
    assert resolve(Gapped, {"rest": None}) == {"size": 5, "rest": None}


def test_none_in_the_place_of_another_default_is_refused_since_no_file_holds_it() -> None:
    with pytest.raises(RequestError, match="size: None can be no setting but by default, which is"):
        resolve(Gapped, {"size": None})
