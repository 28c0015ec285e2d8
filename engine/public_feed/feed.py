"""The public feed: turns a session's events into records of a market ring and its board.

frames ─► PublicSession ─► on_events() ─► records ─► ring       each change
                           on_burst_end() ─────────► board      the last of each pair, once a burst
                                          ─────────► doorbells  once a burst
REST ───► Fallback ──────► take_rest() ─► records, marked       what the WebSocket does not serve
trades ─► CandleFeed ────► take() ──────► records               candles that changed, once a burst
"""

import struct
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, Decimal
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import structlog

from engine.clock import Clock
from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX
from engine.kraken.connection.messages import Notice
from engine.kraken.connection.salvage import cut
from engine.kraken.public.book_feed import BookChanged, BookFeed, StateChanged, units_of
from engine.kraken.public.events import (
    BookUnproved,
    CandleTold,
    Event,
    PairChanged,
    Refused,
    TickerChanged,
    TradePrinted,
    TradesBefore,
)
from engine.kraken.public.messages import CandleData, PairData, TickerData
from engine.kraken.public.session import PublicSession
from engine.kraken.rest.market_data import RestDepth
from engine.kraken_rest.public_calls import PublicCalls
from engine.market.books import Book
from engine.net.traffic import TRAFFIC_COUNTERS, Traffic, traffic_counts
from engine.processes.launch import Conflation
from engine.public_feed.candle_feed import CandleAsk, CandleFeed, ToldCandle
from engine.public_feed.lane import lane_of
from engine.public_feed.sources import Ask, Sources
from engine.public_feed.sources import Kind as DataKind
from engine.public_feed.state_log import StateLog, names
from engine.records import (
    UNPROVED,
    FeedState,
    Kind,
    PairRules,
    Source,
    book_top_packer,
    pack_candle,
    pack_feed_state,
    pack_head,
    pack_pair,
    pack_ticker,
    pack_trade,
    pack_venue_status,
    pair_index_of,
    unpack_candle,
    unpack_pair,
    unpack_trade,
)
from engine.ring import BoardReader, BoardWriter, Memory, Publisher, Subscriber
from engine.telemetry import CounterGroup, Counters, Heartbeat
from engine.topology import (
    NO_CHANNELS,
    PAIR_COUNTERS,
    SOURCE_COUNTERS,
    Channel,
    PairRow,
    Shard,
    pair_counters,
)
from engine.units import DIGITS_MAX, PPM, MonoNs, decimal_units, decimals_of, units_decimal, written_units
from engine.wide import LEVEL_BYTES

PERCENT_DECIMALS = 2  # of a ticker's percentage, at least
# How many numbers a message has in each scale: prices, quantities, percentages.
TRADE_GROUPS: Final = (1, 1)
TICKER_GROUPS: Final = (7, 3, 1)
RECORDS_READ_MAX: Final = 256  # of a ring at a time
PAIR_STATUS_BYTES_MAX: Final = 24  # genuine ones have sixteen at most
# Pairs whose counters are written at a time: 0.1 ms, in which no frame is taken.
COUNTED_PAIRS_MAX: Final = 16
# Books that wait for the data of their pair; then they are published without it.
PAIR_WAIT_BOOKS_MAX: Final = 1024

# Counters named as the session's attributes.
SESSION_COUNTERS: Final = (
    "trades", "trades_missed", "trades_repeated", "trades_filled", "tickers", "candles_received", "heartbeats",
    "level3", "pongs", "unknown", "malformed", "refused", "ping_rtt_ns",
)  # fmt: skip
CANDLE_COUNTERS: Final = {
    "candles": "told",
    "candles_missed": "counts.missed",
    "candles_amended": "counts.amended",
    "candles_filled": "counts.filled",
    "candles_compared": "compared",
    "candles_differing": "differing",
}
REST_COUNTERS: Final = {
    "rest_calls": "calls",
    "rest_failures": "failures",
    "cache_hits": "hits",
    "rest_failed_percent": "failed_percent",
}
SERVED_COUNTERS: Final = (
    "served_by_none_ns", "served_by_websocket_ns", "served_by_rest_ns", "source_switches", "failover_ns",
    "failover_ns_max",
)  # fmt: skip
OWN_COUNTERS: Final = ("unpublishable", "comparisons", "divergences", "divergence_ppm", "divergence_ppm_max")
_candle_counts = attrgetter(*CANDLE_COUNTERS.values())
_rest_counts = attrgetter(*REST_COUNTERS.values())
_session_counts = attrgetter(*SESSION_COUNTERS)
_pair_counts = attrgetter(*PAIR_COUNTERS)

# Hot: an enum member costs a lookup.
BOOK_TOP, LIVE = int(Kind.BOOK_TOP), int(FeedState.LIVE)
REST_BOOK: Final = int(Kind.REST_BOOK)

log = structlog.get_logger("public_feed")


