"""The public feed: a session's events become records in a market ring, and the board beside it.

frames ─► PublicSession ─► on_events() ─► records ─► ring       each change
                           on_burst_end() ─────────► board      the last of each pair, once a burst
                                          ─────────► doorbells  once a burst
"""

import struct
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final, NamedTuple, Protocol

import structlog

from engine.clock import Clock
from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX
from engine.kraken.connection.messages import Notice
from engine.kraken.connection.salvage import cut
from engine.kraken.public.book_feed import BookChanged, BookFeed, StateChanged
from engine.kraken.public.events import (
    BookUnproved,
    CandleChanged,
    Event,
    PairChanged,
    Refused,
    TickerChanged,
    TradePrinted,
)
from engine.kraken.public.messages import PairData
from engine.kraken.public.session import PublicSession
from engine.processes.launch import Conflation
from engine.processes.traffic import TrafficPort
from engine.public_feed.lane import lane_of
from engine.records import (
    UNPROVED,
    FeedState,
    Kind,
    PairRules,
    book_top_packer,
    pack_candle,
    pack_feed_state,
    pack_header,
    pack_pair,
    pack_ticker,
    pack_trade,
    pack_venue_status,
    pair_index_of,
    unpack_candle,
    unpack_trade,
)
from engine.ring import BoardReader, BoardWriter, Memory, Publisher, Subscriber
from engine.telemetry import Counters
from engine.timestamps import wall_ns
from engine.topology import PAIR_COUNTERS, Shard
from engine.units import DIGITS_MAX, MonoNs, decimal_units
from engine.wide import LEVEL_BYTES

PERCENT_DECIMALS = 2  # of a ticker's change in percent, at least
RECORDS_READ_MAX: Final = 256  # of a ring at a time
PAIR_STATUS_BYTES_MAX: Final = 24  # theirs have sixteen at most
UNTOLD_MAX: Final = 1024  # books of a pair that wait for it; more, and they wait no longer

BOOK_TOP, LIVE = int(Kind.BOOK_TOP), int(FeedState.LIVE)  # hot: an enum member costs a lookup

log = structlog.get_logger("public_feed")


class RefusalPort(Protocol):
    """Where refused subscriptions are told: the supervisor decides what they mean."""

    def __call__(self, symbol: str, advice: str) -> None: ...


class _Untold(NamedTuple):
    """Books of a pair that has not been told."""

    event: StateChanged
    """That the book is live."""
    until: MonoNs
    books: list[bytes]


