"""Every pair with every command: it works, or is refused in one line that says what to do."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import RequestError, Run
from vaezoo.observations.missing import with_missing
from vaezoo.pairs.accounting import elbo_terms, log_weights
from vaezoo.pairs.sites import repeat_rows
from vaezoo.testing import check_pair

HERE = Path(__file__).parent
Arrays = dict[str, np.ndarray[Any, Any]]


def _data() -> dict[str, Arrays]:
    """Return made-up arrays of 40 rows, by the name of the pair: ``rows`` or ``frames`` without."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=(40, *shape)).astype(np.float32)  # noqa: E731
    x, label, counts = normal(4), rng.integers(0, 3, 40), rng.poisson(2.0, (40, 4))
    frames = {"x": normal(5, 3), "length": rng.integers(3, 6, 40)}
    bits = rng.integers(0, 2, (40, 1))
    return {
        "rows": {"x": x},
        "OfLabel": {"x": x, "label": label},
        "OfNumbers": {"x": x, "c": normal(2)},
        "SomeLabels": {"x": x, "label": np.where(np.arange(40) % 2, label, -1)},
        "Counts": {"x": counts.astype(np.float32)},
        "Shares": {"x": rng.beta(2, 2, (40, 4)).astype(np.float32)},
        "Levels": {"x": rng.integers(0, 5, (40, 4)).astype(np.float32) / 4},
        "TwoViews": {"x": x, "w": normal(3)},
        "MixedColumns": {"x": np.hstack([x[:, :2], counts[:, :1], bits]).astype(np.float32)},
        "frames": frames,
        "Steered": {**frames, "u": normal(5, 2)},
        "SteeredStep": {**frames, "u": normal(5, 2)},
        "TwoPerStepFast": {**frames, "y": normal(5, 2)},
        "Gaps": {"x": np.where(rng.random(x.shape) < 0.2, np.nan, x)},
    }


DATA = _data()
ROWS = (
    *("Vamp", "MixturePrior", "FlowPosterior", "FullRank", "Ladder", "BottomUp", "OfLabel"),
    *(
        "OfNumbers",
        "Classes",
        "ScoredClasses",
        "SomeLabels",
        "Relaxed",
        "Rounded",
        "Autoencoder",
        "Sparse",
    ),
    *("Quantised", "Counts", "StudentT", "Shares", "Levels", "TwoViews", "MixedColumns"),
    *("Bayesian", "Loadings", "Gaps", "Sphere", "Simplex", "Plated", "Auxiliary"),
)
LOSSES = {"Judged": "capacity", "Criticised": "factor"}
STEPS = ("SteeredStep", "TwoPerStepFast")
FRAMES = ("TwoPerStep", "StaticAndDynamic", "Steered", "Switching")
PATHS = ("GaussianProcess", "Equation", "Attention")
PAIRS = (*ROWS, *LOSSES, *STEPS, *FRAMES, *PATHS)
FILES = {**dict.fromkeys(ROWS, "rows.py"), **dict.fromkeys(LOSSES, "losses.py")}
FILES.update({**dict.fromkeys(STEPS, "steps.py"), **dict.fromkeys((*FRAMES, *PATHS), "frames.py")})

# Which cells are refused: all others work.
NO_POSTERIOR = {"draw_posterior", "analyse", "impute"}  # the guide gives one value
NO_PRIOR = {"sample"}  # the prior is flat
EXPECTED: dict[str, set[str]] = {
    **{name: {"forecast"} for name in (*ROWS, *LOSSES)},  # there is no time
    "Autoencoder": {"forecast", *NO_POSTERIOR, *NO_PRIOR},
    "Quantised": {"forecast", *NO_POSTERIOR, *NO_PRIOR},
    "Sparse": {"forecast", *NO_POSTERIOR},
    "Rounded": {"forecast", "impute"},  # other values of the latents have no density
    "Loadings": {"forecast", "impute"},
    "Bayesian": {"forecast", "impute"},  # no chain of each datum for what all data share
}


def is_of_rows(name: str) -> bool:
    return name in ROWS or name in LOSSES


def data_of(name: str) -> Arrays:
    return DATA.get(name, DATA["rows" if is_of_rows(name) else "frames"])


def args_of(run: Run, name: str, num_rows: int = 7) -> tuple[torch.Tensor, ...]:
    return run.batches(data_of(name)).whole("train", limit=num_rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Run]]:
    """Train each pair by two steps, once."""
    runs: dict[str, Run] = {}

    def train(name: str) -> Run:
        if name not in runs:
            torch.manual_seed(0)
            file, out = HERE / FILES[name], tmp_path_factory.mktemp(name) / "run"
            training = {"steps": 2, "batch_size": 8, "objective": LOSSES.get(name, "elbo")}
            runs[name] = vaezoo.fit(f"{file}:{name}", data_of(name), training=training, out=out)
        return runs[name]

    yield train
    runs.clear()


def check(run: Run, name: str, folder: Path) -> bool:
    check_pair(run.pair, data=data_of(name)).raise_if_failed()
    return True