class RefusalPort(Protocol):
    """Called for each refused subscription; the supervisor decides what follows."""

    def __call__(self, symbol: str, advice: str) -> None: ...


class _PairWait(NamedTuple):
    """The books of a pair that wait until the data of the pair are published."""

    event: StateChanged
    """The change of state to live, which waits too."""
    until: MonoNs
    books: list[bytes]


class PublicFeed:
    """The feed of one shard, in a process of its own or in a replay."""

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
        sources: Sources | None = None,
        divergence_ppm_max: int = PPM // 100,
        candle_history: int = 0,
    ) -> None:
        """`pair_patience_ns`: how long a live book waits for the data of its pair before it
        is published. `sources`: None in a replay, which has no second source.
        `divergence_ppm_max`: beyond it the two sources contradict each other.
        `candle_history`: candles from before the first trade, of each interval, that REST
        is asked for.
        """
        self._shard = shard
        self._session = session
        # The pairs that are followed, or were, by their index.
        self._rows: list[PairRow] = []
        self._has_started = False
        self._publisher = publisher
        # Hot: bound once.
        self._publish = publisher.publish
        self._publish_levels = session.settings.publish_levels
        self._pack_book_top = book_top_packer(session.settings.publish_levels)
        self._board = board
        # Reads the same board: the last book of a pair in doubt, and what an earlier
        # process of this feed stored.
        self._board_reader = board_reader
        self._clock = clock
        self._refused = refused
        self._conflate = conflate == "burst"
        # The candles of the shard's intervals; None without any.
        self.candles: CandleFeed | None = None
        if shard.candle_intervals_min:
            has_rest = session.settings.fills_gaps
            self.candles = CandleFeed(shard, session, history=candle_history, has_rest=has_rest)
        # The connection's counters; None in a replay.
        self.traffic: Traffic | None = None
        # The calls of REST; None where it is not asked.
        self.calls: PublicCalls | None = None
        # Records by board slot that changed in this burst; and feeds whose book is
        # published at its end.
        self._dirty: dict[int, bytes] = {}
        self._dirty_feeds: dict[int, BookFeed] = {}
        self._pair_patience_ns = pair_patience_ns
        # Price and quantity decimals of the pairs whose data are published; and the books
        # that wait for theirs.
        self._pairs_published = {
            index: (record[2], record[3])
            for index in range(shard.pairs_max)
            if (record := board_reader.read(shard.pair_slot(index))) is not None
        }
        self._pair_waits: dict[int, _PairWait] = {}
        # True once the engine stops: the end of the connection is then not published as
        # doubt.
        self._closing = False
        # The changes of books that the log is told of at the end of the burst.
        self._state_log = StateLog()
        # The venue's state as last logged.
        self._system_logged = ""
        # The counter of when Kraken was last heard: written with each burst, for risk
        # checks depend on it.
        self._heard = counters.values, counters.index("heard_ns")
        # Takes plain book updates where it can; None without. Books that are held back for
        # the end of a burst are not its.
        self.lane = None if self._conflate else lane_of(session, publisher, board, self._heard, self._dirty)
        # What takes the frames: the lane, past session and events where it can, or the
        # session. Hot: bound once.
        self.receive = session.receive if self.lane is None else self.lane.receive
        # Where the data come from; and a call for when the WebSocket may have ceased to
        # serve a pair.
        self.sources = sources
        self.on_doubt: Callable[[], None] = _nothing
        # Comparisons of the two, those beyond the limit, and how far apart they were: in
        # the last one, and at most.
        self._divergence_ppm_max = divergence_ppm_max
        self._was_apart = False
        self.comparisons = 0
        self.divergences = 0
        self.divergence_ppm = 0
        self.divergence_ppm_max = 0
        names = [pair_counters(index, SOURCE_COUNTERS) for index in range(shard.pairs_max)]
        self._source_counters = counters.values, [tuple(map(counters.index, each)) for each in names]
        # Events that no record can hold: a number has more than 128 bits, or is none.
        self._unpublishable = 0
        # The shared counters, grouped by their source; they include what earlier processes
        # counted.
        self._heartbeat = Heartbeat(counters)
        self._session_counters = CounterGroup(counters, SESSION_COUNTERS, levels=("ping_rtt_ns",))
        self._traffic_counters = CounterGroup(counters, tuple(TRAFFIC_COUNTERS), levels=("connected",))
        self._own_counters = CounterGroup(counters, OWN_COUNTERS, levels=("divergence_ppm", "divergence_ppm_max"))
        self._served_counters = CounterGroup(counters, SERVED_COUNTERS, levels=("failover_ns", "failover_ns_max"))
        self._candle_counters = CounterGroup(counters, tuple(CANDLE_COUNTERS))
        self._rest_counters = CounterGroup(counters, tuple(REST_COUNTERS), levels=("rest_failed_percent",))
        # Pairs whose counters are still to be written.
        self._to_count: list[BookFeed] = []
        self._pair_counters = [
            CounterGroup(counters, pair_counters(index), levels=pair_counters(index, ("state", "confirmed")))
            for index in range(shard.pairs_max)
        ]
        self._publishers: dict[type, Callable[[Any], bytes | None]] = {
            StateChanged: self._publish_state,
            BookUnproved: self._publish_unproved,
            TradePrinted: self._publish_trade,
            TickerChanged: self._publish_ticker,
            TradesBefore: self._seed_candles,
            CandleTold: self._compare_candle,
            PairChanged: self._publish_pair,
            SystemChanged: self._publish_system,
            Refused: self._report_refusal,
            FrameNotUnderstood: self._log_frame,
        }

    def on_start(self, reason: str = "starting") -> None:
        """Publish every pair as stale, and continue its trades and candles after the last
        published ones. What `follow` was told before is what is followed from the start.
        """
        now = self._clock.mono_ns()
        if not self._rows:
            self._rows = [PairRow(feed.symbol, feed.channels) for feed in self._session.feeds.values()]
        values, indices = self._source_counters
        for pair_index, row in enumerate(self._rows):
            self._resume(pair_index, row)
            for index in indices[pair_index]:
                values[index] = Source.NONE
        announce_stale(self._shard, self._publisher, self._board, self._board_reader, reason, now, self._rows)
        self._has_started = True

    def follow(self, rows: Sequence[PairRow]) -> None:
        """Follow the pairs of the shard's table from now on, and nothing else."""
        now = self._clock.mono_ns()
        before = self._rows or [PairRow(feed.symbol, feed.channels) for feed in self._session.feeds.values()]
        self._rows = list(rows)
        for pair_index, row in enumerate(rows):
            was = before[pair_index] if pair_index < len(before) else PairRow()
            if row == was:
                continue
            is_anew = row.channels and was.refused_before != row.refused_before
            if was.symbol and (was.symbol != row.symbol or is_anew):
                self._forget(pair_index, was.symbol, now)
            if row.symbol:
                self._follow(pair_index, row, now)
        if self._has_started:
            self._settle()

    def _follow(self, pair_index: int, row: PairRow, now: MonoNs) -> None:
        is_new = row.symbol not in self._session.feeds
        channels = self._channels_at_kraken(row.channels)
        events = self._session.follow(row.symbol, pair_index, channels, now)
        if is_new and self.lane is not None:
            self.lane.add(row.symbol, self._session.feeds[row.symbol])
        if self.sources is not None:
            takes_books = row.takes_rest_books
            self.sources.follow(pair_index, row.symbol, channels, takes_books=takes_books, now=now)
        if self.candles is not None:
            self.candles.follow(pair_index, row.symbol if Channel.CANDLE in row.channels else "")
        if self._has_started:
            self.on_events(events)

    def _channels_at_kraken(self, channels: Channel) -> Channel:
        """What to subscribe to: candles are made of trades, and Kraken's own compared with
        them where that is wanted.
        """
        if Channel.CANDLE in channels:
            channels |= Channel.TRADE
            if not self._session.settings.candle_interval_min:
                channels &= ~Channel.CANDLE
        return channels

    def _forget(self, pair_index: int, symbol: str, now: MonoNs) -> None:
        """Forget a name that was refused: its index may be another pair's next."""
        self._session.forget(symbol, now)
        self._pairs_published.pop(pair_index, None)
        self._pair_waits.pop(pair_index, None)
        self._to_count = [feed for feed in self._to_count if feed.pair_index != pair_index]
        if self.sources is not None:
            self.sources.follow(pair_index, "", NO_CHANNELS, takes_books=False, now=now)
        if self.candles is not None:
            self.candles.follow(pair_index, "")

    def _resume(self, pair_index: int, row: PairRow) -> None:
        """Continue a pair after the trade and the candles that an earlier process of this
        feed published last.
        """
        symbol, follows_candles = row.symbol, self.candles is not None and self.candles.follows(pair_index)
        for interval_min in self._shard.candle_intervals_min if follows_candles else ():
            record = self._board_reader.read(self._shard.candle_slot(pair_index, interval_min))
            if record is not None and self.candles is not None:
                candle = unpack_candle(symbol, record)
                self.candles.resume_candle(pair_index, interval_min, candle.interval_begin, is_closed=candle.closed)
        record = self._board_reader.read(self._shard.trade_slot(pair_index))
        if record is not None and self._channels_at_kraken(row.channels) & Channel.TRADE:
            trade = unpack_trade(symbol, record)
            self._session.tape.resume(symbol, trade.trade_id, trade.kraken_time)
            if self.candles is not None and follows_candles:
                self.candles.resume_trade(pair_index, trade.trade_id, trade.kraken_time)

    def begin_recording(self, symbols: Sequence[str], name: str) -> None:
        """Start a recording of these pairs: see the session. Their candles start anew."""
        if self.candles is not None:
            for symbol in symbols:
                self.candles.forget(symbol)
        self.on_events(self._session.begin_recording(symbols, name))

    def on_events(self, events: Sequence[Event]) -> None:
        """Publish events; `on_burst_end` follows when the socket has no more frames."""
        if self._closing:
            return
        live_record: bytes | None = None
        self._store_lane()
        for event in events:
            # Hot: the type test is one load and one comparison, and a call is spared where
            # it can be.
            if type(event) is BookChanged:
                feed = event.feed
                if not feed.streaming:
                    continue  # a later entry of the same frame has put the book in doubt
                if self._pair_waits and (wait := self._pair_waits.get(feed.pair_index)) is not None:
                    wait.books.append(self._book_record(feed))
                    if len(wait.books) > PAIR_WAIT_BOOKS_MAX:
                        self._end_pair_wait(feed.pair_index)
                    continue
                if self._conflate:
                    self._dirty_feeds[feed.pair_index] = feed
                else:
                    # The event of a book that became live directly follows that of its
                    # state, which packed the record.
                    record = live_record or self._book_record(feed)
                    live_record = None
                    self._publish(record)
                    self._dirty[feed.pair_index] = record
            else:
                live_record = self._publish_rare(event)

    def on_burst_end(self) -> None:
        """Publish what conflation held back, store the board and wake subscribers."""
        if self._dirty_feeds:
            for feed in self._dirty_feeds.values():
                if feed.streaming:
                    record = self._dirty[feed.pair_index] = self._book_record(feed)
                    self._publish(record)
            self._dirty_feeds.clear()
        self._settle()

    def begin_close(self) -> None:
        """Publish nothing from now on: the end of our connection is not a doubt about the
        market.
        """
        self._closing = True
        if self.lane is not None:
            self.lane.close()

    def do_work(self) -> bool:
        """Work that no frame drives: books that wait for their pair, counters, heartbeat.

        Returns whether some of it is left for `go_on`, so that frames come in between.
        """
        self._store_lane()
        if self._pair_waits:
            now = self._clock.mono_ns()
            # All wait equally long, so behind one that is not due none is.
            late = list(takewhile(lambda entry: now >= entry[1].until, self._pair_waits.items()))
            for pair_index, _ in late:
                self._end_pair_wait(pair_index)
            if late:
                log.warning("pair data missing", **names([wait.event.symbol for _, wait in late]))
            self._settle()
        if self._session.tape.holds:
            self._tell_late(self._session.tape.give_up(self._clock.mono_ns()))
        if self.candles is not None and not self._closing:
            self.candles.look(self._clock.mono_ns())
        is_behind = self._look_at_candles()
        self._count()
        return self.count_pairs() > 0 or is_behind

    def go_on(self) -> bool:
        """Go on with what do_work has begun: candles and counters of some further pairs.
        Returns whether any are left.
        """
        is_behind = self._look_at_candles()
        return self.count_pairs() > 0 or is_behind

    def _look_at_candles(self) -> bool:
        if self.candles is None or self._closing:
            return False
        is_behind = self.candles.go_on(self._clock.mono_ns())
        if self.candles.changed:
            self._settle()
        return is_behind

    # --- REST behind the WebSocket

    def look_at_sources(self, now: MonoNs) -> None:
        """Find where the data of each pair come from, and mark it in the counters. Between
        bursts: what is marked as the WebSocket's is on the board.
        """
        if self.sources is None:
            return
        self.sources.look(now)
        values, indices = self._source_counters
        for kind, pair_index, source in self.sources.take_changed():
            values[indices[pair_index][kind]] = source

    def take_rest(self, ask: Ask, reply: Any, received_at: MonoNs) -> None:
        """Publish the data that REST delivered for pairs that the WebSocket does not serve.
        `received_at` is when the answer arrived.
        """
        if self._closing or self.sources is None:
            return
        now = self._clock.mono_ns()
        self.look_at_sources(now)
        if not any(self.sources.is_followed(ask.kind, symbol) for symbol in ask.symbols):
            return  # they were given back while REST was asked
        if ask.kind is DataKind.TRADES:
            self._tell_late(self._session.tape.fill(ask.symbols[0], reply, received_at))
            self.sources.answered(ask, ask.symbols, received_at, now)
            if self.candles is not None:
                for before in self._session.tape.take_before():
                    self._publish_rare(TradesBefore(before))
                self.candles.known_by_rest(ask.symbols[0], len(reply), received_at)
                self._settle()
        elif ask.kind is DataKind.TICKER:
            told = {ticker.symbol: ticker for ticker in reply}
            self._compare(reply)
            for symbol in self.sources.answered(ask, told, received_at, now):
                try:
                    self._tell_ticker(told[symbol], received_at, is_rest=True)
                except (struct.error, ValueError, ArithmeticError) as error:
                    self._count_unpublishable(error, symbol)
            self._settle()
        elif (record := self._rest_book_record(ask.symbols[0], reply, received_at)) is None:
            self.sources.failed(ask, now)
        elif self.sources.answered(ask, ask.symbols, received_at, now):
            self._publish(record)
            self._dirty[self._shard.rest_book_slot(pair_index_of(record))] = record
            self._settle()
        self.look_at_sources(now)

    def take_candles(self, ask: CandleAsk, rows: Sequence[CandleData]) -> None:
        """Publish the candles that REST delivered, where ours were missing."""
        if self.candles is not None and not self._closing:
            try:
                self.candles.take_rows(ask, rows)
            except (ValueError, ArithmeticError) as error:
                self._count_unpublishable(error, self._symbol_at(ask.pair_index))
            self._store_lane()
            self._settle()

    def _compare(self, tickers: Sequence[TickerData]) -> None:
        """Compare what REST says of live books with them: how far the middle of its best
        prices is from theirs. Both are read within the time of a call.
        """
        apart_ppm = []
        for ticker in tickers:
            book = self._session.feeds.get(ticker.symbol)
            if book is None:
                continue
            best = book.book.bids.best(), book.book.asks.best()
            theirs = ticker.bid + ticker.ask
            if book.state is FeedState.LIVE and best[0] and best[1] and theirs:
                ours = units_decimal(best[0][0] + best[1][0], book.book.price_decimals)
                apart_ppm.append((int(abs(ours - theirs) * PPM / theirs), ticker.symbol))
        if not apart_ppm:
            return
        self.comparisons += 1
        self.divergence_ppm, symbol = max(apart_ppm)
        self.divergence_ppm_max = max(self.divergence_ppm_max, self.divergence_ppm)
        is_apart = self.divergence_ppm > self._divergence_ppm_max
        self.divergences += is_apart
        if is_apart and not self._was_apart:
            percent = self.divergence_ppm * 100 / PPM
            log.warning("WebSocket and REST tell different prices", symbol=symbol, percent=percent)
        self._was_apart = is_apart

    def _rest_book_record(self, symbol: str, depth: RestDepth, received_at: MonoNs) -> bytes | None:
        """The record of a book of REST, in the precision of its pair or finer; None for one
        that makes no sense.
        """
        pair_index, price_decimals, qty_decimals = self._scales(symbol)
        for level in (*depth.bids, *depth.asks):
            price_decimals = max(price_decimals, decimals_of(level.price))
            qty_decimals = max(qty_decimals, decimals_of(level.qty))
        levels = self._publish_levels
        book = Book(max(levels, len(depth.bids), len(depth.asks)), price_decimals, qty_decimals, levels)
        sides = ([units_of(each, price_decimals, qty_decimals) for each in side] for side in (depth.bids, depth.asks))
        try:
            book.apply_units(*sides)
        except (ValueError, OverflowError) as error:
            self._count_unpublishable(error, symbol)
            return None
        if book.crossed():
            return None
        bids, asks = book.bids.top_units, book.asks.top_units
        return self._pack_book_top(
            REST_BOOK,
            self._session.feeds[symbol].state | UNPROVED,
            price_decimals,
            qty_decimals,
            pair_index,
            len(bids) // LEVEL_BYTES,
            len(asks) // LEVEL_BYTES,
            levels,
            b"",
            received_at,
            self._session.feeds[symbol].updates,
            bids,
            asks,
        )

    def _tell_late(self, told: Sequence[TradePrinted]) -> None:
        """Publish trades that REST delivered, or that waited for it; log the trades that
        are lost for good.
        """
        if len(gaps := self._session.tape.take_given_up()) == 1:
            log.warning("trades missed", symbol=gaps[0].symbol, first_id=gaps[0].first_id, count=gaps[0].count)
        elif gaps:
            missed = sum(gap.count for gap in gaps)
            log.warning("trades missed", **names([gap.symbol for gap in gaps]), trades=missed)
        if told and not self._closing:
            self.on_events(told)
            self.on_burst_end()

    def on_close(self) -> None:
        """Publish what is held back and write the counters a last time."""
        self.on_burst_end()
        self._count()
        while self.count_pairs():
            pass

    # --- records

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

    def _publish_rare(self, event: Event) -> bytes | None:
        """Publish any other event; returns the packed book of a pair that became live, else
        None.
        """
        try:
            return self._publishers[type(event)](event)
        except (struct.error, ValueError, ArithmeticError) as error:
            self._count_unpublishable(error, getattr(event, "symbol", ""))
            return None

    def _count_unpublishable(self, error: Exception, symbol: str) -> None:
        self._unpublishable += 1
        log.warning("a number does not fit a record", symbol=symbol, error=str(error)[:DETAIL_CHARS_MAX])

    def _symbol_at(self, pair_index: int) -> str:
        return self._rows[pair_index].symbol if pair_index < len(self._rows) else ""

    def _publish_state(self, event: StateChanged) -> bytes | None:
        feed = self._session.feeds[event.symbol]
        feed.is_direct = False
        pair_index = feed.pair_index
        if self.sources is not None:
            self.sources.book_changed_state(pair_index)
            if event.state is not FeedState.LIVE:
                self.on_doubt()
        self._dirty_feeds.pop(pair_index, None)  # held back, and in doubt since
        self._pair_waits.pop(pair_index, None)
        if event.state is FeedState.LIVE and self._pair_patience_ns and not self._is_pair_published(feed):
            # Kraken answers subscriptions in any order. A book without the data of its pair
            # cannot be traded, and one in another precision than its pair could be misread.
            self._pair_waits[pair_index] = _PairWait(event, MonoNs(self._clock.mono_ns() + self._pair_patience_ns), [])
            return None
        # A later entry of the same frame may have put the book in doubt again.
        live_record = self._book_record(feed) if event.state is FeedState.LIVE and feed.streaming else None
        self._announce_state(event, pair_index, live_record)
        return live_record

    def _announce_state(self, event: StateChanged, pair_index: int, live_record: bytes | None) -> None:
        """Publish a change of state; a live book is stored on the board first, for a
        strategy that reads the change in the ring may send an order at once.
        """
        if live_record is not None:
            self._board.store(pair_index, live_record)
        self._publish(pack_feed_state(pair_index, event.state, event.reason, self._clock.mono_ns()))
        last_top = self._last_top(pair_index) if live_record is None else live_record
        self._dirty[pair_index] = with_state(last_top, event.state)
        if event.state is FeedState.LIVE:
            self._session.feeds[event.symbol].is_direct = True
        self._state_log.note(event)

    def _publish_unproved(self, event: BookUnproved) -> None:
        pair_index = self._session.feeds[event.symbol].pair_index
        if pair_index in self._pair_waits:  # that it is live was not told yet
            self._end_pair_wait(pair_index)
        now = self._clock.mono_ns()
        self._publish(pack_feed_state(pair_index, FeedState.LIVE, event.reason, now, is_proved=False))
        self._dirty[pair_index] = with_state(self._last_top(pair_index), FeedState.LIVE, is_proved=False)
        # A warning for each of a thousand pairs would be too much.
        log.debug("book unproved", symbol=event.symbol, reason=event.reason)

    def _last_top(self, pair_index: int) -> bytes:
        """The record of the pair's last book, in doubt or not; one without levels before
        the first.
        """
        return self._dirty.get(pair_index) or self._board_reader.read(pair_index) or empty_top(pair_index)

    def _publish_trade(self, event: TradePrinted) -> None:
        trade = event.trade
        pair_index, price_decimals, qty_decimals = self._scales(trade.symbol)
        (price_ticks, qty_lots), (price_decimals, qty_decimals) = written_units(
            (trade.price, trade.qty), TRADE_GROUPS, (price_decimals, qty_decimals)
        )
        record = pack_trade(
            pair_index,
            price_ticks=price_ticks,
            qty_lots=qty_lots,
            price_decimals=price_decimals,
            qty_decimals=qty_decimals,
            side=trade.side,
            order_type=trade.ord_type,
            trade_id=trade.trade_id,
            kraken_time=trade.timestamp,
            received_at=event.received_at or self._session.heard_at,
            history=event.history,
            is_rest=event.is_rest,
        )
        self._publish(record)
        if trade.trade_id == self._session.tape.newest_id(trade.symbol):
            self._dirty[self._shard.trade_slot(pair_index)] = record
        if self.candles is not None:
            self.candles.add(pair_index, event, price_ticks, qty_lots, price_decimals, qty_decimals)

    def _publish_ticker(self, event: TickerChanged) -> None:
        self._tell_ticker(event.ticker, self._session.heard_at)
        if self.sources is not None:
            self.sources.ticker_came(event.ticker.symbol)
        if event.is_trade and self.candles is not None:
            self.candles.take_ticker(event.ticker)

    def _tell_ticker(self, t: TickerData, received_at: MonoNs, *, is_rest: bool = False) -> None:
        pair_index, price_decimals, qty_decimals = self._scales(t.symbol)
        units, (price_decimals, qty_decimals, percent_decimals) = written_units(
            (t.bid, t.ask, t.last, t.vwap, t.low, t.high, t.change, t.bid_qty, t.ask_qty, t.volume, t.change_pct),
            TICKER_GROUPS,
            (price_decimals, qty_decimals, PERCENT_DECIMALS),
        )
        bid, ask, last, vwap, low, high, change, bid_qty, ask_qty, volume, change_pct = units
        numbers = (bid, bid_qty, ask, ask_qty, last, volume, vwap, low, high, change, change_pct)
        record = pack_ticker(
            pair_index,
            numbers,
            price_decimals=price_decimals,
            qty_decimals=qty_decimals,
            percent_decimals=percent_decimals,
            kraken_time=t.timestamp,
            received_at=received_at,
            is_rest=is_rest,
        )
        self._publish(record)
        self._dirty[self._shard.ticker_slot(pair_index)] = record

    def _seed_candles(self, event: TradesBefore) -> None:
        if self.candles is not None:
            self.candles.seed(event.trades)

    def _compare_candle(self, event: CandleTold) -> None:
        if self.candles is not None:
            self.candles.take_channel(event.candle)

    def _publish_candles(self, candles: CandleFeed) -> None:
        for told in candles.take():
            try:
                record = candle_record(told, self._session.heard_at)
            except (struct.error, OverflowError) as error:
                self._count_unpublishable(error, self._symbol_at(told.pair_index))
                continue
            self._publish(record)
            if told.is_newest:
                self._dirty[self._shard.candle_slot(told.pair_index, told.state.interval_min)] = record

    def _publish_pair(self, event: PairChanged) -> None:
        pair = event.pair
        pair_index = self._session.feeds[pair.symbol].pair_index
        base_decimals, quote_decimals = event.base_decimals, event.quote_decimals
        if base_decimals is None or quote_decimals is None:
            # A pair may be told before the assets are, to a process that begins; the board
            # has them from the one before. Kraken's ledger rounds by them.
            base_known, quote_known = self._asset_decimals_on_board(pair_index)
            base_decimals = base_known if base_decimals is None else base_decimals
            quote_decimals = quote_known if quote_decimals is None else quote_decimals
        rules = pair_rules(pair, base_decimals, quote_decimals)
        record = pack_pair(pair_index, pair.price_precision, pair.qty_precision, rules, self._session.heard_at)
        # On the board first, so that no book of the pair is published before its data.
        self._board.store(self._shard.pair_slot(pair_index), record)
        self._publish(record)
        self._pairs_published[pair_index] = (pair.price_precision, pair.qty_precision)
        if pair_index in self._pair_waits and self._is_pair_published(self._session.feeds[pair.symbol]):
            self._end_pair_wait(pair_index)

    def _asset_decimals_on_board(self, pair_index: int) -> tuple[int | None, int | None]:
        """Of a pair's base and quote currency, as they were published last."""
        record = self._board_reader.read(self._shard.pair_slot(pair_index))
        if record is None:
            return None, None
        _, _, rules = unpack_pair(record)
        return rules.base_decimals, rules.quote_decimals

    def _is_pair_published(self, feed: BookFeed) -> bool:
        """Whether the data of the pair are published in the precision of its book, which
        may be empty and not know it.
        """
        told = self._pairs_published.get(feed.pair_index)
        return told is not None and (feed.is_guess or told == (feed.book.price_decimals, feed.book.qty_decimals))

    def _end_pair_wait(self, pair_index: int) -> None:
        """Publish the books that waited for the data of their pair."""
        wait = self._pair_waits.pop(pair_index)
        book = self._session.feeds[wait.event.symbol].book
        self._pairs_published[pair_index] = (book.price_decimals, book.qty_decimals)
        # The event of a book follows that of its state, so there is one unless it is in
        # doubt again.
        self._announce_state(wait.event, pair_index, wait.books[-1] if wait.books else None)
        for record in wait.books:
            self._publish(record)
            self._dirty[pair_index] = record

    def _publish_system(self, event: SystemChanged) -> None:
        record = pack_venue_status(event.system, self._session.heard_at)
        self._publish(record)
        self._dirty[self._shard.status_slot] = record
        if event.system != self._system_logged:
            self._system_logged = event.system
            log.info("venue status", system=event.system, version=event.version)
        for notice in event.notices:
            log.warning("venue notice", **_notice_fields(notice))

    def _scales(self, symbol: str) -> tuple[int, int, int]:
        """The index of a pair, and its price and quantity decimals: a record has at least
        as many, and more where a number is written with more.
        """
        feed = self._session.feeds[symbol]
        return (feed.pair_index, *(feed.decimals_known or (feed.book.price_decimals, feed.book.qty_decimals)))

    def _report_refusal(self, event: Refused) -> None:
        log.error("subscription refused", channel=event.channel, symbol=event.symbol, advice=event.advice)
        self._refused(event.symbol, event.advice)

    def _log_frame(self, event: FrameNotUnderstood) -> None:
        log.warning(f"{event.kind} frame", detail=event.detail, frame=event.frame.decode(errors="replace"))

    # --- end of a burst

    def _settle(self) -> None:
        """Publish the candles that changed, wake sleeping subscribers, then store on the
        board what changed since the last burst; and have the log told.
        """
        self._settle_records()
        if self._state_log.waiting:
            self._state_log.tell()

    def _settle_records(self) -> None:
        if self.candles is not None and self.candles.changed:
            self._publish_candles(self.candles)
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
        """Store what the lane has published, before anything newer is: so what is `_dirty`
        is always the newest. The session's counted feeds are complete afterwards.
        """
        if self.lane is not None:
            self.lane.store()

    # --- counters

    def _count(self) -> None:
        """Write the shared counters that changed, but for those of pairs."""
        self._session_counters.write(_session_counts(self._session))
        self._own_counters.write(
            (self._unpublishable, self.comparisons, self.divergences, self.divergence_ppm, self.divergence_ppm_max)
        )
        if self.traffic is not None:
            self._traffic_counters.write(traffic_counts(self.traffic))
        if self.sources is not None:
            sources = self.sources
            self._served_counters.write(
                (*sources.served_ns, sources.switches, sources.failover_ns, sources.failover_ns_max)
            )
        if self.candles is not None:
            self._candle_counters.write(_candle_counts(self.candles))
        if self.calls is not None:
            self._rest_counters.write(_rest_counts(self.calls))
        self._heartbeat.beat(self._clock.mono_ns())

    def count_pairs(self) -> int:
        """Write the counters of some pairs that changed; returns how many are left."""
        if not self._to_count:
            self._to_count = self._session.take_counted()
        for feed in self._to_count[-COUNTED_PAIRS_MAX:]:
            self._pair_counters[feed.pair_index].write(_pair_counts(feed))
        del self._to_count[-COUNTED_PAIRS_MAX:]
        return len(self._to_count)


