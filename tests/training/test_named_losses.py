"""Objectives of a user's file: their schedules, options, networks, and groups of parameters."""

import json
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import vaezoo
from vaezoo.cli import main
from vaezoo.config import layers
from vaezoo.engine.gradients import loss_and_gradients
from vaezoo.engine.groups import Optimizers
from vaezoo.engine.optimizers import Optimizer
from vaezoo.errors import NonFiniteError, RequestError
from vaezoo.objectives import OBJECTIVES, Context
from vaezoo.objectives.losses import groups_of, networks_of
from vaezoo.registry import get_model
from vaezoo.runs.weights import STATE
from vaezoo.runtime.device import seeded
from vaezoo.runtime.tensors import load_tensors
from vaezoo.training.callbacks import Callback
from vaezoo.training.schedule import objective_of

FILE = str(Path(__file__).parent / "pairs" / "own_objectives.py")
ROWS = torch.randn(70, 5, generator=torch.Generator().manual_seed(3)).numpy()


class Notices(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_warning(self, message: str) -> None:
        if "independent elements" not in message:  # after 22 steps it is right
            self.lines.append(message)


def trained(objective: str, out: Path | None = None, **training: Any) -> tuple[vaezoo.Run, Notices]:
    """Train on batches of 16 of 56 rows: one in four is short."""
    notices = Notices()
    values = {"steps": 22, "batch_size": 16, "objective": objective, **training}
    return vaezoo.fit(FILE, ROWS, training=values, out=out, callbacks=[notices]), notices


def made(objective: str) -> tuple[nn.Module, Any, Tensor]:
    """A pair, an objective that is prepared for it, and a batch."""
    cls = get_model(FILE)
    torch.manual_seed(0)
    pair, x = cls(x_shape=(5,)), torch.from_numpy(ROWS[:16])
    ready = OBJECTIVES.find(objective, cls)()
    ready.prepare(pair, (x,))
    return pair, ready, x


@pytest.mark.parametrize("objective", ["capacity", "critic", "multiplier"])
def test_captured_steps_are_the_eager_ones(objective: str) -> None:
    eager, _ = trained(objective, engine="eager")
    graph, notices = trained(objective, engine="graph")
    assert notices.lines == []
    assert graph.info["steps_by_engine"] == {"graph": 22}
    for name, value in eager.pair.state_dict().items():
        assert torch.equal(graph.pair.state_dict()[name], value)
    assert graph.metrics[-1]["loss"] == eager.metrics[-1]["loss"]


def test_a_schedule_of_an_objective_sees_the_steps() -> None:
    """Where KL > C the loss is 2 (KL - C) - recon: it falls by 2 * 5 / 10 with each step."""
    pair, objective, x = made("capacity")
    with torch.no_grad():
        pair.encoder.bias[:2] = 5.0
    losses = []
    for step in (0, 5, 10, 20):
        with seeded(1, torch.device("cpu")), torch.no_grad():
            context = Context(step=torch.tensor(float(step)))
            losses.append(float(objective.loss(pair, (x,), context)))
    falls = [first - second for first, second in pairwise(losses)]
    assert falls == pytest.approx([5.0, 5.0, 0.0], rel=1e-4)


def test_each_loss_has_the_gradient_of_its_own_group() -> None:
    pair, objective, x = made("critic")
    groups = groups_of(("pair", "critic"), pair, networks_of(objective, pair))
    function = loss_and_gradients(
        pair, objective, groups, tuple, max_norm=1e9, precision="float32", masked=False
    )
    torch.manual_seed(4)
    losses, _, _, *gradients = function((torch.ones(()), torch.zeros(()), x))
    torch.manual_seed(4)
    by_hand = objective.loss(pair, (x,), Context())
    expected = [
        *torch.autograd.grad(by_hand["pair"], list(pair.parameters()), retain_graph=True),
        *torch.autograd.grad(by_hand["critic"], list(objective.critic.parameters())),
    ]
    assert torch.equal(losses, torch.stack([by_hand["pair"], by_hand["critic"]]))
    assert all(map(torch.equal, gradients, expected))


def test_each_group_is_clipped_by_its_own_norm() -> None:
    pair, objective, x = made("critic")
    groups = groups_of(("pair", "critic"), pair, networks_of(objective, pair))
    norms = []
    for most in (1e9, 0.1):
        function = loss_and_gradients(
            pair, objective, groups, tuple, max_norm=most, precision="float32", masked=False
        )
        torch.manual_seed(4)
        _, divisor, _, *gradients = function((torch.ones(()), torch.zeros(()), x))
        sizes = [len(group) for group in groups.values()]
        parts = (gradients[: sizes[0]], gradients[sizes[0] :])
        norms.append([float(torch.cat([g.flatten() for g in p]).norm()) for p in parts])
    expected = [max(1.0, norm / 0.1) for norm in norms[0]]
    assert divisor.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_step_that_is_not_finite_for_one_group_is_taken_by_none() -> None:
    w, c = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    groups = {"pair": Optimizer("adam", [w], lr=0.1), "critic": Optimizer("adam", [c], lr=0.1)}
    optimizers = Optimizers(groups)
    optimizers.update([torch.ones(2), torch.ones(2)], torch.ones(2), torch.tensor(False))
    assert not w.any()
    assert not c.any()
    assert bool(optimizers.failed)


def test_a_critic_learns_at_its_own_rate(tmp_path: Path) -> None:
    trained("critic", tmp_path / "run", plateau=0)
    tensors, _ = load_tensors(tmp_path / "run" / STATE)
    rates = float(tensors["optimizer/lr"]), float(tensors["optimizer/critic/lr"])
    assert rates == pytest.approx((1e-3, 0.02))


@pytest.mark.parametrize("objective", ["critic", "multiplier"])
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_resumed_run_is_one_that_did_not_stop(
    objective: str, engine: str, tmp_path: Path
) -> None:
    whole, _ = trained(objective, tmp_path / "whole", engine=engine)
    trained(objective, tmp_path / "part", engine=engine, steps=10)
    vaezoo.resume(tmp_path / "part", steps=22, data=ROWS)
    states = [load_tensors(tmp_path / name / STATE)[0] for name in ("whole", "part")]
    assert any(name.startswith("objective/") for name in states[0])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    assert whole.metrics[-1]["losses"].keys() == {objective}


def test_the_critic_is_trained_and_is_no_part_of_the_pair(tmp_path: Path) -> None:
    run, _ = trained("critic", tmp_path / "run")
    assert not any("critic" in name for name in run.pair.state_dict())
    loaded = vaezoo.load_run(tmp_path / "run")
    assert loaded.pair.state_dict().keys() == run.pair.state_dict().keys()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("no-pair", "gives no loss 'pair', only 'critic'"),
        ("no-module", "neither it nor the pair has a module of that name; .*'encoder'"),
        ("no-average", r"the loss 'pair' of the objective is no scalar tensor \(\(2,\)\)"),
        ("detached", "the loss 'decoder' of the objective depends on no parameter"),
        ("keeps-pair", "the objective keeps a part of the pair"),
        ("capacty", "no objective 'capacty'; did you mean 'capacity'"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_words(objective: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        trained(objective)


def test_what_no_loss_trains_is_named_once() -> None:
    _, notices = trained("forgets-critic")
    assert notices.lines == [
        "the objective gives no loss 'critic', so that its 'critic' is not trained"
    ]


def test_a_part_of_the_pair_may_have_a_loss_of_its_own() -> None:
    pair, objective, _ = made("part-of-pair")
    groups = groups_of(objective.names, pair, networks_of(objective, pair))
    assert {name: len(group) for name, group in groups.items()} == {"pair": 2, "decoder": 2}
    run, _ = trained("part-of-pair")
    assert run.info["status"] == "finished"


def test_a_critic_that_diverges_stops_training() -> None:
    with pytest.raises(NonFiniteError):
        trained("critic", lr=1e30, clip_norm=0.0)


@pytest.mark.parametrize(
    "training",
    [
        {"objective": "capacity", "objective_options": {"gamma": 7}},
        {"objective": {"name": "capacity", "gamma": 7}},
        {"objective": "capacity", "objective_options": {"gamma": 7.0, "steps": 10}},
    ],
)
def test_options_are_typed_and_kept_with_their_defaults(training: dict[str, Any]) -> None:
    _, schedule = layers(get_model(FILE), None, {"training": training})
    assert schedule.objective == "capacity"
    assert schedule.objective_options == {"gamma": 7.0, "most": 5.0, "steps": 10}


def test_another_objective_starts_with_its_own_options() -> None:
    first = {"training": {"objective": "capacity", "objective_options": {"gamma": 7}}}
    _, schedule = layers(get_model(FILE), None, first, {"objective": "critic"})
    assert schedule.objective_options == {"weight": 0.5, "rate": 0.02}


def test_shared_options_are_settings_of_the_training() -> None:
    _, schedule = layers(get_model(FILE), None, {"objective": {"num_particles": 3}})
    assert (schedule.num_particles, schedule.objective_options) == (3, {})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"objective": {"name": "capacity", "gama": 1}}, "capacity': no setting 'gama'; .*'gamma'"),
        ({"objective": {"name": "capacity", "gamma": "x"}}, "gamma: expected a valid number"),
        ({"objective": {"gamma": 1}}, "'elbo' has no 'gamma', 'capacity' has; add `objective="),
        ({"objective_options": 3}, "a table of options"),
        ({"objective": "by-place"}, "takes 'alpha' by its place; options go by name"),
        ({"objective": "no-loss"}, "'no-loss' has no method `loss`"),
    ],
)
def test_wrong_options_are_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        vaezoo.fit(FILE, ROWS, training={"steps": 1, **training})


