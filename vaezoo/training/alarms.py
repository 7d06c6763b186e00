"""What a person should be told while a pair is trained."""

from vaezoo.training.metrics import Metrics

__all__ = ["COLLAPSED_KL", "alarms"]

LARGEST_SHARE_AT_FLOOR = 0.01
LARGEST_FALL = 0.1
COLLAPSED_KL = 0.01

_AT_FLOOR = (
    "sigma is at its floor for {:.0%} of the outputs: the likelihood is bounded by "
    "`likelihood.floor` alone; try `likelihood.sigma='shared'`"
)
_COLLAPSED = (
    "the latents carry nothing, KL {:.3f} nats: every datum has the same posterior; try a smaller "
    "`beta`, a `kl_warmup`, or `likelihood.sigma='shared'`"
)
_MEMORISES = (
    "the validation ELBO has fallen by {:.1f} nats, that of training rises: the model memorises; "
    "the best weights are kept (try `likelihood.sigma='shared'`)"
)


def alarms(
    train: Metrics,
    validation: Metrics,
    *,
    fallen: float,
    best_score: float,
    train_rises: bool,
    is_late: bool,
) -> dict[str, str]:
    """Return what is wrong after an epoch, by a short name, each with what to do.

    Parameters
    ----------
    train, validation
        Of this epoch.
    fallen
        Nats by which the validation score lies below the best one.
    best_score
        The best validation score.
    train_rises
        Whether the training ELBO is the best so far.
    is_late
        Whether latents that are not in use by now will hardly come into use.
    """
    has_kl = validation.kl != 0.0 or bool(validation.kl_per_latent)
    has_latents = has_kl and not validation.is_autoencoder
    messages = {}
    if train.at_floor > LARGEST_SHARE_AT_FLOOR:
        messages["floor"] = _AT_FLOOR.format(train.at_floor)
    if is_late and has_latents and validation.kl < COLLAPSED_KL:
        messages["collapse"] = _COLLAPSED.format(validation.kl)
    if train_rises and fallen > LARGEST_FALL * abs(best_score):
        messages["memorising"] = _MEMORISES.format(fallen)
    return messages
