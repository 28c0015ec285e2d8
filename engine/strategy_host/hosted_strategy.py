"""One strategy in its host: reads its market rings and reports, calls its callbacks, counts
its errors and its time.

    report ring ──► do_work() ─► Strategy.on_order, on_fill, …     first: what became of its orders
    market rings ─► do_work() ─► Strategy.on_book, on_trade, …     one subscriber a ring
    boards ───────► after a gap: the newest state of every pair

Whatever a callback raises is logged and counted; after too many errors within a minute the
strategy is halted. A slow callback is measured and logged. Neither affects the other
strategies.

A turn is a quota of time. A strategy that needs more than the others leave pauses between
its turns (see `StrategyHost`): its records wait, and old ones are skipped for newer ones.
News of its orders is told all the same.

Which callback a strategy is in is written into two shared words: see
`engine.processes.callback_words`.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from types import coroutine
from typing import Any, Final, Self

import structlog
from msgspec import Struct

from engine.clock import Clock
from engine.config import EngineConfig
from engine.errors import CallError
from engine.market import Pair
from engine.processes.callback_words import CALL_SOON, NUMBER_OF, CallbackWords, ForkedWords
from engine.processes.pair_record import pair_in
from engine.records import (
    UNPROVED,
    FeedState,
    Kind,
    VenueStatus,
    pair_index_of,
    received_at_of,
    state_of,
    unpack_candle,
    unpack_feed_state,
    unpack_ticker,
    unpack_trade,
    unpack_venue_status,
)
from engine.strategy.api import CALLBACKS, Logger, Strategy, overrides
from engine.strategy.events import Connection, ErrorReport
from engine.strategy.option_rules import shown as shown_argument
from engine.strategy.orders import Balance, Fill, Order
from engine.strategy.timer import timer_ns
from engine.strategy_host.book_calls import BOOK_CALLS, BOOK_VIEW, is_newer
from engine.strategy_host.context import StrategyContext
from engine.strategy_host.followed_pairs import FollowedPairs
from engine.strategy_host.followed_ring import Beginning, FollowedRing, MarketPort
from engine.strategy_host.order_client import News, OrderClient, OrderPorts
from engine.telemetry import Counters, Histogram, new_histogram
from engine.telemetry.log import UNLIMITED
from engine.topology import ALL_CHANNELS, NO_CHANNELS, ORDER_ROUTER, WIRE_HISTOGRAMS, Channel
from engine.units import NS_PER_MS, NS_PER_S, NS_PER_US, MonoNs

RECORDS_PER_CYCLE_MAX = 256  # of one ring for one strategy; then the others have their turn
BACKLOG_RECORDS_MAX = 1024  # left in a ring by a strategy that keeps pace: a few bursts of the feed
ERROR_WINDOW_NS = 60 * NS_PER_S
TURN_NS = 250 * NS_PER_US  # of one strategy while others wait: some thirty books with a short callback
REST_PER_BUSY = 199  # pause per busy time: 0.5 % of the thread, so that the others' p99 does not suffer
REST_NS_MAX = 200 * NS_PER_MS  # after one long callback
CALLS_WAITING_MAX = 1024  # of `Context.call_soon`; it returns False beyond

UNSENT_NS = NS_PER_MS  # until cancels that found the command ring full are tried again

BOOK_TOP = int(Kind.BOOK_TOP)
TRADE, TICKER, CANDLE = int(Kind.TRADE), int(Kind.TICKER), int(Kind.CANDLE)
FEED_STATE, PAIR, VENUE_STATUS = int(Kind.FEED_STATE), int(Kind.PAIR), int(Kind.VENUE_STATUS)
REST_BOOK = int(Kind.REST_BOOK)
CHANNEL_OF: Final = {
    BOOK_TOP: Channel.BOOK,
    FEED_STATE: Channel.BOOK,
    REST_BOOK: Channel.BOOK,
    TRADE: Channel.TRADE,
    TICKER: Channel.TICKER,
    CANDLE: Channel.CANDLE,
    PAIR: ALL_CHANNELS,
}
"""By kind of record: one of these channels of the pair must be followed for it. A kind that
is not here belongs to no pair."""
UNSUBSCRIBED: Final = "unsubscribed"  # the reason of a strategy that gave a book back
NO_FOLLOWING: Final = "a replay follows the pairs of its captures; no pair can be subscribed or given back in it"

(
    ON_BOOK, ON_TRADE, ON_TICKER, ON_CANDLE, ON_PAIR, ON_FEED_STATE, ON_ORDER, ON_FILL, ON_BALANCE, ON_TRADING,
    ON_NOTICE, ON_TIMER,
) = (
    NUMBER_OF[name]
    for name in (
        "on_book", "on_trade", "on_ticker", "on_candle", "on_pair", "on_feed_state", "on_order", "on_fill",
        "on_balance", "on_trading", "on_notice", "on_timer",
    )
)  # fmt: skip
NEVER = MonoNs(1 << 62)


def wire_latency() -> dict[str, Histogram]:
    """Empty histograms, by callback, of the time from a frame's arrival to the callback."""
    return {name: new_histogram() for name in WIRE_HISTOGRAMS}


class HostLimits(Struct, frozen=True):
    """Limits beyond which a strategy is logged as slow, skips old records, or is halted."""

    slow_callback_ns: int = 50 * NS_PER_MS
    errors_per_minute_max: int = 10
    lag_ns_max: int = NS_PER_S
    """A record that waited longer is skipped: the strategy goes on with the newest state
    instead."""

    @classmethod
    def of(cls, settings: EngineConfig) -> Self:
        """The limits that are configured."""
        return cls(
            slow_callback_ns=int(settings.slow_callback_ms * NS_PER_MS),
            errors_per_minute_max=settings.strategy_errors_per_minute_max,
            lag_ns_max=int(settings.strategy_lag_s_max * NS_PER_S),
        )


