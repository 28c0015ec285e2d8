"""The order router's process: the key, the journal, the trading connection, and the router between them.

It outlives the engine. When the engine stops, or its process is gone, the router ends what is open (or keeps it, as
configured), switches the dead man's switch off, and exits; when it cannot, the switch does it.
"""

import asyncio
import random
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import structlog

from engine.actors.account_facts import AccountFacts
from engine.actors.dead_man import DeadMan
from engine.actors.kraken_rest import KrakenRest
from engine.actors.launch import News, RouterLaunch
from engine.actors.market_boards import BoardPort, MarketBoards
from engine.actors.order_answers import OrderAnswers
from engine.actors.order_cancels import OrderCancels
from engine.actors.order_entry import EntrySettings, OrderEntry, Waiting
from engine.actors.order_records import RECOUNTED, OrderRecords
from engine.actors.order_resolver import OrderResolver
from engine.actors.order_rest import OrderRest
from engine.actors.order_router import OrderRouter
from engine.actors.order_wire import OrderWire
from engine.actors.preflight import run_preflight
from engine.actors.process import Tell
from engine.actors.report_line import ReportLine
from engine.actors.rest_desk import RestDesk
from engine.actors.router_status import RouterStatus
from engine.actors.runner import LoopRunner, settle_memory
from engine.actors.token_service import NoToken, TokenSource, serve_tokens
from engine.actors.trading_gate import TradingGate
from engine.clock import SystemClock
from engine.config import RiskConfig, TradingConfig
from engine.credentials import load_credentials, no_core_dumps, take_over
from engine.history import HistoryWriter
from engine.kraken import rest_answers, rest_requests
from engine.kraken.private_events import TradingEvent
from engine.kraken.rest_answers import RestRefusal
from engine.kraken.signing import Signer
from engine.kraken.trading_session import TradingSession, TradingSettings
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.control_socket import serve_control
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.orders.balances import Balances
from engine.orders.blotter import fold
from engine.orders.breaker import Breaker
from engine.orders.journal import Journal
from engine.orders.journal_records import Record, RunBegan
from engine.orders.pending_queue import PendingQueue
from engine.orders.rate_counter import STARTER, TIERS, RateCounters
from engine.orders.reports import TradingReport
from engine.orders.risk import DailyLoss, PairLimits, Risk, RiskLimits
from engine.ring import BoardWriter, Doorbell, GatedSubscriber, Publisher, Segment
from engine.secret import fingerprint
from engine.state_directory import HISTORY_FILE
from engine.telemetry import Counters, Histogram
from engine.topology import ROUTER_COUNTERS, ROUTER_DOORBELL, ROUTER_HISTOGRAMS
from engine.units import NS_PER_MS, NS_PER_S

WORK_INTERVAL_S: Final = 0.05  # between two looks at tokens, counters and the status board
ORPHAN_DEADLINE_S: Final = 30.0  # for the last orders of an engine that is gone; then the dead man's switch must do
TOKEN_DEADLINE_S: Final = 3.0
NUDGE: Final = b"snapshot"

log = structlog.get_logger("order_router")


