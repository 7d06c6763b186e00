"""What is optimised: the ELBO and its relatives, and what authors of another one start from.

An objective is there once its file lies in this folder, or in one of those in it. They are imported
when one is asked for by its name that has not been yet.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazy_names(__name__)
