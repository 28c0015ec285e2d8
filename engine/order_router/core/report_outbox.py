"""The router's reports to one strategy; the router never waits for the strategy.

send() ─► ring ─► strategy          full: the reports are held back here, the strategy is behind
                                    too many held back: they are dropped, and the whole
                                    state is reported again
                                    when there is room; reports that nothing repeats (fills,
                                    refusals) are kept
                                    up to a bound, and counted as untold beyond it
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from engine.order_router.core.ports import ReportPort
from engine.orders.life import OrderState
from engine.orders.rings.reports import (
    REASON_CHARS_MAX,
    REPORTS,
    Fill,
    OrderReport,
    Report,
    ResyncBegan,
    ResyncEnded,
)
from engine.orders.tracked_order import TrackedOrder

HELD_BACK_MAX: Final = 8192
TOLD_ONCE_MAX: Final = 50_000  # kept beside them for a strategy that does not read

log = structlog.get_logger("order_router")


class ReportOutbox:
    """The publishing side of one strategy's report ring."""

    def __init__(self, strategy: str, publisher: ReportPort) -> None:
        self.strategy = strategy
        self._publisher = publisher
        # Whether reports were published that the strategy may not have been woken for.
        self._is_flushed = True
        # Reports that found the ring full, oldest first.
        self._held_back: deque[Report] = deque()
        # Reports dropped since the strategy fell behind, and the kept ones that no later
        # report repeats.
        self._lost = 0
        self._told_once: deque[Report] = deque()
        # Kraken's id of the newest fill in the ring, which outlasts this process.
        self.fill_told = ""
        # Whether the strategy was woken since the last burst ended.
        self._is_burst_told = False
        self.sent = 0
        self.held_back = 0
        self.resyncs = 0
        # Fills and refusals dropped because TOLD_ONCE_MAX were kept: the strategy never
        # hears of them.
        self.untold = 0

    @property
    def is_behind(self) -> bool:
        """True while reports are held back or were dropped because the strategy does not
        read.
        """
        return bool(self._held_back) or self._lost > 0

    def send(self, report: Report) -> None:
        """Publish a report, or hold it back until the ring has room."""
        self.sent += 1
        if not self._held_back and not self._lost and self._publish(report):
            return
        self.held_back += 1
        self._held_back.append(report)
        if self._lost or len(self._held_back) > HELD_BACK_MAX:
            for held in self._held_back:
                if _is_told_once(held):
                    self._keep(held)
            self._lost += len(self._held_back)
            self._held_back.clear()

    def _keep(self, report: Report) -> None:
        """Keep a report that nothing repeats. At the bound a fill displaces a refusal;
        anything else is counted as untold.
        """
        if len(self._told_once) >= TOLD_ONCE_MAX:
            self.untold += 1
            if self.untold & (self.untold - 1) == 0:  # at powers of two
                log.error("reports are never told", strategy=self.strategy, untold=self.untold, kept=TOLD_ONCE_MAX)
            refusal = None
            if isinstance(report, Fill):
                refusal = next((kept for kept in self._told_once if not isinstance(kept, Fill)), None)
            if refusal is None:
                return
            self._told_once.remove(refusal)
        self._told_once.append(report)

    def catch_up(self, everything: Callable[[], Iterable[Report]]) -> None:
        """Publish held-back reports as far as there is room; if some were dropped, first
        replace them by `everything`.
        """
        if self._lost:
            self._held_back = deque((ResyncBegan(), *everything(), *self._told_once, ResyncEnded()))
            self._told_once.clear()
            self._lost = 0
            self.resyncs += 1
        while self._held_back and self._publish(self._held_back[0]):
            self._held_back.popleft()
        self.flush()

    def _publish(self, report: Report) -> bool:
        """Publish a report; False if the ring is full."""
        if not self._publisher.try_publish(REPORTS.pack(report)):
            return False
        self._is_flushed = False
        if type(report) is Fill:
            self.fill_told = report.exec_id
        return True

    def flush(self) -> None:
        """Wake the strategy for what was published; call it at the end of a burst."""
        self._is_burst_told = False
        self._wake()

    def flush_first(self) -> None:
        """Wake the strategy at once for the first reports of a burst; the others have it
        awake, or wait for `flush`.
        """
        if not self._is_burst_told:
            self._is_burst_told = True
            self._wake()

    def _wake(self) -> None:
        if not self._is_flushed:
            self._is_flushed = True
            self._publisher.flush()


def _is_told_once(report: Report) -> bool:
    """True for fills and our own refusals, which no later report repeats."""
    return isinstance(report, Fill) or (isinstance(report, OrderReport) and report.state is OrderState.REFUSED)


def order_report(order: TrackedOrder) -> OrderReport:
    """The report of an order's current state."""
    return OrderReport(
        key=order.key,
        order_id=order.order_id,
        symbol=order.intent.symbol,
        side=order.intent.side,
        order_type=order.intent.order_type,
        state=order.state,
        reason=order.reason[:REASON_CHARS_MAX],
        qty_lots=order.qty,
        filled_lots=order.filled_known,
        limit_price_ticks=order.limit_price,
        avg_price=order.avg_price,
        cost=order.cost,
        fees=tuple(order.fees.items()),
        price_decimals=order.price_decimals,
        qty_decimals=order.qty_decimals,
        is_busy=order.pending == "amend",
        is_ending=order.is_open and (order.pending == "cancel" or order.cancel_wanted),
        changed_at=order.changed_at,
        trigger_type=order.intent.trigger.price_type if order.intent.trigger is not None else "",
        limit_offset_type=order.intent.limit_price_type or "",
        error=order.error,
        parent=order.parent,
        cash_qty=order.intent.cash_qty,
        trigger=order.intent.trigger.price if order.intent.trigger is not None else None,
    )
