"""The order router and the private feed, as processes in virtual time around their real classes.

What `order_router.shell` and `.process`, `private_feed.process` and the supervisor do with files, sockets and tasks is
done here with events: a router that dies leaves its journal's bytes and the rings, and its successor begins from those.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from engine.config import RiskConfig, TradingConfig
from engine.instant import Instant
from engine.kraken.private.events import TradingEvent
from engine.kraken.private.session import PrivateEvent, PrivateSession, PrivateSettings
from engine.kraken.rest.signing import Signer
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.kraken_rest.calls import _queue_of
from engine.kraken_rest.tokens import NoToken
from engine.net.control_socket import NobodyListens
from engine.net.key_lock import KeyLock
from engine.order_router.core.order_core import OrderCore, build
from engine.order_router.core.ports import Ports
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.order_router.process import _end_orders
from engine.order_router.router import OrderRouter
from engine.order_router.settings import core_settings
from engine.orders.blotter import Blotter, fold
from engine.orders.client_order_id import order_tags
from engine.orders.journal import Journal, JournalUnusable
from engine.orders.journal_records import JournalError, Record, RunBegan, records_of_run
from engine.orders.rings.account_ring import ACCOUNT_RECORD_BYTES
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMANDS
from engine.orders.rings.reports import REPORT_RECORD_BYTES
from engine.private_feed.feed import PrivateFeed
from engine.processes.balance_board import (
    BALANCE_BOARD_BYTES,
    BalanceBoardReader,
    BalanceBoardWriter,
    format_balance_board,
)
from engine.processes.callback_words import StrategyWords
from engine.processes.pair_table import PairTable
from engine.processes.token_socket import NoToken as NoTokenGiven
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.secret import Secret, fingerprint
from engine.strategy_host.order_client import OrderPorts
from engine.supervisor.children import RestartDelay
from engine.telemetry import Counters, new_counters
from engine.topology import PRIVATE_FEED_COUNTERS
from engine.units import NS_PER_MS, NS_PER_S, NS_PER_US, MonoNs
from tests.simulate.disk import SimDisk, drop_descriptors
from tests.simulate.feeds import SimFeed
from tests.simulate.kernel import Death, Kernel, Process, SimClock, Timer
from tests.simulate.mortal import mortal
from tests.simulate.network import GapOverhearer, SimConnection, Weather
from tests.simulate.rest import RestWeather, SimRest
from tests.simulate.venue import SimVenue

WAKE_NS_MAX: Final = 100 * NS_PER_US
NOTICED_NS_MAX: Final = 5 * NS_PER_MS
COMMAND_SLOTS: Final = 64
REPORT_SLOTS: Final = 256
PRIVATE_ROUTE, TRADING_ROUTE = "private", "trading"


def gated_ring(record_bytes: int, slot_count: int) -> bytearray:
    """An empty ring with one gate."""
    ring = bytearray(ring_bytes(record_bytes, slot_count, gate_count=1))
    format_ring(ring, record_bytes=record_bytes, slot_count=slot_count, gate_count=1, is_zeroed=True)
    return ring


class World:
    """What outlives every process: the venue, the network, the disk, the key."""

    def __init__(
        self,
        kernel: Kernel,
        clock: SimClock,
        weather: Weather,
        rest_weather: RestWeather,
        venue: SimVenue,
        disk: SimDisk,
        trading: TradingConfig,
        risk: RiskConfig,
        hang_ns_max: int,
        on_nonce: Callable[[int], None],
        account_slots: int,
        segment_bytes_max: int,
    ) -> None:
        self.kernel, self.clock, self.weather, self.rest_weather = kernel, clock, weather, rest_weather
        self.venue, self.disk, self.trading, self.risk, self.hang_ns_max = venue, disk, trading, risk, hang_ns_max
        self.on_nonce, self.account_slots = on_nonce, account_slots
        self.segment_bytes_max = segment_bytes_max


class OrderRings:
    """The rings of one run's orders, and what they are made for."""

    def __init__(self, strategies: Sequence[str], host: Process, account_slots: int) -> None:
        self.command = gated_ring(COMMAND_RECORD_BYTES, COMMAND_SLOTS)
        self.account = gated_ring(ACCOUNT_RECORD_BYTES, account_slots)
        self.reports = {name: gated_ring(REPORT_RECORD_BYTES, REPORT_SLOTS) for name in strategies}
        self.balances = bytearray(BALANCE_BOARD_BYTES)
        format_balance_board(self.balances, is_zeroed=True)
        self._balance_board = BalanceBoardReader(self.balances)
        self._tags = order_tags(strategies)
        self._publisher = Publisher(self.command)
        self._host = host

    def ports(self, strategy: str, run: int, wake: Callable[[], None]) -> OrderPorts:
        """What a strategy's orders need."""
        commands: Any = _HostPublisher(self._publisher, self._host, wake)
        reports = GatedSubscriber(self.reports[strategy])
        return OrderPorts(commands, reports, self._balance_board, self._tags[strategy], run)