def test_options_reach_the_objective_and_the_resumed_one(tmp_path: Path) -> None:
    trained("capacity", tmp_path / "run", objective_options={"most": 3.0}, steps=2)
    values = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert values["training"]["objective_options"] == {"gamma": 2.0, "most": 3.0, "steps": 10}
    run = vaezoo.resume(tmp_path / "run", steps=4, data=ROWS)
    objective: Any = objective_of(run.training, type(run.pair))
    assert (objective.most, run.info["steps"]) == (3.0, 4)


def test_two_files_may_each_have_an_objective_of_one_name(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(Path(FILE).read_text().replace("gamma: float = 2.0", "gamma: float = 9.0"))
    defaults = [
        layers(get_model(file), None, {"objective": "capacity"})[1].objective_options["gamma"]
        for file in (FILE, str(other))
    ]
    assert defaults == [2.0, 9.0]


def test_the_command_line_sets_options(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    words = ["train", FILE, "--data", str(tmp_path / "rows.npy"), "--steps", "2"]
    words += ["--set", "objective.most=1.5", "--objective", "capacity"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert vaezoo.load_run(tmp_path / "run").training.objective_options["most"] == 1.5


def test_show_lists_the_options() -> None:
    shown = json.loads(CliRunner().invoke(main, ["show", FILE, "--json"]).output)["objectives"]
    assert shown["capacity"]["most"] == {"default": 5.0, "type": "float"}
    assert set(shown) >= {"elbo", "iwae", "dreg", "critic"}