class HostedStrategy:
    """One strategy with its subscribers to the market rings and its counters."""

    def __init__(
        self,
        strategy: Strategy,
        name: str,
        *,
        symbols: Sequence[str],
        ports: Sequence[MarketPort],
        clock: Clock,
        latency: Mapping[str, Histogram],
        latency_ns: Callable[[int], int] | None = None,
        limits: HostLimits | None = None,
        first_sequence: int | None = None,
        order_ports: OrderPorts | None = None,
        why_no_trading: str = "",
        counters: Counters | None = None,
        followed: FollowedPairs | None = None,
    ) -> None:
        """`latency`: from the arrival of a frame to the callback that it causes, by
        callback, see `wire_latency`. `counters`: the shared ones of the host, which show
        the present callback; private ones when left out. `followed`: where pairs can be
        subscribed at run time; None where they cannot.
        """
        self.name = name
        self.strategy = strategy
        self._log: Logger = structlog.get_logger("strategy").bind(strategy=name)
        pairs: dict[str, Pair | None] = dict.fromkeys(symbols)
        self.order_client = OrderClient(name, order_ports, pairs, clock, why_no_trading)
        own_log = structlog.get_logger("strategy").bind(strategy=name, **{UNLIMITED: True})
        intervals_min = sorted({minutes for port in ports for minutes in port.shard.candle_intervals_min})
        self.context = StrategyContext(clock, own_log, pairs, self.order_client, self.call_soon, self, intervals_min)
        self._words = CallbackWords(counters, name)
        self._followed = followed
        self._ports = ports
        self._trades = order_ports is not None
        # The rings of the pairs that it follows, or has followed.
        self._feeds: list[FollowedRing] = []
        # Pairs that Kraken has refused, added by the supervisor's thread; and the calls of
        # on_feed_state that no record causes: pair, state, reason.
        self._refusals: deque[tuple[str, str]] = deque()
        self._pair_news: deque[tuple[str, FeedState, str]] = deque()
        self._mono_ns = clock.mono_ns
        # From a frame's arrival to the callback; a replay measures with another clock than
        # the capture's.
        self.latency = {NUMBER_OF[name]: histogram for name, histogram in latency.items()}
        self._latency_ns = latency_ns
        self._limits = limits or HostLimits()
        # The callbacks that the strategy overrides: nothing is unpacked for the others.
        self._on_book = self._overridden("on_book")
        self._on_trade = self._overridden("on_trade")
        self._on_ticker = self._overridden("on_ticker")
        self._on_candle = self._overridden("on_candle")
        self._on_feed_state = self._overridden("on_feed_state")
        self._on_pair = self._overridden("on_pair")
        self._on_timer = self._overridden("on_timer")
        self._on_order = self._overridden("on_order")
        self._on_fill = self._overridden("on_fill")
        self._on_balance = self._overridden("on_balance")
        self._on_trading = self._overridden("on_trading")
        self._on_notice = self._overridden("on_notice")
        self._on_connection = self._overridden("on_connection")
        self._on_error = self._overridden("on_error")
        # As the strategy set it last, and what that means.
        self._timer_s: float = 0.0
        self._timer_ns = 0
        # When on_timer is due; 0 without a timer.
        self._timer_at = MonoNs(0)
        # Was its last call one that had to be waited for, with no turn since?
        self._has_waited_for_timer = False
        # The async callback that has not ended: until then nothing is polled for this
        # strategy.
        self.waiting: asyncio.Task[None] | None = None
        # The awaitable that the callback returned: shows where in its code the strategy is.
        self.answer: Awaitable[None] | None = None
        # Wakes a sleeping host for work that no ring announces.
        self.on_ready: Callable[[], None] = _nothing
        # True while there is such work. Set by any thread, cleared by `do_work`.
        self.is_awake = True
        # When there is something to do though nothing comes: a timer, the end of a pause.
        self.due_at = NEVER
        # Calls that other threads asked for, and their lock.
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._calls_lock = Lock()
        # False once the strategy stops: then come the last records, and on_stop.
        self._takes_calls = True
        # The loop of the strategy's thread; None before it has started.
        self._loop: asyncio.AbstractEventLoop | None = None
        # Has on_start come to its end?
        self.has_started = False
        # Too many errors: no callback any more.
        self.halted = False
        # Must the rest of a batch stay in the ring, because a callback waits, took long, or
        # halted the strategy?
        self.batch_ends = False
        # How long a turn may be, and when this one is over; without others it has no end.
        self._turn_ns = 0
        self.turn_until = MonoNs(0)
        # Must it pause after a turn that was too long; until when; busy_ns seen by then.
        self.must_rest = False
        self._rests_until = MonoNs(0)
        self._busy_seen_ns = 0
        # At the last measurement: busy_ns, records taken, callbacks, records published.
        self._measured = (0, 0, 0, 0)
        self._error_times: deque[MonoNs] = deque(maxlen=self._limits.errors_per_minute_max + 1)
        # An async callback leaves the rest of its batch in the ring, so more than one would
        # be copied for nothing.
        self._is_async = any(inspect.iscoroutinefunction(getattr(strategy, name)) for name in CALLBACKS)
        self._records_max = 1 if self._is_async else RECORDS_PER_CYCLE_MAX
        self._first_sequence = first_sequence
        self._begin(symbols)
        self._first_sequence = None  # a ring that is followed later begins at its newest record
        # Counted since the start; see topology.STRATEGY_COUNTERS.
        self.callbacks = 0
        self.errors = 0
        self.slow = 0
        self.slowest_ns = 0
        self.laps = 0
        self.busy_ns = 0
        # Turns after which it had to rest, and calls that found too many waiting.
        self.rests = 0
        self.calls_refused = 0
        # Seconds of callbacks a second: in the last second measured, and in the worst of
        # them.
        self.busy_share = 0.0
        self.busy_share_max = 0.0

    @property
    def received(self) -> int:
        """Records taken from the rings."""
        return sum(feed.subscriber.received_count for feed in self._feeds)

    @property
    def gaps(self) -> int:
        """Records that the rings overwrote before this strategy read them."""
        return sum(feed.subscriber.gap_count for feed in self._feeds)

    def at_rings(self) -> list[tuple[str, int, int]]:
        """For each market ring that it reads: name, next sequence, and records lost."""
        return [
            (feed.shard.ring_name, feed.subscriber.next_sequence, feed.subscriber.gap_count) for feed in self._feeds
        ]

    def counts(self) -> tuple[int, ...]:
        """Its counters, in the order of STRATEGY_COUNTERS."""
        orders = self.order_client
        return (
            self.received, self.gaps, self.laps, self.callbacks, self.errors, self.slow, self.slowest_ns, self.busy_ns,
            int(self.busy_share * NS_PER_S), int(self.busy_share_max * NS_PER_S), self.rests, self.halted,
            self.calls_refused, orders.refused, orders.untold, orders.mistakes, orders.reports_unreadable,
        )  # fmt: skip

    def share_the_thread(self) -> None:
        """Limit each turn to a quota of time from now on, because other strategies run on
        the thread.
        """
        self._turn_ns = TURN_NS

    def forked(self) -> None:
        """Stop writing to shared words. Called in a process that a callback has forked."""
        self._words = ForkedWords()
        for feed in self._feeds:
            feed.calls.forked(self._words)

    async def start(self) -> None:
        """Call on_start and wait for its end. Raises what on_start raises: the strategy
        must not run then.
        """
        self._loop = asyncio.get_running_loop()
        self.strategy.context = self.context
        self.order_client.bind(self._wake)
        self._words.begin(NUMBER_OF["on_start"], self._mono_ns())
        try:
            answer = self.strategy.on_start()
            if answer is not None:
                self.answer = answer
                await answer
                self.answer = None
        finally:
            self._words.end()  # one that raised does not hang
        self.has_started = True
        self._set_timer()
        self.is_awake = True

    @property
    def may_wait(self) -> bool:
        """Whether stopping it may need turns of the event loop: it has async callbacks."""
        return self._is_async or self.waiting is not None

    async def stop(self) -> None:
        """Wait for an async callback, take the remaining records, and call on_stop."""
        if not self.has_started:
            return
        self.order_client.router_has_ended()
        self.must_rest, self._rests_until = False, MonoNs(0)
        # Before the last records: what a callback asks for now is none of them.
        with self._calls_lock:
            self._takes_calls = False
        if self.waiting is not None:
            await asyncio.wait({self.waiting})
        while self.do_work() or self._is_in_the_middle:
            if self.waiting is not None:
                await asyncio.wait({self.waiting})
        if not self.halted:
            await self._finish(self.strategy.on_stop)
        self.order_client.close()

    def call_soon(self, function: Callable[..., Any], *arguments: object) -> bool:
        """See `Context.call_soon`. From any thread."""
        with self._calls_lock:
            if self.halted or not self._takes_calls or len(self._calls) >= CALLS_WAITING_MAX:
                self.calls_refused += 1
                return False
            self._calls.append((function, arguments))
        self._wake()
        return True

    def send_no_orders(self) -> None:
        """Refuse orders and amends from now on, because the engine stops. From any thread."""
        self.order_client.send_no_orders()

    def tell_connection(self, connection: Connection) -> None:
        """Schedule a call of on_connection. From any thread."""
        if self._on_connection is not None:
            self.call_soon(self._on_connection, connection)

    # --- pairs at run time

    def subscribe(self, symbol: object, channels: object) -> str:
        """Follow further channels of a pair; returns the pair's name. Raises CallError for
        invalid arguments. On the strategy's own thread.
        """
        if self._followed is None:
            raise CallError(NO_FOLLOWING)
        name, (shard, pair_index), wanted = self._followed.subscribe(self.name, symbol, channels)
        port = self._ports[shard]
        if self.context.channels.get(name) != wanted:
            self.context.follow(name, wanted, port.freshness(pair_index))
            self._feed_of(port).beginning[pair_index] = Beginning(name, wanted)
            self._wake_here()
        return name

    def unsubscribe(self, symbol: object, channels: object) -> None:
        """Stop following channels of a pair (None: all); channels that are not followed are
        ignored. Raises CallError for invalid arguments. On the strategy's own thread.
        """
        if self._followed is None:
            raise CallError(NO_FOLLOWING)
        name, (shard, pair_index), left = self._followed.unsubscribe(self.name, symbol, channels)
        had = self.context.channels.get(name, NO_CHANNELS)
        if had != left:
            self._narrow(self._feed_of(self._ports[shard]), pair_index, name, left)
            if Channel.BOOK in had & ~left or not left:
                self._pair_news.append((name, FeedState.UNSUBSCRIBED, UNSUBSCRIBED))
                self._wake_here()

    def tell_refused(self, symbol: str, reason: str) -> None:
        """Stop following a pair that Kraken has refused, and schedule a call of
        on_feed_state. From any thread.
        """
        self._refusals.append((symbol, reason))
        self._wake()

    def tell_mistake(self, symbol: object, why: str) -> None:
        """Schedule a call of on_feed_state, with the unchanged state, for a call with
        invalid arguments.
        """
        self._log.warning("call refused", reason=why)
        if not self._takes_calls:
            return
        name = symbol if isinstance(symbol, str) else shown_argument(symbol)
        self._pair_news.append((name, self.context.states.get(name, FeedState.UNSUBSCRIBED), why))
        self._wake_here()

    def _begin(self, symbols: Sequence[str]) -> None:
        """Follow the pairs of the start."""
        channels = ALL_CHANNELS if self._followed is None else self._followed.configured
        places = {symbol: (port, index) for port in self._ports for index, symbol in enumerate(port.shard.symbols)}
        for symbol in symbols:
            port, index = places.get(symbol, (None, 0))
            self.context.follow(symbol, channels, None if port is None else port.freshness(index))
            if port is not None:
                self._feed_of(port).follow(index, symbol, channels)
        if self._followed is not None:
            self._followed.begin(self.name, symbols, takes_rest_books=self.strategy.rest_books)

    def _feed_of(self, port: MarketPort) -> FollowedRing:
        """The strategy's subscriber to a shard's ring; a new one starts at the newest
        record.
        """
        for feed in self._feeds:
            if feed.port is port:
                return feed
        feed = FollowedRing(port, self._first_sequence)
        feed.calls = BOOK_CALLS(
            self,
            pairs_max=port.shard.pairs_max,
            channels_of=CHANNEL_OF if self.strategy.rest_books else CHANNEL_OF | {REST_BOOK: NO_CHANNELS},
            books=self.context.books,
            states=self.context.states,
            on_book=self._on_book,
            call=self._call_measured,
            take_rare=partial(self._dispatch_rare, feed),
            tick_of=self.order_client if self._trades else None,
            words=self._words,
            number=ON_BOOK,
            latency=self.latency[ON_BOOK],
            latency_ns=self._latency_ns,
            mono_ns=self._mono_ns,
            slow_ns=self._limits.slow_callback_ns,
            records_max=self._records_max,
        )
        self._feeds.append(feed)
        return feed

    def _narrow(self, feed: FollowedRing, pair_index: int, symbol: str, channels: Channel) -> None:
        """Stop taking all but these channels of a pair."""
        if channels and pair_index in feed.beginning:
            feed.beginning[pair_index] = Beginning(symbol, channels)
        else:
            feed.beginning.pop(pair_index, None)
        feed.follow(pair_index, symbol, feed.channels[pair_index] & channels)
        if channels:
            self.context.follow(symbol, channels, feed.port.freshness(pair_index))
        else:
            self.context.drop(symbol)

    def _work_on_pair_news(self) -> int:
        """Drop refused pairs, then call on_feed_state for refused and unsubscribed ones;
        returns the number of calls.
        """
        while self._refusals:
            symbol, reason = self._refusals.popleft()
            for feed in self._feeds:
                feed.forget(symbol)
            if symbol in self.context.channels:
                self.context.drop(symbol)
                self._pair_news.append((symbol, FeedState.UNSUBSCRIBED, reason))
        work = 0
        for _ in range(len(self._pair_news)):  # and no later ones: it may answer a refusal by another call
            if self._held_up:
                break
            symbol, state, reason = self._pair_news.popleft()
            work += 1
            if self._on_feed_state is not None:
                self._call(self._on_feed_state, ON_FEED_STATE, symbol, state, reason)
        return work

    def tell_error(self, error: ErrorReport) -> None:
        """Schedule a call of on_error. If the order router died, refuse orders until
        another reports its status. From any thread.
        """
        if error.place == ORDER_ROUTER:
            self.order_client.lose_router(f"{error.text}; another one is being started")
        if self._on_error is not None:
            self.call_soon(self._on_error, error)

    def _wake(self) -> None:
        """Have the host give this strategy a turn. From any thread."""
        self.is_awake = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(lambda: self.on_ready())

    def _wake_here(self) -> None:
        """Have the host give this strategy a turn. On the strategy's own thread."""
        self.is_awake = True
        self.on_ready()

    def ready(self, now: MonoNs) -> bool:
        """True if there is work for `do_work`. Passes over records that the strategy does
        not take.
        """
        # Hot: asked of every strategy for every record of any of them.
        if self.is_awake or now >= self.due_at:
            return True
        if self.waiting is not None:
            return False
        if self.order_client.ready():
            return True
        if self.halted or now < self._rests_until:
            return False
        for feed in self._feeds:
            if feed.behind or feed.beginning:
                if feed.beginning or feed.subscriber.ready():
                    return True
            elif feed.calls.skip(feed.subscriber):
                return True
        return False

    def _next_due(self) -> MonoNs:
        """The time of the next work that no record triggers."""
        now = self._mono_ns()
        due = NEVER
        if not self._held_up:
            if self._timer_at:
                due = self._timer_at
            if now < self._rests_until < due:
                due = self._rests_until
        return MonoNs(min(due, now + UNSENT_NS)) if self.order_client.unsent else due

    @property
    def _held_up(self) -> bool:
        """True if no callback can be called, because one is waiting or the strategy is
        halted.
        """
        return self.waiting is not None or self.halted

    @property
    def _is_in_the_middle(self) -> bool:
        """True if a callback waits, or a board is half read, whatever came of the turn."""
        return self.waiting is not None or (not self.halted and any(feed.is_half_read for feed in self._feeds))

    def do_work(self) -> int:
        """One turn: take records from every ring and call back; returns the number taken."""
        self.is_awake = False  # before the look: what is woken for meanwhile may have been missed
        now = self._mono_ns()
        # Without others a turn ends with its records, not with its time.
        self.turn_until = MonoNs(now + self._turn_ns) if self._turn_ns else NEVER
        self.order_client.serve()
        work = self._work_on_orders()
        if self._timer_at and not self._held_up:
            self._call_timer()
        if self._calls:
            work += self._work_on_calls()
        if self._refusals or self._pair_news:
            work += self._work_on_pair_news()
        is_half_read = False  # was the reading of a board left in the middle?
        if not self._is_resting(now):
            for feed in self._feeds:
                if not self._held_up:
                    work += self._begin_pairs(feed) if feed.beginning else self._work_on(feed)
                    is_half_read |= feed.is_half_read
        if (self._calls or self._refusals or self._pair_news or is_half_read) and not self._held_up:
            self.is_awake = True  # left by a turn that was over; no ring tells of it
        if self.strategy.timer_s is not self._timer_s:  # by a callback of this turn, say: nothing further need come
            self._set_timer()
        self.due_at = self._next_due() if self._timer_at or self._rests_until or self.order_client.unsent else NEVER
        return work

    def _is_resting(self, now: MonoNs) -> bool:
        """True while it must pause. Starts a pause after a turn that was too long."""
        used_ns, self._busy_seen_ns = self.busy_ns - self._busy_seen_ns, self.busy_ns
        if self.must_rest and used_ns > TURN_NS:
            self.rests += 1
            self._rests_until = MonoNs(now + min(used_ns * REST_PER_BUSY, REST_NS_MAX))
        return now < self._rests_until

    def measure(self, elapsed_ns: int) -> float:
        """Seconds of callbacks per second that the strategy needs to keep up, since the
        last call.
        """
        published = sum(feed.subscriber.next_sequence + feed.subscriber.lag for feed in self._feeds)
        before, self._measured = self._measured, (self.busy_ns, self.received, self.callbacks, published)
        busy_ns, taken, called, came = (now - then for now, then in zip(self._measured, before, strict=True))
        self.busy_share = busy_ns / elapsed_ns
        self.busy_share_max = max(self.busy_share_max, self.busy_share)
        # After a gap callbacks come from the board, without a record that was taken.
        return self.busy_share * max(1.0, came / max(taken, called, 1))

    def _work_on_orders(self) -> int:
        """Call on_order, on_fill, on_balance and on_trading for new reports. A halted
        strategy gets no calls, but its state is kept up to date.
        """
        work = 0
        self.batch_ends = False
        while (
            self.waiting is None
            and work < RECORDS_PER_CYCLE_MAX
            and (news := self.order_client.next_news()) is not None
        ):
            work += 1
            if not self.halted:
                self._tell(news)
                if self.batch_ends:
                    break
        return work

    def _work_on_calls(self) -> int:
        """Run the calls requested by other threads so far; calls that these request run in
        the next turn. Returns the number of calls.
        """
        work = 0
        self.batch_ends = False
        for _ in range(len(self._calls)):
            if self._held_up or self.batch_ends:
                break
            function, arguments = self._calls.popleft()
            self._call(function, CALL_SOON, *arguments)
            work += 1
        if self.halted:
            self._calls.clear()
        return work

    def _tell(self, news: News) -> None:
        callback: Callable[..., Awaitable[None] | None] | None
        match news:
            case Order():
                callback, number = self._on_order, ON_ORDER
            case Fill():
                callback, number = self._on_fill, ON_FILL
            case Balance():
                callback, number = self._on_balance, ON_BALANCE
            case _:
                callback, number = self._on_trading, ON_TRADING
        if callback is not None:
            self._call(callback, number, news)

    def _work_on(self, feed: FollowedRing) -> int:
        subscriber, lag_ns_max = feed.subscriber, self._limits.lag_ns_max
        self.batch_ends = False
        now = self._mono_ns()
        away_ns, feed.polled_at = now - feed.polled_at, now
        if feed.behind or subscriber.gap_count != feed.gaps_seen:
            return self._catch_up(feed, len(subscriber.poll_many(1)))
        # A record that has waited too long because of the strategy is skipped.
        may_skip = away_ns > lag_ns_max or subscriber.lag > BACKLOG_RECORDS_MAX + RECORDS_PER_CYCLE_MAX
        not_before = now - lag_ns_max if may_skip else 0
        taken = feed.calls.take(subscriber, RECORDS_PER_CYCLE_MAX, not_before, feed.board_read_at)
        if (feed.calls.is_old or feed.calls.is_lapped) and not self.batch_ends:
            return taken + self._catch_up(feed, len(subscriber.poll_many(1)))
        return taken

    # --- one record

    def _dispatch_rare(self, feed: FollowedRing, record: bytes) -> None:
        """Call back with a record of any kind but a book."""
        kind = record[0]
        if kind == VENUE_STATUS:
            self._change_venue_status(unpack_venue_status(record))
            return
        pair_index = pair_index_of(record)
        if not feed.channels[pair_index] & CHANNEL_OF[kind]:
            return
        symbol = feed.symbols[pair_index]
        if kind == FEED_STATE:
            change = unpack_feed_state(symbol, record)
            self._change_state(symbol, _followed_state(change.state), change.reason, is_proved=change.is_proved)
        elif kind == PAIR:
            self._change_pair(symbol, record)
        elif kind == TRADE:
            self.context.trade_records[symbol].append(record)
            if self._on_trade is not None:
                self._call_measured(self._on_trade, ON_TRADE, unpack_trade(symbol, record), received_at_of(record))
        elif kind == TICKER:
            if feed.board_tickers and feed.has_told_ticker(pair_index, record):
                return
            self.context.ticker_records[symbol] = record
            if self._on_ticker is not None:
                self._call_measured(self._on_ticker, ON_TICKER, unpack_ticker(symbol, record), received_at_of(record))
        elif kind == CANDLE:
            self.context.candle_memory.keep(symbol, record)
            if self._on_candle is not None:
                self._call_measured(self._on_candle, ON_CANDLE, unpack_candle(symbol, record), received_at_of(record))
        elif kind == REST_BOOK and self.strategy.rest_books:
            self._take_rest_book(symbol, record)

    def _take_rest_book(self, symbol: str, record: bytes) -> None:
        """Deliver an unverified book of REST, unless the strategy has a live or a newer
        one.
        """
        if self.context.states[symbol] is not FeedState.LIVE:
            self._tell_newer(symbol, record)

    def _change_venue_status(self, status: VenueStatus) -> None:
        if status.system == self.context.venue_status:
            return  # each feed says so, and says it again when it connects
        self.context.venue_status = status.system
        if self._on_notice is not None:
            self._call(self._on_notice, ON_NOTICE, status)

    def _tell_newer(self, symbol: str, record: bytes) -> bool:
        """Deliver a book if it is newer than the strategy's; returns whether it was."""
        book = BOOK_VIEW(symbol, record)
        if not is_newer(book, self.context.books[symbol]):
            return False
        self.context.books[symbol] = book
        if self._on_book is not None:
            self._call_measured(self._on_book, ON_BOOK, book, book.received_at)
        return True

    def _change_state(self, symbol: str, state: FeedState, reason: str, *, is_proved: bool) -> None:
        context = self.context
        book = context.books[symbol]
        if context.states[symbol] is state and (is_proved or book is None or not book.is_proved):
            return  # a feed that begins says STALE of every pair, which its predecessor's end has said already
        context.states[symbol] = state
        if book is not None and book.is_verified:
            book.state, book.is_proved = state, is_proved
        if self._on_feed_state is not None:
            self._call(self._on_feed_state, ON_FEED_STATE, symbol, state, reason)

    def _change_pair(self, symbol: str, record: bytes) -> None:
        pair = pair_in(symbol, record)
        if pair == self.context.pairs[symbol]:
            return  # a feed that connects again publishes all pairs again
        self.context.pairs[symbol] = pair
        if self._on_pair is not None:
            self._call(self._on_pair, ON_PAIR, pair)

    # --- after a gap

    def _catch_up(self, feed: FollowedRing, polled: int) -> int:
        """Read the board after records were missed; returns the number of records
        dispatched.

        The board is complete up to a sequence of the ring, from which the subscriber
        continues. During a burst the board may be behind what was polled: then the polled
        records are put back, and the next turn tries again.
        """
        subscriber = feed.subscriber
        is_begun = feed.behind and subscriber.gap_count == feed.gaps_seen
        if not feed.behind:
            feed.behind = True
            self.laps += 1
        subscriber.next_sequence -= polled
        feed.is_half_read = False
        caught_up = feed.catch_up(is_begun=is_begun)
        skipped, feed.gaps_seen = subscriber.gap_count - feed.gaps_seen, subscriber.gap_count
        if skipped:
            gaps, ring = subscriber.gap_count, feed.shard.ring_name
            self._log.warning("fell behind", ring=ring, records_skipped=skipped, laps=self.laps, gaps=gaps)
        return self._read_board(feed) if caught_up else 0

    def _read_board(self, feed: FollowedRing) -> int:
        """Deliver the state of every unread pair, and the newest ticker and book of those
        that changed; returns the number of books.

        The rest is read in the next turn, or when an async callback has ended. The pair of
        such a callback is then read last, and its undelivered part first; otherwise a pair
        that changes faster than its callback returns would be the only one ever delivered.
        """
        work = 0
        feed.is_half_read = True
        status = feed.board.read(feed.shard.status_slot)
        if status is not None:
            self._dispatch_rare(feed, status)
        while feed.unread:
            if self._held_up or self.batch_ends:
                return work
            pair_index, is_book_first = next(iter(feed.unread.items()))
            work += self._read_pair(feed, pair_index, is_book_first=is_book_first)
            del feed.unread[pair_index]
            if self._held_up:
                feed.unread[pair_index] = not is_book_first
                return work
        feed.behind = feed.is_half_read = False
        feed.board_read_at = feed.subscriber.next_sequence + feed.subscriber.lag - 1
        return work

    def _read_pair(self, feed: FollowedRing, pair_index: int, *, is_book_first: bool) -> int:
        """Deliver the board's state of one pair after a gap; returns the number of books.
        It may stop after any callback.
        """
        self._read_candles(feed, pair_index)
        # Read the book before its pair: a feed publishes a pair before its first book, so
        # no book is delivered without its pair.
        book = feed.board.read(pair_index)
        pair = feed.board.read(feed.shard.pair_slot(pair_index))
        if pair is not None:
            self._dispatch_rare(feed, pair)
        work = 0
        for is_book in (is_book_first, not is_book_first):
            if self._held_up:
                break
            if is_book and book is not None and feed.books_wanted[pair_index]:
                work += self._tell_book(feed, pair_index, book, "as the board says after a gap")
            elif not is_book and (ticker := feed.board.read(feed.shard.ticker_slot(pair_index))) is not None:
                self._tell_new(feed, pair_index, ticker)
        return work

    def _tell_new(self, feed: FollowedRing, pair_index: int, record: bytes) -> None:
        """Deliver a record of the board that is not a book, unless it was delivered before:
        after an async callback the board is read again from the beginning.
        """
        context, symbol = self.context, feed.symbols[pair_index]
        match record[0]:
            case Kind.TICKER if Channel.TICKER in feed.channels[pair_index]:
                if record != context.ticker_records[symbol]:
                    feed.board_tickers.pop(pair_index, None)
                    self._dispatch_rare(feed, record)
                    feed.board_tickers[pair_index] = record
            case Kind.CANDLE if Channel.CANDLE in feed.channels[pair_index]:
                if not context.candle_memory.has(symbol, record):
                    self._dispatch_rare(feed, record)
            case _:
                self._dispatch_rare(feed, record)

    def _tell_book(self, feed: FollowedRing, pair_index: int, record: bytes, why: str) -> int:
        """Deliver the board's state of a book, and the book if it is newer than the last
        one; returns the number of calls. It may stop after the first.
        """
        symbol, work = feed.symbols[pair_index], 0
        state, is_proved = _followed_state(state_of(record)), record[1] < UNPROVED
        if state is not self.context.states[symbol] or not is_proved:
            self._change_state(symbol, state, f"{'' if is_proved else 'unproved: '}{why}", is_proved=is_proved)
            work += 1
        if self._held_up or not feed.books_wanted[pair_index]:
            return work
        if state is FeedState.LIVE and self._tell_newer(symbol, record):
            work += 1
        elif self.strategy.rest_books:
            told = feed.board.read(feed.shard.rest_book_slot(pair_index))
            if told is not None:
                self._take_rest_book(symbol, told)
        return work

    def _begin_pairs(self, feed: FollowedRing) -> int:
        """Deliver the board's state of each newly followed pair, before anything further is
        taken from the ring. Returns the number of pairs read.

        Earlier records of these pairs in the ring were dropped, so the board must be
        complete up to where the ring was read; it is at the end of a burst.
        """
        if feed.board.complete_upto + 1 < feed.subscriber.next_sequence:
            return 0
        work = 0
        self.batch_ends = False
        while feed.beginning and not (self._held_up or self.batch_ends):
            pair_index, begun = next(iter(feed.beginning.items()))
            work += 1
            feed.follow(pair_index, begun.symbol, begun.channels)
            # A callback may have asked for more, or less, of the pair.
            if self._tell_board(feed, pair_index, begun) and feed.beginning.get(pair_index) is begun:
                del feed.beginning[pair_index]
        feed.board_read_at = feed.subscriber.next_sequence + feed.subscriber.lag - 1
        return work

    def _tell_board(self, feed: FollowedRing, pair_index: int, begun: Beginning) -> bool:
        """Deliver all that the board has of a pair, each once. False if a callback waits,
        or has unsubscribed the pair, before the end.
        """
        shard, board = feed.shard, feed.board
        book = board.read(pair_index)
        candle_slots = [shard.candle_slot(pair_index, each) for each in shard.candle_intervals_min]
        for slot in (shard.pair_slot(pair_index), shard.ticker_slot(pair_index), *candle_slots):
            record = board.read(slot) if slot not in begun.told_slots else None
            if record is not None:
                begun.told_slots.add(slot)
                self._tell_new(feed, pair_index, record)
            if self._held_up or pair_index not in feed.beginning:
                return False
        before = self.context.books[begun.symbol]
        if book is not None and feed.books_wanted[pair_index]:
            self._tell_book(feed, pair_index, book, "as the board says")
        return not self._held_up or self.context.books.get(begun.symbol) is not before

    def _read_candles(self, feed: FollowedRing, pair_index: int) -> None:
        """Read the newest candles of a pair from the board. For an interval that has ended
        meanwhile the list starts anew, because its last candle was missed.
        """
        if Channel.CANDLE not in feed.channels[pair_index]:
            return
        for interval_min in feed.shard.candle_intervals_min:
            record = feed.board.read(feed.shard.candle_slot(pair_index, interval_min))
            if record is not None:
                self.context.candle_memory.go_on(feed.symbols[pair_index], record)

    # --- callbacks

    def _overridden(self, name: str) -> Callable[..., Awaitable[None] | None] | None:
        return getattr(self.strategy, name) if overrides(self.strategy, name) else None

    def _call_measured(
        self, callback: Callable[..., Awaitable[None] | None], number: int, argument: object, received_at: int
    ) -> None:
        """Call back with something received from the wire, and record its latency."""
        # Hot: one clock reading before and one after serve the latency, the words and the
        # callback's own time.
        began = self._mono_ns()
        self._words.begin(number, began)
        self.latency[number].record(began - received_at if self._latency_ns is None else self._latency_ns(received_at))
        self.callbacks += 1
        self.order_client.tick_at = MonoNs(received_at)
        try:
            answer = callback(argument)
            if answer is not None:
                self.go_on(callback, answer)
        except BaseException as error:
            self.callback_failed(callback, error)
        self._returned(callback, began)

    def _call(self, callback: Callable[..., Awaitable[None] | None], number: int, *arguments: object) -> None:
        began = self._mono_ns()
        self._words.begin(number, began)
        self.callbacks += 1
        self.order_client.tick_at = MonoNs(0)
        try:
            answer = callback(*arguments)
            if answer is not None and (number != CALL_SOON or inspect.isawaitable(answer)):
                self.go_on(callback, answer)
        except BaseException as error:
            self.callback_failed(callback, error)
        self._returned(callback, began)

    def _returned(self, callback: Callable[..., Awaitable[None] | None], began: MonoNs) -> None:
        """Account for a callback that returned, or an async one that began to wait."""
        now = self._mono_ns()
        if self.waiting is None:
            self._words.end()
        took_ns = now - began
        self.busy_ns += took_ns
        if now > self.turn_until:
            self.batch_ends = True
        if took_ns > self._limits.slow_callback_ns:
            self.was_slow(callback, took_ns)

    def _set_timer(self) -> None:
        """Read `timer_s` again; if it has changed, schedule the next call from now."""
        before, self._timer_s = self._timer_s, self.strategy.timer_s
        if self._timer_s == before:
            return
        try:
            self._timer_ns = timer_ns(self._timer_s)
        except ValueError as error:
            self._timer_ns = 0
            self._log.error("timer stopped", reason=str(error))
        is_on = self._timer_ns and self._on_timer is not None
        self._timer_at = MonoNs(self._mono_ns() + self._timer_ns) if is_on else MonoNs(0)

    def _call_timer(self) -> None:
        if self.strategy.timer_s is not self._timer_s:
            self._set_timer()
        if self._has_waited_for_timer:
            self._has_waited_for_timer = False  # if it is due again already, the market has its turn before
            return
        now = self._mono_ns()
        if not self._timer_at or now < self._timer_at or self._on_timer is None:
            return
        # From now, not from when it was due: missed calls are not made up for.
        self._timer_at = MonoNs(now + self._timer_ns)
        self._call(self._on_timer, ON_TIMER)
        self._has_waited_for_timer = self.waiting is not None

    def go_on(self, callback: Callable[..., Awaitable[None] | None], answer: Awaitable[None]) -> None:
        """Run an async callback as a task. Until it ends the strategy's records stay in the
        rings.
        """
        self.answer = answer
        task = asyncio.get_running_loop().create_task(self._run(callback, answer))
        self.waiting = task
        self.batch_ends = True
        task.add_done_callback(self._ended)

    async def _run(self, callback: Callable[..., Awaitable[None] | None], answer: Awaitable[None]) -> None:
        """Run the callback and count what it raises. It catches SystemExit, too, which
        would end the event loop of all strategies.
        """
        try:
            await self._in_steps(callback, answer)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the host ends
            self.callback_failed(callback, error)

    @coroutine
    def _in_steps(
        self, callback: Callable[..., Awaitable[None] | None], answer: Awaitable[None]
    ) -> Generator[Any, Any, None]:
        """Await the callback, adding the time between its suspensions to `busy_ns`."""
        if not hasattr(answer, "__await__"):
            raise TypeError(f"it returned {type(answer).__name__}; a callback returns None or is async")
        steps = answer.__await__()
        thrown: BaseException | None = None
        while True:
            began = self._mono_ns()
            try:
                waits_for = steps.send(None) if thrown is None else steps.throw(thrown)
            except StopIteration:
                return
            finally:
                took_ns = self._mono_ns() - began
                self.busy_ns += took_ns
                if took_ns > self._limits.slow_callback_ns:
                    self.was_slow(callback, took_ns)
            thrown = None
            try:
                yield waits_for
            except BaseException as error:
                thrown = error

    def _ended(self, _: asyncio.Task[None]) -> None:
        self.waiting = self.answer = None
        self._words.end()
        self._wake_here()

    async def _finish(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        self._words.begin(NUMBER_OF["on_stop"], self._mono_ns())
        try:
            answer = callback()
            if answer is not None:
                self.answer = answer
                await answer
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            self.callback_failed(callback, error)
        self.answer = None
        self._words.end()

    def callback_failed(self, callback: Callable[..., Awaitable[None] | None], error: BaseException) -> None:
        """Count and log an exception of a callback; halt the strategy if there were too
        many.
        """
        self.errors += 1
        name = getattr(callback, "__name__", "callback")
        self._log.error("callback raised", callback=name, error=shown(error), exc_info=error)
        now = self._mono_ns()
        self._error_times.append(now)
        full = len(self._error_times) > self._limits.errors_per_minute_max
        if full and now - self._error_times[0] <= ERROR_WINDOW_NS and not self.halted:
            self.halted = self.batch_ends = True
            self._log.error("strategy halted", errors_per_minute=self._limits.errors_per_minute_max)
            self.order_client.end("it raised too often")

    def was_slow(self, callback: Callable[..., Awaitable[None] | None], took_ns: int) -> None:
        """Count and log a callback that took too long."""
        self.slow += 1
        self.batch_ends = True
        self.slowest_ns = max(self.slowest_ns, took_ns)
        name = getattr(callback, "__name__", "callback")
        self._log.warning("slow callback", callback=name, took_ms=round(took_ns / NS_PER_MS, 1), slow=self.slow)


def _followed_state(state: FeedState) -> FeedState:
    """The state of a book that this strategy follows, even if the feed does not know of it
    yet.
    """
    return FeedState.STALE if state is FeedState.UNSUBSCRIBED else state


def shown(error: BaseException) -> str:
    """The repr of an exception for the log, or its type when its repr raises."""
    try:
        return repr(error)
    except BaseException:
        return type(error).__name__


def _nothing() -> None:
    pass
