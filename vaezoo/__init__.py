"""vaezoo: a zoo of variational autoencoders as Pyro model/guide pairs.

Importing this package loads neither torch nor pyro; its names are loaded when they are used.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.config import build_model
    from vaezoo.data import Data, load_data
    from vaezoo.diagnostics.noise import noise_scale
    from vaezoo.errors import RequestError, RunError, VaezooError
    from vaezoo.explorer.exploring import explore
    from vaezoo.predict.comparison.comparing import compare
    from vaezoo.predict.encoding import encode, reconstruct
    from vaezoo.predict.evaluation import evaluate
    from vaezoo.predict.forecasting import forecast
    from vaezoo.predict.imputation import impute
    from vaezoo.predict.latents.arithmetic import arithmetic
    from vaezoo.predict.latents.interpolation import interpolate
    from vaezoo.predict.latents.overview import latents
    from vaezoo.predict.latents.probe import probe
    from vaezoo.predict.latents.regions import regions
    from vaezoo.predict.latents.traversal import traverse
    from vaezoo.predict.sampling import sample
    from vaezoo.pretrained.catalogue import list_pretrained
    from vaezoo.recipes import explain_loss
    from vaezoo.registry import get_model, list_models, register
    from vaezoo.report import Report, analyse, save_report, write_page
    from vaezoo.runs import Run, load_run
    from vaezoo.runtime.arviz import to_arviz
    from vaezoo.sequences.sequence_pair import SequencePair
    from vaezoo.settings import Training
    from vaezoo.sharing.card import write_card
    from vaezoo.sharing.exchange import pull, push
    from vaezoo.study.running import run_study
    from vaezoo.sweeps.outcome import Sweep
    from vaezoo.sweeps.sweeping import sweep
    from vaezoo.training.callbacks import Callback, ProgressBar
    from vaezoo.training.fit import fit, resume
    from vaezoo.training.many.resuming import resume_seeds
    from vaezoo.trees.bridge.from_pyro import from_pyro
    from vaezoo.trees.files import open_tree, save_tree
    from vaezoo.trees.posterior import draw_posterior
    from vaezoo.trees.stacking import stack_valid

__all__ = [
    "Callback",
    "Data",
    "ProgressBar",
    "Report",
    "RequestError",
    "Run",
    "RunError",
    "SequencePair",
    "Sweep",
    "Training",
    "VaezooError",
    "analyse",
    "arithmetic",
    "build_model",
    "compare",
    "draw_posterior",
    "encode",
    "evaluate",
    "explain_loss",
    "explore",
    "fit",
    "forecast",
    "from_pyro",
    "get_model",
    "impute",
    "interpolate",
    "latents",
    "list_models",
    "list_pretrained",
    "load_data",
    "load_run",
    "noise_scale",
    "open_tree",
    "probe",
    "pull",
    "push",
    "reconstruct",
    "regions",
    "register",
    "resume",
    "resume_seeds",
    "run_study",
    "sample",
    "save_report",
    "save_tree",
    "stack_valid",
    "sweep",
    "to_arviz",
    "traverse",
    "write_card",
    "write_page",
]

__getattr__, __dir__ = lazy_names(__name__)
