"""Does a free sigma memorise few data?

Asked: with a variance that the decoder gives, the model may learn the training set by heart, let
sigma^2 go to 0 and the loss to minus infinity, above all with few data. Is it so, and what helps?

Hypothesis
    With few data the training ELBO rises without end while that of held-out data falls; a floor
    or one shared sigma bounds how far, stopping early prevents it; with more data it is smaller.

Refuted by
    A gap of less than 10 nats between training and validation data after the last step (64
    pixels), or one that is not smaller with a floor, with one sigma for all, or with a fixed one.

Limits
    Digits with noise of their grey step added, which bounds what any sigma can be: 0.017. The
    rate of the steps is never lowered and nothing stops early; ``ELBO, best`` is what stopping
    early would keep. ``sigma`` is implied by the reconstruction term, from the last epoch.
"""

from functools import partial

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.measures.density import memorising
from vaezoo.study.toys import noisy_digits

__all__ = ["study"]

ON = {"patience": 0, "plateau": 0}


def _variant(name: str, sigma: str, floor: float = 1e-6) -> Variant:
    likelihood = {"name": "gaussian", "sigma": sigma, "floor": floor}
    return Variant(name, "vae-gaussian", {"likelihood": likelihood}, ON)


study = Study(
    name="sigma-collapse",
    rows=("0-17",),
    variants=[
        _variant("free", "per-pixel"),
        _variant("floor 0.1", "per-pixel", 0.1),
        _variant("shared", "shared"),
        _variant("fixed at 0.1", "fixed:0.1"),
    ],
    data={f"{n} digits": partial(noisy_digits, n) for n in (50, 200, 1437)},
    measures=[memorising()],
    claims=[
        Claim("A free sigma memorises: held-out data lie 10 nats below", "gap, last",
              "free", 10.0, "larger", 0.0, ("0-17",)),
        Claim("A floor of sigma makes the gap of training to held-out data smaller",
              "gap, last", "floor 0.1", "free", "smaller", 0.0, ("0-17",)),
        Claim("One sigma for all pixels makes the gap of training to held-out data smaller",
              "gap, last", "shared", "free", "smaller", 0.0, ("0-17",)),
        Claim("A sigma that is not learned makes the gap of training to held-out data smaller",
              "gap, last", "fixed at 0.1", "free", "smaller", 0.0, ("0-17",)),
        Claim("Where training is stopped early, the gap of a free sigma is below 10 nats",
              "gap, best", "free", 10.0, "smaller", 0.0, ("0-17",)),
    ],
    scales={
        "smoke": Scale(2, 0.1, {"steps": 20, "engine": "eager"}, data=("50 digits",)),
        "quick": Scale(4, 3, {"steps": 1000, "lr": 2e-3}),
        "full": Scale(20, 90, {"steps": 20000, "lr": 2e-3}),
    },
)  # fmt: skip
