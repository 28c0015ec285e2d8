"""The router's reports to one strategy: the router never waits for it.

send() ─► ring ─► strategy          full: the reports wait here, the strategy is behind
                                    too many: they are dropped, and everything is told anew when there is room
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from engine.orders.reports import REASON_CHARS_MAX, REPORTS, OrderReport, Report, ResyncBegan, ResyncEnded
from engine.orders.tracked_order import TrackedOrder
from engine.ring import Publisher

HELD_BACK_MAX: Final = 8192


class ReportLine:
    """One strategy's report ring, from the publishing side."""

    def __init__(self, strategy: str, publisher: Publisher) -> None:
        self.strategy = strategy
        self._publisher = publisher
        # Reports that found the ring full, oldest first.
        self._held_back: deque[bytes] = deque()
        # Reports given up since the strategy fell behind.
        self._lost = 0
        self.sent = 0
        self.held_back = 0
        self.resyncs = 0

    @property
    def is_behind(self) -> bool:
        """Does the strategy leave its reports lying?"""
        return bool(self._held_back) or self._lost > 0

    def send(self, report: Report) -> None:
        """Tell the strategy, now or when it has taken what it has."""
        self.sent += 1
        record = REPORTS.pack(report)
        if not self.is_behind and self._publisher.try_publish(record):
            return
        self.held_back += 1
        if self._lost or len(self._held_back) >= HELD_BACK_MAX:
            self._lost += 1 + len(self._held_back)
            self._held_back.clear()
        else:
            self._held_back.append(record)

    def catch_up(self, everything: Callable[[], Iterable[Report]]) -> None:
        """Bring a strategy that fell behind up to date, as far as there is room: news, or all there is to say."""
        if self._lost:
            self._held_back = deque(
                REPORTS.pack(report) for report in (ResyncBegan(self._lost), *everything(), ResyncEnded())
            )
            self._lost = 0
            self.resyncs += 1
        while self._held_back and self._publisher.try_publish(self._held_back[0]):
            self._held_back.popleft()
        self._publisher.flush()

    def flush(self) -> None:
        """End of a burst: the strategy may look."""
        self._publisher.flush()


def order_report(order: TrackedOrder) -> OrderReport:
    """All there is to say of an order."""
    return OrderReport(
        order.key,
        order.order_id,
        order.intent.symbol,
        order.intent.side,
        order.intent.order_type,
        order.state,
        order.reason[:REASON_CHARS_MAX],
        order.qty,
        order.filled,
        order.limit_price,
        order.avg_price,
        order.cost,
        tuple(order.fees.items()),
        order.price_decimals,
        order.qty_decimals,
        bool(order.pending) or order.cancel_wanted,
        order.changed_at,
    )
