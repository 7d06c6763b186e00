"""Do all numbers of a pair speak of one quantity: what is trained, printed, and weighed?"""

import torch
from torch import Tensor

from vaezoo.checks.remarks import Failure, Remarks
from vaezoo.checks.subject import Subject
from vaezoo.objectives.elbo import ELBO
from vaezoo.pairs.accounting import elbo_terms, log_weights, num_units
from vaezoo.pairs.sites import is_autoencoder, repeat_rows

__all__ = ["check_agreement"]

NUM_REPEATS, NUM_SEEDS = 16, 2
# Standard errors. Two normal averages differ by more once in 500 million pairs; those of a few
# hundred draws with heavy tails, once in some 10,000.
MOST_ERRORS = 6.0
TOLERANCE = 1e-3


def check_agreement(subject: Subject) -> Remarks:
    """The objective trained, the printed ELBO and the mean log weight are one, within noise."""
    if is_autoencoder(subject.first):
        return
    rows, pair = len(subject.args[0]), subject.pair.eval()
    args, objective = repeat_rows(subject.args, NUM_REPEATS), ELBO()
    objective.prepare(pair, args)
    units = float(num_units(pair, args)) / len(args[0])
    shared = bool(subject.first.global_latents)  # a datum has no weights of its own
    losses, elbos, weights = [], [], []
    for seed in range(NUM_SEEDS):
        torch.manual_seed(seed)
        losses.append(-torch.as_tensor(objective.loss(pair, args)) * units)
        torch.manual_seed(seed)
        elbos.append(elbo_terms(pair, args).elbo.reshape(rows, -1))
        torch.manual_seed(seed)
        weights.append(elbos[-1] if shared else log_weights(pair, args, 1).reshape(rows, -1))
    yield from _compare(subject, torch.stack(losses), torch.cat(elbos, 1), torch.cat(weights, 1))


def _compare(subject: Subject, losses: Tensor, elbos: Tensor, weights: Tensor) -> Remarks:
    """Compare averages over draws: ``(S,)`` of the objective, ``(B, R)`` of the others."""
    objective, elbo, weight = losses.mean(), elbos.mean(), weights.mean()
    noise = (elbos.var(1).mean() + weights.var(1).mean()) / elbos.numel()
    paired = (weights - elbos).var(1).mean() / elbos.numel()  # of the same draws
    rounding = TOLERANCE * (1 + elbo.abs())
    gaps = (((objective - elbo).abs(), noise), ((weight - elbo).abs(), paired))
    if any(float(gap) > float(MOST_ERRORS * var.sqrt() + rounding) for gap, var in gaps):
        what = (
            f"per datum the objective is {float(objective):.2f}, the ELBO {float(elbo):.2f} and "
            f"the mean log weight {float(weight):.2f} nats, which should be one number"
        )
        repair = "give each latent the same mask, scale and plates in model and guide"
        yield Failure("agreement", subject.where("guide"), what, repair)
