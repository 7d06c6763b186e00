"""What are checks of posteriors worth? Against quadrature, on MNIST, on chorales, by the clock.

``--part`` runs one part and keeps its tables in ``--folder``; ``--write`` writes them into
docs/results. MNIST and the chorales are read from ``VAEZOO_DATA``.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyro
import torch
import xarray as xr
from _report import RESULTS, environment, markdown, write_page
from pyro import poutine
from pyro.infer import MCMC, NUTS
from torch import Tensor

import vaezoo
from vaezoo.diagnostics.calibration import COVERAGE_LEVELS, calibrate
from vaezoo.diagnostics.checking import check_posteriors
from vaezoo.diagnostics.costs import LEVELS
from vaezoo.exact.quadrature import quadrature
from vaezoo.inference.hmc import convergence, hmc
from vaezoo.pairs.sites import Args, model_of
from vaezoo.report import prepare, verdict
from vaezoo.runs import Run
from vaezoo.runtime.arviz import import_arviz

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--part", choices=["grid", "mnist", "time", "jsb"])
parser.add_argument("--folder", type=Path, default=Path("posterior-results"))
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--write", action="store_true")

WRONG = 0.2
GRID = """\
`vae-bernoulli` with 2 latents on the embedded digits, encoder and decoder 128-128, 400 epochs; all
360 validation and test data. *Wrong* is a log p(x) by 4,000 draws of the guide that is off by more
than 0.2 nats from quadrature. The alarm of vaezoo is a difference of more than 0.2 nats between
guide and mixture, that of k-hat is k-hat > 0.7. *Checked* is the error of the mixture."""
MNIST = """\
`vae-bernoulli` on dynamically binarised MNIST, preset `mnist` (two layers of 256) with 20 latents,
20 epochs; 200 test data, level standard. Coverage is of regions of highest density, on 300 data
that the model made, 1,000 draws each: of the guide, of its draws weighted by PSIS, and of the
mixture that makes `checked.nc`."""
TIME = """\
`vae-bernoulli` with 8 latents on the embedded digits, encoder and decoder 128-128; 100 data. Pyro's
NUTS runs one datum after the other, one chain of 200 + 200 draws, three data; effective draws are
the smallest bulk ESS over the latents. Seconds of the levels are without files and page."""
JSB = """\
`vrnn` on the JSB chorales, h = z = 32, 200 epochs; the 77 test sequences, nats per frame. ESS is
the share of the particles that count after a frame: the median over frames and sequences, the
median at the worst frame, and the 5 % quantile."""

Rows = list[list[object]]


def digits(z_dim: int, seed: int) -> Run:
    """Return a pair that is trained on the embedded digits."""
    return vaezoo.fit(
        "vae-bernoulli",
        config={"z_dim": z_dim, "hidden": [128, 128]},
        training={"epochs": 400, "seed": seed, "plateau": 0, "patience": 0},
    )


def held_out(run: Run) -> Args:
    """Return all validation and test data."""
    parts = [*run.batches().fixed("validation"), *run.batches().fixed("test")]
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def grid(seeds: int) -> Rows:
    """Alarms against the exact answer."""
    rows: Rows = [
        ["seed", "data", "wrong", "alarm", "of k-hat", "false", "of k-hat", "checked, worst"]
    ]
    sums = torch.zeros(6, dtype=torch.float64)
    for seed in range(seeds):
        run = digits(2, seed)
        args = held_out(run)
        exact = quadrature(run.pair, args).log_evidence
        posteriors = check_posteriors(run.pair, args, split_gap=False, seed=seed)
        wrong = (posteriors.iwae - exact).abs() > WRONG
        alarms = ((posteriors.log_evidence - posteriors.iwae).abs() > WRONG, posteriors.k_hat > 0.7)
        caught = [int((alarm & wrong).sum()) for alarm in alarms]
        false = [int((alarm & ~wrong).sum()) for alarm in alarms]
        error = (posteriors.log_evidence - exact).abs()
        counts = [len(wrong), int(wrong.sum()), *caught, *false]
        sums += torch.tensor(counts, dtype=torch.float64)
        rows.append([seed, *counts, f"{float(error.max()):.3f}"])
        within = float((error <= WRONG).double().mean())
        print(f"seed {seed}: {within:.1%} of checked log p(x) within {WRONG} nats", flush=True)
    data, wrong_all, *rest = sums.tolist()
    shares = [f"{n / wrong_all:.1%}" for n in rest[:2]]
    shares += [f"{n / (data - wrong_all):.1%}" for n in rest[2:]]
    rows.append(["all", int(data), int(wrong_all), *shares, ""])
    return rows


def mnist(folder: Path) -> Rows:
    """Verdicts, gaps and coverage."""
    run = _kept(
        folder / "mnist",
        lambda out: vaezoo.fit(
            "vae-bernoulli", "mnist", config={"z_dim": 20}, training={"epochs": 20}, out=out
        ),
    )
    report = prepare(run, limit=200).run_checks()
    print(verdict(report), flush=True)
    posteriors = report.posteriors
    assert posteriors is not None
    assert posteriors.approximation_gap is not None
    assert posteriors.amortisation_gap is not None
    (args,) = run.batches().fixed("test", limit=200)
    psis = calibrate(run.pair, args, 300, 1000, repair="psis")
    mixture = calibrate(run.pair, args, 300, 1000, repair="mixture")
    assert psis.repaired is not None
    assert mixture.repaired is not None
    rows: Rows = [["what", "value"]]
    rows += [[name, f"{share:.1%}"] for name, share in report.shares.items()]
    rows += [
        ["ELBO", f"{float(posteriors.elbo.mean()):.2f}"],
        ["IWAE, 4,000 draws", f"{float(posteriors.iwae.mean()):.2f}"],
        ["checked log p(x)", f"{float(posteriors.log_evidence.mean()):.2f}"],
        ["approximation gap", f"{float(posteriors.approximation_gap.mean()):.2f}"],
        ["amortisation gap", f"{float(posteriors.amortisation_gap.mean()):.2f}"],
        ["k-hat above 0.7", f"{float((posteriors.k_hat > 0.7).double().mean()):.1%}"],
    ]
    for name, ranks in (
        ("guide", psis.guide),
        ("PSIS", psis.repaired),
        ("mixture", mixture.repaired),
    ):
        held = ", ".join(f"{ranks.coverage[level]:.0%}" for level in COVERAGE_LEVELS)
        rows.append([f"50, 80, 90, 95 % regions hold, {name}", held])
    return rows


def clock() -> Rows:
    """Seconds of the levels, and effective draws a second against Pyro's NUTS."""
    run = digits(8, 0)
    rows: Rows = [["what", "value"]]
    for level in LEVELS:
        analysis = prepare(run, level=level)
        began = time.perf_counter()
        analysis.run_checks()
        seconds = time.perf_counter() - began
        rows.append(
            [f"level {level}", f"{seconds:.1f} s (estimated {analysis.plan.seconds:.1f} s)"]
        )
    (args,) = run.batches().fixed("test", limit=100)
    began = time.perf_counter()
    chains = hmc(run.pair, args)
    seconds = time.perf_counter() - began
    ours = float(convergence(chains).ess_bulk.sum()) / seconds
    theirs = [effective_draws(run, tuple(arg[i : i + 1] for arg in args)) for i in range(3)]
    nuts = sum(theirs) / len(theirs)
    rows += [
        ["batched HMC, 4 chains of 300 + 500", f"{seconds:.1f} s, {ours:,.0f} effective draws/s"],
        ["Pyro NUTS", f"{nuts:,.0f} effective draws/s"],
        ["ratio", f"{ours / nuts:,.0f}"],
    ]
    return rows


