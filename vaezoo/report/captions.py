"""What the shape of each figure means: the titles and captions of a report.

Names in braces are filled in when a figure is made.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vaezoo.report.canvas import Figure

__all__ = ["captioned"]


def captioned(
    caption: str,
    picture: Any,
    values: Mapping[str, object] = MappingProxyType({}),
    *,
    name: str | None = None,
) -> Figure:
    """Return a figure with its title and caption.

    Parameters
    ----------
    caption
        Its name among the captions below.
    picture
        Of matplotlib.
    values
        What is filled in for the names in braces.
    name
        Name of the figure, if it is another one.

    Examples
    --------
    >>> captioned("predictive", None).title
    'How surprising is each frame?'
    """
    title, text = CAPTIONS[caption]
    return Figure(name or caption, title.format_map(values), text.format_map(values), picture)


CAPTIONS = {
    "khat": (
        "Can the guide be repaired by importance weights?",
        "Each dot is a datum. Below the lower line ({limit:.1f}) averages over weighted "
        "draws of the guide are stable; above 1 they are noise. A low dot is no proof: "
        "importance weights do not see what the guide never visits. {low}",
    ),
    "gap": (
        "Where does the ELBO lose nats?",
        "Each bar is a datum: what its ELBO falls short of log p(x). Dark is what no encoder "
        "could win with this form of q; light is what a better encoder would. Few high bars "
        "are odd data; bars of one height are a guide that is too simple everywhere.",
    ),
    "gap_whole": (
        "Where does the ELBO lose nats?",
        "Each bar is a datum: what its ELBO falls short of log p(x). Few high bars are odd data; "
        "bars of one height are a guide that is too simple everywhere.",
    ),
    "moments": (
        "Is the guide shifted, too narrow or too wide?",
        "Each dot is the worst latent of a datum, against the checked posterior. To the "
        "right of the dashed line the guide is in the wrong place; below 0.8 it is too "
        "narrow (overconfident), above 1.25 too wide. {marginal}",
    ),
    "datum_worst": (
        "Datum {worst}, which the next two figures are about",
        "{row} It is the datum whose mean the guide misses most, of those that are trusted or "
        "repaired. {beside}",
    ),
    "pair_worst": (
        "The guide at its worst: datum {worst}",
        "Draws of the guide and of the checked posterior of the datum whose mean the guide "
        "misses most, in the latents that differ most. {differs} Purple where there is no blue is "
        "what the guide does not visit.",
    ),
    "scouts_worst": (
        "Where {number} scouts of datum {worst} ended",
        "Short chains that share nothing, most of them from the prior, in the latents that "
        "differ most: {modes}. What no scout reached was not looked "
        "for; how much of the posterior is in each mode, the mixture says, and not the number of "
        "dots.",
    ),
    "sbc_ecdf": (
        "Is the guide calibrated on data that the model made?",
        "A line for each latent, and for densities. Inside the band is calibrated. First "
        "above and then below zero (an S): overconfident, the truth is too often in the "
        "tails. The S upside down: too wide. A bow to one side: draws lie to one side of the "
        "truth. {named}",
    ),
    "coverage": (
        "Do regions hold what they say?",
        "How often the region of highest density that should hold the truth with 50, 80, 90 "
        "or 95 % does, on data that the model made; bars are two standard errors. Below the "
        "line: overconfident.{repair}",
    ),
    "latents": (
        "Which latents carry something?",
        "KL of posterior to prior, averaged over the data, for each element. A bar below the "
        "dashed line (0.01 nats) has collapsed: it carries nothing, and the decoder ignores "
        "it. {number}",
    ),
    "ppc_binary": (
        "Are probabilities of {site} right?",
        "Inside the band, what is said to have a probability happens as often.",
    ),
    "ppc_real": (
        "Is the noise of {site} right?",
        "Inside the band the noise of the likelihood is right; an S is a sigma too small.",
    ),
    "statistics": (
        "Do replicated data look like {site}?",
        "Statistics of replicated data (ticks) around that of the data (dot). A black cross with "
        "all ticks on one side is something that the model does not make. {bad}",
    ),
    "ess": (
        "Is the guide a good proposal at each frame?",
        "Share of {num_particles} particles that count after each frame, median and middle "
        "half of the sequences. Above 0.5 the guide knows what it does; a dip is a frame, "
        "often the first, where it is a poor proposal; below 0.1 nearly all particles are "
        "lost.",
    ),
    "khat_of_frames": (
        "Are the importance weights of a frame stable?",
        "k-hat of the importance weights after each frame. Below the lower line ({limit:.2f}) "
        "averages over particles are stable, above 1 they are noise.",
    ),
    "bounds": (
        "How far is the ELBO from log p(x)?",
        "Bounds on log p(x) from below, over {number} of {total} sequences, those that are trusted "
        "or repaired, if any is. From ELBO to IWAE (weighted paths) "
        "is what the guide loses; from IWAE to FIVO what resampling wins back. A guide that "
        "reads the future can have FIVO below IWAE.",
    ),
    "filters": (
        "Do filters agree?",
        "Each dot is a sequence: how far four filters, half of whose proposals are the "
        "prior's, are apart in log p(x). Below the line their paths can be used; dots that "
        "rise with the length ask for more particles (level full).",
    ),
    "predictive": (
        "How surprising is each frame?",
        "log p(x_t | x_1 ... x_{{t-1}}) by frame, median and middle half of the sequences. A "
        "low start is a model that has to find out what it hears; dips later are changes it "
        "did not expect.",
    ),
}
