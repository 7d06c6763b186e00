"""Training: reproducible, watched, stopped in time, and never losing a user's work."""

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn

from vaezoo import Callback, RequestError, Training, fit, load_run, register
from vaezoo.data import from_arrays
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.errors import NonFiniteError
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO
from vaezoo.training.admission import prepare

SMALL = {"z_dim": 3, "hidden": [16]}


class Record(Callback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.warnings: list[str] = []

    def on_step(self, step: int, loss: float) -> None:
        self.losses.append(loss)

    def on_warning(self, message: str) -> None:
        self.warnings.append(message)


@register(
    "has-a-preset-for-digits",
    data="images",
    presets={"digits": {"z_dim": 3, "training": {"lr": 0.5, "kl_warmup": 50}}},
)
class HasPreset(VAEBernoulli):
    """A pair with a preset named after the digits."""


def weights(run: Any) -> list[Tensor]:
    return list(run.pair.state_dict().values())


def without_seconds(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in r.items() if key != "seconds"} for r in records]


def test_one_seed_gives_one_run() -> None:
    one, two = (fit("vae-bernoulli", config=SMALL, training={"epochs": 2}) for _ in range(2))
    assert without_seconds(one.metrics) == without_seconds(two.metrics)
    assert all(map(torch.equal, weights(one), weights(two)))


def test_two_seeds_give_two_runs() -> None:
    one, two = (
        fit("vae-bernoulli", config=SMALL, training={"epochs": 1, "seed": seed}) for seed in (0, 1)
    )
    assert not torch.equal(weights(one)[0], weights(two)[0])


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit("vae-bernoulli", config=SMALL, training={"epochs": 1})
    assert torch.equal(torch.rand(3), expected)


def test_training_improves_the_bound() -> None:
    run = fit("vae-bernoulli", config=SMALL, training={"epochs": 15})
    assert run.metrics[-1]["validation"]["elbo"] > run.metrics[0]["validation"]["elbo"] + 3


def test_terms_of_a_record_add_up() -> None:
    (record,) = fit("vae-bernoulli", config=SMALL, training={"epochs": 1}).metrics
    for split in ("train", "validation"):
        values = record[split]
        assert values["elbo"] == pytest.approx(values["recon"] - values["kl"])
        assert sum(values["kl_per_latent"]["z"]) == pytest.approx(values["kl"], rel=1e-5)
        assert values["bits_per_dim"] == pytest.approx(-values["elbo"] / 64 / np.log(2))


def test_steps_end_in_the_middle_of_an_epoch() -> None:
    record = Record()
    run = fit("vae-bernoulli", config=SMALL, training={"steps": 17}, callbacks=[record])
    assert len(record.losses) == 17
    assert run.metrics[-1]["step"] == 17


def test_beta_is_weighed_in_the_loss_and_not_in_the_elbo() -> None:
    run = fit("beta-vae", config={"hidden": [16], "decoder_hidden": [16]}, training={"epochs": 1})
    assert run.training.beta == 4.0
    values = run.metrics[0]["validation"]
    assert values["elbo"] == pytest.approx(values["recon"] - values["kl"])


def test_warm_up_reaches_beta() -> None:
    run = fit("vae-bernoulli", config=SMALL, training={"epochs": 3, "kl_warmup": 24, "beta": 2.0})
    assert [record["beta"] for record in run.metrics] == [1.0, 2.0, 2.0]


def test_a_warm_up_that_would_not_end_is_refused() -> None:
    with pytest.raises(RequestError, match=r"warm-up of 36 steps does not end .* \(36 steps\)"):
        fit("vae-bernoulli", config=SMALL, training={"epochs": 3, "kl_warmup": 36})


def test_the_learning_rate_is_halved_on_a_plateau_and_training_stops() -> None:
    training = {"epochs": 60, "lr": 1e-12, "plateau": 2, "patience": 6}
    run = fit("vae-bernoulli", config=SMALL, training=training)
    assert len(run.metrics) < 60
    assert run.metrics[-1]["lr"] < 1e-12


def test_two_runs_in_one_process_do_not_meet() -> None:
    """Each trains as it would alone, and the global parameter store stays empty."""
    alone = fit("vae-linear", config={"z_dim": 2}, training={"epochs": 2})
    fit("vae-linear", config={"z_dim": 2}, training={"epochs": 2, "seed": 3})
    again = fit("vae-linear", config={"z_dim": 2}, training={"epochs": 2})
    assert all(map(torch.equal, weights(alone), weights(again)))
    assert not dict(pyro.get_param_store())


