"""When, and why, take a variational autoencoder rather than an autoencoder?

Asked: what does a VAE have that an autoencoder has not; is an autoencoder enough for denoising, for
strange data, for features; has anybody compared the two strictly on representation and
disentanglement? Here all have the same nets (one hidden layer of 200), 10 numbers a code (10 of 50
that are not zero where codes are sparse), the same data, steps and learning rate, and a Gaussian
likelihood of the same greys, so that what differs is the objective.

Hypothesis
    Where a density or samples are wanted, the VAE wins; where only features, denoising or strange
    data are, an autoencoder is enough.

Refuted by
    A difference beyond the noise in a task of the second kind, or none in one of the first.

Limits
    Small pictures, one size of net, the settings of each paper instead of a search for each task;
    of ten variants the best is taken on either side, which flatters both. Samples and ways are
    judged by distances of pixels.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from vaezoo.study import Claim, Scale, Study, Variant
from vaezoo.study.design import SCALES
from vaezoo.study.measures.codes import labels, reconstruction
from vaezoo.study.measures.density import bounds
from vaezoo.study.measures.samples import sample_quality
from vaezoo.study.measures.tasks import anomalies, denoising, directions, epochs_to_target, ways
from vaezoo.study.toys import dequantised, digits_but_8, shapes
from vaezoo.study.winners import Task, winners

if TYPE_CHECKING:
    from vaezoo.study import Result

__all__ = ["study"]

NETS = {"z_dim": 10, "hidden": (200,), "activation": "relu"}
SHARED = {**NETS, "likelihood": {"name": "gaussian", "sigma": "shared"}}
PLAIN, OTHERS = ("digits", "mnist"), ("digits but 8", "shapes")
FAMILIES = {
    "a linear model": ("pca", "ica"),
    "an autoencoder": ("ae", "ae-sparse", "ae-denoising", "rae", "wae-mmd"),
    "a VAE": ("vae", "beta-vae", "beta-tcvae"),
}
TASKS = (
    Task("MSE", "smaller"), Task("probe"), Task("few labels"), Task("k-NN purity"), Task("MIG"),
    Task("SAP"), Task("DCI"), Task("denoised MSE", "smaller"), Task("AUC, error"), Task("flipped"),
    Task("way distance", "smaller"), Task("way jump", "smaller"), Task("epochs", "smaller"),
    Task("ex-post distance", "smaller"), Task("log p(x)"),
)  # fmt: skip


def answer(result: "Result") -> str:
    """Name the winner of each task."""
    return winners(result, TASKS, FAMILIES)


def _variant(
    name: str, model: str, data: tuple[str, ...], config: Any = NETS, **training: Any
) -> Variant:
    scales: Any = SCALES if name in ("ae", "vae") else SCALES[1:]
    return Variant(name, model, config, training, data=data, scales=scales)


study = Study(
    name="ae-vs-vae",
    rows=("1-1", *(f"1-{n}" for n in (*range(13, 30), *range(38, 45))), "1-48", "2-10", "2-12"),
    variants=[
        _variant("pca", "ppca", (*PLAIN, *OTHERS), {"z_dim": 10}),
        _variant("ica", "ica", (*PLAIN, "shapes"), {"z_dim": 10}),
        _variant("ae", "ae", (*PLAIN, *OTHERS)),
        _variant("ae-sparse", "ae-sparse", PLAIN, {**NETS, "z_dim": 50}),
        _variant("ae-denoising", "ae-denoising", (*PLAIN, "digits but 8"),
                 objective={"name": "denoising", "corrupt": "gaussian:0.3"}),
        _variant("rae", "rae", (*PLAIN, *OTHERS)),
        _variant("wae-mmd", "wae-mmd", PLAIN),
        _variant("vae", "vae-gaussian", (*PLAIN, *OTHERS), SHARED),
        _variant("beta-vae", "vae-gaussian", (*PLAIN, *OTHERS), SHARED, beta=4.0),
        _variant("beta-tcvae", "vae-gaussian", (*PLAIN, "shapes"), SHARED,
                 objective={"name": "beta-tc", "tc": 6.0}),
        _variant("maf", "maf", ("digits",), {}),
    ],
    data={"digits": partial(dequantised, "digits"), "digits but 8": digits_but_8,
          "shapes": shapes, "mnist": partial(dequantised, "mnist", limit=10_000)},
    measures=[reconstruction(), labels(with_factors=True), denoising(0.3), anomalies(), ways(),
              directions(((0, 1), (1, 2))), sample_quality(), epochs_to_target(), bounds(50)],
    claims=[
        Claim("A VAE's codes are better features than an autoencoder's", "probe", "vae", "ae",
              by=0.01, rows=("1-1", "1-39", "1-48")),
        Claim("A VAE disentangles, an autoencoder does not", "MIG", "vae", "ae",
              by=0.05, rows=("1-27", "1-39")),
        Claim("For denoising an autoencoder is enough", "denoised MSE", "ae", "vae", "smaller",
              -0.001, ("1-14", "1-21")),
        Claim("For strange data an autoencoder is enough", "AUC, error", "ae", "vae",
              by=-0.03, rows=("1-14", "1-21")),
        Claim("A VAE's latent space is easier to interpolate", "way distance", "vae", "ae",
              "smaller", rows=("1-17", "1-20")),
        Claim("A VAE's samples are better, with the same density of codes", "ex-post distance",
              "vae", "ae", "smaller", rows=("1-22",)),
        Claim("A VAE puts codes of one class together", "k-NN purity", "vae", "ae",
              by=0.01, rows=("1-20", "1-43")),
        Claim("An autoencoder is easier to train", "epochs", "ae", "vae", "smaller",
              rows=("1-41",)),
    ],
    scales={
        "smoke": Scale(2, 0.2, {"steps": 5}, data=("digits",), limit=60),
        "quick": Scale(5, 4, {"steps": 1000}, data=("digits", "digits but 8", "shapes")),
        "full": Scale(5, 40, {"steps": 4000}, limit=1000),
    },
    reference="ae",
    answer=answer,
)  # fmt: skip
