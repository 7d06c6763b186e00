"""What the losses of other libraries mean: the density and the beta behind a recipe.

A recipe is ``weight of an error + weight of a KL``. Up to a factor of the whole, which an optimiser
like Adam does not see, it is a negative log-likelihood with a beta: the error stands for a density,
and what averages instead of summing moves the beta, or the scale of that density.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from vaezoo.errors import RequestError, nearest

__all__ = ["RECIPES", "Error", "Meaning", "Recipe", "Reduction", "explain_loss", "recipe_of"]

Error = Literal["mse-sum", "mse-half", "mse-mean", "bce-sum", "bce-mean", "l1-sum", "l1-mean"]
Reduction = Literal["sum", "mean"]


@dataclass(frozen=True)
class Recipe:
    """A loss, ``error + kld_weight * KL``, as somebody's code has it.

    Attributes
    ----------
    recon
        The error of a datum: squared (``mse``), half of that, cross-entropy (``bce``) or absolute
        (``l1``), summed over its elements or averaged.
    dim
        Elements D of a datum.
    kld
        Whether the KL is summed over latents, or averaged.
    kld_weight
        Its factor.
    z_dim
        Latents, which count where the KL is averaged.
    source
        The file in which it was read.
    note
        What else is to be known of it.
    """

    recon: Error
    dim: int
    kld: Reduction = "sum"
    kld_weight: float = 1.0
    z_dim: int = 1
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class Meaning:
    """What a recipe is as a negative log-likelihood plus ``beta`` times a KL.

    Attributes
    ----------
    recipe
        What was asked about.
    family
        ``Gaussian``, ``Bernoulli`` or ``Laplace``.
    beta
        Weight of the KL beside a density of scale 1, or beside the Bernoulli.
    scale
        That of the same loss as an ELBO, beta = 1: sigma of a Gaussian, b of a Laplace; None for a
        Bernoulli, which has none.
    """

    recipe: Recipe
    family: Literal["Gaussian", "Bernoulli", "Laplace"]
    beta: float
    scale: float | None

    @property
    def most_gain(self) -> float | None:
        """What latents can gain at most, in nats per datum, for elements in [0, 1]: D/8 sigma^-2.

        Known for a Gaussian: no element is further from the mean than such that its variance is
        1/4. A KL above it is never worth it.
        """
        if self.family != "Gaussian" or self.scale is None:
            return None
        return self.recipe.dim / (8 * self.scale**2)


# Read in the sources that they name.
RECIPES: dict[str, Recipe] = {
    "keras": Recipe(
        "bce-sum", 784, z_dim=2, source="keras-team/keras-io: examples/generative/vae.py",
        note="grey levels in a cross-entropy, which is then no likelihood",
    ),
    "keras-2016": Recipe(
        "bce-mean", 784, z_dim=2,
        source="keras-team/keras: examples/variational_autoencoder.py, 2016",
        note="the mean over 784 elements beside the sum over 2 latents; noise of 0.01, not of 1",
    ),
    "keras-blog": Recipe(
        "bce-mean", 784, "mean", z_dim=2,
        source="blog.keras.io/building-autoencoders-in-keras.html, 2016",
        note="both terms are means, over 784 elements and over 2 latents",
    ),
    "pytorch-examples": Recipe(
        "bce-sum", 784, z_dim=20, source="pytorch/examples: vae/main.py",
        note="grey levels in a cross-entropy; a later version adds what normalises it",
    ),
    "pytorch-vae": Recipe(
        "mse-mean", 12288, kld_weight=0.00025, z_dim=128,
        source="AntixK/PyTorch-VAE: models/vanilla_vae.py, configs/vae.yaml",
        note="a weight of 1 leaves latents unused; values between -1 and 1",
    ),
    "pythae": Recipe(
        "mse-sum", 784, z_dim=16,
        source="clementchadebec/benchmark_VAE: src/pythae/models/vae/vae_model.py",
        note="its `get_nll` takes the same squares for a unit variance",
    ),
    "beta-vae-pytorch": Recipe(
        "mse-sum", 12288, kld_weight=4.0, z_dim=10, source="1Konny/Beta-VAE: solver.py",
        note="of pictures in colour; dSprites by cross-entropy",
    ),
    "disentangling-vae": Recipe(
        "bce-sum", 4096, kld_weight=4.0, z_dim=10,
        source="YannDubs/disentangling-vae: disvae/models/losses.py",
        note="with `rec_dist=gaussian` the squares are multiplied by 255",
    ),
    "disentanglement-lib": Recipe(
        "bce-sum", 4096, z_dim=10,
        source="google-research/disentanglement_lib: disentanglement_lib/methods/shared/losses.py",
        note="pictures in colour by `l2_loss`, which is mse-sum",
    ),
    "latent-diffusion": Recipe(
        "l1-sum", 196608, kld_weight=0.000001, z_dim=4096,
        source="CompVis/latent-diffusion: configs/autoencoder/autoencoder_kl_32x32x4.yaml",
        note="beside it a perceptual and an adversarial loss, which are no likelihoods",
    ),
}  # fmt: skip


def recipe_of(name: str) -> Recipe:
    """Return a recipe in circulation by its name.

    Raises
    ------
    RequestError
        When there is none of that name.

    Examples
    --------
    >>> recipe_of("pytorch-vae").kld_weight
    0.00025
    """
    if name not in RECIPES:
        raise RequestError(f"no recipe '{name}'; {nearest(name, RECIPES)}")
    return RECIPES[name]


def explain_loss(
    recon: Error | None = None,
    *,
    recipe: str | None = None,
    dim: int | None = None,
    kld: Reduction | None = None,
    kld_weight: float | None = None,
    z_dim: int | None = None,
) -> Meaning:
    """Return what a loss of another library stands for.

    Parameters
    ----------
    recon, dim, kld, kld_weight, z_dim
        Parts of a :class:`Recipe`.
    recipe
        Name of one that is in circulation, of which they change something.

    Raises
    ------
    RequestError
        When there is no such recipe, or a part is missing or makes no loss.

    Examples
    --------
    The mean squared error over 784 pixels beside a KL is a Gaussian of sigma 19.8.

    >>> meaning = explain_loss("mse-mean", dim=784)
    >>> round(meaning.scale, 1), round(meaning.beta)
    (19.8, 392)
    """
    parts = {"recon": recon, "dim": dim, "kld": kld, "kld_weight": kld_weight, "z_dim": z_dim}
    asked = {name: value for name, value in parts.items() if value is not None}
    if recipe is None and (recon is None or dim is None):
        raise RequestError("name a `recipe`, or give `recon` and `dim`")
    base = recipe_of(recipe) if recipe else Recipe("mse-sum", 1)
    return _meaning(replace(base, **asked))  # type: ignore[arg-type]


def _meaning(recipe: Recipe) -> Meaning:
    if not (recipe.kld_weight > 0 and math.isfinite(recipe.kld_weight)):
        raise RequestError(
            f"`kld_weight` is {recipe.kld_weight}: without a KL it is an autoencoder; "
            "give a number above 0"
        )
    if recipe.dim < 1 or recipe.z_dim < 1:
        raise RequestError("`dim` and `z_dim` are numbers of elements, 1 or more")
    kind, _, reduction = recipe.recon.partition("-")
    error = 1 / recipe.dim if reduction == "mean" else 1.0
    kl = recipe.kld_weight / (recipe.z_dim if recipe.kld == "mean" else 1)
    if kind == "mse":
        # error * squares + kl * KL = 2 error (squares / 2 + beta KL), a Gaussian of sigma 1
        squares = error / 2 if reduction == "half" else error
        beta = kl / (2 * squares)
        return Meaning(recipe, "Gaussian", beta, math.sqrt(beta))
    if kind == "l1":
        return Meaning(recipe, "Laplace", kl / error, kl / error)
    return Meaning(recipe, "Bernoulli", kl / error, None)
