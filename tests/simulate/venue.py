"""The venue in virtual time, and what it really did: the judge of everything that the engine says.

The whole `VenueCore` runs on the kernel's events. Beside it stands the truth of its books: the best ten levels of each
pair at each moment at which they changed, read from the matching engine and not from what the venue tells.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import inf
from struct import Struct as Packing
from struct import error as PackingError
from typing import Any, Final

import msgspec

from engine.records import HEADER_BYTES, BookTop, Candle, FeedState, kraken_wall_ns, state_of, unpack_header
from engine.topology import NO_CHANNELS, Channel
from engine.units import NS_PER_S, NS_PER_US, WallNs, units_decimal
from engine.venue.core import VenueCore
from engine.venue.market.matching import BUY, SELL, Outcome
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec
from engine.venue.rest.api import HttpReply, HttpRequest
from engine.venue.setup.settings import VenueSettings
from engine.venue.wire.text import utc_us
from engine.wide import LEVEL_BYTES, pack_levels, wide_level
from tests.simulate.kernel import BEGAN_MONO_NS, BEGAN_WALL_NS, Kernel, Timer, Violation

TRUTHS_KEPT: Final = 200_000  # moments of one pair; more of them where they are young
LEVELS: Final = 10
US_PER_S: Final = NS_PER_S // NS_PER_US
# A book, packed, and where a BOOK_TOP has it.
BOOK: Final = Packing(f"<BBHH{LEVELS * LEVEL_BYTES}s{LEVELS * LEVEL_BYTES}s")
DECIMALS, COUNTS, BLOCKS = slice(2, 4), slice(6, 10), slice(HEADER_BYTES, HEADER_BYTES + 2 * LEVELS * LEVEL_BYTES)
WORDS: Final = [Packing(f"<{2 * count}q") for count in range(LEVELS + 1)]  # by the number of levels
TWO_WORDS: Final = Packing("<qq")

Levels = Sequence[tuple[int, int]]
"""(price, quantity) in units, best first."""


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
        # Each as `_packed` has it, for a day has many: bytes are compared with a record's at once, and nothing walks
        # through them in search of garbage.
        self.books: dict[int, list[bytes]] = {}
        self._read()
        self._note(market._changed_at)
        market.publish = self._watched  # type: ignore[method-assign]

    def _watched(self, outcome: Outcome, now: WallNs) -> int:
        # Before it is published: its trades may trigger orders, which change the book again.
        if changes := outcome.changes:
            is_bid = is_ask = False
            for change in changes:
                if change.side is BUY:
                    is_bid |= change.price >= self._last_bid
                else:
                    is_ask |= change.price <= self._last_ask
            if is_bid or is_ask:
                self._pack(is_bid=is_bid, is_ask=is_ask)
            self._note(now)
        return self._publish(outcome, now)

    def relisted(self) -> None:
        """The same book in another precision: told from the next change on, or by a snapshot of the last one."""
        self._read()
        self._note(self._market._changed_at)

    def _note(self, at: WallNs) -> None:
        self.changed_at = at
        self.books.setdefault(at // NS_PER_US, []).append(self.now)
        while len(self.books) > self._kept:
            oldest = next(iter(self.books))
            if at // NS_PER_US - oldest < self._kept_us:
                break
            del self.books[oldest]

    def _read(self) -> None:
        pair = self._market.pair
        self._decimals = pair.price_decimals, pair.qty_decimals
        self._pack(is_bid=True, is_ask=True)

    def _pack(self, *, is_bid: bool, is_ask: bool) -> None:
        """The book as it is now, of which these sides have changed."""
        book = self._market.book
        if is_bid:
            bids = book.levels(BUY, LEVELS)
            self._bid_count, self._bid_block = len(bids), _block(bids)
            # What changes beyond this price is none of the best levels.
            self._last_bid = bids[-1][0] if len(bids) == LEVELS else 0
        if is_ask:
            asks = book.levels(SELL, LEVELS)
            self._ask_count, self._ask_block = len(asks), _block(asks)
            self._last_ask = asks[-1][0] if len(asks) == LEVELS else inf
        self.now = BOOK.pack(*self._decimals, self._bid_count, self._ask_count, self._bid_block, self._ask_block)


def _packed(price_decimals: int, qty_decimals: int, bids: Levels, asks: Levels) -> bytes:
    """A book as a BOOK_TOP of LEVELS levels has it: its decimals, its counts, its levels."""
    return BOOK.pack(price_decimals, qty_decimals, len(bids), len(asks), _block(bids), _block(asks))


def _block(levels: Levels) -> bytes:
    units = tuple(chain.from_iterable(levels))
    try:
        return WORDS[len(levels)].pack(*units)
    except PackingError:  # beyond a word
        return pack_levels(units)


def _book_of(record: bytes) -> bytes:
    """The same of a BOOK_TOP."""
    return record[DECIMALS] + record[COUNTS] + record[BLOCKS]


def _told(book: BookTop) -> bytes:
    """The same of what a strategy sees."""
    bids, asks = ([(level.price_ticks, level.qty_lots) for level in side] for side in (book.bids, book.asks))
    return _packed(book.price_decimals, book.qty_decimals, bids, asks)


def _shown(packed: bytes) -> str:
    """In words."""
    price_decimals, qty_decimals, *counts, bids, asks = BOOK.unpack(packed)
    levels = [
        [pair if pair[1] >= 0 else wide_level(*pair) for pair in TWO_WORDS.iter_unpack(block[: LEVEL_BYTES * count])]
        for count, block in zip(counts, (bids, asks), strict=True)
    ]
    return f"bids {levels[0]}, asks {levels[1]} of {price_decimals}x{qty_decimals} decimals"


LEVELS_MAX: Final = 90  # a side; the order flow leaves at least a third of them, and windows have 25
WARM_UP_ACTIONS: Final = 100  # of the order flow, before the first client


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
        # Of each pair, the record that was compared last, and when its frame came and which update it was.
        self._checked: dict[str, bytes] = {}
        self._checked_mark: dict[str, tuple[int, int]] = {}
        self.relist_count = 0
        # Pairs that were subscribed or unsubscribed at run time: candles of theirs may lack trades, and say so.
        self.interrupted: set[str] = set()
        self._relist_pair = self.trading_side.trading.relist
        self.trading_side.trading.relist = self._relisted  # type: ignore[method-assign]

    def listed(self) -> tuple[PairSpec, ...]:
        """With books that are opened soon: deeper than any window, and shaped at the top."""
        return tuple(
            msgspec.structs.replace(
                pair,
                levels_target=min(pair.levels_target, LEVELS_MAX),
                warm_up_actions=min(pair.warm_up_actions, WARM_UP_ACTIONS),
            )
            for pair in super().listed()
        )

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
            *_, time_text, received_at, update_number = unpack_header(record)
            self._check(symbol, kraken_wall_ns(time_text), _book_of(record))
            self._checked[symbol] = record
            self._checked_mark[symbol] = (received_at, update_number)

    def check_told(self, book: BookTop) -> None:
        """The same of a book that a strategy was told; what is wrong is raised at the end of the step."""
        if (book.received_at, book.update_number) != self._checked_mark.get(book.symbol):
            self._check(book.symbol, book.kraken_time, _told(book))

    def _check(self, symbol: str, at: WallNs, told: bytes) -> None:
        truths = self.truths[symbol].books.get(at // NS_PER_US, ())
        if told not in truths:
            had = "; ".join(map(_shown, truths)) or "nothing"
            self._kernel.accuse(
                "no live book differs from the venue's",
                f"{symbol} at {utc_us(at)}: {_shown(told)}, and the venue had {had}",
            )

    def check_candle(self, candle: Candle) -> None:
        """Violation unless a closed candle is the venue's: of all its trades, and at their prices."""
        if not candle.closed or self.relist_count:
            return
        assert self.exchange is not None
        market = self.exchange.markets[candle.symbol]
        begin_s = candle.interval_begin // NS_PER_S
        kept = reversed(market.candles.kept(candle.interval_min))  # it closed a moment ago
        truth = next((one for one in kept if one.begin_s == begin_s), None)
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
        if (told := _book_of(record)) != truth.now:
            raise Violation(
                "at rest every book is the venue's",
                f"{symbol}: {_shown(told)} of {utc_us(BookTop(symbol, record).kraken_time)}, the venue has "
                f"{_shown(truth.now)} of {utc_us(WallNs(truth.changed_at))}",
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
