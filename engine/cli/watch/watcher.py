"""What `engine watch` has seen: a strategy that trades nothing and remembers what is to be
shown.

    callbacks ─► Watcher ─► look: one Look a pair ─► pictures
                 the summary's counts ──┘
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from engine.records import BookTop, FeedState, Trade
from engine.strategy.api import Strategy
from engine.strategy_host.context import StrategyContext

NAME: Final = "watch"
TRADES_WAITING_MAX: Final = 1_000  # of a pair, for an output that takes none: the oldest are left out, and counted
TRADES_KEPT: Final = 50  # of a pair, for a picture that shows the last ones


class Look(Struct, frozen=True, kw_only=True):
    """A pair at one moment."""

    symbol: str
    state: FeedState
    reason: str
    """Why it is in this state; empty when it is live."""
    book: BookTop | None
    """The newest verified book; None before the first."""
    trades: Sequence[Trade]
    """Since the last look, oldest first."""
    last_trades: Sequence[Trade]
    """The last ones, newest first."""
    trades_left_out: int
    """Since the start: the output did not take them in time."""
    verified: int
    """Messages and snapshots of the book whose checksum was right, since the start."""
    mismatches: int
    """Those whose checksum was wrong."""
    updates: int
    wire_to_strategy_us: Mapping[str, float]
    """From the socket to this strategy, of every kind of message: p50, p99."""


class Watcher(Strategy):
    """Remembers trades and the states of books; `look` is called in another thread."""

    context: StrategyContext

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = tuple(symbols)
        # Held for every change and for taking, so that each trade is shown once.
        self._lock = threading.Lock()
        self._new: dict[str, deque[Trade]] = {symbol: deque() for symbol in symbols}
        self._last: dict[str, deque[Trade]] = {symbol: deque(maxlen=TRADES_KEPT) for symbol in symbols}
        self._left_out = dict.fromkeys(symbols, 0)
        self._states = dict.fromkeys(symbols, (FeedState.STALE, "no book yet"))
        # A picture may be drawn before the host has given this strategy its context.
        self._has_started = False

    def on_start(self) -> None:
        self._has_started = True

    def on_trade(self, trade: Trade) -> None:
        with self._lock:
            new = self._new[trade.symbol]
            new.append(trade)
            self._last[trade.symbol].appendleft(trade)
            if len(new) > TRADES_WAITING_MAX:
                new.popleft()
                self._left_out[trade.symbol] += 1

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        with self._lock:
            self._states[symbol] = (state, "" if state is FeedState.LIVE else reason)

    def look(self, summary: Mapping[str, Any]) -> list[Look]:
        """Every pair as it is now, with the counts of this summary."""
        return [self._look(symbol, summary) for symbol in self._symbols]

    def _look(self, symbol: str, summary: Mapping[str, Any]) -> Look:
        counts, latency = summary["symbols"][symbol], summary["latency_us"]["wire_to_strategy"]
        with self._lock:
            state, reason = self._states[symbol]
            trades, self._new[symbol] = self._new[symbol], deque()
            last, left_out = tuple(self._last[symbol]), self._left_out[symbol]
        return Look(
            symbol=symbol,
            state=state,
            reason=reason,
            book=self.context.book(symbol) if self._has_started else None,
            trades=trades,
            last_trades=last,
            trades_left_out=left_out,
            verified=counts["verified"],
            mismatches=counts["mismatches"],
            updates=counts["updates"],
            wire_to_strategy_us={name: latency[name] for name in ("p50", "p99")},
        )
