"""The trading side of one run: its rings, the private feed and the order router.

    strategy host ─ command ─► order_router ─ report-s ─► strategy host
    private_feed ─ account ──► order_router

The router outlives the engine: when the engine's process dies, the router sees its news
socket end, cancels what is open (or keeps it, as configured) and exits. The private feed
dies with the engine.
"""

import os
import socket
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from engine.clock import Clock
from engine.config import Config
from engine.orders.client_order_id import order_tags
from engine.orders.rings.account_ring import ACCOUNT_RECORD_BYTES, ACCOUNT_SLOTS
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMAND_SLOTS
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORT_SLOTS
from engine.orders.risk import TradingMode
from engine.processes.balance_board import BALANCE_BOARD_BYTES, BalanceBoardReader, format_balance_board
from engine.processes.launch import (
    MarketView,
    News,
    PrivateFeedLaunch,
    ReportPort,
    RouterLaunch,
)
from engine.processes.position_board import format_position_board, position_board_bytes, position_slots
from engine.processes.run_view import TradingMap
from engine.processes.status_board import STATUS_BOARD_BYTES, format_status_board, read_status
from engine.ring import (
    BoardReader,
    GatedSubscriber,
    Publisher,
    Segment,
    format_ring,
    open_eventfd,
    ring_bytes,
)
from engine.strategy_host.order_client import OrderPorts
from engine.supervisor.actor import Actor
from engine.supervisor.fork_server import ForkServer
from engine.supervisor.run_directory import RunDirectory
from engine.telemetry import Histogram
from engine.topology import (
    ACCOUNT_RING,
    COMMAND_RING,
    ORDER_ROUTER,
    PRIVATE_FEED,
    PRIVATE_FEED_COUNTERS,
    ROUTER_COUNTERS,
    ROUTER_DOORBELL,
    ROUTER_HISTOGRAMS,
    STRATEGY_HOST_DOORBELL,
    report_ring,
)
from engine.units import NS_PER_S

log = structlog.get_logger("supervisor")


class Account(Struct, frozen=True):
    """The account to trade on, and where its state is stored."""

    private_url: str
    rest_url: str
    credentials_fd: int
    """The descriptor that the router takes its key from; empty for a key that it finds
    itself.
    """
    is_live: bool
    """True for real money."""
    state_dir: Path
    run: int
    """The number of this run, never the same twice in one state directory."""
    is_paper: bool = False
    """True where the market is another venue's: `rest_url` is no second source of it."""