def announce_stale(
    shard: Shard,
    publisher: Publisher,
    board: BoardWriter,
    before: BoardReader,
    reason: str,
    now: int,
    rows: Sequence[PairRow],
) -> None:
    """Publish every pair of a shard as stale, or as unsubscribed where nobody follows its
    book, and complete its board.

    Called by a feed that begins, and by the supervisor when a feed has died: there is one
    writer at a time, so strategies read it in the ring before any later book.
    """
    for pair_index, row in enumerate(rows):
        is_followed = Channel.BOOK in row.channels
        state, why = (FeedState.STALE, reason) if is_followed else (FeedState.UNSUBSCRIBED, "unsubscribed")
        if row.symbol:
            publisher.publish(pack_feed_state(pair_index, state, why, now))
        board.store(pair_index, with_state(before.read(pair_index) or empty_top(pair_index), state))
    for index in range(len(rows), shard.board_slots):
        record = before.read(index)
        if record is not None:
            board.store(index, record)
    board.complete(publisher.cursor)
    publisher.flush()


def settle_dead(shard: Shard, ring: Memory, board: BoardWriter, before: BoardReader) -> None:
    """Store on the board the trades, candles, tickers and books of REST that a dead feed
    published after its last burst.

    Otherwise its successor would publish trades and candles again. Call it before
    `announce_stale`, which completes the board.
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
            elif record[0] == Kind.TICKER:
                board.store(shard.ticker_slot(pair_index), record)
            elif record[0] == Kind.REST_BOOK:
                board.store(shard.rest_book_slot(pair_index), record)
            elif record[0] == Kind.CANDLE:
                candle = unpack_candle("", record)
                slot = shard.candle_slot(pair_index, candle.interval_min)
                told = before.read(slot)
                if told is None or candle.interval_begin >= unpack_candle("", told).interval_begin:
                    board.store(slot, record)


def candle_record(told: ToldCandle, received_at: MonoNs) -> bytes:
    """The record of a candle; raises OverflowError for numbers that it cannot hold."""
    state = told.state
    return pack_candle(
        told.pair_index,
        (state.open, state.high, state.low, state.close, state.vwap, state.lots, state.trades, state.begin),
        price_decimals=told.price_decimals,
        qty_decimals=told.qty_decimals,
        interval_min=state.interval_min,
        closed=state.is_closed,
        received_at=received_at,
        history=state.is_history,
        is_rest=state.is_rest,
        is_whole=state.is_whole,
    )


def empty_top(pair_index: int) -> bytes:
    """A BOOK_TOP record without levels, for a pair that has had no book."""
    return pack_head(Kind.BOOK_TOP, pair_index, code=FeedState.STALE)


def with_state(top: bytes, state: FeedState, *, is_proved: bool = True) -> bytes:
    """A BOOK_TOP record with another feed state."""
    return top[:1] + bytes((state | (0 if is_proved else UNPROVED),)) + top[2:]


def _notice_fields(notice: Notice) -> dict[str, str]:
    """The fields of a notice that are not empty, for the log, each cut to DETAIL_CHARS_MAX."""
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
    """Kraken's data of a pair in its ticks and lots; an increment of one unit where it
    gives none.

    A minimum order quantity that is finer than a lot, as after a change of precision, is
    rounded up to a lot.
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


def _nothing() -> None:
    """Do nothing."""
