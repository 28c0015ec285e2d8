"""One run of the engine: the process that the user starts, with its strategies, and the children that it keeps alive.

When the engine's process dies the public and private feeds die with it, as the kernel has them do; the order router
goes on until it has settled the orders, and the next run finds its journal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Final

from engine.kraken.public.session import PublicSettings
from engine.records import FeedState
from engine.ring import Subscriber
from engine.strategy.orders import Order
from engine.strategy_host import hosted_strategy
from engine.strategy_host.book_calls import BookCalls
from engine.strategy_host.followed_pairs import FollowedPairs
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.hosted_strategy import HostedStrategy, HostLimits, wire_latency
from engine.strategy_host.order_client import OrderPorts
from engine.telemetry import new_counters
from engine.topology import ALL_CHANNELS, Channel, plan_shards, strategy_counter_names
from engine.units import NS_PER_MS, NS_PER_US
from tests.simulate.feeds import SimFeed
from tests.simulate.kernel import Kernel, Process, SimClock, Violation
from tests.simulate.orders import OrderRings, SimPrivateFeed, SimRouter, World
from tests.simulate.strategies import Mistake, SimStrategy
from tests.simulate.venue import SimVenue

CANDLES_MIN: Final = (1, 5, 1440)  # that the feeds make of their trades
# Between two looks that the host takes by time alone; the runner's RECHECK_NS is an eighth.
COUNT_NS: Final = 400 * NS_PER_MS
WAKE_NS_MAX: Final = 200 * NS_PER_US
ADDED_MAX: Final = 2  # pairs that may be subscribed at run time


NEXT_SEQUENCE: Any = Subscriber.next_sequence  # the attribute of either implementation


class CountingSubscriber(Subscriber):
    """Counts the records that it hands out or that are passed over, and those that are put back."""

    __slots__ = ("_is_polling", "taken")

    def __init__(self, memory: bytearray, first_sequence: int) -> None:
        self.taken = 0
        self._is_polling = True
        super().__init__(memory, first_sequence)
        self._is_polling = False

    @property
    def next_sequence(self) -> int:
        sequence: int = NEXT_SEQUENCE.__get__(self)
        return sequence

    @next_sequence.setter
    def next_sequence(self, sequence: int) -> None:
        if not self._is_polling:
            self.taken += sequence - self.next_sequence
        NEXT_SEQUENCE.__set__(self, sequence)

    def jump_to(self, sequence: int) -> None:
        was_polling, self._is_polling = self._is_polling, True
        super().jump_to(sequence)
        self._is_polling = was_polling

    def poll(self) -> bytes | None:
        was_polling, self._is_polling = self._is_polling, True
        record = super().poll()
        self._is_polling = was_polling
        self.taken += record is not None
        return record

    def poll_many(self, limit: int) -> list[bytes]:
        taken, self._is_polling = self.taken, True
        records = super().poll_many(limit)
        self._is_polling = False
        self.taken = taken + len(records)
        return records


@contextmanager
def counts_can_be_taken() -> Iterator[None]:
    """A strategy that is made here takes its records through the subscriber's methods, as the portable loop does; the
    compiled one reads the ring's memory.
    """
    before, hosted_strategy.BOOK_CALLS = hosted_strategy.BOOK_CALLS, BookCalls  # type: ignore[misc]
    try:
        yield
    finally:
        hosted_strategy.BOOK_CALLS = before  # type: ignore[misc]


class SimHost:
    """The strategies' thread: what `LoopRunner` does, with the kernel for a loop.

    The first strategy's records are counted; the others take theirs by whatever loop the engine would use.
    """

    def __init__(
        self,
        kernel: Kernel,
        clock: SimClock,
        process: Process,
        rng: Random,
        strategies: Sequence[SimStrategy],
        symbols: Sequence[str],
        feeds: Sequence[SimFeed],
        ports: Callable[[str], OrderPorts | None],
        followed: FollowedPairs,
    ) -> None:
        self._kernel, self.process, self._rng = kernel, process, rng
        rings = [feed.shard.ring_name for feed in feeds]
        self.counters = new_counters(strategy_counter_names([strategy.name for strategy in strategies], rings))
        self.strategies = list(strategies)

        def host(strategy: SimStrategy) -> HostedStrategy:
            return HostedStrategy(
                strategy,
                strategy.name,
                symbols=symbols,
                ports=[feed.port for feed in feeds],
                clock=clock,
                latency=wire_latency(),
                limits=HostLimits(errors_per_minute_max=1000),
                first_sequence=1,
                order_ports=ports(strategy.name),
                counters=self.counters,
                followed=followed,
            )

        with counts_can_be_taken():
            counted = host(strategies[0])
        self.hosted = [counted, *map(host, strategies[1:])]
        self._counters_of_records = [CountingSubscriber(feed.ring, 1) for feed in feeds]
        for feed, subscriber in zip(counted._feeds, self._counters_of_records, strict=True):
            feed.subscriber = subscriber
        for hosted in self.hosted:
            hosted.callback_failed = partial(self._failed, hosted.name, hosted.callback_failed)  # type: ignore[method-assign]
        self.host = StrategyHost(self.hosted, self.counters, clock)
        self.host.wake_with(self.wake)
        self._is_scheduled = False
        self._timer_at = 0
        self.has_started = False

    def _failed(
        self, name: str, count: Callable[..., None], callback: Callable[..., Any], error: BaseException
    ) -> None:
        if not isinstance(error, Mistake):
            self._kernel.accuse("nothing raises", f"{name}.{callback.__name__}: {error!r}")
        count(callback, error)

    def start(self) -> None:
        self._kernel.create_task(self._start())

    async def _start(self) -> None:
        await self.host.on_start()
        self.has_started = True
        self.process.after(COUNT_NS, self._count)
        self.wake()

    def wake(self) -> None:
        """Somebody rang: a turn, a moment later."""
        if not self._is_scheduled and self.has_started and self.process.is_alive:
            self._is_scheduled = True
            self.process.after(int(self._rng.random() * WAKE_NS_MAX), self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        self.host.do_work()
        if not self.process.is_alive:
            return
        self.check()
        if self.host.ready():
            self.wake()
        due = self.host.next_timer()
        if due and due != self._timer_at:
            self._timer_at = due
            self.process.at(due, self._timer)

    def _timer(self) -> None:
        self._timer_at = 0
        self.wake()

    def _count(self) -> None:
        self.process.after(COUNT_NS, self._count)
        self.host.count()
        if self.host.ready():
            self.wake()

    def check(self) -> None:
        """Records that were received and missed are all that were published."""
        for subscriber in self._counters_of_records:
            if subscriber.taken + subscriber.gap_count != subscriber.next_sequence - 1:
                self._kernel.accuse(
                    "received + gaps = published",
                    f"{self.strategies[0].name}: {subscriber.taken} + {subscriber.gap_count} of "
                    f"{subscriber.next_sequence - 1}",
                )


class EngineRun:
    """All processes of one run."""

    def __init__(
        self,
        world: World,
        *,
        number: int,
        symbols: Sequence[str],
        shard_count: int,
        strategy_count: int,
        timer_s: float,
        settings: dict[str, int],
        ring_slots: int,
        conflate: bool,
        changes_pairs: bool,
        told: Callable[[str, Order], None],
        after_router: Callable[[SimRouter], None],
    ) -> None:
        kernel, clock, weather, venue = world.kernel, world.clock, world.weather, world.venue
        self._kernel = kernel
        self.number = number
        self._after_router = after_router
        rng = kernel.rng(f"run {number}")
        self.process = Process(kernel, "engine")
        self.process.begin()
        self.feeds = [
            SimFeed(
                kernel,
                weather,
                venue,
                shard,
                clock,
                rng,
                settings=PublicSettings(symbols=shard.symbols, **settings),  # type: ignore[arg-type]
                ring_slots=ring_slots,
                conflate=conflate,
                wake=self._wake_host,
                refused=self._feed_told,
            )
            for shard in plan_shards(symbols, shard_count, CANDLES_MIN, ADDED_MAX)
        ]
        self.followed = FollowedPairs([feed.followed for feed in self.feeds], ALL_CHANNELS)
        strategies = []
        for index in range(strategy_count):
            name = f"strategy{index}"
            strategy = SimStrategy(name, kernel, venue, self.process, kernel.rng(f"{name} of run {number}"), told)
            strategy.timer_s = timer_s
            strategy.changes_pairs = changes_pairs
            strategies.append(strategy)
        names = [strategy.name for strategy in strategies]
        rings = OrderRings(names, self.process, world.account_slots)
        self.host = SimHost(
            kernel,
            clock,
            self.process,
            rng,
            strategies,
            symbols,
            self.feeds,
            lambda name: rings.ports(name, number, self._wake_router),
            self.followed,
        )
        self.router = SimRouter(
            world,
            number,
            rng,
            rings,
            names,
            self.feeds,
            self.host.counters,
            wake_host=self._wake_host,
            worked=self._router_worked,
            nudge=lambda: self.private_feed.nudge(),
        )
        self.private_feed = SimPrivateFeed(world, rng, rings, self.router)

    def _wake_host(self) -> None:
        self.host.wake()

    def _wake_router(self) -> None:
        self.router.wake()

    def _router_worked(self) -> None:
        self._after_router(self.router)

    def _feed_told(self, feed: SimFeed, symbol: str, advice: str) -> None:
        """Kraken refuses a pair: what `Supervisor.feed_told` does, in the engine's process."""
        self.process.after(0, self._refuse, feed, symbol, advice)

    def _refuse(self, feed: SimFeed, symbol: str, advice: str) -> None:
        if not feed.was_live(symbol):
            self.followed.refuse(symbol, lambda: [it.tell_refused(symbol, advice) for it in self.host.hosted] and None)

    def start(self) -> None:
        """Everything begins."""
        self.router.start()
        self.private_feed.start()
        self.host.start()
        for feed in self.feeds:
            feed.start()

    @property
    def strategies(self) -> list[SimStrategy]:
        return self.host.strategies

    def die(self) -> None:
        """The engine's process is killed, and its feeds die with it."""
        self.process.die()
        for feed in self.feeds:
            feed.is_ending = True
            feed.process.die()
        self.private_feed.is_ending = True
        self.private_feed.process.die()
        self.router.orphaned()

    def check_at_rest(self, venue: SimVenue) -> None:
        """What holds once nothing goes wrong any more and time has passed."""
        for feed in self.feeds:
            for index, row in enumerate(feed.table.rows):
                if Channel.BOOK in row.channels:
                    venue.check_book_now(row.symbol, feed.observer.board_of(index))
                # Of a name that is no pair nothing is told as of a pair.
                elif (
                    row.symbol in venue.truths
                    and feed.observer.state_of(index, row.symbol) is not FeedState.UNSUBSCRIBED
                ):
                    raise Violation("what nobody follows is unsubscribed", row.symbol)
        rows = [row for feed in self.feeds for row in feed.table.rows if row.symbol]
        venue.check_subscribed({row.symbol: row.channels for row in rows})
        for hosted in self.host.hosted:
            for symbol, channels in hosted.context.channels.items():
                if Channel.BOOK in channels:
                    book, state = hosted.context.books[symbol], hosted.context.states[symbol]
                    venue.check_strategy_book(hosted.name, symbol, book, state)
