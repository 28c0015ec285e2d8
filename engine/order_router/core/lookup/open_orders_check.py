"""Compares all open orders with Kraken's from time to time, while the executions come.
Pure, with a given clock.

    every interval ─► OpenOrders ─► listed, and not known ──────► taken as a snapshot tells it
                                    listed with more filled ────► its state is asked for
                                    open here, and not listed ──► its state is asked for

Messages of the executions channel are numbered, so a lost one is noticed at the next. But
the last message before a quiet hour has no next: an expiry that was lost then would leave
its order open here until somebody trades again.
"""

from collections.abc import Callable, Sequence
from typing import Final

from engine.instant import Instant
from engine.kraken.rest import order_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken_rest.call_counter import Urgency
from engine.order_router.core.lookup.questions import Question
from engine.orders.venue_facts import ExecutionFact
from engine.units import MonoNs

NEVER: Final = 0


class OpenOrdersCheck:
    """The question that is due when the interval is over."""

    def __init__(
        self,
        compare: Callable[[Sequence[ExecutionFact], MonoNs], None],
        is_wanted: Callable[[], bool],
        now: Instant,
        *,
        interval_ns: int,
    ) -> None:
        """`compare` is called with all open orders, and when they were requested.
        `is_wanted` returns whether the executions are live without a gap being filled.
        `interval_ns` 0: never.
        """
        self._compare = compare
        self._is_wanted = is_wanted
        self._now = now
        self._interval_ns = interval_ns
        self._at = MonoNs(now.mono + interval_ns)
        # Checks that were answered.
        self.checks = 0

    def next_question(self) -> Question | None:
        """The next call; None if none is due."""
        now = self._now.mono
        if self._interval_ns == NEVER or now < self._at or not self._is_wanted():
            return None

        def take(rows: Sequence[ExecutionFact]) -> None:
            self.checks += 1
            self._at = MonoNs(self._now.mono + self._interval_ns)
            self._compare(rows, now)

        return Question(
            rest_requests.open_orders(trades=False), order_replies.read_open_order_reports, take, Urgency.LATER
        )
