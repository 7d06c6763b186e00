"""The block of metadata of a card, by which a hub finds a run and lists its scores.

https://huggingface.co/docs/hub/model-cards: names of the library, the licence and tags, and as
``model-index`` the scores.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vaezoo.registry import entry_of
from vaezoo.runs import Run

__all__ = ["front_matter"]

# What a hub calls the task of images from nothing; of other data it has no name for it.
TASK_OF_IMAGES = "unconditional-image-generation"
TASK_OF_OTHERS = "density-estimation"
TAGS = ("pyro", "vae", "vaezoo", "variational-inference")


def front_matter(run: Run, licence: str | None, evaluation: Mapping[str, Any] | None) -> str:
    """Return the block of metadata, between two lines of dashes.

    Each value is JSON, which is YAML, too.

    Parameters
    ----------
    run
        The run.
    licence
        Of the weights; a hub has a list of identifiers, as ``"apache-2.0"``.
    evaluation
        The one whose scores are listed.
    """
    fields = _fields(run, licence, evaluation)
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields]
    return "\n".join(["---", *lines, "---"])


def _fields(
    run: Run, licence: str | None, evaluation: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    entry = entry_of(type(run.pair))
    task = TASK_OF_IMAGES if entry.data == "images" else TASK_OF_OTHERS
    yield "library_name", "vaezoo"
    if licence:
        yield "license", licence
    if entry.data == "images":
        yield "pipeline_tag", TASK_OF_IMAGES
    yield "tags", sorted({*TAGS, entry.name, *entry.tags})
    if scores := list(_scores(evaluation)):
        asked = evaluation["asked"] if evaluation else {}
        data = {"name": asked["data"], "type": asked["data"], "split": asked["split"]}
        result = {"task": {"type": task}, "dataset": data, "metrics": scores}
        yield "model-index", [{"name": run.name, "results": [result]}]


def _scores(evaluation: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the ELBO and the bounds on log p(x) of an evaluation, or a reconstruction."""
    if evaluation is None:
        return
    result = evaluation["result"]
    unit = "datum" if result.get("num_frames") is None else "frame"
    for name in ("elbo", "reconstruction"):
        if name in result["metrics"]:
            value = round(result["metrics"][name], 4)
            yield {"type": name, "name": f"{name}, nats per {unit}", "value": value}
    for bound in result.get("iwae", ()):
        name = f"log p(x), importance-weighted bound, K = {bound['num_samples']}, nats per {unit}"
        yield {"type": "log-likelihood", "name": name, "value": round(bound["value"], 4)}