class PublicFeed:
    """One shard's feed. The same object runs in its own process, and in a replay's."""

    def __init__(
        self,
        shard: Shard,
        session: PublicSession,
        *,
        publisher: Publisher,
        board: BoardWriter,
        board_reader: BoardReader,
        counters: Counters,
        clock: Clock,
        refused: RefusalPort,
        conflate: Conflation = "none",
        pair_patience_ns: int = 0,
    ) -> None:
        """`pair_patience_ns`: how long a book that is live waits for what Kraken has to tell of its pair."""
        self._shard = shard
        self._session = session
        self._publisher = publisher
        # Hot: bound once.
        self._publish = publisher.publish
        self._publish_levels = session.settings.publish_levels
        self._pack_book_top = book_top_packer(session.settings.publish_levels)
        self._board = board
        # The same board, to look at: the last book of a pair in doubt, and what an earlier life of this feed left.
        self._board_reader = board_reader
        self._counters = counters
        self._clock = clock
        self._refused = refused
        self._conflate = conflate == "burst"
        # The connection's counters; None in a replay, which has none.
        self.traffic: TrafficPort | None = None
        # Records of the board's slots that changed in this burst, and books to be published at its end.
        self._dirty: dict[int, bytes] = {}
        self._dirty_feeds: dict[int, BookFeed] = {}
        self._pair_patience_ns = pair_patience_ns
        # Pairs that have been told, with the decimals of their prices and quantities; and books that wait for theirs.
        self._pairs_told = {
            index: (record[2], record[3])
            for index in range(len(shard.symbols))
            if (record := board_reader.read(shard.pair_slot(index))) is not None
        }
        self._untold: dict[int, _Untold] = {}
        # The engine is stopping: what the end of the connection does to the books is no news.
        self._closing = False
        # The venue's state that was logged last.
        self._system_told = ""
        # When Kraken was last heard, in the counters: written with each burst, for an order may depend on it.
        self._heard = counters.values, counters.index("heard_ns")
        # Takes plain book updates where it can; None without. Books held back for the end of a burst are not its.
        self.lane = None if self._conflate else lane_of(session, publisher, board, self._heard, self._dirty)
        # What takes the frames: the lane's, past session and events where it can, or the session's. Hot: bound once.
        self.receive = session.receive if self.lane is None else self.lane.receive
        # Events that no record can carry, for a number is absurd: more than 128 bits, or no number at all.
        self._unpublishable = 0
        # What earlier lives of this feed counted: the counters go on from there.
        self._inherited = counters.snapshot()
        self._tell: dict[type, Any] = {
            StateChanged: self._publish_state,
            BookUnproved: self._publish_unproved,
            TradePrinted: self._publish_trade,
            TickerChanged: self._publish_ticker,
            CandleChanged: self._publish_candle,
            PairChanged: self._publish_pair,
            SystemChanged: self._publish_system,
            Refused: self._tell_refusal,
            FrameNotUnderstood: self._log_frame,
        }

    def on_start(self, reason: str = "starting") -> None:
        """Say of every pair that it is stale, before any book; go on with its trades and candles where they ended."""
        now = self._clock.mono_ns()
        for pair_index, symbol in enumerate(self._shard.symbols):
            self._resume(pair_index, symbol)
        announce_stale(self._shard, self._publisher, self._board, self._board_reader, reason, now)

    def _resume(self, pair_index: int, symbol: str) -> None:
        """What an earlier life of this feed told last is on the board: it is not told again, and a gap is one."""
        record = self._board_reader.read(self._shard.trade_slot(pair_index))
        if record is not None:
            trade = unpack_trade(symbol, record)
            self._session.tape.resume(symbol, trade.trade_id, trade.kraken_time)
        record = self._board_reader.read(self._shard.candle_slot(pair_index))
        if record is not None:
            candle = unpack_candle(symbol, record)
            self._session.candle_series.resume(symbol, candle.interval_min, candle.interval_begin)

    def on_events(self, events: Sequence[Event]) -> None:
        """Publish what happened; `on_burst_end` follows when the socket has no more."""
        if self._closing:
            return
        self._store_lane()
        for event in events:
            # Hot: the type test is one load and one comparison.
            if type(event) is BookChanged:
                feed = event.feed
                if not feed.streaming:
                    continue  # a later entry of the same frame put the book in doubt
                if self._untold and (untold := self._untold.get(feed.pair_index)) is not None:
                    untold.books.append(self._book_record(feed))
                    if len(untold.books) > UNTOLD_MAX:
                        self._tell_books(feed.pair_index)
                    continue
                if self._conflate:
                    self._dirty_feeds[feed.pair_index] = feed
                else:
                    self._publish_book(feed)
            else:
                self._publish_rare(event)

    def on_burst_end(self) -> None:
        """The socket has no more for now: what was held back goes out, and sleepers are woken."""
        if self._dirty_feeds:
            for feed in self._dirty_feeds.values():
                if feed.streaming:
                    self._publish_book(feed)
            self._dirty_feeds.clear()
        self._settle()

    def begin_close(self) -> None:
        """The engine is stopping: the last word on each pair is the market's, not that of our closing."""
        self._closing = True
        if self.lane is not None:
            self.lane.close()

    def do_work(self) -> int:
        """The part of the duty cycle that no frame drives: counters and the sign of life."""
        if self._untold:
            self._store_lane()
            now = self._clock.mono_ns()
            for pair_index, untold in list(self._untold.items()):
                if now >= untold.until:
                    log.warning("pair not told", symbol=untold.event.symbol)
                    self._tell_books(pair_index)
            self._settle()
        self._count()
        return 0

    def on_close(self) -> None:
        """The last counts, and nothing held back."""
        self.on_burst_end()
        self._count()

    # --- records

    def _publish_book(self, feed: BookFeed) -> None:
        record = self._book_record(feed)
        self._publish(record)
        self._dirty[feed.pair_index] = record

    def _book_record(self, feed: BookFeed) -> bytes:
        book = feed.book
        bids, asks = book.bids.top_units, book.asks.top_units
        return self._pack_book_top(
            BOOK_TOP,
            LIVE,
            book.price_decimals,
            book.qty_decimals,
            feed.pair_index,
            len(bids) // LEVEL_BYTES,
            len(asks) // LEVEL_BYTES,
            self._publish_levels,
            feed.timestamp.encode(),
            feed.heard_at,
            feed.updates,
            bids,
            asks,
        )

    def _publish_rare(self, event: Event) -> None:
        try:
            self._tell[type(event)](event)
        except (struct.error, ValueError, ArithmeticError) as error:
            self._unpublishable += 1
            if self._unpublishable == 1:
                log.warning(
                    "a number does not fit a record", error=str(error)[:DETAIL_CHARS_MAX], feed=type(event).__name__
                )

    def _publish_state(self, event: StateChanged) -> None:
        feed = self._session.feeds[event.symbol]
        feed.is_direct = False
        pair_index = feed.pair_index
        self._dirty_feeds.pop(pair_index, None)  # held back for the end of the burst, and in doubt since
        self._untold.pop(pair_index, None)
        if event.state is FeedState.LIVE:
            if self._pair_patience_ns and not self._is_told(feed):
                # Kraken answers subscriptions in any order; a book without its pair cannot be traded, and one in
                # another precision than its pair would be mixed with it.
                self._untold[pair_index] = _Untold(event, MonoNs(self._clock.mono_ns() + self._pair_patience_ns), [])
                return
            # On the board before it is in the ring: whoever hears of it there may answer with an order at once.
            if feed.streaming:  # a later entry of the same frame may have put it in doubt again
                self._board.store(pair_index, self._book_record(feed))
        self._publish(pack_feed_state(pair_index, event.state, event.reason, self._clock.mono_ns()))
        last_top = self._dirty.get(pair_index) or self._board_reader.read(pair_index) or empty_top(pair_index)
        self._dirty[pair_index] = with_state(last_top, event.state)
        if event.state is FeedState.LIVE:
            feed.is_direct = True
            log.info("book live", symbol=event.symbol, reason=event.reason)
        else:
            log.warning("book in doubt", symbol=event.symbol, state=str(event.state), reason=event.reason)

    def _publish_unproved(self, event: BookUnproved) -> None:
        pair_index = self._session.feeds[event.symbol].pair_index
        now = self._clock.mono_ns()
        self._publish(pack_feed_state(pair_index, FeedState.LIVE, event.reason, now, is_proved=False))
        last_top = self._dirty.get(pair_index) or self._board_reader.read(pair_index) or empty_top(pair_index)
        self._dirty[pair_index] = with_state(last_top, FeedState.LIVE, is_proved=False)
        log.debug("book unproved", symbol=event.symbol, reason=event.reason)  # not a line for each of a thousand pairs

    def _publish_trade(self, event: TradePrinted) -> None:
        trade = event.trade
        pair_index, price_decimals, qty_decimals = self._decimals(trade.symbol, (trade.price,), (trade.qty,))
        record = pack_trade(
            pair_index,
            decimal_units(trade.price, price_decimals),
            decimal_units(trade.qty, qty_decimals),
            price_decimals,
            qty_decimals,
            trade.side,
            trade.ord_type,
            trade.trade_id,
            trade.timestamp,
            self._session.heard_at,
            event.history,
        )
        self._publish(record)
        if trade.trade_id == self._session.tape.newest_id(trade.symbol):
            self._dirty[self._shard.trade_slot(pair_index)] = record

    def _publish_ticker(self, event: TickerChanged) -> None:
        t = event.ticker
        prices = (t.bid, t.ask, t.last, t.vwap, t.low, t.high, t.change)
        qtys = (t.bid_qty, t.ask_qty, t.volume)
        pair_index, price_decimals, qty_decimals = self._decimals(t.symbol, prices, qtys)
        bid, ask, last, vwap, low, high, change = (decimal_units(price, price_decimals) for price in prices)
        bid_qty, ask_qty, volume = (decimal_units(qty, qty_decimals) for qty in qtys)
        percent_decimals = max(PERCENT_DECIMALS, _decimals_of(t.change_pct))
        change_pct = decimal_units(t.change_pct, percent_decimals)
        numbers = (bid, bid_qty, ask, ask_qty, last, volume, vwap, low, high, change, change_pct)
        now = self._session.heard_at
        self._publish(
            pack_ticker(pair_index, numbers, price_decimals, qty_decimals, percent_decimals, t.timestamp, now)
        )

    def _publish_candle(self, event: CandleChanged) -> None:
        c = event.candle
        prices = (c.open, c.high, c.low, c.close, c.vwap)
        pair_index, price_decimals, qty_decimals = self._decimals(c.symbol, prices, (c.volume,))
        begin = wall_ns(c.interval_begin)
        numbers = (
            *(decimal_units(price, price_decimals) for price in prices),
            decimal_units(c.volume, qty_decimals),
            c.trades,
            begin,
            event.missed,
        )
        now = self._session.heard_at
        record = pack_candle(
            pair_index, numbers, price_decimals, qty_decimals, c.interval, event.closed, now, event.history
        )
        self._publish(record)
        if not event.closed:
            self._dirty[self._shard.candle_slot(pair_index)] = record

    def _publish_pair(self, event: PairChanged) -> None:
        pair = event.pair
        pair_index = self._session.feeds[pair.symbol].pair_index
        rules = pair_rules(pair, event.base_decimals, event.quote_decimals)
        record = pack_pair(pair_index, pair.price_precision, pair.qty_precision, rules, self._session.heard_at)
        # On the board first: no book of the pair is there, or in the ring, before it.
        self._board.store(self._shard.pair_slot(pair_index), record)
        self._publish(record)
        self._pairs_told[pair_index] = (pair.price_precision, pair.qty_precision)
        if pair_index in self._untold and self._is_told(self._session.feeds[pair.symbol]):
            self._tell_books(pair_index)

    def _is_told(self, feed: BookFeed) -> bool:
        """Has the pair been told, in the precision that its book is in? An empty book may not know its own."""
        told = self._pairs_told.get(feed.pair_index)
        return told is not None and (feed.is_guess or told == (feed.book.price_decimals, feed.book.qty_decimals))

    def _tell_books(self, pair_index: int) -> None:
        """The books that waited for their pair wait no more."""
        untold = self._untold.pop(pair_index)
        book = self._session.feeds[untold.event.symbol].book
        self._pairs_told[pair_index] = (book.price_decimals, book.qty_decimals)
        self._publish_state(untold.event)
        for record in untold.books:
            self._publish(record)
            self._dirty[pair_index] = record

    def _publish_system(self, event: SystemChanged) -> None:
        record = pack_venue_status(event.system, self._session.heard_at)
        self._publish(record)
        self._dirty[self._shard.status_slot] = record
        if event.system != self._system_told:
            self._system_told = event.system
            log.info("venue status", system=event.system, version=event.version)
        for notice in event.notices:
            log.warning("venue notice", **_notice_fields(notice))

    def _decimals(self, symbol: str, prices: Sequence[Decimal], qtys: Sequence[Decimal]) -> tuple[int, int, int]:
        """Index of a pair, and the decimals that hold these numbers exactly: the pair's, or more if they have more."""
        feed = self._session.feeds[symbol]
        price_decimals, qty_decimals = feed.decimals_known or (feed.book.price_decimals, feed.book.qty_decimals)
        return (
            feed.pair_index,
            max(price_decimals, *(_decimals_of(price) for price in prices)),
            max(qty_decimals, *(_decimals_of(qty) for qty in qtys)),
        )

    def _tell_refusal(self, event: Refused) -> None:
        log.error("subscription refused", channel=event.channel, symbol=event.symbol, advice=event.advice)
        self._refused(event.symbol, event.advice)

    def _log_frame(self, event: FrameNotUnderstood) -> None:
        log.warning(f"{event.kind} frame", detail=event.detail, frame=event.frame.decode(errors="replace"))

    # --- the end of a burst

    def _settle(self) -> None:
        """Ring those who sleep, and bring the board up to the ring while they wake."""
        if self.lane is not None and self.lane.settle():
            return
        values, index = self._heard
        values[index] = self._session.heard_at
        self._publisher.flush()
        if self._dirty:
            store = self._board.store
            for index, record in self._dirty.items():
                store(index, record)
            self._dirty.clear()
        self._board.complete(self._publisher.cursor)

    def _store_lane(self) -> None:
        """Store what the lane has published before anything newer comes: so what is `_dirty` is always the newest."""
        if self.lane is not None:
            self.lane.store()

    # --- counters

    def _count(self) -> None:
        """Bring the shared counters up to date; what earlier lives of this feed counted stays in."""
        session, counts = self._session, {}
        for name in (
            "trades",
            "trades_missed",
            "trades_repeated",
            "tickers",
            "candles",
            "candles_missed",
            "candles_repeated",
            "heartbeats",
            "level3",
            "pongs",
            "unknown",
            "malformed",
            "refused",
        ):
            counts[name] = getattr(session, name)
        counts["unpublishable"] = self._unpublishable
        if self.traffic is not None:
            counts["frames"] = self.traffic.frames_received
            counts["bytes"] = self.traffic.bytes_received
            for name in ("binary_frames", "session_errors", "connects", "connect_failures", "disconnects"):
                counts[name] = getattr(self.traffic, name)
        for feed in session.feeds.values():
            for name in PAIR_COUNTERS:
                counts[f"{feed.symbol} {name}"] = getattr(feed, name)
        inherited = self._inherited
        for name, count in counts.items():
            self._counters.set(name, int(count) + (0 if name.endswith(" state") else inherited[name]))
        self._counters.set("ping_rtt_ns", session.ping_rtt_ns)
        self._counters.set("heartbeat_ns", self._clock.mono_ns())


