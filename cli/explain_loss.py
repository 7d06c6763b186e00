"""``vaezoo explain-loss``."""

import builtins
from dataclasses import asdict
from typing import get_args

import click

from vaezoo import recipes
from vaezoo.cli._shared import echo_json, json_option, table
from vaezoo.cli._streams import echo
from vaezoo.recipes import RECIPES, Error, Meaning, Recipe, Reduction

__all__ = ["explain_loss"]


@click.command("explain-loss")
@click.option("--recipe", metavar="NAME", help="A loss in circulation; without any, all of them.")
@click.option("--recon", type=click.Choice(get_args(Error)), help="Error of a datum.")
@click.option("--dim", type=click.IntRange(1), help="Elements of a datum, as 784.")
@click.option("--kld-weight", type=click.FloatRange(0), help="Factor of the KL.  [default: 1]")
@click.option("--kld", type=click.Choice(get_args(Reduction)), help="Over latents.  [default: sum]")
@click.option("--z-dim", type=click.IntRange(1), help="Latents, where the KL is a mean.")
@json_option
def explain_loss(
    recipe: str | None,
    recon: Error | None,
    dim: int | None,
    kld_weight: float | None,
    kld: Reduction | None,
    z_dim: int | None,
    as_json: bool,
) -> None:
    """Say which density and which beta a loss of another library stands for.

    \b
    Examples:
      vaezoo explain-loss
      vaezoo explain-loss --recon mse-mean --kld-weight 0.00025 --dim 784
      vaezoo explain-loss --recipe pytorch-vae --dim 49152
    """
    if recipe is None and recon is None and dim is None:
        _list(as_json)
        return
    meaning = recipes.explain_loss(
        recon, recipe=recipe, dim=dim, kld=kld, kld_weight=kld_weight, z_dim=z_dim
    )
    if as_json:
        echo_json({**asdict(meaning), "most_gain": meaning.most_gain})
        return
    table([*_rows(meaning)])
    for line in _advice(meaning):
        echo(f"\n{line}")


def _list(as_json: bool) -> None:
    meanings = {name: recipes.explain_loss(recipe=name) for name in RECIPES}
    if as_json:
        echo_json({name: asdict(meaning) for name, meaning in meanings.items()})
        return
    rows = [
        (name, _loss(each.recipe), str(each.recipe.dim), _density(each), f"{each.beta:.4g}")
        for name, each in meanings.items()
    ]
    table([("recipe", "loss", "D", "density, scale", "or beta"), *rows])
    echo("\nvaezoo explain-loss --recipe NAME says more of one.")


def _loss(recipe: Recipe) -> str:
    weight = "" if recipe.kld_weight == 1 else f"{recipe.kld_weight:g} "
    kl = "mean KL" if recipe.kld == "mean" else "KL"
    return f"{recipe.recon} + {weight}{kl}"


def _density(meaning: Meaning) -> str:
    return meaning.family + ("" if meaning.scale is None else f" {meaning.scale:.4g}")


def _rows(meaning: Meaning) -> builtins.list[tuple[str, str]]:
    rows = [("loss", f"{_loss(meaning.recipe)}, D = {meaning.recipe.dim}")]
    if meaning.recipe.source:
        rows.append(("read in", meaning.recipe.source))
    if meaning.recipe.note:
        rows.append(("note", meaning.recipe.note))
    if meaning.scale is None:
        return [*rows, ("it is", f"a Bernoulli, beta {meaning.beta:.4g}")]
    scale = "sigma" if meaning.family == "Gaussian" else "b"
    return [
        *rows,
        ("it is", f"a {meaning.family}, {scale} {meaning.scale:.4g}, beta 1"),
        ("or", f"a {meaning.family}, {scale} 1, beta {meaning.beta:.4g}"),
    ]


def _advice(meaning: Meaning) -> builtins.list[str]:
    train = "The same with vaezoo: vaezoo train"
    if meaning.family == "Bernoulli":
        return [
            f"{train} vae-bernoulli --beta {meaning.beta:.4g}",
            "Of grey levels a cross-entropy is no likelihood: its density does not\n"
            "integrate to 1. Then --binarize dynamic, or --likelihood continuous-bernoulli.",
        ]
    if meaning.family == "Laplace":
        return ["A Laplace density that learns its scale: --likelihood laplace"]
    return [
        f"{train} vae-gaussian --sigma fixed:{meaning.scale:.4g}",
        f"Of elements in [0, 1], all latents together gain {meaning.most_gain:.4g} nats a datum\n"
        "at most, on average: a KL above that is never worth it.",
    ]
