"""The run folder: everything needed to rebuild a trained pair, repeat its run, or go on with it.

::

    runs/<model>-<data>-<time>/
      config.toml           model, configuration, data, training; ``vaezoo train`` starts from it
      weights.safetensors   the best weights by validation score
      last/                 weights, optimiser, schedule and random states, to go on
      metrics.jsonl         one line per epoch
      run.json              versions, checksum of the data, transform, seed, device, timings
      model.py              a copy of the user's file, when the pair came from one, and its imports
      figures/              drawn when training has finished, or by ``vaezoo report``
      .lock                 while it is trained: by which process
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.runs.folder import RunLike, as_run, load_run, open_run, seeds_in
    from vaezoo.runs.records import read_metrics
    from vaezoo.runs.run import Run

__all__ = ["Run", "RunLike", "as_run", "load_run", "open_run", "read_metrics", "seeds_in"]

__getattr__, __dir__ = lazy_names(__name__)