def announce_stale(
    shard: Shard, publisher: Publisher, board: BoardWriter, before: BoardReader, reason: str, now: int
) -> None:
    """Publish that every pair of a shard is stale, and put its board in order.

    For a feed that begins, and for the supervisor when a feed has died: one writer
    at a time, so strategies hear of it in the ring, before any later book.
    """
    for pair_index in range(len(shard.symbols)):
        publisher.publish(pack_feed_state(pair_index, FeedState.STALE, reason, now))
        board.store(pair_index, with_state(before.read(pair_index) or empty_top(pair_index), FeedState.STALE))
    for index in range(len(shard.symbols), shard.board_slots):
        record = before.read(index)
        if record is not None:
            board.store(index, record)
    board.complete(publisher.cursor)
    publisher.flush()


def settle_dead(shard: Shard, ring: Memory, board: BoardWriter, before: BoardReader) -> None:
    """Put on the board what a feed that died had published of trades and candles since it last did so itself.

    Otherwise its successor would tell them a second time. Before `announce_stale`, which completes the board.
    """
    unsettled = Subscriber(ring, before.complete_upto + 1)
    while records := unsettled.poll_many(RECORDS_READ_MAX):
        for record in records:
            pair_index = pair_index_of(record)
            if record[0] == Kind.TRADE:
                slot = shard.trade_slot(pair_index)
                told = before.read(slot)
                if told is None or unpack_trade("", record).trade_id > unpack_trade("", told).trade_id:
                    board.store(slot, record)
            elif record[0] == Kind.CANDLE and not unpack_candle("", record).closed:
                board.store(shard.candle_slot(pair_index), record)


