"""One strategy in its host: its place in every market ring, its orders, its callbacks, and its record of conduct.

    report ring ──► do_work() ─► Strategy.on_order, on_fill, …     first: what became of its orders
    market rings ─► do_work() ─► Strategy.on_book, on_trade, …     one subscriber a ring
    boards ───────► after a gap: the newest state of every pair

A strategy that raises is logged, counted, and after too many errors within a minute
halted; one that is slow is measured and named; neither takes another down.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec import Struct

from engine.actors.order_desk import DeskPorts, News, OrderDesk
from engine.actors.strategy_context import StrategyContext
from engine.clock import Clock
from engine.market import Pair
from engine.records import (
    BookTop,
    FeedState,
    Kind,
    pair_index_of,
    received_at_of,
    unpack_candle,
    unpack_feed_state,
    unpack_pair,
    unpack_ticker,
    unpack_trade,
    unpack_venue_status,
)
from engine.ring import BoardReader, Subscriber
from engine.strategy.api import CALLBACKS, Logger, Strategy
from engine.strategy.orders import Balance, Fill, Order
from engine.telemetry import Histogram
from engine.telemetry.log import UNLIMITED
from engine.topology import Shard
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

RECORDS_PER_CYCLE_MAX = 256  # of one ring for one strategy: then the others have their turn
BACKLOG_RECORDS_MAX = 1024  # left in a ring by a strategy that keeps pace: a few bursts of the feed
ERROR_WINDOW_NS = 60 * NS_PER_S
SLOW_REPORT_INTERVAL_NS = NS_PER_S  # a strategy that is always slow is named once a second

BOOK_TOP, TRADE, TICKER, CANDLE = int(Kind.BOOK_TOP), int(Kind.TRADE), int(Kind.TICKER), int(Kind.CANDLE)
FEED_STATE, PAIR, VENUE_STATUS = int(Kind.FEED_STATE), int(Kind.PAIR), int(Kind.VENUE_STATUS)


class MarketPort(Struct, frozen=True):
    """One shard, as a subscriber needs it."""

    shard: Shard
    ring: memoryview | bytearray
    board: memoryview | bytearray


class HostLimits(Struct, frozen=True):
    """What a strategy may do before it is named, brought up to date, or halted."""

    slow_callback_ns: int = 50 * NS_PER_MS
    errors_per_minute_max: int = 10
    lag_ns_max: int = NS_PER_S
    """A record that waited longer is old news: the strategy goes on with the newest state instead."""


class _Feed:
    """One market ring and its board, followed by one strategy."""

    __slots__ = (
        "behind",
        "board",
        "board_read_at",
        "gaps_seen",
        "polled_at",
        "shard",
        "subscriber",
        "symbols",
        "wanted",
    )

    def __init__(self, port: MarketPort, wanted: Sequence[str], first_sequence: int | None) -> None:
        self.shard = port.shard
        self.symbols = port.shard.symbols
        self.subscriber = Subscriber(port.ring, first_sequence)
        self.board = BoardReader(port.board)
        # By pair index: does the strategy follow the pair?
        self.wanted = [symbol in wanted for symbol in self.symbols]
        # The subscriber's gap when it was last looked at.
        self.gaps_seen = 0
        # When the ring was last looked at.
        self.polled_at = MonoNs(0)
        # Up to this sequence the ring repeats what the board has told already.
        self.board_read_at = 0
        # Were records missed that the board has not made good yet?
        self.behind = False


class HostedStrategy:
    """One strategy, its place in every market ring, and its record of conduct."""

    def __init__(
        self,
        strategy: Strategy,
        name: str,
        *,
        symbols: Sequence[str],
        ports: Sequence[MarketPort],
        clock: Clock,
        latency: Histogram,
        latency_ns: Callable[[int], int] | None = None,
        limits: HostLimits | None = None,
        first_sequence: int | None = None,
        desk_ports: DeskPorts | None = None,
        why_no_trading: str = "",
    ) -> None:
        self.name = name
        self.strategy = strategy
        self._log: Logger = structlog.get_logger("strategy").bind(strategy=name)
        pairs: dict[str, Pair | None] = dict.fromkeys(symbols)
        self.desk = OrderDesk(name, desk_ports, pairs, clock, why_no_trading)
        own_log = structlog.get_logger("strategy").bind(strategy=name, **{UNLIMITED: True})
        self.context = StrategyContext(symbols, clock, own_log, pairs, self.desk)
        self._feeds = [
            _Feed(port, symbols, first_sequence) for port in ports if not set(symbols).isdisjoint(port.shard.symbols)
        ]
        self._mono_ns = clock.mono_ns
        # From a frame's arrival to the callback; a replay measures with another clock than the capture's.
        self._latency = latency
        self._latency_ns = latency_ns
        self._limits = limits or HostLimits()
        # The callbacks that the strategy overrides: nothing is unpacked for the others.
        self._on_book = self._overridden("on_book")
        self._on_trade = self._overridden("on_trade")
        self._on_ticker = self._overridden("on_ticker")
        self._on_candle = self._overridden("on_candle")
        self._on_feed_state = self._overridden("on_feed_state")
        self._on_timer = self._overridden("on_timer")
        self._on_order = self._overridden("on_order")
        self._on_fill = self._overridden("on_fill")
        self._on_balance = self._overridden("on_balance")
        self._on_trading = self._overridden("on_trading")
        self._timer_ns = int(strategy.timer_s * NS_PER_S)
        # When on_timer is due; 0 without a timer.
        self._timer_at = MonoNs(0)
        # The async callback that has not come to its end: until then nothing is polled for this strategy.
        self.waiting: asyncio.Task[None] | None = None
        # Called when an async callback has ended, so that a sleeping host goes on.
        self.on_ready: Callable[[], None] = _nothing
        # Too many errors: no callback any more.
        self.halted = False
        # Shall the rest of a batch of records stay in the ring: a callback waits, took long, or was the last one?
        self._batch_ends = False
        self._error_times: deque[MonoNs] = deque(maxlen=self._limits.errors_per_minute_max + 1)
        self._slow_reported_at = MonoNs(0)
        # An async callback leaves the rest of its batch in the ring, so more than one would be copied for nothing.
        is_async = any(inspect.iscoroutinefunction(getattr(strategy, name)) for name in CALLBACKS)
        self._records_per_cycle_max = 1 if is_async else RECORDS_PER_CYCLE_MAX
        # Counted since the start; see topology.STRATEGY_COUNTERS.
        self.callbacks = 0
        self.errors = 0
        self.slow = 0
        self.slowest_ns = 0
        self.laps = 0

    @property
    def received(self) -> int:
        """Records taken from the rings."""
        return sum(feed.subscriber.received_count for feed in self._feeds)

    @property
    def gaps(self) -> int:
        """Records that the rings overwrote before this strategy had come to them."""
        return sum(feed.subscriber.gap_count for feed in self._feeds)

    def gaps_of(self, ring_name: str) -> int:
        """The same, of one ring."""
        return sum(feed.subscriber.gap_count for feed in self._feeds if feed.shard.ring_name == ring_name)

    async def start(self) -> None:
        """Call on_start; what it raises is the caller's: a strategy that cannot start must not run."""
        self.strategy.context = self.context
        answer = self.strategy.on_start()
        if answer is not None:
            await answer
        if self._timer_ns and self._on_timer:
            self._timer_at = MonoNs(self._mono_ns() + self._timer_ns)

    async def stop(self) -> None:
        """Let a waiting callback end, take what is left in the rings, call on_stop."""
        if self.waiting is not None:
            await asyncio.wait({self.waiting})
        while self.do_work():
            if self.waiting is not None:
                await asyncio.wait({self.waiting})
        if not self.halted:
            await self._finish(self.strategy.on_stop)

    def ready(self) -> bool:
        """Is there a record to take, for a strategy that can take it?"""
        if self.waiting is not None:
            return False
        if self.halted:
            return self.desk.ready()
        return self.desk.ready() or any(feed.subscriber.ready() for feed in self._feeds)

    def timer_due(self) -> MonoNs:
        """When on_timer is due; 0 for never."""
        return MonoNs(0) if self._held_up else self._timer_at

    @property
    def _held_up(self) -> bool:
        """Is there no callback now: one is waiting, or there shall be none any more?"""
        return self.waiting is not None or self.halted

    def do_work(self) -> int:
        """Take records from every ring and call back; the number taken."""
        work = self._work_on_orders()
        if self._timer_at and not self._held_up:
            self._call_timer()
        for feed in self._feeds:
            if not self._held_up:
                work += self._work_on(feed)
        return work

    def _work_on_orders(self) -> int:
        """Tell the strategy what became of its orders; one that was halted is not told, but its desk keeps up."""
        work = 0
        while self.waiting is None and work < RECORDS_PER_CYCLE_MAX and (news := self.desk.next_news()) is not None:
            work += 1
            if not self.halted:
                self._tell(news)
        return work

    def _tell(self, news: News) -> None:
        callback: Callable[..., Awaitable[None] | None] | None
        match news:
            case Order():
                callback = self._on_order
            case Fill():
                callback = self._on_fill
            case Balance():
                callback = self._on_balance
            case _:
                callback = self._on_trading
        if callback is not None:
            self._call(callback, news)

    def _work_on(self, feed: _Feed) -> int:
        subscriber = feed.subscriber
        records = subscriber.poll_many(self._records_per_cycle_max)
        now = self._mono_ns()
        away_ns, feed.polled_at = now - feed.polled_at, now
        fell_behind = records and self._is_old_news(feed, records[0], now, away_ns)
        if fell_behind or feed.behind or subscriber.gap_count != feed.gaps_seen:
            return self._catch_up(feed, len(records))
        repeats = subscriber.next_sequence - len(records) <= feed.board_read_at
        self._batch_ends = False
        for index, record in enumerate(records):
            if repeats and record[0] == BOOK_TOP and not self._is_news(feed.symbols[pair_index_of(record)], record):
                continue
            self._dispatch(feed, record)
            if self._batch_ends:
                # Left in the ring: taken up when the callback has ended, or counted as a gap if it took too long.
                subscriber.next_sequence -= len(records) - index - 1
                return index + 1
        return len(records)

    def _is_old_news(self, feed: _Feed, record: bytes, now: MonoNs, away_ns: int) -> bool:
        """Has the strategy let this record, the oldest it has not seen, wait for too long?

        Decisions are made on what is so now. The waiting is the strategy's own if it
        stayed away from the ring, or has much left in it; a record that comes late to
        the ring, from a feed with a full socket, is the newest there is.
        """
        lag_ns_max = self._limits.lag_ns_max
        if now - received_at_of(record) <= lag_ns_max:
            return False
        return away_ns > lag_ns_max or feed.subscriber.lag > BACKLOG_RECORDS_MAX

    # --- one record

    def _dispatch(self, feed: _Feed, record: bytes) -> None:
        kind = record[0]
        if kind == BOOK_TOP:  # hot: nine records of ten
            pair_index = pair_index_of(record)
            if feed.wanted[pair_index]:
                symbol = feed.symbols[pair_index]
                book = BookTop(symbol, record)
                self.context.books[symbol] = book
                if self._on_book is not None:
                    self._call_measured(self._on_book, book, book.received_at)
            return
        self._dispatch_rare(feed, kind, record)

    def _dispatch_rare(self, feed: _Feed, kind: int, record: bytes) -> None:
        if kind == VENUE_STATUS:
            self.context.venue_status = unpack_venue_status(record).system
            return
        pair_index = pair_index_of(record)
        if not feed.wanted[pair_index]:
            return
        symbol = feed.symbols[pair_index]
        if kind == FEED_STATE:
            change = unpack_feed_state(symbol, record)
            self._change_state(symbol, change.state, change.reason)
        elif kind == PAIR:
            self._change_pair(symbol, record)
        elif kind == TRADE:
            if self._on_trade is not None:
                self._call_measured(self._on_trade, unpack_trade(symbol, record), received_at_of(record))
        elif kind == TICKER:
            if self._on_ticker is not None:
                self._call_measured(self._on_ticker, unpack_ticker(symbol, record), received_at_of(record))
        elif kind == CANDLE and self._on_candle is not None:
            self._call_measured(self._on_candle, unpack_candle(symbol, record), received_at_of(record))

    def _change_state(self, symbol: str, state: FeedState, reason: str) -> None:
        context = self.context
        if context.states[symbol] is state:
            return  # a feed that begins says of every pair that it is stale: no news after its predecessor's death
        context.states[symbol] = state
        book = context.books[symbol]
        if book is not None:
            book.state = state
        if self._on_feed_state is not None:
            self._call(self._on_feed_state, symbol, state, reason)

    def _change_pair(self, symbol: str, record: bytes) -> None:
        price_decimals, qty_decimals, rules = unpack_pair(record)
        self.context.pairs[symbol] = Pair(
            symbol,
            price_decimals,
            qty_decimals,
            rules.price_increment_ticks,
            rules.qty_increment_lots,
            rules.qty_min_lots,
            rules.cost_min,
            rules.status,
        )

    # --- after a gap

    def _catch_up(self, feed: _Feed, polled: int) -> int:
        """Bring the strategy up to date from the board, since it fell behind; the number of records dispatched.

        The board is complete up to a place in the ring, and the subscriber goes on from
        there, so nothing lies between the two. While a burst is under way the board may
        be behind what was polled: then that is put back, and the next cycle tries again.
        """
        subscriber = feed.subscriber
        if not feed.behind:
            feed.behind = True
            self.laps += 1
        subscriber.next_sequence -= polled
        caught_up = feed.board.catch_up(subscriber)
        skipped, feed.gaps_seen = subscriber.gap_count - feed.gaps_seen, subscriber.gap_count
        if skipped:
            self._log.warning("fell behind", ring=feed.shard.ring_name, records_skipped=skipped)
        return self._read_board(feed) if caught_up else 0

    def _read_board(self, feed: _Feed) -> int:
        """Tell the strategy the state of every pair, and the newest book of those that changed."""
        shard, work = feed.shard, 0
        # Books before pairs: a feed tells a pair before its first book, so no book is told without its pair.
        books = [feed.board.read(pair_index) for pair_index in range(len(shard.symbols))]
        for slot in (shard.status_slot, *range(len(shard.symbols), shard.status_slot)):
            record = feed.board.read(slot)
            if record is not None:
                self._dispatch_rare(feed, record[0], record)
        for pair_index, symbol in enumerate(shard.symbols):
            record = books[pair_index]
            if record is None or not feed.wanted[pair_index]:
                continue
            state = FeedState(record[1])
            if state is not self.context.states[symbol]:
                self._change_state(symbol, state, "as the board says after a gap")
                work += 1
            if not self._held_up and state is FeedState.LIVE and self._is_news(symbol, record):
                self._dispatch(feed, record)
                work += 1
            if self._held_up:
                return work  # still behind: the rest is read when the callback has ended
        feed.behind = False
        feed.board_read_at = feed.subscriber.next_sequence + feed.subscriber.lag - 1
        return work

    def _is_news(self, symbol: str, record: bytes) -> bool:
        """Is this book another than the strategy has, and not an older one?"""
        seen, book = self.context.books[symbol], BookTop(symbol, record)
        return seen is None or (book.received_at, book.update_number) > (seen.received_at, seen.update_number)

    # --- callbacks

    def _overridden(self, name: str) -> Callable[..., Awaitable[None] | None] | None:
        if getattr(type(self.strategy), name) is getattr(Strategy, name):
            return None
        return getattr(self.strategy, name)  # type: ignore[no-any-return]

    def _call_measured(
        self, callback: Callable[..., Awaitable[None] | None], argument: object, received_at: int
    ) -> None:
        """Call back with something that came off the wire, and measure how long it was under way."""
        # Hot: one clock reading before and one after serve the latency and the callback's own time.
        began = self._mono_ns()
        self._latency.record(began - received_at if self._latency_ns is None else self._latency_ns(received_at))
        self.callbacks += 1
        self.desk.tick_at = MonoNs(received_at)
        try:
            answer = callback(argument)
        except Exception as error:
            self._failed(callback, error)
        else:
            if answer is not None:
                self._go_on(callback, answer)
        took_ns = self._mono_ns() - began
        if took_ns > self._limits.slow_callback_ns:
            self._was_slow(callback, took_ns)

    def _call(self, callback: Callable[..., Awaitable[None] | None], *arguments: object) -> None:
        began = self._mono_ns()
        self.callbacks += 1
        self.desk.tick_at = MonoNs(0)
        try:
            answer = callback(*arguments)
            if answer is not None:
                self._go_on(callback, answer)
        except Exception as error:
            self._failed(callback, error)
        took_ns = self._mono_ns() - began
        if took_ns > self._limits.slow_callback_ns:
            self._was_slow(callback, took_ns)

    def _call_timer(self) -> None:
        now = self._mono_ns()
        if now < self._timer_at or self._on_timer is None:
            return
        # From now, not from when it was due: a host that was held up does not catch up in a volley.
        self._timer_at = MonoNs(now + self._timer_ns)
        self._call(self._on_timer)

    def _go_on(self, callback: Callable[..., Awaitable[None] | None], answer: Awaitable[None]) -> None:
        """Run an async callback as far as it goes; if it waits, this strategy's records wait with it."""
        task = asyncio.get_running_loop().create_task(_run(answer))
        self.waiting = task
        self._batch_ends = True
        task.add_done_callback(lambda done: self._ended(callback, done))

    def _ended(self, callback: Callable[..., Awaitable[None] | None], task: asyncio.Task[None]) -> None:
        self.waiting = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(callback, error)
        self.on_ready()

    async def _finish(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        try:
            answer = callback()
            if answer is not None:
                await answer
        except Exception as error:
            self._failed(callback, error)

    def _failed(self, callback: Callable[..., Awaitable[None] | None], error: BaseException) -> None:
        self.errors += 1
        name = getattr(callback, "__name__", "callback")
        self._log.error("callback raised", callback=name, error=repr(error), exc_info=error)
        now = self._mono_ns()
        self._error_times.append(now)
        full = len(self._error_times) > self._limits.errors_per_minute_max
        if full and now - self._error_times[0] <= ERROR_WINDOW_NS and not self.halted:
            self.halted = self._batch_ends = True
            self._log.error("strategy halted", errors_per_minute=self._limits.errors_per_minute_max)
            self.desk.end("it raised too often")

    def _was_slow(self, callback: Callable[..., Awaitable[None] | None], took_ns: int) -> None:
        self.slow += 1
        self._batch_ends = True
        self.slowest_ns = max(self.slowest_ns, took_ns)
        now = self._mono_ns()
        if now - self._slow_reported_at >= SLOW_REPORT_INTERVAL_NS or self.slow == 1:
            self._slow_reported_at = now
            name = getattr(callback, "__name__", "callback")
            self._log.warning("slow callback", callback=name, took_ms=round(took_ns / NS_PER_MS, 1), slow=self.slow)


async def _run(answer: Awaitable[None]) -> None:
    await answer


def _nothing() -> None:
    pass
