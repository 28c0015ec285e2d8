"""Whether orders are taken, and if not, why: one answer for the router, the strategies and people.

ours        stopping, a journal that cannot be written, a key that is being checked
the feed's  a snapshot that has not come, or is being reconciled
Kraken's    maintenance, cancel_only; post_only, which takes post-only orders
a person's  ACTIVE, REDUCING, HALTED                                              see `engine.orders.risk`
"""

from collections.abc import Callable
from typing import Final

import structlog

from engine.orders.rings.reports import REASON_CHARS_MAX, TradingStatus
from engine.orders.risk import Risk, TradingMode

CLOSED_STATES: Final = ("maintenance", "cancel_only")
POST_ONLY: Final = "post_only"
RESTRICTED: Final = (*CLOSED_STATES, POST_ONLY)

log = structlog.get_logger("order_router")


class TradingGate:
    """The reasons, in the order in which they are told."""

    def __init__(self, risk: Risk, tell: Callable[[TradingStatus], None]) -> None:
        """`tell` is called with each change."""
        self._risk = risk
        self._tell = tell
        # Reasons of our own; empty while there is none.
        self.shut_reason = ""
        self.journal_reason = ""
        self.feed_reason = "waiting for the account's snapshot"
        self.has_balances = False
        # Pairs with open orders that are being looked up: nothing new there.
        self.uncertain: frozenset[str] = frozenset()
        # Kraken's own state; empty before it has told.
        self.venue_status = ""
        self._told = ("", False, "")
        # What it was told for.
        self._told_for: tuple[object, ...] = ()

    @property
    def closed_reason(self) -> str:
        """Why no order is taken from anybody, the mode aside; empty while they are."""
        if self.shut_reason or self.journal_reason or self.feed_reason:
            return self.shut_reason or self.journal_reason or self.feed_reason
        if not self.has_balances:
            return "waiting for the account's balances"
        return f"Kraken is in {self.venue_status}" if self.venue_status in CLOSED_STATES else ""

    def closed_reason_of(self, symbol: str) -> str:
        """The same for one pair."""
        if reason := self.closed_reason:
            return reason
        if symbol in self.uncertain:
            return f"open orders on {symbol} that Kraken does not list are looked up"
        return ""

    def is_plainly_open(self, symbol: str) -> bool:
        """Are orders of every kind taken on this pair?"""
        return not (
            self.shut_reason
            or self.journal_reason
            or self.feed_reason
            or not self.has_balances
            or self.venue_status in RESTRICTED
            or symbol in self.uncertain
        )

    def why_not(self, *, post_only: bool) -> str:
        """Why an order of this kind is not taken, though others may be; empty while it is."""
        if self.venue_status == POST_ONLY and not post_only:
            return "Kraken is in post_only: it takes limit orders with post_only=True until it is online again"
        return ""

    @property
    def report(self) -> TradingStatus:
        """Mode, whether orders are taken, and why not, or which alone."""
        closed, mode = self.closed_reason, self._risk.mode
        is_open = not closed and mode is not TradingMode.HALTED
        reason = closed or self._risk.mode_reason or self.why_not(post_only=False)
        return TradingStatus(mode.value, is_open, reason[:REASON_CHARS_MAX])

    def enter(self, system: str) -> None:
        """Kraken's state."""
        if system != self.venue_status:
            log.info("venue status", system=system)
        self.venue_status = system

    def tell(self) -> None:
        """Tell of it when it has changed."""
        reasons = (
            self._risk.mode, self._risk.mode_reason, self.shut_reason, self.journal_reason, self.feed_reason,
            self.has_balances, self.venue_status,
        )  # fmt: skip
        if reasons == self._told_for:  # hot: asked after every burst
            return
        self._told_for = reasons
        report = self.report
        told = (report.mode, report.is_open, report.reason)
        if told != self._told:
            self._told = told
            log.info("trading", mode=report.mode, open=report.is_open, reason=report.reason)
            self._tell(report)
