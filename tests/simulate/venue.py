"""The venue in virtual time, and what it really did: the judge of everything that the engine says.

The whole `VenueCore` runs on the kernel's events. Beside it stands the truth of its books: the best ten levels of each
pair at each moment at which they changed, read from the matching engine and not from what the venue tells.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from engine.records import BookTop, Candle, FeedState, state_of
from engine.topology import NO_CHANNELS, Channel
from engine.units import NS_PER_S, NS_PER_US, WallNs, units_decimal
from engine.venue.core import VenueCore
from engine.venue.market.matching import BUY, SELL, Outcome
from engine.venue.market.pair_market import PairMarket
from engine.venue.rest.api import HttpReply, HttpRequest
from engine.venue.setup.settings import VenueSettings
from engine.venue.wire.text import utc_us
from tests.simulate.kernel import BEGAN_MONO_NS, BEGAN_WALL_NS, Kernel, Timer, Violation

TRUTHS_KEPT: Final = 200_000  # moments of one pair; more of them where they are young
LEVELS: Final = 10
US_PER_S: Final = NS_PER_S // NS_PER_US

Levels = Sequence[tuple[int, int]]
"""(price, quantity) in units, best first."""


class Moment(NamedTuple):
    """A book as it was, in the precision that it had then."""

    price_decimals: int
    qty_decimals: int
    bids: Levels
    asks: Levels


class VenueClock:
    """The venue's own clock, which nobody steps."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def mono_ns(self) -> Any:
        return self._kernel.now

    def wall_ns(self) -> Any:
        return WallNs(self._kernel.now - BEGAN_MONO_NS + BEGAN_WALL_NS)