async def run_order_router(launch: RouterLaunch, news: socket.socket, tell: Tell) -> None:
    """Route orders until SIGTERM, or until the engine is gone and its orders are taken care of."""
    trading = launch.trading
    no_core_dumps(allow=trading.core_dumps)
    clock = SystemClock()
    credentials = load_credentials(
        file=Path(trading.credentials_file) if trading.credentials_file else None,
        keyring=trading.keyring,
        handed_over=take_over(launch.credentials_fd),
    )
    log.info("key", fingerprint=fingerprint(credentials.api_key), source=credentials.source)
    memories = {fd: Segment.attach(fd).memory for fd in _segment_fds(launch)}
    histograms = {
        name: Histogram(memories[fd]) for name, fd in zip(ROUTER_HISTOGRAMS, launch.histogram_fds, strict=True)
    }
    counters = Counters(memories[launch.counters_fd], ROUTER_COUNTERS)
    is_successor = counters.get("heartbeat_ns") > 0
    counters.set("heartbeat_ns", clock.mono_ns())
    if credentials.warning is not None:
        log.warning("key", warning=credentials.warning)
    state_dir = Path(launch.state_dir)
    # Play money's keys are one venue's own: two engines on this machine may meet the same one.
    key_lock = KeyLock(credentials.api_key, None if launch.is_live else state_dir / "keys")
    ca_file = Path(launch.ca_file) if launch.ca_file else None
    names = Resolver()
    https = HttpsClient(launch.rest_url, clock=clock, resolver=names, ca_file=ca_file)
    kraken = KrakenRest(https, clock, signer=Signer(credentials.api_key, credentials.secret), key=key_lock)
    rest = RestDesk(kraken, clock, histograms["rest"])
    journal, records, report = Journal.open(state_dir, durability=trading.durability)
    log.info("journal", report=str(report))
    blotter = fold(records)
    journal.append(began := RunBegan(launch.run, _version(), fingerprint(credentials.api_key), clock.wall_ns()))
    blotter.apply(began)
    history = HistoryWriter(state_dir / HISTORY_FILE) if trading.history else None

    session = TradingSession(TradingSettings(answer_deadline_ns=int(trading.answer_timeout_s * NS_PER_S)))
    wire = OrderWire(session, clock)
    boards = MarketBoards(
        [
            BoardPort(
                view.shard, memories[view.board_fd], Counters(memories[view.counters_fd], view.shard.counter_names)
            )
            for view in launch.markets
        ],
        clock,
    )
    tokens = TokenSource(
        lambda: _fetch_token(rest), clock=clock, rng=random.Random(), refresh_s=trading.token_refresh_min * 60
    )
    token_wanted = asyncio.Event()

    def want_token(reason: str) -> None:
        if reason and (refused := tokens.token) is not None:
            tokens.invalidate(refused)
        token_wanted.set()

    breakers = {"websocket": _breaker(trading), "rest": _breaker(trading)}
    rates = RateCounters(
        STARTER if trading.tier == "auto" else TIERS[trading.tier], int(trading.cancel_reserve_percent)
    )
    risk = Risk(_limits(launch.risk, trading))
    lines = {
        port.strategy: ReportLine(port.strategy, Publisher(memories[port.ring_fd], launch.report_doorbells))
        for port in launch.reports
    }

    def tell_all(report: TradingReport) -> None:
        for line in lines.values():
            line.send(report)

    gate = TradingGate(risk, tell_all)
    order_records = OrderRecords(blotter, journal, lines, Balances(), clock, history)
    order_records.recount(_records_of_run(records, launch.run))
    resolver = OrderResolver(blotter, rest, clock, lag_ns_max=int(trading.rest_lag_s_max * NS_PER_S))
    by_rest = OrderRest(rest, breakers["rest"], resolver.settle, clock)
    cancels = OrderCancels(order_records, wire, rates, by_rest.cancel, clock)
    dead_man = DeadMan(
        trading.dead_man_s, int(trading.dead_man_refresh_s * NS_PER_S), wire, by_rest.arm_dead_man, clock
    )
    answers = OrderAnswers(
        order_records,
        wire,
        gate,
        cancels,
        dead_man,
        rates,
        breakers["websocket"],
        resolver,
        clock,
        histograms["ack"],
        want_token,
    )
    facts = AccountFacts(
        order_records, gate, boards, wire, cancels, rates, risk, resolver, clock, is_tier_fixed=trading.tier != "auto"
    )
    by_rest.answers, resolver.facts = answers, facts
    facts.on_tier = rest.set_tier
    entry = OrderEntry(
        _settings(trading),
        records=order_records,
        gate=gate,
        boards=boards,
        wire=wire,
        rest=by_rest,
        risk=risk,
        rates=rates,
        queue=PendingQueue[Waiting](trading.queue_orders_max),
        breaker=breakers["websocket"],
        clock=clock,
        strategy_to_wire=histograms["strategy_to_wire"],
        tick_to_order=histograms["tick_to_order"],
    )
    router = OrderRouter(
        records=order_records,
        gate=gate,
        boards=boards,
        entry=entry,
        cancels=cancels,
        answers=answers,
        facts=facts,
        dead_man=dead_man,
        risk=risk,
        daily_loss=DailyLoss(_decimal(launch.risk.daily_loss_max), blotter.day, blotter.day_totals),
        commands=GatedSubscriber(memories[launch.command_fd]),
        account=GatedSubscriber(memories[launch.account_fd]),
        clock=clock,
        settle=resolver.settle,
        look_up=lambda order: resolver.look_up(order.key, order.deadline),
        cancels_on_halt=trading.on_strategy_halt == "cancel",
    )
    order_records.on_journal = router.on_journal
    status = RouterStatus(router, BoardWriter(memories[launch.status_fd]), tokens, rest, breakers, boards, rates, clock)
    connection: WebSocketConnection[TradingEvent] = WebSocketConnection(
        launch.url,
        session,
        on_events=answers.on_events,
        on_burst_end=lambda: _end_burst(router),
        clock=clock,
        backoff=Backoff(random.Random()),
        budget=ConnectionBudget(attempts_max=launch.attempts_max),
        resolver=names,
        ca_file=ca_file,
    )
    wire.socket = connection
    tally = _Tally(counters, router, connection, rest, session, journal)
    router.begin()
    settle_memory()
    bell = [Doorbell(memories[fd], ROUTER_DOORBELL, launch.eventfd) for fd in (launch.command_fd, launch.account_fd)]
    runner = LoopRunner(router, bell, clock, spin=trading.spin)

    stopping = asyncio.Event()
    orphaned = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    _watch_engine(loop, launch, orphaned)
    servers = [
        await serve_tokens(Path(launch.token_path), tokens),
        await serve_control(
            Path(launch.control_path), {**status.commands(), "where": lambda _: {"state_dir": str(state_dir)}}
        ),
    ]
    if launch.is_live:
        router.shut("the key and the account are being checked")
    tasks = [
        asyncio.ensure_future(work)
        for work in (
            connection.run(),
            resolver.run(),
            _authorise(session, connection, tokens, token_wanted, clock),
            _look_after(tally, tokens, status),
            _check_account(launch, rest, router, tell, clock),
        )
    ]
    if is_successor:  # what the private feed told the router before us, it tells again
        nudge = socket.socket(fileno=launch.nudge_fd)
        with suppress(OSError):
            nudge.send(NUDGE, socket.MSG_DONTWAIT)
    runner.start()
    ends = [asyncio.ensure_future(event.wait()) for event in (stopping, orphaned)]
    watched: set[asyncio.Future[Any]] = {*tasks[:4], runner.failed}
    done, _ = await asyncio.wait({*watched, *ends}, return_when=asyncio.FIRST_COMPLETED)
    try:
        for task in done & watched:
            task.result()  # a broken rule of our own ends the process
        await _end_orders(router, trading, is_orphan=orphaned.is_set())
    finally:
        runner.stop()
        for task in (*tasks[1:], *ends):
            task.cancel()
        if not runner.failed.done():
            router.do_work()
        tally.count()
        status.publish(now_too=True)
        for server in servers:
            server.close()
        await by_rest.close()
        await connection.stop()
        await tokens.close()
        await https.close()
        if history is not None:
            await asyncio.to_thread(history.close)
        journal.close()
        key_lock.release()


