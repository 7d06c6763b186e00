"""Runs for others: the card that says what a run is, and the way to a hub.

What is shared is a run folder; its card is the ``README.md`` in it. Fetching one is the work of
:mod:`vaezoo.pretrained`, since whatever takes a run takes the address of one, too.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.sharing.card import describe_run, write_card
    from vaezoo.sharing.exchange import pull, push

__all__ = ["describe_run", "pull", "push", "write_card"]

__getattr__, __dir__ = lazy_names(__name__)
