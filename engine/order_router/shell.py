"""The order core's shell: its ports over the files, sockets and shared memory that the
supervisor passed on.

    key ─► KrakenRest ─► RestCalls ─► CallQueue ─┐
    journal file ─► blotter ─────────────────────┤
    boards, callback words, report rings ────────┼─► Ports ─► build ─► OrderCore ◄─ OrderRouter ◄─ rings
    trading session ◄─► connection ──────────────┘

`process` runs what is built here.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import structlog

import engine.net.http_session  # noqa: F401 - a token is asked for at once: not loaded only then
from engine.clock import Clock
from engine.credentials import Credentials, load_credentials, take_over
from engine.history import HistoryWriter, fills_of
from engine.instant import Instant
from engine.kraken.private.events import TradingEvent
from engine.kraken.rest.signing import Signer
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.kraken_rest.calls import RestCalls
from engine.kraken_rest.client import KrakenRest
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.order_router.core.gate import JOURNAL_FAILS
from engine.order_router.core.order_core import OrderCore, build
from engine.order_router.core.ports import Ports
from engine.order_router.counters import RouterCounters
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.order_router.router import OrderRouter
from engine.order_router.settings import core_settings
from engine.order_router.status import RouterStatus
from engine.orders.blotter import Blotter, fold
from engine.orders.journal import Journal
from engine.orders.journal_records import JournalError, ModeChanged, Record, RunBegan, records_of_run
from engine.orders.risk import TradingMode
from engine.processes.balance_board import BalanceBoardWriter
from engine.processes.callback_words import StrategyWords
from engine.processes.connecting import make_connection, make_resolver
from engine.processes.launch import RouterLaunch
from engine.processes.pair_table import PairTable
from engine.processes.position_board import PositionBoardWriter
from engine.processes.stack_request import StackRequests
from engine.processes.status_board import read_status
from engine.ring import BoardReader, BoardWriter, Doorbell, GatedSubscriber, Publisher, Segment
from engine.secret import fingerprint
from engine.state_directory import HISTORY_FILE
from engine.telemetry import Counters, Histogram
from engine.telemetry.version import engine_version
from engine.topology import ROUTER_DOORBELL, ROUTER_HISTOGRAMS, strategy_counter_names
from engine.units import NS_PER_S, MonoNs

log = structlog.get_logger("order_router")


class RouterShell(NamedTuple):
    """The parts that run, and those that must be closed."""

    core: OrderCore
    router: OrderRouter
    https: HttpsClient
    key_lock: KeyLock
    rest: RestCalls
    journal: Journal
    history: HistoryWriter | None
    connection: WebSocketConnection[TradingEvent]
    status: RouterStatus
    counters: RouterCounters
    doorbells: list[Doorbell]
    stacks: StackRequests
    is_successor: bool
    """True if another router served this run of the engine before."""


def assemble(launch: RouterLaunch, clock: Clock, counters: Counters, *, is_successor: bool) -> RouterShell:
    """Build the shell, in a process with a running event loop. `counters` are the
    router's, `is_successor`: another router served this run of the engine before. Raises
    UserError for an unusable key or journal, JournalError if the journal takes no record.
    """
    trading = launch.trading
    memories = {fd: Segment.attach(fd).memory for fd in _segment_fds(launch)}
    histograms = {
        name: Histogram(memories[fd]) for name, fd in zip(ROUTER_HISTOGRAMS, launch.histogram_fds, strict=True)
    }
    counters.set("heartbeat_ns", clock.mono_ns())
    now, names = Instant(clock.mono_ns(), clock.wall_ns()), make_resolver(launch.connection)
    https, key_lock, signer = _open_rest(launch, clock, names)
    rest = RestCalls(KrakenRest(https, clock, signer=signer, key=key_lock), clock, now, histograms["rest"])
    opened = _open_journal(launch, signer, clock, is_successor=is_successor)
    if is_successor:
        opened = _with_unwritten_mode(opened, read_status(BoardReader(memories[launch.status_fd])), clock)
    history = HistoryWriter(Path(launch.state_dir) / HISTORY_FILE) if trading.history else None
    session = TradingSession(
        TradingSettings(
            answer_deadline_ns=int(trading.answer_timeout_s * NS_PER_S),
            ping_interval_ns=int(launch.connection.ping_interval_s * NS_PER_S),
            pong_deadline_ns=int(launch.connection.ping_timeout_s * NS_PER_S),
        )
    )
    # The connection needs the router, which is made after the core; nothing is received
    # before it runs.
    routers: list[OrderRouter] = []
    connection: WebSocketConnection[TradingEvent] = make_connection(
        launch,
        launch.url,
        session,
        on_events=lambda events: routers[0].on_trading_events(events),
        on_burst_end=lambda: routers[0].core.end_burst(),
        clock=clock,
        resolver=names,
    )
    boards = _boards(launch, memories, clock)
    strategies = [port.strategy for port in launch.reports]
    host_names = strategy_counter_names(strategies, [market.shard.ring_name for market in launch.markets])
    host_counters = Counters(memories[launch.host_counters_fd], host_names)
    ports = Ports(
        now=now,
        session=session,
        socket=connection,
        calls=rest.queue,
        journal=opened.journal,
        reports={port.strategy: Publisher(memories[port.ring_fd], launch.report_doorbells) for port in launch.reports},
        balances=BalanceBoardWriter(memories[launch.balances_fd]),
        boards=boards,
        words=StrategyWords(host_counters, strategies),
        history=history,
        on_sent=_latency_meter(histograms, clock),
        on_acknowledged=histograms["ack"].record,
        on_took=lambda step, ns: histograms[step].record(ns),
        chance=random.random,
    )
    core = build(
        core_settings(
            trading, launch.risk, launch.hang_ns_max,
            {port.strategy: port.begins_with for port in launch.reports if port.begins_with},
            [port.strategy for port in launch.reports if port.is_called_with_balances],
        ), ports, opened.blotter,
        written_in_run=opened.of_run, unwritten=opened.unwritten,
    )  # fmt: skip
    router = OrderRouter(
        core, now, commands=GatedSubscriber(memories[launch.command_fd], is_sized=True),
        account=GatedSubscriber(memories[launch.account_fd], is_sized=True), clock=clock,
    )  # fmt: skip
    routers.append(router)
    rest.on_answered = router.end_answer
    return RouterShell(
        core=core,
        router=router,
        https=https,
        key_lock=key_lock,
        rest=rest,
        journal=opened.journal,
        history=history,
        connection=connection,
        status=RouterStatus(
            router, BoardWriter(memories[launch.status_fd]), PositionBoardWriter(memories[launch.positions_fd]), boards
        ),
        counters=RouterCounters(counters, router, connection, clock),
        doorbells=[
            Doorbell(memories[fd], ROUTER_DOORBELL, launch.eventfd) for fd in (launch.command_fd, launch.account_fd)
        ],
        stacks=StackRequests(
            host_counters, strategies, launch.engine_pid, launch.engine_fd, after_ns=launch.hang_ns_max
        ),
        is_successor=is_successor,
    )


def _boards(launch: RouterLaunch, memories: dict[int, memoryview], clock: Clock) -> MarketBoards:
    return MarketBoards(
        [
            BoardPort(
                view.shard,
                memories[view.board_fd],
                Counters(memories[view.counters_fd], view.shard.counter_names),
                PairTable(memories[view.pair_table_fd]),
            )
            for view in launch.markets
        ],
        clock,
    )


def _latency_meter(histograms: dict[str, Histogram], clock: Clock) -> Callable[[MonoNs, MonoNs], None]:
    """A function to call when an order's bytes were written: it records the time since the
    strategy's command and since the market record.
    """
    strategy_to_wire, tick_to_order = histograms["strategy_to_wire"], histograms["tick_to_order"]

    def measure(issued_at: MonoNs, tick_at: MonoNs) -> None:
        left_at = clock.mono_ns()
        if issued_at:
            strategy_to_wire.record(left_at - issued_at)
        if tick_at:
            tick_to_order.record(left_at - tick_at)

    return measure


def _key_of(launch: RouterLaunch) -> Credentials:
    """The key of the account: the local venue's own for play money, whatever places of a
    real one the configuration names; that one stays unread.
    """
    trading, handed_over = launch.trading, take_over(launch.credentials_fd)
    if handed_over is not None and not launch.is_live:
        return handed_over
    return load_credentials(
        file=Path(trading.credentials_file) if trading.credentials_file else None,
        keyring=trading.keyring,
        handed_over=handed_over,
    )


def _open_rest(launch: RouterLaunch, clock: Clock, names: Resolver) -> tuple[HttpsClient, KeyLock, Signer]:
    credentials = _key_of(launch)
    log.info("API key", fingerprint=credentials.fingerprint, source=credentials.source)
    if credentials.warning is not None:
        log.warning("API key", warning=credentials.warning)
    # Play-money keys belong to one venue each, so two engines on this machine may have the
    # same one.
    key_lock = KeyLock(credentials.api_key, None if launch.is_live else Path(launch.state_dir) / "keys")
    ca_file = Path(launch.ca_file) if launch.ca_file else None
    https = HttpsClient(launch.rest_url, clock=clock, resolver=names, ca_file=ca_file)
    return https, key_lock, Signer(credentials.api_key, credentials.secret)


class _OpenJournal(NamedTuple):
    journal: Journal
    blotter: Blotter
    of_run: Sequence[Record]
    """What earlier routers wrote in this run of the engine."""
    unwritten: Sequence[Record]
    """Records that the journal has not taken yet."""


def _open_journal(launch: RouterLaunch, signer: Signer, clock: Clock, *, is_successor: bool) -> _OpenJournal:
    """Open the journal and fold it. Raises JournalError if it takes no record and no router
    served this run before.

    A successor has orders to look after: with a full disk it still cancels and reconciles,
    and takes no new order.
    """
    state_dir = Path(launch.state_dir)
    journal, records, report = Journal.open(state_dir, durability=launch.trading.durability)
    log.info("journal read", report=str(report))
    if not records and (fills := fills_of(state_dir / HISTORY_FILE)):
        log.warning(
            "the journal is empty, the history is not: positions and the day's loss begin at zero; move the journal "
            "back, or check positions by hand",
            journal=str(journal.path), history=str(state_dir / HISTORY_FILE), fills=fills,
        )  # fmt: skip
    blotter = fold(records)
    began = RunBegan(launch.run, engine_version(), fingerprint(signer.api_key), clock.wall_ns())
    unwritten: Sequence[Record] = ()
    try:
        journal.append(began)
    except JournalError:
        if not is_successor:
            raise
        unwritten = (began,)
    blotter.apply(began)
    return _OpenJournal(journal, blotter, records_of_run(records, launch.run), unwritten)


def _with_unwritten_mode(opened: _OpenJournal, status: Mapping[str, Any], clock: Clock) -> _OpenJournal:
    """The same with the mode that a person, or the day's loss, had set when the last router
    died and could not write it: its status board has that. Only a stricter one counts.
    """
    mode, blotter = str(status.get("mode")), opened.blotter
    is_unwritten = str(status.get("reason", "")).startswith(JOURNAL_FAILS)
    is_stricter = mode == TradingMode.HALTED.name or blotter.mode != TradingMode.HALTED.name
    is_known = mode in (TradingMode.HALTED.name, TradingMode.REDUCING.name)
    if not (is_unwritten and is_known and is_stricter) or mode == blotter.mode:
        return opened
    changed = ModeChanged(mode, "as it was when the order router died, which could not write it down", clock.wall_ns())
    blotter.apply(changed)
    return opened._replace(unwritten=(*opened.unwritten, changed))


def _segment_fds(launch: RouterLaunch) -> list[int]:
    return [
        launch.command_fd,
        launch.account_fd,
        launch.host_counters_fd,
        launch.status_fd,
        launch.positions_fd,
        launch.balances_fd,
        *launch.histogram_fds,
        *(port.ring_fd for port in launch.reports),
        *(fd for view in launch.markets for fd in (view.board_fd, view.pair_table_fd)),
        *(view.counters_fd for view in launch.markets),
    ]
