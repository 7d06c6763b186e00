"""Are verdicts on sequences right? On linear-Gaussian models, whose smoother is exact.

``--seeds`` makes so many models for each kind of guide and length; ``--particles`` are those of a
filter. The columns are those of ``verdicts.py``.
"""

import argparse
import math
import time

import torch
from _confusion import COLUMNS, WRONG_NATS, counts, row
from _report import markdown, write
from pyro.distributions import MultivariateNormal, TorchDistribution
from torch import Tensor

from vaezoo.diagnostics.sequences import check_sequences
from vaezoo.exact.kalman import KalmanModel, Moments
from vaezoo.inference.filtering import particle_filter
from vaezoo.models.lgssm import LGSSM
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import SequencePair
from vaezoo.testing.sequence_pairs import KalmanPair

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--seeds", type=int, default=2)
parser.add_argument("--particles", type=int, default=250)
parser.add_argument("--write", action="store_true")

NUM_DATA, LENGTHS = 4, (5, 20, 80)
WRONG_SHIFT, WRONG_RATIO = 0.3, math.log(1.3)
TEXT = """\
Linear-Gaussian models of one to four latents, sequences of 5, 20 and 80 frames, half of them cut in
the middle; level standard, 250 particles. *Wrong* is a log p(x) that is off by more than 0.2 nats,
a mean by more than 0.3 sd, or an sd by more than a factor of 1.3, at the worst frame of the worst
latent; *fine* is a guide that is off by less than half of all that."""
HEADER = ["guide, frames", *COLUMNS]


class Spoiled(KalmanPair):
    """The exact guide, with other means and deviations."""

    def __init__(
        self, kalman: KalmanModel, *, shift: float = 0.0, scale: float = 1.0, ahead: bool = True
    ) -> None:
        super().__init__(kalman, shift=shift, look_ahead=ahead)
        self.scale = scale

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | e_t, h_t)."""
        fn = super().posterior(e, h)
        return MultivariateNormal(fn.mean, fn.covariance_matrix * self.scale**2)


SPOILED = {
    "right": {},
    "sees the past alone": {"ahead": False},
    "0.6 times as wide": {"scale": 0.6},
    "shifted by 0.5": {"shift": 0.5},
    "shifted by 3": {"shift": 3.0},
}
KINDS = ["trained", "of other weights", *SPOILED]


def model(seed: int) -> LGSSM:
    """Return a model of one to four latents and one to five elements."""
    torch.manual_seed(seed)
    z_dim, x_dim = int(torch.randint(1, 5, ())), int(torch.randint(1, 6, ()))
    pair = LGSSM(x_shape=(x_dim,), z_dim=z_dim)
    with torch.no_grad():
        pair.log_q.normal_(-1.0, 0.7)
        pair.log_r.normal_(-0.5, 0.5)
        pair.A.copy_((0.5 + 0.45 * torch.rand(z_dim)).diag() + 0.1 * torch.randn(z_dim, z_dim))
    return pair


def sequences(kalman: KalmanModel, number: int, num_frames: int) -> Tensor:
    """Return draws of a model, ``(B, T, D)``."""
    z, frames = torch.randn(number, len(kalman.m0), dtype=torch.float64), []
    for _ in range(num_frames):
        noise = torch.randn(number, len(kalman.R), dtype=torch.float64) @ kalman.R.sqrt()
        frames.append(z @ kalman.C.T + kalman.d + noise)
        z = z @ kalman.A.T + torch.randn_like(z) @ kalman.Q.sqrt()
    return torch.stack(frames, 1)


def train_guide(pair: LGSSM, kalman: KalmanModel) -> None:
    """Train the guide alone, for 300 steps on 64 sequences of 20 frames."""
    args = sequences(kalman, 64, 20).float(), torch.full((64,), 20)
    guide = [p for n, p in pair.named_parameters() if n[:2] in ("re", "sm", "M", "lo")]
    guide = [p for p in guide if p is not pair.log_q and p is not pair.log_r]
    optimizer = torch.optim.Adam(guide, 0.02)
    for _ in range(300):
        pair.zero_grad()
        (-elbo_terms(training_form(pair), args).elbo.mean()).backward()
        optimizer.step()


def errors(paths: Tensor, exact: Moments) -> tuple[Tensor, Tensor]:
    """Return shift in sds and log ratio of sds at the worst frame, ``(B,)``."""
    paths = paths.double()
    shift = ((paths.mean(0) - exact.mean) / exact.sd).abs()
    ratio = (paths.std(0) / exact.sd).log().abs()
    return shift.nan_to_num().flatten(1).amax(1), ratio.nan_to_num().flatten(1).amax(1)


def is_wrong(off: Tensor, paths: Tensor, exact: Moments, factor: float = 1.0) -> Tensor:
    """Return which log p(x) or paths are wrong, ``(B,)``."""
    shift, ratio = errors(paths, exact)
    of_paths = (shift > factor * WRONG_SHIFT) | (ratio > factor * WRONG_RATIO)
    return of_paths | (off.abs() > factor * WRONG_NATS)


def judge(kind: str, num_frames: int, seed: int, num_particles: int) -> list[float]:
    """Return the counts of a model, and the seconds."""
    pair: SequencePair = model(seed)
    kalman: KalmanModel = pair.exact()  # type: ignore[operator, assignment]
    x = sequences(kalman, NUM_DATA, num_frames)
    if kind in SPOILED:
        pair = Spoiled(kalman, **SPOILED[kind])
    else:
        x = x.float()
        if kind == "trained":
            train_guide(pair, kalman)  # type: ignore[arg-type]
    args = x, torch.tensor([num_frames, max(1, num_frames // 2)] * (NUM_DATA // 2))
    begun = time.process_time()
    check = check_sequences(pair, args, num_particles=num_particles, seed=seed)
    seconds = time.process_time() - begun
    exact, log_p = kalman.smoothed(x.double(), args[1]), kalman.log_evidence(x.double(), args[1])
    paths = particle_filter(pair, args, 1000, threshold=0.0, keep_paths=True).paths
    assert paths is not None  # they were asked for
    guide, of_guide = paths.transpose(0, 1), torch.maximum(check.iwae, check.fivo) - log_p
    of_check = check.log_evidence - log_p
    return counts(
        check.verdict,
        of_guide,
        is_wrong(of_check, guide, exact),
        is_wrong(of_check, check.draws["z"], exact),
        ~is_wrong(of_guide, guide, exact, 0.5),
        seconds,
    )


def main() -> None:
    """Run all kinds of guides."""
    arguments, began = parser.parse_args(), time.monotonic()
    torch.set_num_threads(1)
    rows: list[list[object]] = [list(HEADER)]
    total = torch.zeros(len(HEADER) - 1, dtype=torch.float64)
    for kind in KINDS:
        for num_frames in LENGTHS:
            sums = torch.zeros_like(total)
            for seed in range(arguments.seeds):
                numbers = judge(kind, num_frames, seed, arguments.particles)
                sums += torch.tensor(numbers, dtype=torch.float64)
            total += sums
            rows.append(row(f"{kind}, {num_frames}", sums.tolist()))
    rows.append(row("all", total.tolist()))
    if arguments.write:
        write("sequence-verdicts", "Verdicts on sequences against the truth", TEXT, rows, began)
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