async def _end_orders(router: OrderRouter, trading: TradingConfig, *, is_orphan: bool) -> None:
    """Cancel what is open, or keep it; the switch that would cancel it later is switched off only when all is done."""
    if is_orphan:
        router.gate.feed_reason = "the private feed is gone with the engine"
    router.shut("the engine is gone" if is_orphan else "the engine is stopping")
    policy = trading.on_engine_loss if is_orphan else trading.on_stop
    log.info("stopping", orders=len(router.own_open), policy=policy, orphan=is_orphan)
    if policy == "cancel":
        router.cancel_all_of(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(ORPHAN_DEADLINE_S):
                while router.own_open:
                    router.cancel_all_of(None)
                    await asyncio.sleep(WORK_INTERVAL_S)
        if router.own_open:
            log.error("orders are left open for the dead man's switch", orders=len(router.own_open))
            return
    if trading.dead_man_s:
        router.dead_man.disarm()
        await asyncio.sleep(WORK_INTERVAL_S)


async def _authorise(
    session: TradingSession,
    connection: WebSocketConnection[TradingEvent],
    tokens: TokenSource,
    wanted: asyncio.Event,
    clock: SystemClock,
) -> None:
    """A fresh token for each connection, and another when Kraken refuses it."""
    while True:
        if session.wants_token:
            try:
                session.authorise(await tokens.fresh(), clock.mono_ns())
                connection.send_due()
            except NoToken as error:
                log.warning("no token", reason=str(error))
                await asyncio.sleep(WORK_INTERVAL_S * 5)
        wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(WORK_INTERVAL_S / 2):
                await wanted.wait()


async def _look_after(tally: "_Tally", tokens: TokenSource, status: RouterStatus) -> None:
    while True:
        tokens.do_work()
        tally.count()
        status.publish()
        await asyncio.sleep(WORK_INTERVAL_S)


async def _check_account(
    launch: RouterLaunch, rest: RestDesk, router: OrderRouter, tell: Tell, clock: SystemClock
) -> None:
    """Before the first order with real money: may the key do what is needed, and nothing more?"""
    if not launch.is_live:
        return
    failure = await run_preflight(rest, launch.symbols, clock)
    if failure is None:
        router.shut("")
    else:
        router.shut(failure)
        tell(News("fatal", failure))


async def _fetch_token(rest: RestDesk) -> tuple[str, int]:
    answer = await rest.ask(rest_requests.get_websockets_token(), rest_answers.read_websockets_token, TOKEN_DEADLINE_S)
    if isinstance(answer, RestRefusal):
        raise NoToken(answer.sentence)
    return answer.token, answer.expires_s


def _watch_engine(loop: asyncio.AbstractEventLoop, launch: RouterLaunch, orphaned: asyncio.Event) -> None:
    """Know when the engine's process is gone, be it by SIGKILL."""
    import os

    try:
        pidfd = os.pidfd_open(launch.parent_pid)
    except ProcessLookupError:
        orphaned.set()
        return
    loop.add_reader(pidfd, orphaned.set)
    if os.getppid() != launch.parent_pid:
        orphaned.set()


def _records_of_run(records: Sequence[Record], run: int) -> Sequence[Record]:
    """What earlier lives of the router wrote in this run of the engine."""
    for place, record in enumerate(records):
        if isinstance(record, RunBegan) and record.run == run:
            return records[place:]
    return ()


def _segment_fds(launch: RouterLaunch) -> list[int]:
    return [
        launch.command_fd,
        launch.account_fd,
        launch.counters_fd,
        launch.status_fd,
        *launch.histogram_fds,
        *(port.ring_fd for port in launch.reports),
        *(view.board_fd for view in launch.markets),
        *(view.counters_fd for view in launch.markets),
    ]


def _end_burst(router: OrderRouter) -> None:
    """End of a burst of answers: the strategies may look."""
    router.gate.tell()
    router.flush()


def _settings(trading: TradingConfig) -> EntrySettings:
    return EntrySettings(
        deadline_ns=int(trading.deadline_s * NS_PER_S),
        command_ttl_ns=int(trading.command_ttl_s * NS_PER_S),
        rest_fallback=trading.rest_fallback,
        queues_over_rate=trading.over_rate == "queue",
        queue_wait_ns_max=int(trading.queue_wait_s_max * NS_PER_S),
    )


def _limits(risk: RiskConfig, trading: TradingConfig) -> RiskLimits:
    return RiskLimits(
        order_notional_max=_decimal(risk.order_notional_max),
        position_notional_max=_decimal(risk.position_notional_max),
        daily_loss_max=_decimal(risk.daily_loss_max),
        price_collar_percent=_exact(risk.price_collar_percent),
        open_orders_max=risk.open_orders_max,
        orders_per_s_max=_exact(risk.orders_per_s_max),
        book_age_ns_max=int(risk.book_age_s_max * NS_PER_S),
        duplicate_window_ns=int(risk.duplicate_window_ms * NS_PER_MS),
        self_trade_guard=risk.self_trade_guard,
        trade_while_unknown=trading.trade_while_unknown,
        symbols=None if risk.symbols is None else frozenset(risk.symbols),
        pairs={
            pair.symbol: PairLimits(
                order_qty_max=_decimal(pair.order_qty_max),
                position_qty_max=_decimal(pair.position_qty_max),
                open_orders_max=pair.open_orders_max,
            )
            for pair in risk.pairs
        },
    )


def _exact(number: float) -> Decimal:
    """The shortest decimal that means it: what the user wrote."""
    return Decimal(repr(number))


def _decimal(number: float | None) -> Decimal | None:
    return None if number is None else _exact(number)


def _breaker(trading: TradingConfig) -> Breaker:
    return Breaker(trading.breaker_failures, int(trading.breaker_open_s * NS_PER_S))


def _version() -> str:
    try:
        return version("kraken-engine")
    except PackageNotFoundError:
        return "unknown"


class _Tally:
    """Brings the shared counters up to date. They outlive the process: what earlier lives counted is gone on from."""

    def __init__(
        self,
        counters: Counters,
        router: OrderRouter,
        connection: WebSocketConnection[TradingEvent],
        rest: RestDesk,
        session: TradingSession,
        journal: Journal,
    ) -> None:
        self._counters = counters
        self._router = router
        self._connection = connection
        self._rest = rest
        self._session = session
        self._journal = journal
        self._clock = SystemClock()
        # What the journal tells is counted anew by each life; a killed one had told its last orders to nobody else.
        self._inherited = counters.snapshot() | dict.fromkeys(RECOUNTED, 0)

    def count(self) -> None:
        """Now."""
        router, connection, rest = self._router, self._connection, self._rest
        lines = router.records.lines.values()
        grown = (
            router.records.counts
            | router.entry.counts
            | router.answers.counts
            | router.facts.counts
            | {
                "commands": router.commands_taken,
                "cancels": router.cancels.sent,
                "dead_man_refreshes": router.dead_man.refreshes,
                "dead_man_late": router.dead_man.late,
                "parked": router.blotter.parked,
                "rescues": router.rescues,
                "frames": connection.frames_received,
                "connects": connection.connects,
                "connect_failures": connection.connect_failures,
                "disconnects": connection.disconnects,
                "session_errors": connection.session_errors,
                "fills_repeated": router.blotter.fills_repeated,
                "quarantined": router.blotter.quarantined,
                "reports": sum(line.sent for line in lines),
                "reports_held_back": sum(line.held_back for line in lines),
                "resyncs": sum(line.resyncs for line in lines),
                "rest_calls": rest.calls,
                "rest_failures": rest.failures,
            }
        )
        for name, value in grown.items():
            self._counters.set(name, self._inherited[name] + value)
        self._counters.set("unknown_open", len(router.blotter.in_doubt()))
        self._counters.set("open", len(router.blotter.open))
        self._counters.set("heartbeat_ns", self._clock.mono_ns())