class Trading:
    """The rings, boards and processes of one run's orders."""

    def __init__(
        self,
        config: Config,
        account: Account,
        *,
        directory: RunDirectory,
        strategies: Sequence[str],
        holders: Mapping[str, tuple[str, ...]],
        balance_callers: Collection[str],
        markets: Sequence[MarketView],
        fork_server: ForkServer,
        host_eventfd: int,
        clock: Clock,
        on_news: Callable[[News], None],
        on_death: Callable[[str, str], None],
        attempts_max: int,
        host_counters_fd: int,
    ) -> None:
        """`holders`: the strategies whose positions begin with the account's holdings, each
        with its pairs. `balance_callers`: the strategies that get a call when a balance
        changes. `on_death` is called with the name of a process that died and the way it
        ended; its successor finds everything in the rings and the journal.
        """
        self._host_counters_fd = host_counters_fd
        self._holders = holders
        self._balance_callers = balance_callers
        self._on_death = on_death
        self._config = config
        self._account = account
        self._directory = directory
        self._markets = list(markets)
        self._host_eventfd = host_eventfd
        self._attempts_max = attempts_max
        self._router_eventfd = open_eventfd()
        weakref.finalize(self, os.close, self._router_eventfd)
        self._fork_server = fork_server
        self._engine_fd = os.pidfd_open(os.getpid())
        weakref.finalize(self, os.close, self._engine_fd)
        self._command_ring = _gated_ring(COMMAND_RING, COMMAND_RECORD_BYTES, COMMAND_SLOTS)
        self._account_ring = _gated_ring(ACCOUNT_RING, ACCOUNT_RECORD_BYTES, ACCOUNT_SLOTS)
        self._reports = {name: _gated_ring(report_ring(name), REPORT_RECORD_BYTES, REPORT_SLOTS) for name in strategies}
        self._status = Segment.create("router-status", STATUS_BOARD_BYTES)
        format_status_board(self._status.memory)
        self._status_board = BoardReader(self._status.memory)
        slots = position_slots(len(strategies), sum(view.shard.pairs_max for view in markets))
        self._positions = Segment.create("positions", position_board_bytes(slots))
        format_position_board(self._positions.memory, slots)
        self._balances = Segment.create("balances", BALANCE_BOARD_BYTES)
        format_balance_board(self._balances.memory, is_zeroed=True)
        self._balance_board = BalanceBoardReader(self._balances.memory)
        self._histogram_segments = {name: histogram_segment(name) for name in ROUTER_HISTOGRAMS}
        # By which the router asks the private feed for fresh snapshots.
        self._nudge_of_router, self._nudge_of_feed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._publisher = Publisher(self._command_ring.memory, [(ROUTER_DOORBELL, self._router_eventfd)])
        self._tags = order_tags(strategies)
        self.router = self._actor(ORDER_ROUTER, ROUTER_COUNTERS, self._router_launch, clock, on_news)
        self.private_feed = self._actor(PRIVATE_FEED, PRIVATE_FEED_COUNTERS, self._feed_launch, clock, on_news)
        self.actors = [self.router, self.private_feed]

    def order_ports(self, strategy: str) -> OrderPorts:
        """The rings of a strategy's orders."""
        reports = GatedSubscriber(self._reports[strategy].memory, is_sized=True)
        return OrderPorts(self._publisher, reports, self._balance_board, self._tags[strategy], self._account.run)

    @property
    def report_memories(self) -> list[memoryview]:
        """The report rings, for the host's doorbells."""
        return [segment.memory for segment in self._reports.values()]

    def start(self) -> None:
        """Start the router and the private feed, which waits for the router's token."""
        self.router.start()
        self.private_feed.start()

    async def stop(self, deadline_s: float) -> None:
        """Stop the router before the private feed: the router cancels open orders, and
        learns from the feed that they are canceled.
        """
        await self.router.stop(deadline_s + self._config.trading.answer_timeout_s)
        await self.private_feed.stop(deadline_s)
        self._nudge_of_feed.close()
        self._nudge_of_router.close()

    def left_open(self) -> str:
        """After `stop`: a sentence about orders that may still be open although the
        configuration says to cancel them; else empty.
        """
        trading, orders = self._config.trading, self.router.counters.get("own_open")
        if not orders or trading.on_stop != "cancel":
            return ""
        end = (
            f"its dead man's switch ends them within {trading.dead_man_s} s"
            if trading.dead_man_s
            else "cancel them there"
        )
        return f"{orders} orders are left open: Kraken has not confirmed the cancels in time; {end}"

    @property
    def has_opened(self) -> bool:
        """True if orders are accepted, or if a person has halted trading, which only a
        person ends.
        """
        status = self.status()
        return bool(status.get("is_open")) or status.get("mode") == TradingMode.HALTED.value

    def status(self) -> dict[str, Any]:
        """The router's last status; empty before the first."""
        return read_status(self._status_board)

    @property
    def state_dir(self) -> Path:
        """The directory of journal and history."""
        return self._account.state_dir

    @property
    def commands_held_up(self) -> int:
        """The number of commands that had to wait for room in their ring."""
        return self._publisher.full_count

    def segments(self) -> tuple[TradingMap, list[Segment]]:
        """The memory segments that another process may attach."""
        router, private_feed = self.router.counters_segment, self.private_feed.counters_segment
        reports, histograms = list(self._reports.values()), list(self._histogram_segments.values())
        mapped = TradingMap(
            router_counters=router.fd,
            private_feed_counters=private_feed.fd,
            status=self._status.fd,
            positions=self._positions.fd,
            command_ring=self._command_ring.fd,
            account_ring=self._account_ring.fd,
            report_rings=[segment.fd for segment in reports],
            histograms=[segment.fd for segment in histograms],
        )
        return mapped, [
            router, private_feed, self._status, self._positions, self._command_ring, self._account_ring,
            *reports, *histograms,
        ]  # fmt: skip

    def _actor(
        self,
        name: str,
        counter_names: tuple[str, ...],
        make_launch: Callable[[Actor], Any],
        clock: Clock,
        on_news: Callable[[News], None],
    ) -> Actor:
        return Actor(
            name,
            name,
            counter_names,
            fork_server=self._fork_server,
            make_launch=make_launch,
            on_death=lambda reason, _: self._on_death(name, reason),
            on_news=on_news,
            settings=self._config.engine,
            clock=clock,
        )

    def _feed_launch(self, actor: Actor) -> tuple[PrivateFeedLaunch, tuple[int, ...]]:
        config = self._config
        launch = PrivateFeedLaunch(
            url=self._account.private_url,
            ca_file=config.venue.ca_file,
            connection=config.connection,
            attempts_max=self._attempts_max,
            token_path=str(self._directory.token_path),
            ring_fd=self._account_ring.fd,
            doorbells=[(ROUTER_DOORBELL, self._router_eventfd)],
            nudge_fd=self._nudge_of_feed.fileno(),
            heartbeat_silence_ns=int(config.feed.heartbeat_silence_s * NS_PER_S),
            counters_fd=actor.counters_segment.fd,
            warnings_fd=actor.warnings_segment.fd,
            news_fd=actor.news_of_child.fileno(),
            log=config.log,
        )
        return launch, launch.descriptors

    def _router_launch(self, actor: Actor) -> tuple[RouterLaunch, tuple[int, ...]]:
        config, account = self._config, self._account
        launch = RouterLaunch(
            url=account.private_url,
            rest_url=account.rest_url,
            ca_file=config.venue.ca_file,
            connection=config.connection,
            attempts_max=self._attempts_max,
            cpus=config.trading.cpus,
            credentials_fd=account.credentials_fd,
            is_live=account.is_live,
            run=account.run,
            state_dir=str(account.state_dir),
            token_path=str(self._directory.token_path),
            control_path=str(self._directory.router_path),
            trading=config.trading,
            risk=config.risk,
            symbols=config.symbols,
            markets=self._markets,
            command_fd=self._command_ring.fd,
            account_fd=self._account_ring.fd,
            eventfd=self._router_eventfd,
            reports=[
                ReportPort(name, segment.fd, self._holders.get(name, ()), name in self._balance_callers)
                for name, segment in self._reports.items()
            ],
            host_counters_fd=self._host_counters_fd,
            hang_ns_max=int(config.engine.hang_s_max * NS_PER_S),
            report_doorbells=[(STRATEGY_HOST_DOORBELL, self._host_eventfd)],
            nudge_fd=self._nudge_of_router.fileno(),
            status_fd=self._status.fd,
            positions_fd=self._positions.fd,
            balances_fd=self._balances.fd,
            histogram_fds=[segment.fd for segment in self._histogram_segments.values()],
            counters_fd=actor.counters_segment.fd,
            warnings_fd=actor.warnings_segment.fd,
            news_fd=actor.news_of_child.fileno(),
            engine_fd=self._engine_fd,
            engine_pid=os.getpid(),
            log=config.log,
        )
        return launch, launch.descriptors


def _gated_ring(name: str, record_bytes: int, slot_count: int) -> Segment:
    segment = Segment.create(name, ring_bytes(record_bytes, slot_count, gate_count=1))
    format_ring(segment.memory, record_bytes=record_bytes, slot_count=slot_count, gate_count=1)
    return segment


def histogram_segment(name: str) -> Segment:
    """An empty histogram that other processes can look at."""
    segment = Segment.create(f"histogram-{name}", Histogram.bytes_needed)
    Histogram.format(segment.memory)
    return segment
