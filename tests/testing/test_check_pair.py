"""The checks catch what is broken, name it, and leave sound pairs alone."""

import json
from functools import cache
from pathlib import Path

import pyro
import pytest
import torch
from click.testing import CliRunner
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.cli import main
from vaezoo.cli.check import check
from vaezoo.errors import RequestError
from vaezoo.models.vae_linear import VAELinear
from vaezoo.registry import get_model, list_models
from vaezoo.testing import Conformance, check_class, check_pair

BROKEN = Path(__file__).parent / "broken_pairs"
TEMPLATES = Path(__file__).parents[2] / "vaezoo" / "testing" / "templates"

# file: the check that finds it, the site or parameter it names, words of the repair
EXPECTED = {
    "batch_in_event": ("shapes", "'x'", "smaller number in .to_event"),
    "batch_mean": ("rows", "'z'", "no mean"),
    "changing_number": ("saving", "self.scale", "register_buffer"),
    "constructor": ("runs", "Linaer", "correct this line"),
    "discriminates": ("predictive", "'label'", "pyro.sample returns"),
    "duplicate_site": ("sites", "'z'", "a name of its own"),
    "extra_state": ("saving", "encoder._extra_state", "register_buffer"),
    "fixed_plate": ("plate", "128", "len(x)"),
    "fixed_seed": ("seeds", "'z'", "torch.manual_seed"),
    "guide_extra_site": ("sites", "'zz'", "did you mean 'z'?"),
    "guide_misses_site": ("sites", "'s'", "add pyro.sample('s', ...)"),
    "hidden_noise": ("seeds", "'x'", "make the noise a latent"),
    "infinite_density": ("finite", "'x'", "floor"),
    "mask_of_one_side": ("sites", "'w_unobserved'", "mask=~there"),
    "module_in_store": ("store", "'decoder.weight'", "drop pyro.param"),
    "no_mask": ("padding", "'z_1'", "poutine.mask"),
    "no_to_event": ("shapes", "'x'", "add .to_event(1)"),
    "no_to_event_prior": ("shapes", "'z'", "add .to_event(1)"),
    "numpy_noise": ("seeds", "'z'", "not with numpy"),
    "other_arguments": ("arguments", "guide(data)", "def guide(self, x)"),
    "outside_plate": ("plate", "'z'", "with pyro.plate('data', len(x))"),
    "param_store": ("store", "'sigma'", "nn.Parameter"),
    "plate_before_rows": ("plate", "'elements' before their rows", "'data', len(x), dim=-2"),
    "plate_outside": ("plate", "'x'", "outside of any other plate"),
    "plate_twice": ("sites", "'data' twice", "make it once"),
    "plain_distribution": ("saving", "self.prior", "buffers"),
    "plain_list": ("saving", "self.layers", "nn.ModuleList"),
    "plain_tensor": ("saving", "self.offset", "self.register_buffer('offset', ...)"),
    "positional_constructor": ("runs", "'z_dim'", "keyword-only"),
    "raises": ("runs", "mat1 and mat2", "correct this line"),
    "random_array": ("saving", "self.offset", "register_buffer"),
    "sees_the_data": ("predictive", "'x'", "pyro.sample returns"),
    "teacher_forcing": ("predictive", "'x_1'", "pyro.sample returns"),
}
# What is right, but worth a word.
NOTED = {
    "no_rsample": ("reparameterised", "'z'", "reparameterised family"),
    "unused_parameter": ("gradients", "'unused.weight'", "remove it"),
    "zero_gradient": ("gradients", "'scale'", "zero everywhere"),
}


@cache
def examine(name: str) -> Conformance:
    return check_class(get_model(str(BROKEN / f"{name}.py")))


def wrong_line(name: str) -> str:
    """Return ``file.py:line`` of the line that is marked as wrong."""
    lines = (BROKEN / f"{name}.py").read_text(encoding="utf-8").splitlines()
    return f"{name}.py:{next(i for i, line in enumerate(lines, 1) if '# wrong' in line)}"


def test_every_broken_pair_is_expected() -> None:
    assert {path.stem for path in BROKEN.glob("*.py")} == {*EXPECTED, *NOTED}


@pytest.mark.parametrize("name", EXPECTED)
def test_caught_by_its_own_check(name: str) -> None:
    assert [failure.check for failure in examine(name).failures] == [EXPECTED[name][0]]


@pytest.mark.parametrize("name", EXPECTED)
def test_failure_names_what_where_and_the_repair(name: str) -> None:
    _, what, repair = EXPECTED[name]
    line = str(examine(name).failures[0])
    assert what in line
    assert repair in line
    assert wrong_line(name) in line
    assert "\n" not in line


@pytest.mark.parametrize("name", NOTED)
def test_what_is_worth_a_word_does_not_fail(name: str) -> None:
    check, what, repair = NOTED[name]
    report = examine(name)
    assert (report.failures, [note.check for note in report.notes]) == ((), [check])
    line = str(report.notes[0])
    assert what in line
    assert repair in line
    assert wrong_line(name) in line


