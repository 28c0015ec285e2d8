"""What the order router's process is made of, put together from what the supervisor handed to it.

    key ─► REST ─┐
    journal ─► blotter ─► records ─► entry, cancels, answers, facts ─► OrderRouter ◄─ rings
    boards, limits, rate counters ──────────┘          ▲
    trading session ◄─► connection ────────────────────┘

Each part is told of the others here and nowhere else; `order_router_process` runs them.
"""

import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from engine.clock import Clock
from engine.config import RiskConfig, TradingConfig
from engine.credentials import load_credentials, take_over
from engine.history import HistoryWriter, fills_of
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS
from engine.kraken.private.events import TradingEvent
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.signing import Signer
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.kraken_rest.calls import RestCalls
from engine.kraken_rest.client import KrakenRest
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.order_router.cancels import OrderCancels
from engine.order_router.commit import OrderRecords
from engine.order_router.counters import RouterCounters
from engine.order_router.dead_man import DeadMan
from engine.order_router.doubt.resolver import OrderResolver
from engine.order_router.executions import AccountFacts
from engine.order_router.gate import TradingGate
from engine.order_router.hang_watch import HangWatch
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.order_router.new_orders import EntrySettings, NewOrders, Waiting
from engine.order_router.replies import OrderReplies
from engine.order_router.report_outbox import ReportOutbox
from engine.order_router.rest_route import OrderRest
from engine.order_router.router import OrderRouter
from engine.order_router.status import RouterStatus
from engine.order_router.tokens import TokenSource
from engine.order_router.wire import OrderWire
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter, fold
from engine.orders.breaker import Breaker
from engine.orders.journal import Journal, JournalError
from engine.orders.journal_records import Record, RunBegan
from engine.orders.pending_queue import PendingQueue
from engine.orders.rate_counter import STARTER, TIERS, RateCounters
from engine.orders.rings.reports import TradingStatus
from engine.orders.risk import DailyLoss, PairLimits, Risk, RiskLimits
from engine.processes.launch import RouterLaunch
from engine.processes.token_socket import NoToken
from engine.ring import BoardWriter, Doorbell, GatedSubscriber, Publisher, Segment
from engine.secret import fingerprint
from engine.state_directory import HISTORY_FILE
from engine.telemetry import Counters, Histogram
from engine.topology import ROUTER_COUNTERS, ROUTER_DOORBELL, ROUTER_HISTOGRAMS, strategy_counter_names
from engine.units import NS_PER_MS, NS_PER_S

TOKEN_DEADLINE_S: Final = 3.0

log = structlog.get_logger("order_router")


class RouterParts(NamedTuple):
    """All that runs, and all that must be closed."""

    https: HttpsClient
    key_lock: KeyLock
    rest: RestCalls
    journal: Journal
    history: HistoryWriter | None
    session: TradingSession
    connection: WebSocketConnection[TradingEvent]
    tokens: TokenSource
    token_wanted: asyncio.Event
    resolver: OrderResolver
    by_rest: OrderRest
    router: OrderRouter
    status: RouterStatus
    counters: RouterCounters
    doorbells: list[Doorbell]
    is_successor: bool
    """Did another router serve this run of the engine before?"""