class _Alarm:
    """What wakes the pulse."""

    def __init__(self, kernel: Kernel, ring: Callable[[], None]) -> None:
        self._kernel = kernel
        self._ring = ring
        self._timer: Timer | None = None

    def set(self, delay_ns: int) -> None:
        self._timer = self._kernel.after(delay_ns, self._ring)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Truth:
    """One pair's books as they were, by the time that the venue tells of them."""

    def __init__(self, market: PairMarket, kept: int, kept_us: int) -> None:
        self._market = market
        self._kept, self._kept_us = kept, kept_us
        self._publish = market.publish
        # By the microsecond, which is what the venue tells: in each precision that it had then; in the order of time.
        self.books: dict[int, list[Moment]] = {}
        self.now = self._read()
        self.changed_at = 0
        self._note(market._changed_at)
        market.publish = self._watched  # type: ignore[method-assign]

    def _watched(self, outcome: Outcome, now: WallNs) -> int:
        # Before it is published: its trades may trigger orders, which change the book again.
        if changes := outcome.changes:
            price_decimals, qty_decimals, bids, asks = self.now
            is_bid = is_ask = False
            for change in changes:
                if change.side is BUY:
                    is_bid = True
                else:
                    is_ask = True
            if is_bid:
                bids = self._market.book.levels(BUY, LEVELS)
            if is_ask:
                asks = self._market.book.levels(SELL, LEVELS)
            self.now = Moment(price_decimals, qty_decimals, bids, asks)
            self._note(now)
        return self._publish(outcome, now)

    def relisted(self) -> None:
        """The same book in another precision: told from the next change on, or by a snapshot of the last one."""
        self.now = self._read()
        self._note(self._market._changed_at)

    def _note(self, at: WallNs) -> None:
        self.changed_at = at
        self.books.setdefault(at // NS_PER_US, []).append(self.now)
        while len(self.books) > self._kept:
            oldest = next(iter(self.books))
            if at // NS_PER_US - oldest < self._kept_us:
                break
            del self.books[oldest]

    def _read(self) -> Moment:
        pair, book = self._market.pair, self._market.book
        return Moment(pair.price_decimals, pair.qty_decimals, book.levels(BUY, LEVELS), book.levels(SELL, LEVELS))


def _told(book: BookTop) -> Moment:
    return Moment(
        book.price_decimals,
        book.qty_decimals,
        [(level.price_ticks, level.qty_lots) for level in book.bids],
        [(level.price_ticks, level.qty_lots) for level in book.asks],
    )


class SimVenue(VenueCore):
    """The venue's core, driven by the kernel."""

    def __init__(
        self, kernel: Kernel, settings: VenueSettings, truths_kept: int = TRUTHS_KEPT, truths_kept_s: float = 0.0
    ) -> None:
        super().__init__(settings, VenueClock(kernel), kernel, lambda ring: _Alarm(kernel, ring))
        self.open()
        assert self.exchange is not None
        assert self.trading_side is not None
        self._kernel = kernel
        kept_us = int(truths_kept_s * US_PER_S)
        self.truths = {symbol: _Truth(market, truths_kept, kept_us) for symbol, market in self.exchange.markets.items()}
        # The record of each pair that was compared last.
        self._checked: dict[str, bytes] = {}
        self._checked_mark: dict[str, tuple[int, int]] = {}
        self.relist_count = 0
        # Pairs that were subscribed or unsubscribed at run time: candles of theirs may lack trades, and say so.
        self.interrupted: set[str] = set()
        self._relist_pair = self.trading_side.trading.relist
        self.trading_side.trading.relist = self._relisted  # type: ignore[method-assign]

    def _relisted(self, symbol: str, price_decimals: int, qty_decimals: int, at: WallNs) -> None:
        self._relist_pair(symbol, price_decimals, qty_decimals, at)
        self.relist_count += 1
        self.truths[symbol].relisted()
        self._kernel.note("relisted", f"{symbol} {price_decimals}x{qty_decimals}")

    def quiet(self) -> None:
        """No fault strikes any more; what has been struck stays as it is."""
        self._settings = msgspec.structs.replace(self._settings, faults=())
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for connection in self._connections:
            if connection.faults is not None:
                connection.faults.clear()
        if self.trading_side is not None:
            self.trading_side.faults.clear()

    def call(self, request: HttpRequest, reply: Callable[[HttpReply | None], None]) -> None:
        """REST."""
        assert self.rest_api is not None
        self.rest_api.answer(request, reply)

    def move(self, events: int) -> None:
        """Let the order flow take so many actions now."""
        assert self.exchange is not None
        for _ in range(events):
            self.exchange.next_event()
        self._flush()

    def hold_still(self) -> None:
        """The order flow stops: at rest, so that everybody can come to the same book."""
        if self._pulse is not None:
            self._pulse.stop()

    # --- the judge

    def check_book(self, symbol: str, record: bytes) -> None:
        """Violation unless a live BOOK_TOP record is the venue's book as it once was."""
        if record != self._checked.get(symbol):
            book = BookTop(symbol, record)
            self._check(book)
            self._checked[symbol] = record
            self._checked_mark[symbol] = (book.received_at, book.update_number)

    def check_told(self, book: BookTop) -> None:
        """The same of a book that a strategy was told; what is wrong is raised at the end of the step."""
        if (book.received_at, book.update_number) != self._checked_mark.get(book.symbol):
            self._check(book)

    def _check(self, book: BookTop) -> None:
        symbol, told = book.symbol, _told(book)
        truths = self.truths[symbol].books.get(book.kraken_time // NS_PER_US)
        if truths is None or told not in truths:
            self._kernel.accuse(
                "no live book differs from the venue's",
                f"{symbol} at {utc_us(book.kraken_time)}: {told}, the venue had {truths}",
            )

    def check_candle(self, candle: Candle) -> None:
        """Violation unless a closed candle is the venue's: of all its trades, and at their prices."""
        if not candle.closed or self.relist_count:
            return
        assert self.exchange is not None
        market = self.exchange.markets[candle.symbol]
        begin_s = candle.interval_begin // NS_PER_S
        (truth,) = [one for one in market.candles.kept(candle.interval_min) if one.begin_s == begin_s] or [None]
        told = (candle.trades, candle.open, candle.high, candle.low, candle.close, candle.vwap, candle.volume)
        expected = truth and (
            truth.trades,
            *(
                units_decimal(price, market.pair.price_decimals)
                for price in (truth.open, truth.high, truth.low, truth.close, truth.vwap())
            ),
            units_decimal(truth.qty, market.pair.qty_decimals),
        )
        if told != expected:
            self._kernel.accuse("a closed candle has all its trades", f"{candle}, the venue has {truth}")

    def check_book_now(self, symbol: str, record: bytes | None) -> None:
        """Violation unless a record is the venue's book as it is now, and live."""
        self.check_live(symbol, record)
        truth = self.truths[symbol]
        assert record is not None
        book = BookTop(symbol, record)
        if (told := _told(book)) != truth.now:
            raise Violation(
                "at rest every book is the venue's",
                f"{symbol}: {told} of {utc_us(book.kraken_time)}, the venue has {truth.now} of "
                f"{utc_us(WallNs(truth.changed_at))}",
            )

    def check_subscribed(self, followed: Mapping[str, Channel]) -> None:
        """Violation unless the channels that are subscribed are those that somebody follows, of each pair."""
        assert self.exchange is not None
        for symbol, market in self.exchange.markets.items():
            channels = followed.get(symbol, NO_CHANNELS)
            expected = {channel.name.lower() for channel in channels if channel.name} - {"candle"}
            expected |= {"trade", "ohlc"} if Channel.CANDLE in channels else set()
            if (subscribed := {key.channel for key in market.subscribed}) != expected:
                raise Violation("what is followed is subscribed, and nothing else", f"{symbol}: {subscribed}, where "
                                f"{expected} are followed")  # fmt: skip

    def check_live(self, symbol: str, record: bytes | None) -> None:
        """Violation unless there is a live book."""
        if record is None or state_of(record) is not FeedState.LIVE:
            raise Violation("at rest every book is live", f"{symbol}: {record and state_of(record)}")

    def check_strategy_book(self, strategy: str, symbol: str, book: BookTop | None, state: FeedState) -> None:
        """Violation unless what a strategy has of a pair is the venue's book as it is now."""
        if book is None or state is not FeedState.LIVE:
            raise Violation("at rest every book is live", f"{strategy}: {symbol} is {state}, {book}")
        if _told(book) != self.truths[symbol].now:
            raise Violation("at rest every book is the venue's", f"{strategy}: {symbol}")