def effective_draws(run: Run, args: Args) -> float:
    """Return the effective draws a second of Pyro's NUTS on one datum."""
    pyro.set_rng_seed(0)
    model = poutine.block(model_of(run.pair), hide_fn=lambda site: site["type"] == "param")
    sampler = MCMC(
        NUTS(model), num_samples=200, warmup_steps=200, num_chains=1, disable_progbar=True
    )
    began = time.perf_counter()
    sampler.run(*args)
    seconds = time.perf_counter() - began
    pyro.clear_param_store()
    return float(_bulk_ess(sampler.get_samples()["z"].flatten(1))) / seconds


def _bulk_ess(z: Tensor) -> float:
    draws = xr.Dataset({"z": (("chain", "draw", "latent"), z.double().numpy()[None])})
    return float(import_arviz().ess(draws)["z"].min())


def jsb(folder: Path) -> Rows:
    """The filter of the VRNN."""
    training = {"batch_size": 16, "lr": 3e-3, "epochs": 200, "clip_norm": 10.0}
    run = _kept(
        folder / "jsb",
        lambda out: vaezoo.fit(
            "vrnn", "jsb", config={"z_dim": 32, "hidden": 32}, training=training, out=out
        ),
    )
    report = prepare(run, limit=None).run_checks()
    print(verdict(report), flush=True)
    sequences = report.sequences
    assert sequences is not None
    frames = float(sequences.length.sum())
    by_frame = sequences.ess.nanmedian(0).values
    often = (~sequences.ess.isnan()).sum(0) >= 10
    worst = torch.where(often, by_frame, 2.0).argmin()
    low = float(sequences.ess.flatten().nanquantile(0.05))
    rows: Rows = [["what", "value"]]
    for name, bound in (
        ("ELBO", sequences.elbo),
        ("IWAE", sequences.iwae),
        ("FIVO", sequences.fivo),
    ):
        rows.append(
            [f"{name}, {sequences.num_particles} particles", f"{float(bound.sum()) / frames:.3f}"]
        )
    rows += [
        ["ESS, median", f"{float(sequences.ess.nanmedian()):.0%}"],
        [f"ESS, worst frame ({int(worst)})", f"{float(by_frame[worst]):.0%}"],
        ["ESS, 5 % quantile", f"{low:.0%}"],
        ["k-hat, median", f"{float(sequences.k_hat.nanmedian()):.2f}"],
    ]
    rows += [[name, f"{share:.0%}"] for name, share in report.shares.items()]
    return rows


