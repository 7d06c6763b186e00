"""Missing entries against closed forms, for guides that are wrong on purpose."""

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from click.testing import CliRunner
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.cli import main
from vaezoo.data import from_arrays, from_sequences
from vaezoo.inference.completion import draw_missing, split_r_hat
from vaezoo.models.vae_linear import VAELinear
from vaezoo.models.vrnn import VRNN
from vaezoo.predict.imputation import impute
from vaezoo.runs import Run
from vaezoo.testing.pairs import LinearPair
from vaezoo.testing.sequence_pairs import LinearRecurrence
from vaezoo.training.fit import fit

CHAINS = 4000
MOST = 5.0  # standard errors


def conditional(
    mean: Tensor, covariance: Tensor, x: Tensor, missing: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and variances of the missing elements of a Gaussian vector given the others."""
    cross = covariance[missing][:, ~missing] @ torch.linalg.inv(covariance[~missing][:, ~missing])
    found = mean[missing] + cross @ (x[~missing] - mean[~missing])
    rest = covariance[missing][:, missing] - cross @ covariance[~missing][:, missing]
    return found, rest.diagonal()


def check_moments(draws: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Compare independent draws ``(CHAINS, D)`` with exact moments."""
    draws = draws.double()
    error = (draws.mean(0) - mean) / (variance / len(draws)).sqrt()
    assert float(error.abs().max()) < MOST
    error = (draws.var(0) / variance - 1) / (2 / len(draws)) ** 0.5
    assert float(error.abs().max()) < MOST


def test_a_linear_gaussian_pair() -> None:
    """The guide has the wrong mean and width; 6 numbers at 5 standard errors: once in 3e5 runs."""
    pair = VAELinear(x_shape=(5,), z_dim=2)
    with torch.no_grad():
        pair.log_sigma.fill_(-0.3)
    weight, bias = pair.decoder.weight.detach().double(), pair.decoder.bias.detach().double()
    noise = pair.log_sigma.detach().double().exp() ** 2
    covariance = weight @ weight.T + noise * torch.eye(5, dtype=torch.float64)
    x = torch.tensor([0.5, -1.0, 0.0, 2.0, 0.0])
    missing = torch.tensor([False, True, True, False, True])
    args = (torch.where(missing, 0.0, x).expand(CHAINS, 5),)
    samples, taken = draw_missing(
        pair, args, {"x": missing.expand(CHAINS, 5)}, num_samples=60, burn_in=60
    )
    samples = samples["x"]
    check_moments(samples[-1][:, missing], *conditional(bias, covariance, x.double(), missing))
    torch.testing.assert_close(samples[-1][:, ~missing], x[~missing].expand(CHAINS, 2))
    assert 0.1 < taken < 1


class LinearSmoothing(LinearRecurrence):
    """A guide that sees the frames to come, those that are missing, too."""

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        return x + 0.3 * torch.cat([x[:, 1:], 0 * x[:, :1]], 1)


class LinearWithoutLatents(LinearRecurrence):
    """x ~ N(0.3 h, 0.5^2), h' = 0.5 h + 0.8 x."""

    has_latents = False

    def covariance(self, num_frames: int) -> Tensor:
        """Of the frames, from the effect of each unit of noise."""
        h, effects = torch.zeros(num_frames, dtype=torch.float64), []
        for noise in torch.eye(num_frames, dtype=torch.float64):
            effects.append(0.3 * h + 0.5 * noise)
            h = 0.5 * h + 0.8 * effects[-1]
        effect = torch.stack(effects)
        return effect @ effect.T

    def likelihood(self, z: Tensor, h: Tensor) -> dist.TorchDistribution:
        return dist.Normal(0.3 * h, 0.5).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return 0.5 * h + 0.8 * f


@pytest.mark.parametrize("pair", [LinearRecurrence(), LinearSmoothing(), LinearWithoutLatents()])
def test_a_linear_gaussian_sequence(pair: LinearRecurrence) -> None:
    """A gap in the middle; 4 numbers at 5 standard errors: each fails once in 400000 runs."""
    steps, length = 6, 5
    x = torch.tensor([1.0, 0.5, 0.0, 0.0, -1.5, 0.0])
    missing = torch.tensor([False, False, True, True, False, False])
    args = (x.expand(CHAINS, steps).unsqueeze(-1), torch.full((CHAINS,), length))
    where = missing.expand(CHAINS, steps).unsqueeze(-1)
    samples, _ = draw_missing(pair, args, {"x": where}, num_samples=150, burn_in=50)
    samples = samples["x"]
    covariance = pair.covariance(length)
    mean = torch.zeros(length, dtype=torch.float64)
    wanted = conditional(mean, covariance, x[:length].double(), missing[:length])
    check_moments(samples[-1][:, missing, 0], *wanted)


@pytest.mark.parametrize("shift", [2.0, 4.0])
def test_a_guide_that_is_elsewhere_does_not_bias_the_draws(shift: float) -> None:
    """By so many sd; 200 chains of 100 draws: 0.05 is more than 5 errors of each of two means.

    Without moves between, they were off by 0.25 and by 1.3.
    """
    pair, missing = LinearPair(shift=shift), torch.tensor([False, True, False, True])
    torch.manual_seed(0)
    x = torch.tensor([1.0, 0.0, -1.0, 0.0])
    samples, taken = draw_missing(
        pair, (x.expand(200, 4),), {"x": missing.expand(200, 4)}, num_samples=100
    )
    weight = pair.linear.weight
    covariance = weight @ weight.T + 0.25 * torch.eye(4, dtype=torch.float64)
    exact, _ = conditional(torch.zeros(4, dtype=torch.float64), covariance, x.double(), missing)
    draws = samples["x"][..., missing]
    assert float((draws.double().mean((0, 1)) - exact).abs().max()) < 0.05
    assert float(split_r_hat(draws).quantile(0.9)) < 1.1
    assert taken > 0.2


def test_everything_is_taken_of_an_exact_guide() -> None:
    """Then pseudo-Gibbs is Gibbs."""

    class Exact(VAELinear):
        def guide(self, x: Tensor) -> None:
            precision = torch.eye(2) + self.decoder.weight.T @ self.decoder.weight
            covariance = torch.linalg.inv(precision)
            mean = (x - self.decoder.bias) @ self.decoder.weight @ covariance
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.MultivariateNormal(mean, covariance))

    pair = Exact(x_shape=(4,), z_dim=2)
    missing = torch.rand(50, 4) < 0.5
    _, taken = draw_missing(pair, (torch.randn(50, 4),), {"x": missing}, num_samples=10, burn_in=0)
    assert taken > 0.999