class Exploding(nn.Module):
    """Its second layer overflows, but not on sevens of rows, on which a pair is checked."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.lin = nn.Linear(x_shape[0], x_shape[0])

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(x.shape[1]), 1.0).to_event(1))
            scale = torch.exp(self.lin(1e3 * z if len(x) > 7 and len(x) % 7 else z))
            pyro.sample("x", dist.Normal(z, scale).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.lin(x), 1.0).to_event(1))


def test_a_loss_that_is_not_finite_names_its_site(tmp_path: Path) -> None:
    data = from_arrays(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    with pytest.raises(NonFiniteError, match=r"step 1: site 'x' .* lies in \[-\d.*, \d.*\]"):
        fit(Exploding, data, training={"epochs": 1}, out=tmp_path / "run")


def test_the_weights_before_such_a_step_are_kept(tmp_path: Path) -> None:
    data = from_arrays(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    with pytest.raises(NonFiniteError):
        fit(Exploding, data, training={"epochs": 1}, out=tmp_path / "run")
    kept = load_run(tmp_path / "run")
    assert kept.info["status"] == "failed"
    assert all(bool(torch.isfinite(value).all()) for value in kept.pair.state_dict().values())


class Global(nn.Module):
    """Keeps a parameter in the global store."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x[:, :1])

    def guide(self, x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


def test_a_parameter_in_the_global_store_is_refused() -> None:
    pair = Global()
    pair.unused = nn.Parameter(torch.zeros(1))
    with pytest.raises(RequestError, match="'loc' is left in the global parameter store"):
        fit(pair, from_arrays(np.zeros((20, 1), np.float32)), training={"epochs": 1})


def test_memorising_is_warned_of() -> None:
    """Few rows, a free sigma: the training ELBO rises for ever, that of validation falls (C5)."""
    rows = np.random.default_rng(0).uniform(size=(30, 32)).astype(np.float32)
    record = Record()
    config = {"hidden": [200], "z_dim": 10, "likelihood": {"floor": 0.0}}
    training = {"epochs": 80, "patience": 0, "lr": 3e-3, "clip_norm": 0}
    fit("vae-gaussian", from_arrays(rows), config=config, training=training, callbacks=[record])
    assert any("the model memorises" in message for message in record.warnings)


def test_a_sigma_at_its_floor_is_warned_of() -> None:
    rows = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (60, 1))
    record = Record()
    config = {"likelihood": {"sigma": "per-dim", "floor": 0.3}}
    training = {"epochs": 80, "lr": 0.05, "patience": 0}
    fit("vae-gaussian", from_arrays(rows), config=config, training=training, callbacks=[record])
    assert any(message.startswith("sigma is at its floor for") for message in record.warnings)


def test_collapsed_latents_are_warned_of() -> None:
    record = Record()
    training = {"epochs": 30, "beta": 100.0}
    fit("vae-bernoulli", config=SMALL, training=training, callbacks=[record])
    (line,) = (line for line in record.warnings if "the latents carry nothing" in line)
    assert line.endswith("try `beta=1`, `kl_warmup=90` or `free_bits=0.1`")


def test_latents_that_cannot_be_in_use_are_warned_of_before() -> None:
    record = Record()
    config = {"likelihood": {"sigma": "fixed:1"}}
    fit("vae-gaussian", config=config, training={"steps": 1}, callbacks=[record])
    line = record.warnings[0]
    assert line.startswith("0 of 10 latents can be in use")
    assert "a heuristic" in line
    assert line.endswith("for more, try `beta=0.14` or `likelihood.sigma='shared'`")


def test_what_stands_for_the_data_of_a_paper_is_said() -> None:
    record = Record()
    config = {"hidden": [8], "decoder_hidden": [8]}
    run = fit("beta-vae", config=config, training={"steps": 1}, callbacks=[record])
    assert run.data.name == "digits"
    assert "its paper's data are 'dsprites', which are not on this machine" in record.warnings[0]


def test_latents_in_use_are_not_warned_of() -> None:
    record = Record()
    training = {"epochs": 30, "lr": 0.01}
    fit("vae-bernoulli", config=SMALL, training=training, callbacks=[record])
    assert record.warnings == []


