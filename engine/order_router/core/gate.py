"""Whether orders are taken, and if not, why: one answer for the router, strategies and
people.

reason of     examples
us            stopping, a journal that cannot be written, a key that is being checked
the feed      no snapshot yet, a WebSocket that cannot be reached, and REST does not stand in for it
Kraken        maintenance, cancel_only; post_only, which takes post-only orders
a person      ACTIVE, REDUCING, HALTED                                              see `engine.orders.risk`

DEGRADED is ACTIVE with REST in the place of a private WebSocket; see `degraded`.
"""

from collections.abc import Callable
from typing import Final

import structlog

from engine.native.watched import Watched
from engine.orders.rings.reports import REASON_CHARS_MAX, TradingStatus
from engine.orders.risk import Risk, TradingMode

CLOSED_STATES: Final = ("maintenance", "cancel_only")
DEGRADED: Final = "DEGRADED"
POST_ONLY: Final = "post_only"
JOURNAL_FAILS: Final = "the journal cannot be written"
RESTRICTED: Final = (*CLOSED_STATES, POST_ONLY)

log = structlog.get_logger("order_router")


class TradingGate(Watched):
    """The reasons for which orders are not taken, in the order in which they are reported."""

    def __init__(self, risk: Risk, tell: Callable[[TradingStatus], None]) -> None:
        """`tell` is called with the trading status after each change."""
        self._risk = risk
        self._tell = tell
        # Our own reasons; empty if there is none.
        self.shut_reason = ""
        self.journal_reason = ""
        # Why executions do not come on their channel, and whether REST stands in for it:
        # then orders are taken all the same.
        self.feed_reason = "waiting for the account's snapshot"
        self.rest_stands_in = False
        # Why REST cannot stand in; empty while nobody has asked it, and once it answers.
        self.rest_reason = ""
        # Why requests cannot go on the trading connection, once that lasts.
        self.trading_reason = ""
        self.has_balances = False
        # Pairs with open orders that are being looked up; no new order is taken on them.
        self.uncertain: frozenset[str] = frozenset()
        # Pairs in which a position is to begin with what the account holds, and has not
        # yet.
        self.unheld: frozenset[str] = frozenset()
        # Kraken's status; empty until it has told it.
        self.venue_status = ""
        self._told = ("", False, "")
        # The reasons at the last look, to see quickly that nothing changed.
        self._told_for: tuple[object, ...] = ()

    @property
    def closed_reason(self) -> str:
        """Why no order is taken, apart from the trading mode; empty if orders are taken."""
        if reason := self.shut_reason or self.journal_reason or self._feed_closes:
            return reason
        if not self.has_balances:
            return "waiting for the account's balances"
        return f"Kraken is in {self.venue_status}" if self.venue_status in CLOSED_STATES else ""

    def closed_reason_of(self, symbol: str) -> str:
        """Why no order is taken on this pair, apart from the trading mode; empty if orders
        are taken.
        """
        if reason := self.closed_reason:
            return reason
        if symbol in self.uncertain and self.rest_stands_in:
            return f"open orders on {symbol} are looked up by REST before others are taken"
        if symbol in self.uncertain:
            return f"open orders on {symbol} that Kraken does not list are looked up"
        if symbol in self.unheld:
            asset = symbol.partition("/")[0]
            return f"what the account holds of {asset}, with which the position in {symbol} begins, is not known yet"
        return ""

    def is_plainly_open(self, symbol: str) -> bool:
        """True if orders of every kind are taken on this pair, apart from the trading mode,
        and none of DEGRADED's limits holds.
        """
        return not (
            self.shut_reason
            or self.journal_reason
            or self.feed_reason
            or self.trading_reason
            or not self.has_balances
            or self.venue_status in RESTRICTED
            or symbol in self.uncertain
            or symbol in self.unheld
        )

    @property
    def is_plainly_open_everywhere(self) -> bool:
        """True if `is_plainly_open` holds for every pair."""
        return not self.uncertain and not self.unheld and self.is_plainly_open("")

    def why_not(self, *, post_only: bool) -> str:
        """Why an order of this kind is not taken while others are; empty if it is taken."""
        if self.venue_status == POST_ONLY and not post_only:
            return "Kraken is in post_only: it takes limit orders with post_only=True until it is online again"
        return ""

    @property
    def _feed_closes(self) -> str:
        if not self.feed_reason or self.rest_stands_in:
            return ""
        return (
            f"{self.feed_reason}; nor can REST stand in: {self.rest_reason}" if self.rest_reason else self.feed_reason
        )

    @property
    def degraded_reason(self) -> str:
        """Why a private WebSocket is out while trading goes on by REST; empty if both are
        up, or if trading is closed.
        """
        return "" if self._feed_closes else self.feed_reason or self.trading_reason

    @property
    def report(self) -> TradingStatus:
        """The trading status: mode, whether orders are taken, and why not or with which
        restriction.
        """
        closed, mode = self.closed_reason, self._risk.mode
        is_open = not closed and mode is not TradingMode.HALTED
        degraded = self.degraded_reason if is_open else ""
        name = DEGRADED if degraded and mode is TradingMode.ACTIVE else mode.value
        reason = closed or self._risk.mode_reason or degraded or self.why_not(post_only=False)
        return TradingStatus(name, is_open, reason[:REASON_CHARS_MAX])

    def enter(self, system: str) -> None:
        """Take Kraken's status: online, maintenance, cancel_only or post_only."""
        if system != self.venue_status:
            log.info("venue status", system=system)
        self.venue_status = system

    def tell(self) -> None:
        """Report the trading status if it has changed."""
        reasons = (
            self._risk.mode, self._risk.mode_reason, self.shut_reason, self.journal_reason, self.feed_reason,
            self.has_balances, self.venue_status, self.rest_stands_in, self.rest_reason,
            self.trading_reason,
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