@pytest.mark.parametrize("name", list_models())
def test_zoo_passes_with_no_other_word_than_what_its_densities_are(name: str) -> None:
    report = check_class(get_model(name))
    report.raise_if_failed()
    assert {(note.check, note.what) for note in report.notes} <= {
        ("density", "the guide gives site 'z' one value, as an autoencoder does"),
        ("density", "pyro.factor 'quantisation' of the guide is a penalty"),
        ("density", "pyro.factor 'label' counts in log p, which is then not normalised"),
        ("density", "pyro.factor 'missingness' counts in log p, which is then not normalised"),
        ("density", "all data share site 'theta'"),
    }


@pytest.mark.parametrize("template", ["pair.py", "sequence_pair.py"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_templates_pass(template: str, likelihood: str) -> None:
    settings = {"likelihood": likelihood}
    check_class(get_model(str(TEMPLATES / template)), settings=settings).raise_if_failed()


class Normed(nn.Module):
    """Batch normalisation, dropout and a last layer of zeros."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, x_shape[0])
        nn.init.zeros_(self.decoder.weight)
        self.encoder = nn.Sequential(
            nn.Linear(x_shape[0], 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)
        )

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


class Point(Normed):
    """A guide without noise."""

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x)).to_event(1))


class Discrete(nn.Module):
    """A discrete latent and an observed label."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, x_shape[0])
        self.encoder = nn.Linear(x_shape[0], 2)

    def model(self, x: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.OneHotCategorical(x.new_ones(2) / 2))
            pyro.sample("label", dist.Categorical(logits=self.decoder(c)), obs=label)
            pyro.sample("x", dist.Poisson(self.decoder(c).exp()).to_event(1), obs=x)

    def guide(self, x: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("c", dist.OneHotCategorical(logits=self.encoder(x)))


@pytest.mark.parametrize("cls", [Normed, Point, Discrete])
def test_sound_pair_passes(cls: type[nn.Module]) -> None:
    check_class(cls).raise_if_failed()


def test_table_of_sites() -> None:
    rows = {row.site: row for row in check_class(Discrete).shapes}
    assert (rows["c"].kind, rows["x"].kind) == ("discrete latent", "observed")
    assert (rows["x"].batch_shape, rows["x"].event_shape) == ((7,), (5,))


def test_steps_share_a_line_of_at_most_80_columns() -> None:
    text = str(check_class(get_model(str(TEMPLATES / "sequence_pair.py"))))
    assert "z_0 ... z_5" in text
    assert text.endswith("ok: 16 checks passed")
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_of_the_pair_changes() -> None:
    pair, x = Normed(x_shape=(5,)), torch.ones(6, 5)
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    check_pair(pair, (x,)).raise_if_failed()
    after = pair.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert pair.training
    assert all(parameter.grad is None for parameter in pair.parameters())


def test_random_state_and_store_are_left_alone() -> None:
    pair, x = VAELinear(x_shape=(5,)), torch.randn(6, 5)
    state = torch.get_rng_state()
    check_pair(pair, (x,)).raise_if_failed()
    assert torch.equal(torch.get_rng_state(), state)
    assert list(pyro.get_param_store()) == []


def test_raise_if_failed_shows_the_report() -> None:
    with pytest.raises(AssertionError, match="guide has no site 's'"):
        examine("guide_misses_site").raise_if_failed()


def test_later_checks_wait_for_a_failure() -> None:
    report = examine("no_to_event")
    assert "finite" in report.skipped
    assert "wait for that" in report.summary


@pytest.mark.parametrize(("args", "words"), [((), "takes"), ((torch.ones(2, 5),), "at least 3")])
def test_unfit_batch_is_refused(args: tuple[Tensor, ...], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        check_pair(VAELinear(x_shape=(5,)), args)


def test_command_passes() -> None:
    result = CliRunner().invoke(check, ["vae-linear", "--set", "z_dim=2", "--x-shape", "3,4"])
    assert result.exit_code == 0
    assert "(3, 4)" in result.output
    assert result.output.endswith("ok: 16 checks passed\n")


def test_command_fails_with_one_line() -> None:
    result = CliRunner().invoke(check, [str(BROKEN / "no_to_event.py")])
    assert result.exit_code == 1
    assert result.output.count("no_to_event.py:") == 1


def test_exit_code_of_the_program() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["check", str(BROKEN / "no_to_event.py")])
    assert stopped.value.code == 1


def test_command_prints_json() -> None:
    result = CliRunner().invoke(check, ["vae-linear", "--json"])
    report = json.loads(result.output)
    assert report["ok"]
    assert [site["site"] for site in report["sites"]] == ["z", "x"]


@pytest.mark.parametrize("words", [["--set", "z_dims=2"], ["--x-shape", "3x4"]])
def test_command_refuses(words: list[str]) -> None:
    result = CliRunner().invoke(check, ["vae-linear", *words])
    assert isinstance(result.exception, RequestError)


def test_settings_of_data_are_those_of_training() -> None:
    series = torch.randn(60, 2)
    settings = {"likelihood": "gaussian"}
    report = check_class(
        get_model("vrnn"), settings=settings, data=series, data_settings={"window": 6}
    )
    assert report.ok