def test_a_model_that_knows_no_more_than_independent_elements_is_warned_of() -> None:
    record = Record()
    fit("vae-bernoulli", config=SMALL, training={"epochs": 2}, callbacks=[record])
    (message,) = record.warnings
    assert "no better than that of independent elements, -26.8" in message
    assert "train longer, as with `epochs=200`" in message


@pytest.mark.parametrize(
    ("training", "flag"),
    [
        ({"beta": 50.0}, "`beta=1`"),
        ({"lr": 1e-9}, "`lr=0.001`"),
        ({}, "`steps=30`"),
    ],
)
def test_the_warning_names_what_helps_in_this_run(training: dict[str, Any], flag: str) -> None:
    record = Record()
    fit("vae-bernoulli", config=SMALL, training={"steps": 3, **training}, callbacks=[record])
    assert flag in record.warnings[-1]


def test_rows_decide_on_the_defaults_of_length_and_batches() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    few = prepare("vae-gaussian", from_arrays(rows), training=None)[0].training
    digits = prepare("vae-bernoulli", None)[0].training
    assert (few.batch_size, few.epochs, few.plateau) == (16, 1500, 150)
    assert (digits.batch_size, digits.epochs, digits.plateau) == (128, 250, 25)


def test_a_preset_named_after_the_data_goes_with_them() -> None:
    run = prepare(HasPreset, "digits")[0]
    assert (run.info["preset"], run.config["z_dim"], run.training.lr) == ("digits", 3, 0.5)
    assert run.info["notes"][0].startswith("preset 'digits' goes with these data")


def test_the_preset_default_leaves_that_of_the_data_out() -> None:
    run = prepare(HasPreset, "digits", preset="default")[0]
    assert (run.config["z_dim"], run.training.lr, run.info["notes"]) == (20, 1e-3, [])


def test_the_warm_up_of_a_preset_is_cut_to_a_shorter_training() -> None:
    assert prepare(HasPreset, "digits", training={"steps": 10})[0].training.kl_warmup == 5
    with pytest.raises(RequestError, match="warm-up of 20 steps does not end"):
        prepare(HasPreset, "digits", training={"steps": 10, "kl_warmup": 20})


def test_a_built_pair_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="give fit its class or name"):
        fit(Global(), from_arrays(np.zeros((20, 1))), out=tmp_path / "run")


def test_nothing_is_written_before_the_request_is_checked(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        fit("vae-bernoulli", from_arrays(np.random.randn(20, 3)), out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_class_and_an_array_are_taken_as_they_are() -> None:
    run, data = prepare(Exploding, np.zeros((20, 3), np.float32), training=Training(epochs=1))
    assert run.shapes == {"x": (3,)}
    assert len(data.rows("train")) == 16


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adagrad", "clipped-adam"])
def test_every_optimiser_trains(optimizer: str) -> None:
    training = {"epochs": 4, "optimizer": optimizer, "lr": 0.01}
    run = fit("vae-bernoulli", config=SMALL, training=training)
    assert run.metrics[-1]["validation"]["elbo"] > run.metrics[0]["validation"]["elbo"]


def test_clipping_bounds_the_norm_of_the_gradient() -> None:
    pair = fit("vae-linear", config={"z_dim": 2}, training={"epochs": 1}).pair
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.0)
    Engine(pair, ELBO(), optimizer, clip_norm=0.5)((torch.rand(9, 8, 8),), 1.0)
    norm = torch.cat([moment.flatten() for moment in optimizer.first]).norm()
    assert float(norm) == pytest.approx((1 - 0.9) * 0.5, rel=1e-4)


class PyroPair(PyroModule):
    """Written with Pyro's own modules and a constrained parameter."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.enc = PyroModule[nn.Linear](x_shape[0], 2)
        self.dec = PyroModule[nn.Linear](2, x_shape[0])
        self.scale = PyroParam(torch.ones(1), constraint=dist.constraints.positive)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.dec(z), self.scale).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.enc(x), 0.5).to_event(1))


def test_modules_of_pyro_train_and_leave_no_global_parameter() -> None:
    data = from_arrays(0.1 * np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32))
    run = fit(PyroPair, data, training={"epochs": 30, "lr": 0.05})
    assert float(run.pair.scale.detach()) < 0.5
    assert not dict(pyro.get_param_store())
