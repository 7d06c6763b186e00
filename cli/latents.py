"""``vaezoo latents``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    Names,
    choice_option,
    echo_json,
    json_option,
    limit_option,
    out_option,
    seed_option,
    table,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError
from vaezoo.options import CodesMap

if TYPE_CHECKING:
    from vaezoo.predict.latents.overview import LatentOverview
    from vaezoo.runs import Run


__all__ = ["latents"]


@click.command()
@takes_data
@limit_option(1_000, "How many rows.")
@given_option
@choice_option(
    "--map",
    CodesMap,
    help="Of the codes: a plane, or by UMAP, which keeps neighbours together but no distances "
    "(pip install 'vaezoo[umap]').",
)
@click.option(
    "--regions",
    is_flag=True,
    help="Decode a plane of codes, and show which label a classifier sees where.",
)
@click.option(
    "--plane",
    type=Names(),
    default=(),
    metavar="Z,Z",
    help="With --regions, two elements, as z[0],z[3].  [default: the only two, or two principal "
    "components]",
)
@out_option(".png", text="A .png file.  [default: RUN/figures/codes.png, regions.png]")
@json_option
@seed_option
@takes_run
def latents(
    run: "Run",
    map: str,
    regions: bool,
    plane: list[str],
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show where the codes of data lie, which elements are in use, and what for.

    KL is what an element costs, and *lost* is what log p(x | z) loses when it is set to its mean
    over the data: an element with a KL of nothing, or that nothing is lost without, is not in use.
    *Moves x by* is the root mean square change of x when it moves by a deviation of its codes.
    The picture has a map of the codes, by label, their correlations, and their ranges.

    With --regions the picture is of a plane of codes: what is decoded at each place, tinted by the
    label that a classifier sees there, and the codes of data over these regions.

    \b
    Example:
      vaezoo latents runs/my-run -o codes.png
      vaezoo latents runs/my-run --map umap
      vaezoo latents runs/my-run --regions --plane z[0],z[3]
    """
    if plane and not regions:
        raise RequestError("`plane` takes `regions` with it")
    if regions and map == "umap":
        raise RequestError("`map='umap'` has no plane to decode: leave it out, or `regions`")
    if regions:
        _echo_regions(run, out, as_json, plane=plane, **options)
    else:
        _echo_overview(run, out, as_json, map=map, **options)


def _echo_overview(run: "Run", out: Path | None, as_json: bool, **options: Any) -> None:
    from vaezoo.cli._files import output
    from vaezoo.plots.latents.codes import plot_codes

    seen = vaezoo.latents(run, **options)
    path = out or run.folder() / "figures" / "codes.png"
    with output(run, out, "codes.png") as file:
        plot_codes(run, seen, file)
    facts = _facts(seen)
    if as_json:
        whole = {"pruned": seen.pruned, **_of_codes(seen), **_against_prior(seen)}
        active = {"active_units": seen.num_active, "latents": facts}
        echo_json({**active, **whole, "map": list(seen.map.names), "picture": str(path)})
        return
    table(seen.cells())
    echo(f"\n{seen.num_active} of {len(facts)} are active, {len(seen.codes)} codes -> {path}")
    for line in _lines(seen):
        echo(line)


def _lines(seen: "LatentOverview") -> Iterator[str]:
    """Yield what there is to say of all elements together."""
    if seen.num_active < len(seen.units):
        yield f"without those out of use, all at once, {seen.pruned:.3f} nats are lost"
    of_codes = _of_codes(seen)
    if of_codes["cosine"] is not None:
        yield (
            f"columns of the decoder's Jacobian have |cos| {of_codes['cosine']:.2f} (0: at right "
            f"angles), the active codes |correlation| {of_codes['correlation']:.2f}, on average"
        )
    prior = _against_prior(seen)
    if prior:
        yield (
            f"q(z), all codes together, against p(z): {prior['wasserstein']:.2f} sd apart (sliced "
            f"Wasserstein), told apart by a classifier in {prior['c2st']:.0%} (50 %: not at all)"
        )


def _of_codes(seen: "LatentOverview") -> dict[str, float | None]:
    """Return how far active elements are from right angles: of the decoder, and of the codes."""
    import numpy as np

    among = seen.active
    pairs = np.abs(seen.correlation[np.ix_(among, among)])[~np.eye(int(among.sum()), dtype=bool)]
    cosine = seen.decoder.mean_cosine(among) if seen.decoder is not None else np.nan
    return {
        "cosine": float(cosine) if np.isfinite(cosine) else None,
        "correlation": float(np.nanmean(pairs)) if len(pairs) else None,
    }


def _against_prior(seen: "LatentOverview") -> dict[str, float]:
    """Return how far q(z) is from p(z); nothing where that cannot be drawn from."""
    import torch

    from vaezoo.diagnostics.comparison import compare_draws

    if seen.prior is None or not seen.spread.any():  # an autoencoder is not meant to match it
        return {}
    draws, prior = (torch.as_tensor(x).unsqueeze(1) for x in (seen.draws, seen.prior))
    apart = compare_draws(draws, prior)
    return {
        name: float(getattr(apart, name))
        for name in ("wasserstein", "largest_wasserstein", "gaussian_kl", "c2st")
    }


def _echo_regions(run: "Run", out: Path | None, as_json: bool, **options: Any) -> None:
    """Print which labels are seen in a plane of codes, and draw it."""
    from vaezoo.cli._files import output
    from vaezoo.plots.latents.regions import plot_regions

    seen = vaezoo.regions(run, **options)
    path = out or run.folder() / "figures" / "regions.png"
    with output(run, out, path.name) as file:
        plot_regions(run, seen, file)
    shares = [
        {
            "label": float(label),
            "share_of_plane": float(share),
            "share_of_data": float((seen.label == label).mean()),
            "probability": float(of.mean()) if len(of := seen.probability[there]) else None,
        }
        for label, share in zip(seen.labels, seen.share, strict=True)
        for there in [seen.region == label]
    ]
    if as_json:
        scores = {"accuracy": seen.accuracy, "agreement": seen.agreement}
        names = {"plane": list(seen.plane.names)}
        echo_json({**names, **scores, "labels": shares, "picture": str(path)})
        return
    cells = [(f"{one['label']:g}", *map(_percent, [*one.values()][1:])) for one in shares]
    table([("label", "share of the plane", "share of data", "how sure there"), *cells])
    echo(
        f"\nplane: {' and '.join(filter(None, seen.plane.names))}; "
        f"{seen.agreement:.0%} of the codes lie in a region of their own label; the classifier is "
        f"right on {seen.accuracy:.0%} of reconstructions -> {path}"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _facts(seen: "LatentOverview") -> list[dict[str, Any]]:
    moved = [None] * len(seen.units) if seen.decoder is None else seen.decoder.moved.tolist()
    values = zip(seen.units, seen.lost, seen.variance, seen.spread, moved, strict=True)
    return [
        {
            **{"latent": u.name, "kl": u.kl, "lost": float(o), "variance": float(v)},
            **{"spread": float(s), "moves_x": m},
        }
        for u, o, v, s, m in values
    ]
