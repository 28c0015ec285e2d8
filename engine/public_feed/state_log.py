"""Log lines about the states of books: one line an event, however many pairs it concerns.

A lost connection puts 1,450 books in doubt at once, and a start makes as many live. What
happened to several pairs of one burst, in the same way and for the same reason, is one line
with their number.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from engine.kraken.public.book_feed import StateChanged
from engine.kraken.public.session import SUBSCRIBING
from engine.records import FeedState

NAMED_MAX: Final = 3  # pairs that a line names; of more, it tells how many
WAITING_MAX: Final = 64  # kinds of lines that wait for the end of a burst

log = structlog.get_logger("public_feed")


class StateLog:
    """The lines that wait for the end of a burst."""

    def __init__(self) -> None:
        # The pairs of each line, by (state, reason), in the order in which they came.
        self.waiting: dict[tuple[FeedState, str], list[str]] = {}

    def note(self, event: StateChanged) -> None:
        """Record a change of state, to be logged at the end of the burst."""
        self.waiting.setdefault((event.state, event.reason), []).append(event.symbol)
        if len(self.waiting) >= WAITING_MAX:
            self.tell()

    def tell(self) -> None:
        """Log the recorded changes."""
        for (state, reason), symbols in self.waiting.items():
            s = "" if len(symbols) == 1 else "s"
            if state is FeedState.LIVE:
                log.info(f"book{s} live", **names(symbols), reason=reason)
            elif reason == SUBSCRIBING:
                log.info(f"book{s} followed", **names(symbols))
            elif state is FeedState.UNSUBSCRIBED:
                log.info(f"book{s} unsubscribed", **names(symbols))
            else:
                log.warning(f"book{s} in doubt", **names(symbols), state=str(state), reason=reason)
        self.waiting.clear()


def names(symbols: Sequence[str]) -> dict[str, str | int]:
    """The fields of a line that name its pairs: one, or how many and the first of them."""
    if len(symbols) == 1:
        return {"symbol": symbols[0]}
    more = "" if len(symbols) <= NAMED_MAX else ", …"
    return {"count": len(symbols), "symbols": ", ".join(symbols[:NAMED_MAX]) + more}
