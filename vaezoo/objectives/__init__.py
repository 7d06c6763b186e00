"""What is optimised: the ELBO and its relatives, and what authors of another one start from.

Every file of this folder and of those in it is imported, so that an objective is there once its
file is.
"""

from importlib import import_module
from pkgutil import walk_packages

from vaezoo.objectives.base import (
    OBJECTIVES,
    Context,
    Objective,
    ignores_padding,
    make_objective,
)
from vaezoo.objectives.bounds.dreg import DReG
from vaezoo.objectives.bounds.iwae import IWAE
from vaezoo.objectives.elbo import ELBO
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

for _file in walk_packages(__path__, f"{__name__}."):
    import_module(_file.name)
