"""Checks of a pair against the contract, and pairs to check with.

In a test of one's own::

    import torch
    from vaezoo.testing import check_pair

    def test_my_vae() -> None:
        x = torch.randn(8, 28, 28)
        check_pair(MyVae(x_shape=(28, 28)), (x,)).raise_if_failed()
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.checks.conformance import Conformance, SiteRow
    from vaezoo.checks.remarks import Failure, Note
    from vaezoo.testing.check import check_class, check_pair, made_up_batch

__all__ = [
    "Conformance",
    "Failure",
    "Note",
    "SiteRow",
    "check_class",
    "check_pair",
    "made_up_batch",
]

__getattr__, __dir__ = lazy_names(__name__)