class _HostPublisher:
    """The command ring, as the host publishes in it: nothing any more once the host is dead."""

    def __init__(self, publisher: Publisher, host: Process, wake: Callable[[], None]) -> None:
        self._publisher = publisher
        self._host = host
        self._wake = wake

    def try_publish(self, record: bytes) -> bool:
        if not self._host.is_alive:
            return False
        body = record[4 : 4 + int.from_bytes(record[:4], "little")]
        self._host.kernel.note("command", body, lambda: str(COMMANDS.unpack(record)))
        return self._publisher.try_publish(record)

    def flush(self) -> None:
        self._publisher.flush()
        self._wake()


class SimRouter:
    """The order router's place: the journal, the rings, and the process that fills it now."""

    def __init__(
        self,
        world: World,
        run: int,
        rng: Random,
        rings: OrderRings,
        strategies: Sequence[str],
        feeds: Sequence[SimFeed],
        host_counters: Counters,
        *,
        wake_host: Callable[[], None],
        worked: Callable[[], None],
        nudge: Callable[[], None],
    ) -> None:
        self._world, self._run, self._rng, self._rings = world, run, rng, rings
        self._strategies, self._feeds, self._host_counters = list(strategies), list(feeds), host_counters
        self._wake_host, self._worked, self._nudge = wake_host, worked, nudge
        # This life's report rings, and how many reports the host was woken for.
        self._reports: list[Publisher] = []
        self._reported = 0
        self.process = Process(world.kernel, "order_router")
        self.core: OrderCore | None = None
        self.journal: Journal | None = None
        self._key: KeyLock | None = None
        self._delay = RestartDelay(0.1, 2.0)
        self._began_at = MonoNs(0)
        self._lives = 0
        self._is_scheduled = False
        # When the router wants its next turn though nothing comes, and what will give it, a beat
        # after the last.
        self._timer_at = 0
        self._timer: Timer | None = None
        # The end under way, of an engine that is gone.
        self._ending: Any = None
        # Who waits for a token of this life.
        self._askers: list[Any] = []
        self.is_over = False
        self.is_orphan = False
        self.process.on_death.append(self._died)

    # --- a life

    def start(self) -> None:
        """A life begins: from the journal's bytes and the rings as they are."""
        world, process = self._world, self.process
        process.begin()
        self._began_at = world.clock.mono_ns()
        is_successor, self._lives = self._lives > 0, self._lives + 1
        self._is_scheduled, self._timer_at = False, 0
        world.disk.writer = process
        try:
            self._assemble(is_successor)
        except (JournalUnusable, JournalError) as error:
            world.kernel.note("router cannot begin", str(error))
            process.die()
            return
        assert self.core is not None
        self._router.look_at_clock()
        self.core.begin()
        self.connection.start()
        if is_successor:
            process.after(0, self._nudge)
        self.wake()

    def _assemble(self, is_successor: bool) -> None:
        world, process = self._world, self.process
        clock, kernel = world.clock, world.kernel
        now = Instant(clock.mono_ns(), clock.wall_ns())
        api_key = world.venue.keys.default
        signer = Signer(api_key.key, Secret(api_key.secret))
        self._key = key = KeyLock(api_key.key, world.disk.folder / "keys", boot="simulated")
        queue = _queue_of(key, clock, now)
        opened = self._open_journal(signer, is_successor)
        trading = world.trading
        session = TradingSession(TradingSettings(answer_deadline_ns=int(trading.answer_timeout_s * NS_PER_S)))
        self.connection: SimConnection[TradingEvent] = SimConnection(
            kernel,
            process,
            world.weather,
            TRADING_ROUTE,
            session,
            venue=world.venue,
            connect=world.venue.connect_private,
            on_events=self._on_events,
            on_burst_end=self._end_burst,
        )
        boards = MarketBoards(
            [BoardPort(feed.shard, feed.board, feed.counters, PairTable(feed.table_memory)) for feed in self._feeds],
            clock,
        )
        process.on_doomed.clear()
        reports = {name: mortal(Publisher(ring), process) for name, ring in self._rings.reports.items()}
        self._reports, self._reported = list(reports.values()), 0
        ports = Ports(
            now=now,
            session=session,
            socket=self.connection,
            calls=queue,
            journal=self.journal,  # type: ignore[arg-type]
            reports=reports,
            balances=BalanceBoardWriter(self._rings.balances),
            boards=boards,
            words=StrategyWords(self._host_counters, self._strategies),
            history=None,
            on_sent=_nothing_sent,
            on_acknowledged=_nothing_acknowledged,
            chance=kernel.rng(f"router {self._run}.{self._lives}").random,
        )
        blotter, of_run, unwritten = opened
        symbols = tuple(symbol for feed in self._feeds for symbol in feed.shard.symbols)
        holders = {self._strategies[0]: symbols} if trading.positions == "account" else None
        settings = core_settings(trading, world.risk, world.hang_ns_max, holders)
        self.core = build(settings, ports, blotter, written_in_run=of_run, unwritten=unwritten)
        self._router = OrderRouter(
            self.core,
            now,
            commands=GatedSubscriber(self._rings.command),
            account=GatedSubscriber(self._rings.account),
            clock=clock,
        )
        self._router.wake_with(self.wake)
        self.rest = SimRest(
            kernel,
            process,
            world.weather,
            world.rest_weather,
            world.venue,
            clock,
            now,
            queue,
            signer,
            key,
            self._end_answer,
            world.on_nonce,
        )

    def _open_journal(self, signer: Signer, is_successor: bool) -> tuple[Blotter, Sequence[Record], Sequence[Record]]:
        """What `shell._open_journal` does."""
        world = self._world
        self.journal, records, found = Journal.open(Path(world.disk.folder), segment_bytes_max=world.segment_bytes_max)
        world.kernel.note("journal", found)
        blotter = fold(records)
        began = RunBegan(self._run, "simulated", fingerprint(signer.api_key), world.clock.wall_ns())
        unwritten: Sequence[Record] = ()
        try:
            self.journal.append(began)
        except JournalError:
            if not is_successor:
                raise
            unwritten = (began,)
        blotter.apply(began)
        return blotter, records_of_run(records, self._run), unwritten

    # --- the duty cycle

    def wake(self) -> None:
        """A ring was rung: a turn, a moment later."""
        if not self._is_scheduled and self.process.is_alive:
            self._is_scheduled = True
            self.process.after(int(self._rng.random() * WAKE_NS_MAX), self._turn)

    def wake_if_ready(self) -> None:
        """The same, unless there is nothing to take."""
        if self.core is not None and self._router.ready():
            self.wake()

    def _turn(self) -> None:
        self._is_scheduled = False
        self._world.disk.writer = self.process
        self.process.point()
        self._router.do_work()
        if self._key is not None:
            self._key.catch_up()  # the process does it twenty times a second
        self._after_work()
        if self._router.ready():
            self.wake()
        if self._router.next_timer() != self._timer_at:
            self._timer_at = self._router.next_timer()
            if self._timer is not None:
                self._timer.cancel()
            kernel = self._world.kernel
            self._timer = self.process.at(max(self._timer_at, kernel.now + kernel.beat_ns), self._timer_rang)

    def _timer_rang(self) -> None:
        """What is due by time alone: a turn, unless one is about to come."""
        if not self._is_scheduled:
            self._turn()

    def _on_events(self, events: Sequence[TradingEvent]) -> None:
        self._world.disk.writer = self.process
        self.process.point()
        self._router.on_trading_events(events)

    def _end_burst(self) -> None:
        if self.core is not None:
            self.core.end_burst()
            self._after_work()

    def _end_answer(self) -> None:
        if self.core is not None:
            self._router.end_answer()
            self._after_work()

    def _after_work(self) -> None:
        self._worked()
        reported = sum([publisher.cursor for publisher in self._reports])
        if reported != self._reported:
            self._reported = reported
            self._wake_host()

    def compact(self) -> None:
        """Begin a new segment of the journal now, as if the present one were full."""
        world, core = self._world, self.core
        if core is not None and self.journal is not None and self.process.is_alive:
            world.kernel.note("compacts")
            world.disk.writer = self.process
            self._router.look_at_clock()
            core.records.begin_segment()

    async def ask_token(self) -> str:
        """What the private feed asks through the router's socket."""
        kernel = self._world.kernel
        if not self.process.is_alive or self.core is None:
            raise NobodyListens("the order router is not there to give a token")
        given = kernel.create_future()

        def take(token: Secret | NoToken) -> None:
            if not given.done():
                given.set_result(token)

        self._askers.append(given)
        self._router.look_at_clock()
        self.core.tokens.give(take)
        token = await given
        if isinstance(token, NoToken):
            raise NoTokenGiven(str(token))
        return token.reveal()  # type: ignore[no-any-return]

    # --- the end

    def orphaned(self) -> None:
        """The engine is gone: end what is open, as configured, and exit."""
        self.is_orphan = True
        if not self.process.is_alive:
            self.is_over = True
            return
        self._ending = self._world.kernel.create_task(self._end(is_orphan=True))

    async def _end(self, *, is_orphan: bool) -> None:
        life = self.process.life
        try:
            await _end_orders(self._router, self._world.trading, is_orphan=is_orphan)
        except Death:
            self.process.die()
        if life == self.process.life:
            self._router.do_work()
            self.process.die()

    def _died(self) -> None:
        """What the kernel does: its files are closed, its sockets too; the supervisor notices."""
        if self._ending is not None:
            self._ending.cancel()
        if self.journal is not None:
            drop_descriptors(self.journal._fd, self.journal._lock_fd)
            self.journal._fd = self.journal._lock_fd = -1
        if self._key is not None:
            drop_descriptors(self._key._fd)
            self._key._fd = -1
        self.journal = self._key = None
        askers, self._askers = self._askers, []
        for asker in askers:
            if not asker.done():
                asker.set_exception(NobodyListens("the order router gave no token"))
        self.core = None
        if self.is_orphan:
            self.is_over = True
        else:
            self._world.kernel.after(int(self._rng.random() * NOTICED_NS_MAX), self._noticed)

    def _noticed(self) -> None:
        if self.is_orphan:
            return
        delay_s = self._delay.after_life(self._began_at, self._world.clock.mono_ns())
        self._world.kernel.after(int(delay_s * NS_PER_S), self._restart)

    def _restart(self) -> None:
        if not self.is_orphan and not self.process.is_alive:
            self.start()


