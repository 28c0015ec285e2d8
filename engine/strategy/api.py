"""What a strategy is, and what it is given.

    class SpreadWatch(Strategy):
        symbol: str = "BTC/USD"                 # a parameter: a typed field, set in TOML under params

        def on_book(self, book: BookTop) -> None:
            if book.symbol == self.symbol:
                print(book.best_bid, book.best_ask, book.spread)

Callbacks may be plain or `async`. One strategy's callbacks never overlap: while an
async one waits, later records stay in the ring, other strategies go on, and what the
ring overwrites meanwhile is counted and mended from the board.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, Ticker, Trade
from engine.units import MonoNs, WallNs

Answer = Awaitable[None] | None
"""What a callback returns: nothing, now or later."""


class Logger(Protocol):
    """A structured logger: an event, and its facts by name."""

    def debug(self, event: str, **facts: object) -> object: ...

    def info(self, event: str, **facts: object) -> object: ...

    def warning(self, event: str, **facts: object) -> object: ...

    def error(self, event: str, **facts: object) -> object: ...


class Context(Protocol):
    """The engine, as one strategy sees it."""

    @property
    def symbols(self) -> Sequence[str]:
        """The pairs that this strategy follows."""
        ...

    @property
    def log(self) -> Logger:
        """Logs under the strategy's name."""
        ...

    def book(self, symbol: str) -> BookTop | None:
        """The newest book of a pair that this strategy was given; its `state` says whether it is live.

        None before the first. KeyError, naming the pairs there are, for a symbol that is not followed.
        """
        ...

    def state(self, symbol: str) -> FeedState:
        """Whether the pair's book is live, stale or untrusted. KeyError as for `book`."""
        ...

    def pair(self, symbol: str) -> Pair | None:
        """Precisions, increments and status of a pair; None until the venue has told. KeyError as for `book`."""
        ...

    @property
    def venue_status(self) -> str:
        """online, cancel_only, post_only or maintenance; empty before the venue has told."""
        ...

    def now(self) -> MonoNs:
        """For durations: the clock that stamps `received_at`. In a replay, the capture's."""
        ...

    def wall_now(self) -> WallNs:
        """For calendars. In a replay, the capture's."""
        ...


class Strategy:
    """Derive from it, give parameters as typed fields, and override the callbacks that you want.

    Parameters are the annotated fields of the class and its bases, except names that
    begin with an underscore and ClassVars. A parameter without a default must be set.
    """

    context: Context
    """Set before `on_start`."""

    timer_s: float = 0.0
    """Seconds from one `on_timer` to the next; 0 means never."""

    def on_start(self) -> Answer:
        """Before the first record. An exception here stops the engine: the strategy is not ready to run."""
        return None

    def on_book(self, book: BookTop) -> Answer:
        """A pair's book changed, and its checksum verified. After a gap: the newest book of each pair."""
        return None

    def on_trade(self, trade: Trade) -> Answer:
        """A fill on the tape."""
        return None

    def on_ticker(self, ticker: Ticker) -> Answer:
        """A pair's ticker changed."""
        return None

    def on_candle(self, candle: Candle) -> Answer:
        """A candle changed, or was closed."""
        return None

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> Answer:
        """A pair's book became live, stale or untrusted. After `stale` no book of the pair comes before `live`."""
        return None

    def on_timer(self) -> Answer:
        """Every `timer_s` seconds."""
        return None

    def on_stop(self) -> Answer:
        """After the last record; the engine is stopping."""
        return None


CALLBACKS = (
    "on_start", "on_book", "on_trade", "on_ticker", "on_candle", "on_feed_state", "on_timer", "on_stop",
)  # fmt: skip
