"""Latents drawn from a density that is fitted to codes after the training (ex post).

Of an autoencoder, which has no prior, it makes a model of data; of a variational one it is the
density that the codes have, where that is not the prior. Nothing of it is kept: a seed and the rows
of the training make it again.

Ghosh et al. 2020, *From Variational to Deterministic Autoencoders*, arXiv:1903.12436, section 4:
a mixture of 10 Gaussians with full covariances.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.errors import RequestError
from vaezoo.options import LatentSource
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, takes_lengths, trace_pair
from vaezoo.parts import FlowPrior
from vaezoo.predict.encoding import encode
from vaezoo.predict.latents.codes import LatentSite, sites_of
from vaezoo.runs import Run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded

__all__ = ["draw_ex_post"]

COMPONENTS = 10
MOST_CODES = 20_000  # more change a density of some dozen latents by little
STEPS, BATCH_SIZE, LR = 2_000, 256, 2e-3  # of a flow
CHECK, PATIENCE = 50, 6  # steps between two looks at held-out codes, and looks without a better one


def draw_ex_post(
    run: Run,
    args: Args,
    source: LatentSource,
    *,
    data: "DataLike | None" = None,
    split: str = "train",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> dict[str, Tensor]:
    """Fit a density to the codes of data, and draw from it as many latents as there are rows.

    Parameters
    ----------
    run
        A trained run whose latents belong to one datum each, and can be carried to the reals.
    args
        Arguments of the pair, of which there are as many rows as draws are wanted.
    source
        ``gmm``, a mixture of 10 Gaussians, or ``flow``, a masked autoregressive one (Zuko).
    data, split, data_dir
        Whose codes; by default those of the rows that the run was trained on.
    given
        Conditions for these.
    seed
        Of codes, fit and draws.

    Returns
    -------
    dict of Tensor
        By site ``(N, *event_shape)``.

    Raises
    ------
    RequestError
        For sequences, for pairs without latents or with such as have no density of this kind.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 5})
    >>> draw_ex_post(run, run.placeholder(3), "gmm")["z"].shape
    torch.Size([3, 2])
    """
    sites = _sites_of(run, args)
    codes = encode(
        run,
        data,
        split=split,
        limit=MOST_CODES,
        z="sample",
        given=given,
        seed=seed,
        data_dir=data_dir,
    )
    parts = [site.to_reals(torch.as_tensor(codes[site.name])) for site in sites]
    reals = torch.cat(parts, 1)
    centre, spread = reals.mean(0), reals.std(0).clamp(min=1e-6)
    fit = _mixture if source == "gmm" else _flow
    latents_as_reals = fit((reals - centre) / spread, len(args[0]), seed) * spread + centre
    pieces = latents_as_reals.split([part.shape[1] for part in parts], 1)
    values = {site.name: site.from_reals(u) for site, u in zip(sites, pieces, strict=True)}
    return {name: value.to(run.device) for name, value in values.items()}


def _sites_of(run: Run, args: Args) -> tuple[LatentSite, ...]:
    what = "a density of codes"
    if takes_lengths(run.pair):
        raise RequestError(
            f"{what} is for data without time, and {run.name} is for sequences; drop `latents`"
        )
    with probing(run.pair, run.device):
        trace = trace_pair(run.pair, tuple(arg[:2] for arg in args))
    return sites_of(run, trace, what, "drop `latents`")


def _mixture(codes: Tensor, number: int, seed: int) -> Tensor:
    """Fit a mixture of Gaussians to codes ``(N, L)``, and draw ``(number, L)``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    components = min(COMPONENTS, max(1, len(codes) // 2))
    mixture = GaussianMixture(components, random_state=seed % 2**32, reg_covar=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what EM has reached is a density
        draws = mixture.fit(codes.double().numpy()).sample(number)[0]
    order = torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(draws).to(codes.dtype)[order]  # sorted by component until here


def _flow(codes: Tensor, number: int, seed: int) -> Tensor:
    """Fit a masked autoregressive flow to codes ``(N, L)``, and draw ``(number, L)``."""
    with seeded(seed, codes.device):
        flow = FlowPrior(codes.shape[1]).to(codes.dtype)
        held_out = max(1, len(codes) // 10)
        rows = codes[torch.randperm(len(codes))]
        flow.load_state_dict(_best_weights(flow, rows[held_out:], rows[:held_out]))
        with torch.no_grad():
            return torch.as_tensor(flow().expand((number,)).sample())


def _best_weights(flow: FlowPrior, rows: Tensor, held_out: Tensor) -> Mapping[str, Tensor]:
    """Maximise the likelihood of rows, until that of others has not risen for a while."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=LR)
    best, weights, waited = -torch.inf, copy.deepcopy(flow.state_dict()), 0
    for step in range(STEPS):
        batch = rows[torch.randint(len(rows), (min(BATCH_SIZE, len(rows)),))]
        optimizer.zero_grad()
        (-flow().log_prob(batch).mean()).backward()
        optimizer.step()
        if step % CHECK:
            continue
        with torch.no_grad():
            score = float(flow().log_prob(held_out).mean())
        waited = 0 if score > best else waited + 1
        if waited == PATIENCE:
            break
        if not waited:
            best, weights = score, copy.deepcopy(flow.state_dict())
    return weights