class SimPrivateFeed:
    """The private feed's place."""

    def __init__(self, world: World, rng: Random, rings: OrderRings, router: SimRouter) -> None:
        self._world, self._rng, self._rings, self._router = world, rng, rings, router
        self.process = Process(world.kernel, "private_feed")
        self.process.on_death.append(self._died)
        self._counters = new_counters(PRIVATE_FEED_COUNTERS)
        self._delay = RestartDelay(0.1, 2.0)
        self._began_at = MonoNs(0)
        self._lives = 0
        self.is_ending = False
        self.feed: PrivateFeed | None = None

    def start(self) -> None:
        """A life begins."""
        world, process = self._world, self.process
        process.begin()
        self._lives += 1
        self._began_at = world.clock.mono_ns()
        session = self._session = PrivateSession(PrivateSettings())
        process.on_doomed.clear()
        process.on_doomed.append(self._watch_stores)
        publisher = Publisher(self._rings.account)
        feed = self.feed = PrivateFeed(
            session,
            publisher=publisher,
            counters=self._counters,
            clock=world.clock,
            ask_token=self._router.ask_token,
            chance=world.kernel.rng(f"private feed {self._lives}").random,
        )
        feed._publisher = mortal(publisher, process)
        self._receive = feed.receive
        feed.on_start()
        connection: SimConnection[PrivateEvent] = SimConnection(
            world.kernel,
            process,
            world.weather,
            PRIVATE_ROUTE,
            session,
            venue=world.venue,
            connect=world.venue.connect_private,
            on_events=self._on_events,
            on_burst_end=self._end_burst,
            receive=lambda frame, received_at: self._receive(frame, received_at),
            overhearer=GapOverhearer(process, self._session),
        )
        self.connection = connection
        feed.connection = feed.traffic = connection
        connection.start()
        process.after(world.kernel.beat_ns, self._work)
        self._router.wake()

    def _watch_stores(self) -> None:
        """From now on it may die between any two stores. A lane stores by itself, so the
        session takes everything from here on.
        """
        self._receive = self._session.receive

    def nudge(self) -> None:
        """The router asks for fresh snapshots."""
        if self.process.is_alive:
            self.process.after(0, self._nudged)

    def _nudged(self) -> None:
        if self.feed is not None:
            self.feed.nudge()
            self._router.wake()

    def _on_events(self, events: Sequence[PrivateEvent]) -> None:
        self.process.point()
        assert self.feed is not None
        self.feed.on_events(events)

    def _end_burst(self) -> None:
        assert self.feed is not None
        self.feed.on_burst_end()
        self._router.wake()

    def _work(self) -> None:
        assert self.feed is not None
        self.feed.do_work()
        self.process.after(self._world.kernel.beat_ns, self._work)
        self._router.wake_if_ready()

    def _died(self) -> None:
        self.feed = None
        if not self.is_ending:
            self._world.kernel.after(int(self._rng.random() * NOTICED_NS_MAX), self._noticed)

    def _noticed(self) -> None:
        delay_s = self._delay.after_life(self._began_at, self._world.clock.mono_ns())
        self._world.kernel.after(int(delay_s * NS_PER_S), self._restart)

    def _restart(self) -> None:
        if not self.is_ending and not self.process.is_alive:
            self.start()


def _nothing_sent(issued_at: MonoNs, tick_at: MonoNs) -> None:
    """Nobody measures."""


def _nothing_acknowledged(took_ns: int) -> None:
    """Nobody measures."""
