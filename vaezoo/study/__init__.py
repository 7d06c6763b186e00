"""What studies are made of: variants, scales, measures, claims, and what becomes of these."""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.study.catalogue import get_study, list_studies
    from vaezoo.study.design import Claim, Scale, Study, Trained, Variant
    from vaezoo.study.result import Result, read_result
    from vaezoo.study.running import run_study

__all__ = [
    "Claim",
    "Result",
    "Scale",
    "Study",
    "Trained",
    "Variant",
    "get_study",
    "list_studies",
    "read_result",
    "run_study",
]

__getattr__, __dir__ = lazy_names(__name__)