def empty_top(pair_index: int) -> bytes:
    """A BOOK_TOP without levels: what the board holds of a pair that has had no book."""
    return pack_header(BOOK_TOP, FeedState.STALE, 0, 0, pair_index, 0, 0, 0, b"", 0, 0)


def with_state(top: bytes, state: FeedState, *, is_proved: bool = True) -> bytes:
    """A BOOK_TOP record with another feed state."""
    return top[:1] + bytes((state | (0 if is_proved else UNPROVED),)) + top[2:]


def _notice_fields(notice: Notice) -> dict[str, str]:
    """What is told of a notice: the fields that it has, each cut."""
    fields = {
        "title": notice.title,
        "phase": notice.phase,
        "action": notice.recommended_action,
        "start": notice.expected_start_utc,
        "status": notice.incident_status,
        "impact": notice.impact,
        "expected_restart": notice.expected_restart_utc,
        "services": ", ".join(notice.affected_services),
    }
    return {name: text[:DETAIL_CHARS_MAX] for name, text in fields.items() if text}


def pair_rules(pair: PairData, base_decimals: int | None = None, quote_decimals: int | None = None) -> PairRules:
    """Kraken's numbers of a pair in its ticks and lots; an increment of one unit where it gives none.

    A smallest order that is finer than the lots, as a coarser precision may leave it behind, is the next lot above.
    """
    lot = Decimal(1).scaleb(-pair.qty_precision)
    price_increment = pair.price_increment or Decimal(1).scaleb(-pair.price_precision)
    qty_increment = pair.qty_increment or lot
    return PairRules(
        price_increment_ticks=decimal_units(price_increment, pair.price_precision),
        qty_increment_lots=decimal_units(qty_increment, pair.qty_precision),
        qty_min_lots=decimal_units(pair.qty_min.quantize(lot, ROUND_CEILING), pair.qty_precision),
        cost_min=pair.cost_min,
        status=cut(pair.status, PAIR_STATUS_BYTES_MAX),
        cost_decimals=min(max(pair.cost_precision, 0), DIGITS_MAX),
        base_decimals=base_decimals,
        quote_decimals=quote_decimals,
    )


def _decimals_of(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
