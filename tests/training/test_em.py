"""Schedule `em`: guide and model move in turns, towards the same optimum as together."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vaezoo
from vaezoo.engine.groups import Alternating, Optimizers
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RequestError
from vaezoo.exact.linear_gaussian import LinearGaussian, fit_ppca
from vaezoo.models.vae_linear import VAELinear
from vaezoo.objectives import ELBO
from vaezoo.runs import Run
from vaezoo.training.callbacks import Callback

THETA, PHI = {"decoder.weight", "decoder.bias", "log_sigma"}, {"encoder.weight", "encoder.bias"}
TURNS = {"schedule": "em", "e_steps": 2, "steps": 9, "batch_size": 32, "lr": 0.01}


def rows() -> Tensor:
    """Rows ``(200, 5)`` of two factors and noise."""
    torch.manual_seed(0)
    return torch.randn(200, 2) @ torch.randn(2, 5) + 0.5 * torch.randn(200, 5)


class Moves(Callback):
    """Notes which parameters each step has changed, in any bit."""

    def on_start(self, run: Run, total: int, step: int) -> None:
        self.pair, self.moved = run.pair, list[set[str]]()
        self.before = self._values()

    def on_step(self, step: int, loss: float) -> None:
        values = self._values()
        self.moved.append({n for n, v in values.items() if not torch.equal(v, self.before[n])})
        self.before = values

    def _values(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.pair.named_parameters()}


def trained(**training: Any) -> Run:
    return vaezoo.fit("vae-linear", rows().numpy(), config={"z_dim": 2}, training=training)


@pytest.mark.parametrize(
    ("engine", "optimizer"), [("eager", "adamw"), ("graph", "adam"), ("eager", "adagrad")]
)
def test_one_side_moves_in_each_step(engine: str, optimizer: str) -> None:
    moves = Moves()
    training = {**TURNS, "engine": engine, "optimizer": optimizer}
    vaezoo.fit(
        "vae-linear", rows().numpy(), config={"z_dim": 2}, training=training, callbacks=[moves]
    )
    phi = {*PHI, "log_s"}
    assert moves.moved == [phi, phi, THETA] * 3


@pytest.mark.parametrize("e_steps", [0, 1, pytest.param(3, marks=pytest.mark.slow)])
def test_em_and_joint_steps_reach_the_likelihood_of_exact_ppca(e_steps: int) -> None:
    """The optimum of a linear VAE is pPCA, its bound exact (Lucas et al. 2019, arXiv:1911.02469).

    Under one fixed seed; a run of another seed ends within 0.02 nats, too.
    """
    x = rows()
    pair = VAELinear(x_shape=(5,), z_dim=2)
    theta = [pair.decoder.weight, pair.decoder.bias, pair.log_sigma]
    phi = [pair.encoder.weight, pair.encoder.bias, pair.log_s]
    rates = {"lr": 0.03, "lr_decay": 0.999 if e_steps > 1 else 0.997}
    together = Optimizer("adam", [*phi, *theta], **rates)
    sides = [Optimizer("adam", side, **rates) for side in (phi, theta)]
    turns = Alternating(*sides, e_steps=e_steps) if e_steps else together
    step = Engine(pair, ELBO(), Optimizers({"pair": turns}), engine="graph")
    for _ in range(1_000 * (1 + e_steps)):
        step([x])
    weight, bias, sigma = (parameter.detach().double() for parameter in theta)
    fitted = LinearGaussian(weight, bias, float(sigma.exp()))
    _, largest = fit_ppca(x.double(), 2)
    assert largest - float(fitted.log_prob(x.double()).mean()) < 0.02
    assert fitted.mean_field_gap() < 0.02


def test_stopped_in_the_middle_of_a_turn_it_goes_on_bit_by_bit(tmp_path: Path) -> None:
    whole = trained(**TURNS)
    vaezoo.fit(
        "vae-linear",
        rows().numpy(),
        config={"z_dim": 2},
        training={**TURNS, "steps": 4},
        out=tmp_path / "run",
    )
    again = vaezoo.resume(tmp_path / "run", steps=9, data=rows().numpy())
    ours, theirs = again.pair.state_dict(), whole.pair.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_seeds_side_by_side_take_the_turns_of_each_alone() -> None:
    runs = vaezoo.fit(
        "vae-linear", rows().numpy(), config={"z_dim": 2}, training=TURNS, seeds=[0, 1]
    )
    alone = trained(**TURNS, seed=1).pair.state_dict()
    assert all(torch.equal(v, alone[n]) for n, v in runs[1].pair.state_dict().items())


@pytest.mark.parametrize("model", ["vae-tied", "ladder-vae"])
def test_a_parameter_of_both_sides_is_refused(model: str) -> None:
    with pytest.raises(RequestError, match="is a parameter of both; use `schedule='joint'`"):
        vaezoo.fit(model, training={"schedule": "em", "steps": 3})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"e_steps": 3, "steps": 9}, "use `schedule='em'`, or drop `e_steps`"),
        ({"schedule": "em", "e_steps": 9, "steps": 9}, "use fewer `e_steps`, or train longer"),
    ],
)
def test_turns_without_meaning_are_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        trained(**training)
