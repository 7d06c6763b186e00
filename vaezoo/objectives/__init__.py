"""What is optimised: the ELBO and its relatives, and what authors of another one start from.

Every file of this folder is imported, so that an objective is there once its file is.
"""

from importlib import import_module
from pkgutil import iter_modules

from vaezoo.objectives.base import (
    OBJECTIVES,
    Context,
    Objective,
    ignores_padding,
    make_objective,
)
from vaezoo.objectives.dreg import DReG
from vaezoo.objectives.elbo import ELBO
from vaezoo.objectives.iwae import IWAE
from vaezoo.pairs.accounting import elbo_terms, num_units
from vaezoo.pairs.divergences import closed_form_sites
from vaezoo.pairs.sites import trace_pair

__all__ = [
    "ELBO",
    "IWAE",
    "OBJECTIVES",
    "Context",
    "DReG",
    "Objective",
    "closed_form_sites",
    "elbo_terms",
    "ignores_padding",
    "make_objective",
    "num_units",
    "trace_pair",
]

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