def evaluate(run: Run, name: str, folder: Path) -> bool:
    return math.isfinite(vaezoo.evaluate(run, iwae=(1, 5)).metrics.recon)


def are_finite(values: Any) -> bool:
    arrays = values.values() if isinstance(values, dict) else (values,)
    return all(bool(np.isfinite(array).all()) for array in arrays)


def sample(run: Run, name: str, folder: Path) -> bool:
    return are_finite(vaezoo.sample(run, 4, x="sample"))


def reconstruct(run: Run, name: str, folder: Path) -> bool:
    x = vaezoo.reconstruct(run, limit=4)[1]
    if is_of_rows(name):
        return are_finite(x)
    values = x.values() if isinstance(x, dict) else (x,)
    return all(are_finite(value[:, :3]) for value in values)  # behind the end stands nan


def encode(run: Run, name: str, folder: Path) -> bool:
    return bool(vaezoo.encode(run, limit=4))


def draw_posterior(run: Run, name: str, folder: Path) -> bool:
    tree = vaezoo.draw_posterior(run, limit=3, num_samples=8, groups="all")
    vaezoo.save_tree(tree, folder / "draws.nc")
    return (folder / "draws.nc").exists()


def analyse(run: Run, name: str, folder: Path) -> bool:
    return bool(vaezoo.save_report(vaezoo.analyse(run, limit=3, level="quick"), folder / "report"))


def forecast(run: Run, name: str, folder: Path) -> bool:
    return "predictions" in vaezoo.forecast(run, horizon=2, num_samples=4, limit=3)


def impute(run: Run, name: str, folder: Path) -> bool:
    hidden: dict[str, Any] = {"fraction": 0.2} if is_of_rows(name) else {"gap": (1, 2)}
    return are_finite(vaezoo.impute(run, num_samples=4, burn_in=2, limit=3, **hidden).mean[:, :3])


def load(run: Run, name: str, folder: Path) -> bool:
    again = vaezoo.load_run(run.folder())
    state, other = run.pair.state_dict(), again.pair.state_dict()
    return all(torch.equal(state[key], other[key]) for key in state)


def resume(run: Run, name: str, folder: Path) -> bool:
    copy = shutil.copytree(run.folder(), folder / "copy")
    return vaezoo.resume(copy, steps=3, data=data_of(name)).info["status"] == "finished"


COMMANDS = {
    **{"check": check, "evaluate": evaluate, "sample": sample, "reconstruct": reconstruct},
    **{"encode": encode, "draw_posterior": draw_posterior, "analyse": analyse},
    **{"forecast": forecast, "impute": impute, "load": load, "resume": resume},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_goes_through_a_command_or_is_refused(
    name: str, command: str, trained: Callable[[str], Run], tmp_path: Path
) -> None:
    run = trained(name)
    if command not in EXPECTED.get(name, ()):
        assert COMMANDS[command](run, name, tmp_path)
        return
    with pytest.raises(RequestError) as refused:
        COMMANDS[command](run, name, tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def has_weights(name: str) -> bool:
    return name not in ("Autoencoder", "Sparse", "Quantised", "Bayesian", "Loadings")


@pytest.mark.parametrize("name", list(filter(has_weights, PAIRS)))
def test_the_elbo_is_the_mean_log_weight(name: str, trained: Callable[[str], Run]) -> None:
    """Of other draws each. Five standard errors: of all pairs, one in 50,000 runs fails."""
    run, num_draws = trained(name), 500
    args = args_of(run, name)
    pair = with_missing(run.pair, args)
    with torch.no_grad():
        elbo = elbo_terms(pair, repeat_rows(args, num_draws)).elbo.reshape(len(args[0]), -1)
        weights = log_weights(pair, args, num_draws).T
    noise = (elbo.var(1) + weights.var(1)).sum() / num_draws
    gap = (elbo.mean(1) - weights.mean(1)).sum()
    assert abs(float(gap)) < 5 * float(noise.sqrt()) + 1e-3


def test_a_datum_has_no_weights_of_its_own_where_all_share_a_latent(
    trained: Callable[[str], Run],
) -> None:
    run = trained("Bayesian")
    with pytest.raises(RequestError, match="all data share site 'w'"):
        log_weights(run.pair, args_of(run, "Bayesian"), 2)


def test_missing_entries_and_a_shared_latent_go_together(trained: Callable[[str], Run]) -> None:
    x = data_of("Bayesian")["x"]
    x = np.where(x > 1, np.nan, x)
    assert are_finite(vaezoo.reconstruct(trained("Bayesian"), x)[1])


def test_whole_numbers_of_short_sequences_are_filled_up(trained: Callable[[str], Run]) -> None:
    """The first sequences are shorter than the longest of those that are drawn."""
    short = {"x": data_of("Switching")["x"][:5], "length": np.array([2, 2, 2, 2, 5])}
    s = vaezoo.draw_posterior(trained("Switching"), short, num_samples=4)["posterior"]["s"]
    behind = s.isel(datum=0, time=slice(2, None))
    assert bool(behind.isnull().all())
    assert not bool(s.isel(datum=4).isnull().any())
