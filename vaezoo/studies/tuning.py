"""Which is harder to tune, an autoencoder or a variational autoencoder?

Asked: autoencoders are said to be easier to train, and to be preferred where they do as well. Nets,
data and steps are those of ``ae-vs-vae``. Each model is trained with its usual settings, and with
one of them changed at a time as a person would: learning rate 0.0003, 0.001, 0.003, 0.01; 5, 10, 20
latents; and the weight of the penalty where there is one, beta twice and half of 4, the squared
code of the rae a tenth and ten times of 0.0001. Of probabilistic PCA, whose optimum is known in
closed form, only the number of latents is a choice.

The spread of a measure is the largest minus the smallest mean over the settings of a model; the
brackets beside it have three standard errors on either side. One model is harder to tune than
another if its spread is larger by more than three standard errors of both.

Hypothesis
    Learning rates trouble neither. A VAE has one choice more, beta, which moves it most; an
    autoencoder must be told the number of latents, which a VAE finds by itself.

Refuted by
    Features that the learning rate changes, a beta that changes nothing, or a VAE that
    reconstructs otherwise with twice the latents.

Limits
    Small pictures, one size of net, so many steps for all, so that a small learning rate may not
    have arrived; one setting at a time. A spread is never below 0, and grows with the number of
    settings: 6 of ae and vae, 8 of rae and beta-vae, 3 of ppca. Only the first two, and the next
    two, are set against each other.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.codes import labels, reconstruction
from vaezoo.study.measures.density import bounds
from vaezoo.study.spreads import spreads
from vaezoo.study.toys import dequantised
from vaezoo.study.winners import Task

if TYPE_CHECKING:
    from vaezoo.study import Result

__all__ = ["study"]

NETS = {"z_dim": 10, "hidden": (200,), "activation": "relu"}
SHARED = {**NETS, "likelihood": {"name": "gaussian", "sigma": "shared"}}
LATENTS: Any = {f"{n} latents": ({"z_dim": n}, {}) for n in (5, 20)}
RATES: Any = {f"lr {rate:g}": ({}, {"lr": rate}) for rate in (3e-4, 3e-3, 1e-2)}
CODES: Any = {
    f"code {code:g}": ({}, {"objective": {"name": "rae", "form": "l2", "code": code}})
    for code in (1e-5, 1e-3)
}
BETAS: Any = {f"beta {beta:g}": ({}, {"beta": beta}) for beta in (2.0, 8.0)}
MODELS: Any = {  # model, usual settings of it and of its training, what is changed of them
    "ppca": ("ppca", {"z_dim": 10}, {}, LATENTS),
    "ae": ("ae", NETS, {}, RATES | LATENTS),
    "vae": ("vae-gaussian", SHARED, {}, RATES | LATENTS),
    "rae": ("rae", NETS, {}, RATES | LATENTS | CODES),
    "beta-vae": ("vae-gaussian", SHARED, {"beta": 4.0}, RATES | LATENTS | BETAS),
}
PAIRS = (("ae", "vae"), ("rae", "beta-vae"))  # with as many settings each
TASKS = (Task("probe"), Task("MSE", "smaller"), Task("log p(x)"))
SMOKE = ("ae", "ae, lr 0.01", "vae", "vae, lr 0.01")


def answer(result: "Result") -> str:
    """Say which of a pair is harder to tune, and the spread of each model."""
    return spreads(result, TASKS, tuple(MODELS), PAIRS)


def _variant(name: str, setting: str, own: Any, training: Any) -> Variant:
    model, usual, how, _ = MODELS[name]
    full = f"{name}, {setting}" if setting else name
    scales: Any = SCALES if full in SMOKE else SCALES[1:]
    return Variant(full, model, {**usual, **own}, {**how, **training}, scales=scales)


study = Study(
    name="tuning",
    rows=("1-9", "1-41"),
    variants=[
        _variant(name, setting, *changed)
        for name, (*_, changes) in MODELS.items()
        for setting, changed in ({"": ({}, {})} | changes).items()
    ],
    data={"digits": partial(dequantised, "digits"),
          "mnist": partial(dequantised, "mnist", limit=10_000)},
    measures=[reconstruction(), labels(), bounds(50)],
    claims=[
        Claim("An autoencoder's features do not depend on the learning rate", "probe",
              "ae, lr 0.01", "ae", "same", 0.03, ("1-41",)),
        Claim("A VAE's features do not depend on the learning rate", "probe",
              "vae, lr 0.01", "vae", "same", 0.03, ("1-41",)),
        Claim("A learning rate ten times as large costs a VAE likelihood", "log p(x)",
              "vae, lr 0.01", "vae", "smaller", 0.5, ("1-41",)),
        Claim("beta must be chosen with care: twice as much costs features", "probe",
              "beta-vae, beta 8", "beta-vae", "smaller", 0.01, ("1-9", "1-41")),
        Claim("An autoencoder's penalty needs no care: ten times as much reconstructs alike", "MSE",
              "rae, code 0.001", "rae", "same", 0.001, ("1-41",)),
        Claim("An autoencoder must be told the number of latents: twice as many reconstruct better",
              "MSE", "ae, 20 latents", "ae", "smaller", 0.001, ("1-41",)),
        Claim("A VAE finds the number of latents: twice as many reconstruct alike", "MSE",
              "vae, 20 latents", "vae", "same", 0.001, ("1-41",)),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 5}, data=("digits",), limit=60),
        "quick": Scale(5, 6, {"steps": 1000}, data=("digits",)),
        "full": Scale(5, 60, {"steps": 4000}, limit=1000),
    },
    reference="ae",
    answer=answer,
)  # fmt: skip