def assemble(launch: RouterLaunch, clock: Clock) -> RouterParts:
    """Make them, in a process with a running event loop; ConfigError for a key or a journal that cannot be used."""
    trading = launch.trading
    memories = {fd: Segment.attach(fd).memory for fd in _segment_fds(launch)}
    histograms = {
        name: Histogram(memories[fd]) for name, fd in zip(ROUTER_HISTOGRAMS, launch.histogram_fds, strict=True)
    }
    shared = Counters(memories[launch.counters_fd], ROUTER_COUNTERS)
    is_successor = shared.get("heartbeat_ns") > 0
    shared.set("heartbeat_ns", clock.mono_ns())
    names = Resolver()
    https, key_lock, signer = _open_rest(launch, clock, names)
    rest = RestCalls(KrakenRest(https, clock, signer=signer, key=key_lock), clock, histograms["rest"])
    journal, blotter, records_of_run, unwritten = _open_journal(launch, signer, clock, is_successor=is_successor)
    history = HistoryWriter(Path(launch.state_dir) / HISTORY_FILE) if trading.history else None

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
            tokens.invalidate(refused, f"Kraken refuses the token ({reason})")
        token_wanted.set()

    breakers = {"websocket": _breaker(trading), "rest": _breaker(trading)}
    tier = STARTER if trading.tier == "auto" else TIERS[trading.tier]
    rates = RateCounters(tier, int(trading.cancel_reserve_percent))
    risk = Risk(_limits(launch.risk, trading))
    lines = {
        port.strategy: ReportOutbox(port.strategy, Publisher(memories[port.ring_fd], launch.report_doorbells))
        for port in launch.reports
    }

    def tell_all(report: TradingStatus) -> None:
        for line in lines.values():
            line.send(report)

    gate = TradingGate(risk, tell_all)
    records = OrderRecords(blotter, journal, lines, Balances(), clock, history)
    records.recount(records_of_run)
    resolver = OrderResolver(blotter, rest, clock, lag_ns_max=int(trading.rest_lag_s_max * NS_PER_S))
    by_rest = OrderRest(rest, breakers["rest"], resolver.settle, clock)
    cancels = OrderCancels(records, wire, rates, by_rest.cancel, clock)
    dead_man_refresh_ns = int(trading.dead_man_refresh_s * NS_PER_S)
    dead_man = DeadMan(trading.dead_man_s, dead_man_refresh_ns, wire, by_rest.arm_dead_man, clock)
    answers = OrderReplies(
        records, wire, gate, cancels, dead_man, rates, breakers["websocket"], resolver, clock, histograms["ack"],
        want_token,
    )  # fmt: skip
    is_tier_fixed = trading.tier != "auto"
    if is_tier_fixed:
        rest.set_tier(trading.tier)
    facts = AccountFacts(
        records, gate, boards, wire, cancels, rates, risk, resolver, clock, is_tier_fixed=is_tier_fixed
    )
    facts.on_tier = rest.set_tier
    by_rest.answers, resolver.questions.facts = answers, facts
    entry = NewOrders(
        _settings(trading),
        records=records,
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
    strategies = [port.strategy for port in launch.reports]
    host_counters = Counters(memories[launch.host_counters_fd], strategy_counter_names(strategies))
    router = OrderRouter(
        hangs=HangWatch(host_counters, strategies, launch.hang_ns_max),
        records=records,
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
    records.on_journal = router.on_journal
    if unwritten:
        records.write(unwritten, is_fact=True)

    def ask_anew() -> None:
        tokens.anew()
        dead_man.refresh_anew()
        resolver.anew()

    router.on_resume = ask_anew
    connection: WebSocketConnection[TradingEvent] = WebSocketConnection(
        launch.url,
        session,
        on_events=answers.on_events,
        on_burst_end=lambda: _end_burst(router),
        clock=clock,
        backoff=Backoff(random.Random()),
        budget=ConnectionBudget(attempts_max=launch.attempts_max),
        resolver=names,
        ca_file=Path(launch.ca_file) if launch.ca_file else None,
    )
    wire.socket = connection
    return RouterParts(
        https=https,
        key_lock=key_lock,
        rest=rest,
        journal=journal,
        history=history,
        session=session,
        connection=connection,
        tokens=tokens,
        token_wanted=token_wanted,
        resolver=resolver,
        by_rest=by_rest,
        router=router,
        status=RouterStatus(
            router, BoardWriter(memories[launch.status_fd]), tokens, rest, breakers, boards, rates, clock
        ),
        counters=RouterCounters(shared, router, connection, rest, clock),
        doorbells=[
            Doorbell(memories[fd], ROUTER_DOORBELL, launch.eventfd) for fd in (launch.command_fd, launch.account_fd)
        ],
        is_successor=is_successor,
    )


def _open_rest(launch: RouterLaunch, clock: Clock, names: Resolver) -> tuple[HttpsClient, KeyLock, Signer]:
    trading = launch.trading
    credentials = load_credentials(
        file=Path(trading.credentials_file) if trading.credentials_file else None,
        keyring=trading.keyring,
        handed_over=take_over(launch.credentials_fd),
    )
    log.info("key", fingerprint=credentials.fingerprint, source=credentials.source)
    if credentials.warning is not None:
        log.warning("key", warning=credentials.warning)
    # Play money's keys are one venue's own: two engines on this machine may meet the same one.
    key_lock = KeyLock(credentials.api_key, None if launch.is_live else Path(launch.state_dir) / "keys")
    ca_file = Path(launch.ca_file) if launch.ca_file else None
    https = HttpsClient(launch.rest_url, clock=clock, resolver=names, ca_file=ca_file)
    return https, key_lock, Signer(credentials.api_key, credentials.secret)


class _OpenJournal(NamedTuple):
    journal: Journal
    blotter: Blotter
    of_run: Sequence[Record]
    """What earlier lives of the router wrote in this run of the engine."""
    unwritten: Sequence[Record]
    """What the journal did not take yet."""


def _open_journal(launch: RouterLaunch, signer: Signer, clock: Clock, *, is_successor: bool) -> _OpenJournal:
    """The journal and what it comes to; JournalError when it takes no record and no router served this run before.

    A successor has orders to look after: it cancels and reconciles though the disk is full, and takes no new order.
    """
    state_dir = Path(launch.state_dir)
    journal, records, report = Journal.open(state_dir, durability=launch.trading.durability)
    log.info("journal", report=str(report))
    if not records and (fills := fills_of(state_dir / HISTORY_FILE)):
        log.warning(
            "the journal is empty, the history is not: positions and the day's loss begin at zero; move the journal "
            "back, or check positions by hand",
            journal=str(journal.path), history=str(state_dir / HISTORY_FILE), fills=fills,
        )  # fmt: skip
    blotter = fold(records)
    began = RunBegan(launch.run, _version(), fingerprint(signer.api_key), clock.wall_ns())
    unwritten: Sequence[Record] = ()
    try:
        journal.append(began)
    except JournalError:
        if not is_successor:
            raise
        unwritten = (began,)
    blotter.apply(began)
    for place, record in enumerate(records):
        if isinstance(record, RunBegan) and record.run == launch.run:
            return _OpenJournal(journal, blotter, records[place:], unwritten)
    return _OpenJournal(journal, blotter, (), unwritten)


async def _fetch_token(rest: RestCalls) -> tuple[str, int]:
    answer = await rest.ask(rest_requests.get_websockets_token(), rest_replies.read_websockets_token, TOKEN_DEADLINE_S)
    if isinstance(answer, RestRefusal):
        left_ns = int(rest.locked_out_s * NS_PER_S)
        raise NoToken(answer.sentence, answer.meaning.kind, left_ns or LOCKOUT_PAUSE_NS)
    return answer.token, answer.expires_s


def _end_burst(router: OrderRouter) -> None:
    """End of a burst of answers: the strategies may look."""
    router.gate.tell()
    router.flush()


def _segment_fds(launch: RouterLaunch) -> list[int]:
    return [
        launch.command_fd,
        launch.account_fd,
        launch.counters_fd,
        launch.host_counters_fd,
        launch.status_fd,
        *launch.histogram_fds,
        *(port.ring_fd for port in launch.reports),
        *(view.board_fd for view in launch.markets),
        *(view.counters_fd for view in launch.markets),
    ]


# --- from configuration to what the parts understand


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