def _kept(path: Path, train: Callable[[Path], Run]) -> Run:
    """Train, unless the run is there."""
    return vaezoo.load_run(path) if (path / "weights.safetensors").exists() else train(path)


TITLES = {
    "grid": ("Alarms against the exact answer", GRID),
    "mnist": ("MNIST", MNIST),
    "jsb": ("Chorales", JSB),
    "time": ("Time", TIME),
}


def page(folder: Path) -> str:
    """Return what was measured so far."""
    parts = ["# Checks of posteriors: results"]
    for part, (title, text) in TITLES.items():
        path = folder / f"{part}.md"
        if path.exists():
            parts += [f"## {title}", text, path.read_text(encoding="utf-8").strip()]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[object]], began: float) -> str:
    return f"{markdown(rows)}\n\nMade by `benchmarks/posterior.py`: {environment(began)}\n"


def main() -> None:
    began, options = time.monotonic(), parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], Rows]] = {
        "grid": lambda: grid(options.seeds),
        "mnist": lambda: mnist(folder),
        "time": clock,
        "jsb": lambda: jsb(folder),
    }
    if options.part:
        table = _table(parts[options.part](), began)
        (folder / f"{options.part}.md").write_text(table, encoding="utf-8")
    if options.write:
        write_page(RESULTS / "posterior.md", page(folder))
    print(page(folder))


if __name__ == "__main__":
    main()