def check_chains(draws: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Compare draws ``(S, B, D)`` of independent data with exact moments."""
    draws = draws.double()
    for values, exact in ((draws, mean), ((draws - mean).square(), variance)):
        of_datum = values.mean(0)
        error = of_datum.std(0) / len(of_datum) ** 0.5
        assert float(((of_datum.mean(0) - exact) / error).abs().max()) < MOST


class Correlated(VAELinear):
    """x ~ N(z 1, K): the elements depend on each other given z."""

    K = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.3], [0.0, 0.3, 1.0]])

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.MultivariateNormal(z[:, :1].expand(-1, 3), self.K), obs=x)


def test_elements_that_depend_on_each_other_are_drawn_with_the_latents() -> None:
    """x is jointly normal with K + 1: 4 numbers at 5 standard errors, once in 400000 runs."""
    torch.manual_seed(0)
    pair, x = Correlated(x_shape=(3,), z_dim=2), torch.tensor([1.0, 0.0, -1.0])
    missing = torch.tensor([False, True, True])
    where = missing.expand(150, 3)
    args = (torch.where(missing, 0.0, x).expand(150, 3),)
    draws, _ = draw_missing(pair, args, {"x": where}, num_samples=40, burn_in=100)
    covariance = pair.K.double() + 1
    exact = conditional(torch.zeros(3).double(), covariance, x.double(), missing)
    check_chains(draws["x"][:, :, missing], *exact)
    assert bool((draws["x"][..., 0] == 1).all())


def test_a_joint_distribution_can_be_missing_as_a_whole() -> None:
    pair, x = Correlated(x_shape=(3,), z_dim=2), torch.zeros(2, 3)
    draws, _ = draw_missing(pair, (x,), {"x": x == 0}, num_samples=1, burn_in=0)
    assert bool((draws["x"] != 0).all())


class Written(nn.Module):
    """A pair of one step as any other: frames hear frames."""

    def __init__(self, pair: nn.Module) -> None:
        super().__init__()
        self.pair = pair

    def model(self, x: Tensor, length: Tensor) -> None:
        self.pair.model(x, length)

    def guide(self, x: Tensor, length: Tensor) -> None:
        self.pair.guide(x, length)


@pytest.mark.parametrize("pair", [LinearRecurrence(), LinearWithoutLatents()])
def test_frames_that_hear_frames_are_drawn_with_the_latents(pair: LinearRecurrence) -> None:
    """As for the pair of one step, of two lengths; 8 numbers at 5 errors, once in 200000 runs."""
    torch.manual_seed(0)
    x = torch.tensor([1.0, 0.5, 0.0, 0.0, -1.5, 0.0])
    missing = torch.tensor([False, False, True, True, False, False])
    length = torch.tensor([5, 4]).repeat_interleave(80)
    args = (x.expand(160, 6).unsqueeze(-1), length)
    where = {"x": missing.expand(160, 6).unsqueeze(-1)}
    draws, _ = draw_missing(Written(pair), args, where, num_samples=40, burn_in=100)
    for frames, rows in ((5, slice(80)), (4, slice(80, 160))):
        mean, covariance = torch.zeros(frames).double(), pair.covariance(frames)
        exact = conditional(mean, covariance, x[:frames].double(), missing[:frames])
        check_chains(draws["x"][:, rows, missing, 0], *exact)


def test_bits_that_hear_bits_are_refused() -> None:
    pair = Written(VRNN(x_shape=(3,), z_dim=2, hidden=4))
    x, missing = torch.ones(2, 4, 3), torch.zeros(2, 4, 3, dtype=torch.bool)
    missing[:, 1] = True
    with pytest.raises(RequestError, match=r"heard by the next ones.* are real numbers, and those"):
        draw_missing(pair, (x, torch.tensor([4, 4])), {"x": missing}, num_samples=1)


def test_whole_frames_of_a_joint_distribution_can_be_missing() -> None:
    """Independent frames, of which the missing one has its own moments: once in 400000 runs."""
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.5]])

    class Joint(LinearWithoutLatents):
        def likelihood(self, z: Tensor, h: Tensor) -> dist.TorchDistribution:
            mean = h.new_ones(len(h), 2)
            return dist.MultivariateNormal(mean, scale_tril=factor)

        def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
            return h

    x, length = torch.zeros(CHAINS, 3, 2), torch.full((CHAINS,), 3)
    missing = torch.zeros(CHAINS, 3, 2, dtype=torch.bool)
    missing[:, 1] = True
    drawn, taken = draw_missing(Joint(), (x, length), {"x": missing}, num_samples=2, burn_in=0)
    drawn = drawn["x"]
    variance = (factor @ factor.T).diagonal().double()
    check_moments(drawn[-1][:, 1], torch.ones(2, dtype=torch.float64), variance)
    assert taken == pytest.approx(1)


def test_parts_of_a_frame_of_a_joint_distribution_can_be_missing() -> None:
    """2 numbers at 5 standard errors."""

    class Joint(LinearWithoutLatents):
        def likelihood(self, z: Tensor, h: Tensor) -> dist.TorchDistribution:
            return dist.MultivariateNormal(h.new_zeros(len(h), 3), Correlated.K)

        def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
            return h

    torch.manual_seed(0)
    x, length = torch.ones(300, 3, 3), torch.full((300,), 3)
    missing = torch.zeros(300, 3, 3, dtype=torch.bool)
    missing[:, 1, 0] = True
    draws, _ = draw_missing(Joint(), (x, length), {"x": missing}, num_samples=40, burn_in=60)
    frame = torch.tensor([True, False, False])
    exact = conditional(torch.zeros(3).double(), Correlated.K.double(), x[0, 1].double(), frame)
    check_chains(draws["x"][:, :, 1, :1], *exact)


# Runs


@pytest.fixture(scope="module")
def sequences() -> Run:
    return fit("vrnn", "digits-rows", config={"z_dim": 2, "hidden": 8}, training={"steps": 2})


@pytest.fixture(scope="module")
def vectors() -> Run:
    return fit("vae-linear", "digits", config={"z_dim": 2}, training={"steps": 2})


def test_only_hidden_entries_change(sequences: Run) -> None:
    filled = impute(sequences, gap=(2, 4), limit=5, num_samples=3, burn_in=2)
    assert filled.missing[:, 2:4].all()
    assert filled.missing.sum() == 5 * 2 * 8
    assert filled.x.shape == (3, 5, 8, 8)
    observed = ~filled.missing
    np.testing.assert_array_equal(filled.x[:, observed], filled.truth[observed][None].repeat(3, 0))


def test_the_hidden_have_no_say(vectors: Run) -> None:
    """The same is drawn whatever stood in the entries that are hidden."""
    x = np.random.default_rng(0).integers(0, 17, (6, 8, 8)).astype(np.float32)
    first = impute(vectors, from_arrays(x, scale=16.0), fraction=0.3, num_samples=3, burn_in=2)
    other = from_arrays(np.where(first.missing, 16 - x, x), scale=16.0)
    second = impute(vectors, other, fraction=0.3, num_samples=3, burn_in=2)
    np.testing.assert_array_equal(first.x, second.x)


def test_nan_is_missing_and_its_truth_unknown() -> None:
    x = [np.cumsum(np.full((n, 2), 0.1), 0) for n in range(5, 35)]
    config = {"z_dim": 2, "hidden": 8, "likelihood": {"name": "gaussian"}}
    run = fit("vrnn", x, config=config, training={"steps": 2})
    x[3][2:4, 1] = np.nan
    filled = impute(run, from_sequences(x), num_samples=2, burn_in=2)
    assert np.argwhere(filled.missing).tolist() == [[3, 2, 1], [3, 3, 1]]
    assert np.isnan(filled.truth[3, 2:4, 1]).all()
    assert np.isfinite(filled.mean[3, :8]).all()
    assert np.isnan(filled.mean[3, 8:]).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "nothing is missing in digits-rows.*`fraction=0.2`"),
        ({"gap": (5, 9)}, r"`gap=\(5, 9\)` ends behind sequence 0.*at most 8"),
        ({"gap": (4, 4)}, "holds no frame"),
        ({"fraction": 1.5}, "a share from 0 to 1"),
    ],
)
def test_what_cannot_be_hidden_is_refused(sequences: Run, given: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        impute(sequences, **given)


def test_gaps_of_what_has_no_frames_are_refused(vectors: Run) -> None:
    with pytest.raises(RequestError, match="`gap` takes a run on sequences"):
        impute(vectors, gap=(1, 2))


def test_rows_without_gaps_stay_as_they_are() -> None:
    pair = VRNN(x_shape=(3,), z_dim=2, hidden=4)
    x, length = torch.ones(2, 4, 3), torch.tensor([4, 2])
    missing = torch.zeros(2, 4, 3, dtype=torch.bool)
    missing[0, 1] = True
    samples, _ = draw_missing(pair, (x, length), {"x": missing}, num_samples=3, burn_in=1)
    samples = samples["x"]
    assert (samples[:, 1] == 1).all()


class TwoSites(nn.Module):
    """x and w, both N(z, 1), and a bit that is Phi(z_1): all observed, of one latent."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = nn.Linear(x_shape[0], 2)

    def model(self, x: Tensor, w: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
            pyro.sample("w", dist.Normal(z, 1.0).to_event(1), obs=w)
            probs = dist.Normal(0.0, 1.0).cdf(z[:, 0])
            pyro.sample("label", dist.Bernoulli(probs), obs=label.float())

    def guide(self, x: Tensor, w: Tensor, label: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


def columns(number: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, number, 2)).astype(np.float32)
    return {"x": x, "w": w, "label": rng.integers(0, 2, number)}


def test_entries_of_several_arguments_are_drawn_together() -> None:
    """x and w are jointly normal: 2 moments of 2 entries at 5 errors, once in 400000 runs."""
    pair, known = TwoSites(x_shape=(2,)), torch.tensor([1.0, 0.0, 0.0, -0.5])
    missing = torch.tensor([False, True, True, False])
    x, w = (half.expand(CHAINS, 2) for half in known.chunk(2))
    where = {n: part.expand(CHAINS, 2) for n, part in zip("xw", missing.chunk(2), strict=True)}
    where["label"] = torch.ones(CHAINS, dtype=torch.bool)
    args = x, w, torch.zeros(CHAINS)
    draws, _ = draw_missing(pair, args, where, num_samples=60, burn_in=60)
    covariance = torch.eye(4).double() + torch.eye(2).repeat(2, 2)
    last = torch.cat([draws["x"][-1], draws["w"][-1]], 1)
    mean = torch.zeros(4, dtype=torch.float64)
    check_moments(last[:, missing], *conditional(mean, covariance, known.double(), missing))


def test_labels_that_are_hidden_are_drawn() -> None:
    """z | x, w ~ N((x + w) / 3, 1 / 3): P(label) = Phi(mean / sqrt(4 / 3)), at 5 errors."""
    pair, ones = TwoSites(x_shape=(2,)), torch.ones(CHAINS, 2)
    where = {"label": torch.ones(CHAINS, dtype=torch.bool)}
    args = ones, 0.5 * ones, torch.zeros(CHAINS, dtype=torch.int64)
    draws, _ = draw_missing(pair, args, where, num_samples=1, burn_in=60)
    exact = float(dist.Normal(0.0, 1.0).cdf(torch.tensor(0.5 / (4 / 3) ** 0.5)))
    error = (exact * (1 - exact) / CHAINS) ** 0.5
    assert draws["label"].dtype == torch.int64
    assert abs(float(draws["label"].double().mean()) - exact) < MOST * error


@pytest.fixture(scope="module")
def several() -> Run:
    return fit(TwoSites, columns(40), training={"steps": 2})


def test_gaps_of_any_observed_argument_are_filled(several: Run) -> None:
    data = columns(12)
    data["w"][::3, 1] = np.nan
    filled = impute(several, data, num_samples=5, burn_in=2)
    assert filled.arguments.keys() == {"x", "w"}
    w = filled.arguments["w"]
    assert w.draws.shape == (5, 12, 2)
    assert np.isfinite(w.draws).all()
    np.testing.assert_array_equal(w.missing, np.isnan(data["w"]))
    np.testing.assert_array_equal(w.draws[-1][~w.missing], data["w"][~w.missing])
    np.testing.assert_array_equal(filled.x[-1], data["x"])


def test_a_whole_argument_can_be_hidden(several: Run) -> None:
    filled = impute(several, hide=["w", "label"], num_samples=5, burn_in=2, limit=3)
    assert filled.arguments["w"].missing.all()
    assert not filled.missing.any()
    assert set(np.unique(filled.arguments["label"].point)) <= {0, 1}
    with pytest.raises(RequestError, match="'v' is not observed; choose from: label, w, x"):
        impute(several, hide=["v"])


def test_what_is_filled_in_is_written_by_argument(several: Run, tmp_path: Path) -> None:
    data = columns(12)
    data["x"][0, 0] = data["w"][0, 0] = np.nan
    np.savez(tmp_path / "gaps.npz", **data)
    run = fit(TwoSites, columns(40), training={"steps": 2}, out=tmp_path / "run")
    out, words = tmp_path / "filled.npz", ["--num-samples", "5", "--hide", "label"]
    words = ["impute", str(run.path), "--data", str(tmp_path / "gaps.npz"), "-o", str(out), *words]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert "missing entries: 1 of x, 1 of w, 12 of label of 12 rows" in result.output
    with np.load(out) as stored:
        assert {"x", "sd", "w", "w_sd", "w_draw", "w_missing", "label"} <= set(stored.files)
        assert np.isfinite(stored["w"]).all()


def test_what_no_site_observes_is_not_filled(conditional_rows: Run) -> None:
    data = {"x": np.zeros((4, 2), np.float32), "c": np.array([[0.0], [np.nan], [0.0], [0.0]])}
    with pytest.raises(RequestError, match=r"entries of c are missing .* no site .* observes it"):
        impute(conditional_rows, data, fraction=0.5)
    data["c"] = np.zeros((4, 1))
    data["x"][0, 1] = np.nan
    with pytest.raises(RequestError, match="no site of the model observes all entries of x"):
        impute(conditional_rows, data)


@pytest.fixture(scope="module")
def conditional_rows() -> Run:
    class Half(nn.Module):
        """Observes the first element of x, given c."""

        def __init__(self, *, x_shape: tuple[int, ...]) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def model(self, x: Tensor, c: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z + c, 1.0).to_event(1), obs=x[:, :1])

        def guide(self, x: Tensor, c: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(0 * c, self.scale.abs()).to_event(1))

    x, c = np.random.default_rng(0).normal(size=(2, 40, 2)).astype(np.float32)
    return fit(Half, {"x": x, "c": c[:, :1]}, training={"steps": 2})
